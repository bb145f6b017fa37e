"""The paced budget of a replay beside whoever else pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from connector.core.budget import Claim, Grant
from connector.core.hours import Now, TeamClock
from connector.kafka.crowd import Crowd, Lookout
from connector.sharing import SharedPace

if TYPE_CHECKING:
    from collections.abc import Callable

WANTED, PER_HOUR = 120.0, 200.0
HOURS = 100 * 3600.0  # some full hour


class Seen:
    """Tells what a test says."""

    seconds, own = 5.0, "service.replay.a"

    def __init__(self, found: Crowd | None) -> None:
        self.found = found

    def seen(self) -> Crowd | None:
        return self.found


def granted(seen: Seen, seconds: int, change: Callable[[int], Crowd | None] | None = None) -> list[int]:
    """Return at which seconds pushes are granted to a replay that always has one more."""
    budget = SharedPace(WANTED, PER_HOUR, cast("Lookout", seen), TeamClock(1.0))
    found = []
    for second in range(seconds):
        if change:
            seen.found = change(second)
        now = Now(float(second), HOURS + second)
        budget.step(now, 1.0)
        if isinstance(budget.acquire(Claim(str(second), "T", 1.0, replay=True), now), Grant):
            budget.end(str(second), spent=True)
            found.append(second)
    return found


@pytest.mark.parametrize(
    ("crowd", "an_hour"),
    [
        (Crowd(service=False, replays=0, ours=True), 120),
        (Crowd(service=False, replays=1, ours=True), 100),
        (Crowd(service=True, replays=0, ours=True), 50),
        (Crowd(service=True, replays=4, ours=True), 10),
        (Crowd(service=True, replays=0, ours=False), 0),
        (None, 0),
    ],
)
def test_it_takes_its_part_of_what_is_left_and_nothing_while_that_is_not_known(
    crowd: Crowd | None, an_hour: int
) -> None:
    pushes = granted(Seen(crowd), 3590)
    assert an_hour * 0.97 - 2 <= len(pushes) <= an_hour
    assert all(second > 15 for second in pushes), "first the others must have seen it"


def test_whoever_comes_takes_from_it_at_once_and_whoever_goes_leaves_it_more() -> None:
    def change(second: int) -> Crowd:
        return Crowd(service=600 <= second < 1800, replays=1 if second >= 1200 else 0, ours=True)

    pushes = granted(Seen(None), 2400, change)
    counts = [sum(start <= p < start + 600 for p in pushes) for start in (0, 600, 1200, 1800)]
    assert [pytest.approx(n, abs=1.5) for n in (19.5, 50 / 6, 25 / 6, 100 / 6)] == counts


def test_what_was_not_known_for_a_while_is_not_made_up_for() -> None:
    known = Crowd(service=False, replays=0, ours=True)
    pushes = granted(Seen(None), 1200, lambda second: None if 300 <= second < 900 else known)
    assert not [p for p in pushes if 301 <= p < 915]


def test_a_replay_that_its_broker_does_not_show_says_once_which_right_is_lacking() -> None:
    unseen = Crowd(service=True, replays=0, ours=False)
    seen = Crowd(service=True, replays=0, ours=True)
    with capture_logs() as logs:
        granted(Seen(None), 50, lambda _: unseen)
        granted(Seen(None), 100, lambda second: seen if second % 50 == 49 else unseen)
    assert logs == []
    with capture_logs() as logs:
        granted(Seen(None), 300, lambda _: unseen)
    [told] = logs
    assert (told["log_level"], told["group"]) == ("warning", "service.replay.a")
    assert told["hint"].startswith("grant DESCRIBE (READ brings it) on group service.replay.a")


def test_where_less_than_a_push_an_hour_is_left_that_is_told_once_each_time() -> None:
    def change(second: int) -> Crowd:
        return Crowd(service=True, replays=99 if second % 1000 < 100 else 1, ours=True)

    with capture_logs() as logs:
        granted(Seen(None), 2000, change)
    assert [(line["event"], line["per_hour"], line["replays"]) for line in logs] == [
        ("nothing is pushed: too little is left", 0.5, 99)
    ] * 2


@pytest.mark.parametrize(("replays", "an_hour"), [(49, 1), (24, 2), (4, 10)])
def test_at_a_low_rate_each_hour_has_its_pushes(replays: int, an_hour: int) -> None:
    crowd = Crowd(service=True, replays=replays, ours=True)
    pushes = granted(Seen(crowd), 4 * 3600)
    assert [sum(second // 3600 == hour for second in pushes) for hour in range(1, 4)] == [an_hour] * 3
