"""When a request is repeated, after which wait, and when not any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from connector.celonis.patience import Patience
from connector.errors import CelonisError, CelonisThrottled, Reaction
from tests.unit.celonis.wire import Counted

if TYPE_CHECKING:
    from collections.abc import Callable


class Waits(threading.Event):
    """Notes the waits instead of waiting; `stop_after` waits it is set."""

    def __init__(self, stop_after: int = 1000) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._stop_after = stop_after

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        if len(self.seconds) >= self._stop_after:
            self.set()
        return self.is_set()


def throttled(wait: float | None) -> CelonisThrottled:
    error = CelonisThrottled("later", reaction=Reaction.LATER)
    error.wait = wait
    return error


def failing(*errors: CelonisError) -> Callable[[], str]:
    """Return a call that raises `errors` in turn, and then returns."""
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


@pytest.mark.parametrize("reaction", [Reaction.LATER, Reaction.AGAIN])
def test_what_is_harmless_is_repeated_after_ever_longer_waits(reaction: Reaction) -> None:
    waits = Waits()
    errors = [CelonisError("no", reaction=reaction) for _ in range(6)]
    assert Patience(waits, first=1.0, longest=8.0).repeat(failing(*errors)) == "answer"
    lowest = [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert all(low <= wait <= low + 1.0 for low, wait in zip(lowest, waits.seconds, strict=True)), waits.seconds


@pytest.mark.parametrize("reaction", set(Reaction) - {Reaction.LATER, Reaction.AGAIN, Reaction.PROCEED})
def test_everything_else_is_not_unless_the_caller_knows_better(reaction: Reaction) -> None:
    waits = Waits()
    patience = Patience(waits, first=1.0, longest=8.0)
    error = CelonisError("no", reaction=reaction)
    with pytest.raises(CelonisError) as caught:
        patience.repeat(failing(error))
    assert caught.value is error
    assert waits.seconds == []
    assert patience.repeat(failing(error), reaction) == "answer"


def test_another_exception_is_not_repeated() -> None:
    def fail() -> str:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        Patience(Waits(), first=1.0, longest=8.0).repeat(fail)


@pytest.mark.parametrize(("hint", "wait"), [(30.0, 30.0), (1.5, 1.5), (0.0, 1.0), (0.2, 1.0)])
def test_the_servers_hint_is_the_wait_but_never_a_spin(hint: float, wait: float) -> None:
    waits = Waits()
    Patience(waits, first=1.0, longest=8.0, give_back=60.0).repeat(failing(throttled(hint)))
    assert waits.seconds == [wait]


def test_a_hint_longer_than_the_patience_ends_it_at_once() -> None:
    waits = Waits()
    with pytest.raises(CelonisThrottled) as caught:
        Patience(waits, first=1.0, longest=8.0, give_back=60.0).repeat(failing(throttled(61.0)))
    assert caught.value.wait == 61.0
    assert waits.seconds == []


def test_patience_ends_with_the_last_error() -> None:
    errors = [CelonisError(str(i), reaction=Reaction.AGAIN) for i in range(3)]
    with pytest.raises(CelonisError) as caught:
        Patience(Waits(), first=1.0, longest=8.0, give_back=0.0).repeat(failing(*errors))
    assert caught.value is errors[0]


def test_stopping_ends_a_wait_and_the_patience() -> None:
    errors = [CelonisError(str(i), reaction=Reaction.AGAIN) for i in range(9)]
    waits = Waits(stop_after=2)
    with pytest.raises(CelonisError) as caught:
        Patience(waits, first=1.0, longest=8.0).repeat(failing(*errors))
    assert caught.value is errors[1], "nothing is sent behind a wait that was cut"
    assert len(waits.seconds) == 2


def test_a_repetition_is_counted_by_what_the_answer_asked_for_and_the_last_error_is_none() -> None:
    counted = Counted()
    patience = Patience(Waits(), first=1.0, longest=8.0, calls=counted)
    errors = [
        CelonisError("no", reaction=r, operation="upload") for r in (Reaction.LATER, Reaction.AGAIN, Reaction.STOP)
    ]
    with pytest.raises(CelonisError):
        patience.repeat(failing(*errors))
    assert counted.retries == [("upload", "later"), ("upload", "again")]
