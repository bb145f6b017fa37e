"""What refusals teach, when they end, and when so little is left that consumption pauses."""

from __future__ import annotations

import pytest

from connector.core.budget import after_refusal, closed_for, is_low, relaxed
from connector.core.hours import HOUR

NOON = 1_767_225_600.0 + 12 * HOUR


@pytest.mark.parametrize(
    ("limit", "ours", "elapsed", "then"),
    [
        (250, 200, HOUR, 198),
        (250, 200, HOUR / 2, 148),
        (250, 50, HOUR / 2, 25),
        (100, 90, HOUR, 88),
        (100, 0, HOUR, 10),
        (50, 150, HOUR, 50),
        (250, 250, 60.0, 248),
        (250, 300, 60.0, 248),
        (250, 125, 0.0, 60.5),
    ],
    ids=[
        "others took 50 in an hour, so they will again, and a margin of two is left",
        "others took 50 in half an hour, so they take 100 in an hour",
        "others took nearly all: a tenth of our limit is claimed, so that better hours are noticed",
        "others took 160, so 88 are left of our 100",
        "others took all of it",
        "what we may spend is never more than our limit",
        "others took nothing that we know of",
        "more of ours than the team has says that others took nothing",
        "others are not thought to take more than half of what they left",
    ],
)
def test_after_a_refusal_we_spend_what_others_are_thought_to_leave(
    limit: float, ours: float, elapsed: float, then: float
) -> None:
    assert after_refusal(limit, ours, elapsed) == then


def test_a_lesson_fades_by_a_quarter_with_every_hour() -> None:
    assert [relaxed(200, 100, hours) for hours in range(3)] == [100, 125, 143.75]


@pytest.mark.parametrize(
    ("wait", "utc", "seconds"),
    [
        (7.0, NOON + 100, 7.0),
        (7200.0, NOON + 100, 7200.0),
        (None, NOON + 600, 3000.0),
        (None, NOON + 25, 3575.0),
        (None, NOON + 2, 23.0),
    ],
    ids=[
        "a hint is honoured",
        "also a long one",
        "without a hint the hour is spent",
        "which can be so after 25 seconds, at ten pushes a second",
        "sooner it cannot: the refusal was of the hour before",
    ],
)
def test_a_refusal_holds_for(wait: float | None, utc: float, seconds: float) -> None:
    assert closed_for(wait, utc) == seconds


@pytest.mark.parametrize(
    ("left", "remaining", "low"),
    [(5, HOUR, False), (4, HOUR, True), (0, HOUR, True), (4, 80.0, False), (0, 90.0, False), (0, 91.0, True)],
    ids=[
        "as many as the mark are enough",
        "fewer are not, for an hour",
        "none are not",
        "fewer are enough where the hour ends before more could be spent",
        "none are enough for the rest of the slots",
        "none are too few for one slot more",
    ],
)
def test_the_budget_is_low(left: float, remaining: float, *, low: bool) -> None:
    assert is_low(left, 5, remaining, 15.0) is low
