"""The team's hours: full UTC hours, and clocks that pass faster for trials."""

from __future__ import annotations

import pytest

from connector.core.hours import HOUR, Now, TeamClock, hour_of, next_hour

NOON = 1_767_225_600.0 + 12 * HOUR


def test_the_hour_is_the_full_utc_hour_not_an_hour_from_now() -> None:
    assert hour_of(NOON + 3599.9) == hour_of(NOON)
    assert next_hour(NOON + 3599.9) == NOON + HOUR
    assert next_hour(NOON) == NOON + HOUR


def test_at_speed_one_the_teams_time_is_utc() -> None:
    assert TeamClock().of(NOON + 0.123) == NOON + 0.123
    assert TeamClock().seconds(30.0) == 30.0


def test_at_speed_sixty_an_hour_passes_in_a_minute() -> None:
    clock = TeamClock(60.0)
    assert clock.of(NOON + 60) - clock.of(NOON) == HOUR
    assert clock.seconds(HOUR) == 60.0


def test_all_clocks_agree_where_the_year_begins() -> None:
    begin = NOON - 12 * HOUR
    assert TeamClock(60.0).of(begin) == TeamClock(7.0).of(begin) == begin


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_a_clock_that_does_not_go_forward_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="goes forward"):
        TeamClock(speed)


def test_a_reading_has_both_clocks() -> None:
    assert Now(1.0, NOON) == (1.0, NOON)
