"""The budget over the ledger where the hour turns, and where our clocks, the broker's and the true time differ."""

from __future__ import annotations

import pytest

from connector.core.entries import Kind
from connector.core.hours import HOUR
from connector.core.ledger import Key
from tests.shared_log import NOON
from tests.unit.ledgers import SLOT, Team, granted


@pytest.fixture
def team() -> Team:
    return Team()


# --- the turn of the hour -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "broker"), [(0.0, 0.0), (2.5, 0.0), (-2.5, 0.0), (0.0, 2.5), (0.0, -2.5), (2.5, -2.5)]
)
def test_no_grant_holds_in_the_last_three_seconds_of_our_clock_or_the_brokers(ours: float, broker: float) -> None:
    team = Team(at=NOON + 3000, broker=broker)
    a = team.join("a", skew=ours)
    team.run(600 - 15 - max(0.0, ours, broker))
    grant = granted(team.wants(a, "x", 5))
    turn = NOON + HOUR - team.time.team + a.now
    assert grant.deadline <= turn - 3 - max(ours, broker) + 0.01


def test_with_a_clock_in_the_next_hour_a_grant_of_this_one_is_not_used() -> None:
    team = Team(at=NOON + 3000, broker=-2.5)
    a = team.join("a", skew=2.5)
    team.run(599)
    assert team.wants(a, "x", 0.5) is None
    assert [e.spent for e in a.said(Kind.END)] == [False]  # it was granted, and given back


def test_what_is_held_over_the_turn_is_claimed_anew_and_does_not_stand_in_its_own_way() -> None:
    team = Team(at=NOON + 3540)
    a = team.join("a", in_flight=1)
    granted(team.wants(a, "x", 30))
    team.run(60)
    assert granted(team.wants(a, "x", SLOT + 10))


def test_what_executes_over_the_turn_is_still_in_flight() -> None:
    team = Team(at=NOON + 3540)
    a, b = team.join("a", share=0.0, in_flight=1), team.join("b", in_flight=1)
    granted(team.wants(a, "x", 30))
    team.run(60)
    assert team.wants(b, "y", 60) is None
    a.budget.end("x", spent=True)
    assert granted(team.wants(b, "y", 1))
    assert b.budget.known.spent == 1


# --- clocks -------------------------------------------------------------------------------------------------------


def test_a_grant_that_was_read_late_holds_no_longer_than_one_that_was_read_at_once(team: Team) -> None:
    a, b = team.join("a", share=0.0), team.join("b")
    a.ask("x")
    team.run(1)
    a.ask("x")
    team.replicas.remove(a)
    team.run(SLOT + 10)
    team.replicas.append(a)
    assert Key("a", "x") in b.budget.known.grants
    a.step()
    grant = granted(a.ask("x"))
    assert grant.deadline < a.now + 25


def test_a_monotonic_clock_that_stood_still_does_not_make_a_grant_hold_longer(team: Team) -> None:
    a = team.join("a")
    a.ask("x")
    team.run(0.5)
    a.ask("x")
    assert team.grants(a, "x", SLOT + 5)
    anchor = a.ledger.anchor
    assert anchor
    a.ledger.anchor = anchor._replace(at=anchor.at - 500)
    assert granted(a.ask("x")).deadline <= a.now + 30


@pytest.mark.parametrize("skew", [-2.5, 2.5])
def test_time_is_let_pass_by_the_ledgers_clock_not_by_ours(team: Team, skew: float) -> None:
    a = team.join("a", skew=skew)
    team.run(1)
    granted(team.wants(a, "x", SLOT + 0.5))
    assert len(a.ledger.sent) <= 5


@pytest.mark.parametrize("silent", [True, False])
def test_others_let_time_pass_where_the_next_in_turn_does_not(team: Team, *, silent: bool) -> None:
    a, b = team.join("a", share=0.0), team.join("b")
    team.run(10)
    a.ask("x", 9.0)
    b.ask("y", 1.0)
    if silent:
        team.replicas.remove(a)
    assert team.grants(a, "x", SLOT - 10 + 1.5) is not silent
    assert not silent or team.grants(a, "x", 2)


def test_at_speed_sixty_all_is_sixty_times_as_fast_but_a_grant_is_valid_for_two_seconds() -> None:
    team = Team(speed=60.0)
    a = team.join("a")
    grant = granted(team.wants(a, "x", 2 * SLOT))
    assert grant.deadline == pytest.approx(a.now + 2.0, abs=0.05)
