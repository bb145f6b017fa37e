"""Without the ledger a replica waits until its part there has run out, then earns it alone, never in both places."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from connector.core.budget import Wait
from connector.core.entries import Kind
from connector.core.ledger import Key
from tests.unit.ledgers import LAPSE, SLOT, Replica, Team, granted


@pytest.fixture
def team() -> Team:
    return Team()


def cut_off(replica: Replica, *, off: bool = True) -> None:
    """Let the replica neither read nor write, or do so again."""
    replica.ledger.deaf = replica.ledger.mute = off


def test_until_an_entry_of_ours_was_read_back_nothing_is_spent_and_no_part_is_told(team: Team) -> None:
    a = team.join("a")
    team.latency = 2.0
    assert isinstance(a.ask("x"), Wait)
    team.run(1.9)
    assert a.budget.trouble == "nothing of ours was read back yet"
    assert a.budget.next_at(team.time.now()) == a.now + 1
    assert (a.budget.left(team.time.now()), a.budget.low(team.time.now())) == (0, False)
    assert a.budget.slot(team.time.now()) == float("inf")
    team.run(5)
    assert a.budget.trouble is None
    assert [e.share for e in a.ledger.sent] == [0.0, 1.0]


def test_a_part_that_changed_is_told_at_once(team: Team) -> None:
    a = team.join("a")
    team.run(5)
    a.share = 0.25
    team.run(0.3)
    assert a.ledger.sent[-1].share == 0.25


def test_who_loses_the_ledger_waits_until_its_lease_has_run_out_and_then_paces(team: Team) -> None:
    a = team.join("a")
    team.run(300)
    cut_off(a)
    assert team.wants(a, "x", LAPSE + SLOT - 1) is None
    assert granted(team.wants(a, "x", 2))
    assert a.budget.left(team.time.now()) == a.alone.left(team.time.now())
    assert a.budget.next_at(team.time.now()) == a.alone.next_at(team.time.now())
    assert a.budget.slot(team.time.now()) == SLOT
    assert not a.budget.low(team.time.now())


def test_who_only_cannot_read_tells_the_others_that_it_earns_nothing_there(team: Team) -> None:
    a, b = team.join("a", share=0.5), team.join("b", share=0.5)
    team.run(60)
    a.ledger.deaf = True
    team.run(1)
    assert b.budget.known.rate == pytest.approx(120)


def test_a_part_that_came_to_us_lately_may_still_earn_in_the_ledger(team: Team) -> None:
    a = team.join("a", share=0.5)
    team.run(60)
    cut_off(a)
    team.run(LAPSE)
    a.share = 1.0
    team.run(1)
    assert a.budget.slot(team.time.now()) == 2 * SLOT
    team.run(LAPSE)
    assert a.budget.slot(team.time.now()) == SLOT
    a.share = 0.25
    team.run(1)
    assert a.budget.slot(team.time.now()) == 4 * SLOT


def test_back_at_the_ledger_it_earns_there_and_no_longer_alone(team: Team) -> None:
    a = team.join("a")
    team.run(60)
    cut_off(a)
    team.run(LAPSE + SLOT)
    cut_off(a, off=False)
    team.run(20)
    assert a.budget.trouble is None
    alone = a.alone.left(team.time.now())
    earned = a.budget.known.earned
    team.run(60)
    assert a.budget.known.earned == pytest.approx(earned + 60 / SLOT, abs=0.1)
    assert a.alone.left(team.time.now()) == alone


def test_a_push_that_was_granted_alone_is_ended_alone(team: Team) -> None:
    a = team.join("a")
    team.run(60)
    cut_off(a)
    team.run(LAPSE)
    granted(team.wants(a, "x", SLOT + 1))
    a.budget.end("x", spent=False)
    assert a.alone.granted == 0
    granted(team.wants(a, "y", 1))
    a.budget.end("y", spent=True)
    assert a.alone.granted == 1
    assert a.said(Kind.END) == []


def test_what_was_granted_alone_and_executes_is_told_as_held_once_the_ledger_is_back(team: Team) -> None:
    a = team.join("a", in_flight=1)
    team.run(60)
    cut_off(a)
    team.run(LAPSE)
    granted(team.wants(a, "x", SLOT + 1))
    cut_off(a, off=False)
    team.run(20)
    assert a.budget.known.in_flight("pool") == {"x"}
    a.budget.end("x", spent=True)
    team.run(20)
    assert a.budget.known.in_flight("pool") == set()


def test_a_claim_that_waited_in_the_ledger_is_ended_there_though_it_was_granted_alone(team: Team) -> None:
    a = team.join("a")
    team.run(1)
    a.ask("x")
    cut_off(a)
    team.run(LAPSE)
    granted(team.wants(a, "x", SLOT + 1))
    a.budget.end("x", spent=True)
    cut_off(a, off=False)
    team.run(20)
    assert Key("a", "x") not in a.budget.known.claims
    assert Key("a", "x") not in a.budget.known.grants


def test_a_grant_of_alone_that_is_not_used_in_time_makes_room_for_another(team: Team) -> None:
    a = team.join("a")
    team.run(60)
    cut_off(a)
    team.run(LAPSE)
    first = granted(team.wants(a, "x", SLOT + 1))
    team.run(31)
    assert granted(a.ask("x")).deadline > first.deadline
    assert a.alone.granted == 1


def test_a_refusal_holds_alone_too(team: Team) -> None:
    a = team.join("a")
    team.run(60)
    cut_off(a)
    team.run(LAPSE + 60)
    a.throttled(50.0)
    assert team.wants(a, "x", 49) is None
    assert granted(team.wants(a, "x", 2))


def test_a_grant_that_stands_in_the_ledger_is_not_used_in_trouble(team: Team) -> None:
    a = team.join("a")
    granted(team.wants(a, "x", 20))
    cut_off(a)
    team.run(0.1)
    assert team.wants(a, "x", 20) is None


def test_a_ledger_that_was_made_anew_is_read_from_its_start(team: Team) -> None:
    a = team.join("a")
    team.run(60)
    a.ledger.begin_anew()
    team.log.stamped.clear()
    team.log.senders.clear()
    a.step()
    assert (a.budget.known.earned, a.budget.trouble) == (0.0, "nothing of ours was read back yet")
    team.run(60)
    assert a.budget.known.earned == pytest.approx(60 / SLOT, abs=1.1)


def test_each_trouble_is_written_down_once_and_so_are_its_ends(team: Team) -> None:
    a = team.join("a")
    team.run(1)
    with capture_logs() as said:
        cut_off(a)
        team.run(LAPSE + 60)
        cut_off(a, off=False)
        team.run(60)
    assert [line["event"] for line in said] == [
        "waiting for the budget ledger",
        "pacing without the budget ledger",
        "joined the budget ledger",
    ]


def test_who_does_not_know_when_a_grant_was_made_does_not_use_it(team: Team) -> None:
    a = team.join("a")
    team.run(60)
    a.ask("x")
    team.run(0.1)
    assert Key("a", "x") in a.budget.known.grants
    a.ledger.anchor = None
    assert isinstance(a.ask("x"), Wait)
