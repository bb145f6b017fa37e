"""The hour window: how many pushes are left, and when there will be."""

from __future__ import annotations

import pytest

from connector.core.budget import HOUR, HourWindow, hour_of, next_hour

NOON = 12 * HOUR


def test_the_hour_is_the_full_utc_hour_not_an_hour_from_now() -> None:
    assert hour_of(NOON + 3599.9) == 12
    assert next_hour(NOON + 3599.9) == NOON + HOUR
    assert next_hour(NOON) == NOON + HOUR


def test_an_hour_without_any_push_is_no_window() -> None:
    with pytest.raises(ValueError, match="at least one push"):
        HourWindow(0)


def test_every_grant_is_one_less_and_the_next_hour_begins_anew() -> None:
    window = HourWindow(2).take(NOON).take(NOON + 1)
    assert (window.left(NOON + 2), window.wait(NOON + 2)) == (0, HOUR - 2)
    assert (window.left(NOON + HOUR), window.wait(NOON + HOUR)) == (2, 0)


def test_a_grant_without_a_push_left_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="ask left"):
        HourWindow(1).take(NOON).take(NOON)


def test_a_clock_that_goes_back_finds_the_hour_as_it_was_spent() -> None:
    window = HourWindow(2).take(NOON).take(NOON).take(NOON + HOUR)
    assert window.left(NOON) == 0
    assert window.left(NOON + HOUR) == 1
    assert window.wait(NOON + 3599) == 1


def test_hours_too_long_ago_to_be_remembered_are_spent() -> None:
    window = HourWindow(1)
    for hour in range(12, 50):
        window = window.take(hour * HOUR)
    assert window.left(NOON) == 0
    assert window.wait(NOON) == 38 * HOUR


@pytest.mark.parametrize(
    ("wait", "until"),
    [(None, NOON + HOUR), (10.0, NOON + 110), (7200.0, NOON + 7300)],
    ids=["no hint means the next hour", "a hint is honoured", "also a long one"],
)
def test_a_refusal_of_the_server_closes_the_window(wait: float | None, until: float) -> None:
    window = HourWindow(5).close(NOON + 100, wait)
    assert (window.left(NOON + 100), window.wait(NOON + 100)) == (0, until - NOON - 100)
    assert window.left(until) == 5


def test_a_shorter_refusal_does_not_open_what_a_longer_one_closed() -> None:
    assert HourWindow(5).close(NOON, 60.0).close(NOON, 1.0).wait(NOON) == 60


def test_a_closed_window_may_open_in_an_hour_that_is_spent() -> None:
    window = HourWindow(1).take(NOON + HOUR).close(NOON, None)
    assert window.wait(NOON) == 2 * HOUR
