"""Owns how long and how often a request is repeated: waits, the server's hints, and when to give up.

Never sends a request of its own. Invariant: only what is harmless to repeat is repeated, a hint is honoured, one that
is longer than the patience ends it at once, and `stop` cuts every wait short.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog
from tenacity import Retrying, retry_if_exception, stop_after_delay, stop_any
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_exponential, wait_random

from connector.celonis.calls import UNCOUNTED
from connector.errors import CelonisError, CelonisThrottled, Reaction

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from tenacity import RetryCallState

    from connector.celonis.calls import Calls

log = structlog.get_logger()

T = TypeVar("T")


class Pace(NamedTuple):
    """How patient the threads are, in seconds. A test makes it quick."""

    poll_first: float = 0.5  # until the status of a job is asked for the first time
    poll_longest: float = 10.0
    retry_first: float = 1.0
    retry_longest: float = 30.0
    give_back: float = 120.0  # after this a push in trouble goes back to the loop, which comes again
    again: float = 10.0  # the loop's wait before it does
    started: float = 60.0  # an executed job that is still NEW by then was never executed

    def at(self, speed: float) -> Pace:
        """Return the pace for a platform whose hours pass `speed` times as fast: jobs are asked for sooner."""
        return self._replace(poll_first=self.poll_first / speed, poll_longest=self.poll_longest / speed)


class Patience:
    """Waits of `first` seconds, ever longer up to `longest`, for `give_back` seconds in all; threads may share it."""

    def __init__(
        self,
        stop: threading.Event,
        *,
        first: float,
        longest: float,
        give_back: float = math.inf,
        calls: Calls = UNCOUNTED,
    ) -> None:
        self._stop, self._first, self._give_back, self._calls = stop, first, give_back, calls
        self._ended = stop_any(stop_after_delay(give_back), stop_when_event_set(stop))
        self._backoff = wait_exponential(multiplier=first, max=longest) + wait_random(0, first)

    def repeat(self, call: Callable[[], T], *more: Reaction) -> T:
        """Return what `call` returns; repeat it while it says LATER or AGAIN (and `more`).

        Raises:
            CelonisError: the last one, when patience ends or repeating cannot help.
        """
        harmless = (Reaction.LATER, Reaction.AGAIN, *more)
        retrying = Retrying(
            sleep=sleep_using_event(self._stop),
            wait=self._wait,
            stop=self._enough,
            retry=retry_if_exception(lambda e: isinstance(e, CelonisError) and e.reaction in harmless),
            before_sleep=self._warn,
            reraise=True,
        )
        return retrying(self._while_open(call))

    def _while_open(self, call: Callable[[], T]) -> Callable[[], T]:
        """Return `call`, which says its last error again instead of sending once more behind a wait that `stop` cut."""
        said: CelonisError | None = None

        def once() -> T:
            nonlocal said
            if said is not None and self._stop.is_set():
                raise said
            try:
                return call()
            except CelonisError as e:
                said = e
                raise

        return once

    def _wait(self, state: RetryCallState) -> float:
        hint = _hint(state)
        return self._backoff(state) if hint is None else max(hint, self._first)

    def _enough(self, state: RetryCallState) -> bool:
        return self._ended(state) or (_hint(state) or 0.0) > self._give_back

    def _warn(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0
        if isinstance(error, CelonisError):
            self._calls.retried(error.operation, error.reaction)
        log.warning("trying again", error=str(error), attempt=state.attempt_number, wait=round(wait, 1))


def _hint(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.wait if isinstance(error, CelonisThrottled) else None
