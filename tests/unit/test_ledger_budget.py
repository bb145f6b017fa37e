"""The budget over the ledger: claims, grants and ends, through a log that replicas share, each with its own clocks."""

from __future__ import annotations

import pytest

from connector.core.budget import Wait
from connector.core.entries import Kind
from connector.core.hours import HOUR
from connector.core.ledger import Key
from tests.shared_log import NOON
from tests.unit.ledgers import SLOT, Team, granted


@pytest.fixture
def team() -> Team:
    return Team()


# --- claims and grants --------------------------------------------------------------------------------------------


def test_a_claim_is_granted_when_it_is_earned(team: Team) -> None:
    a = team.join("a")
    assert team.wants(a, "x", SLOT - 1) is None
    grant = granted(team.wants(a, "x", 2))
    assert a.now + 29 < grant.deadline <= a.now + 30
    assert a.budget.known.spent == 1


def test_a_grant_is_the_same_one_as_long_as_it_can_be_used(team: Team) -> None:
    a = team.join("a")
    grant = granted(team.wants(a, "x", 20))
    team.run(29)
    assert a.ask("x") == grant
    assert a.budget.known.spent == 1


def test_a_grant_that_was_not_used_in_time_is_given_back_and_claimed_anew(team: Team) -> None:
    a = team.join("a")
    first = granted(team.wants(a, "x", 20))
    team.run(31)
    assert isinstance(a.ask("x"), Wait)
    assert [e.spent for e in a.said(Kind.END)] == [False]
    assert granted(team.wants(a, "x", 1)).deadline > first.deadline
    assert a.budget.known.spent == 1


def test_a_grant_that_nobody_asks_for_in_the_next_round_is_given_back(team: Team) -> None:
    """The pool takes one job, and other loads of the replica have overtaken the one that was granted."""
    a = team.join("a", in_flight=1)
    team.run(1)
    a.ask("overtaken")
    assert team.grants(a, "overtaken", SLOT)
    team.run(0.1)
    assert [(e.id, e.spent) for e in a.said(Kind.END)] == [("overtaken", False)]
    assert granted(team.wants(a, "first", 1))
    assert a.budget.known.spent == 1


def test_a_grant_that_was_asked_for_stays_while_its_intents_are_written(team: Team) -> None:
    a = team.join("a", in_flight=1)
    granted(team.wants(a, "x", SLOT + 1))
    team.run(20)
    assert a.said(Kind.END) == []
    assert Key("a", "x") in a.budget.known.grants


def test_the_highest_bid_of_all_replicas_goes_first(team: Team) -> None:
    a, b = team.join("a", share=0.5), team.join("b", share=0.5)
    team.run(1)
    for _ in range(200):
        a.ask("x", 1.0), b.ask("y", 2.0)
        team.run(0.1)
    assert list(b.budget.known.grants) == list(a.budget.known.grants) == [Key("b", "y")]


def test_a_grant_of_another_replica_is_not_ours(team: Team) -> None:
    a, b = team.join("a", share=0.5), team.join("b", share=0.5)
    granted(team.wants(a, "job", 20))
    assert isinstance(b.ask("job"), Wait)
    assert granted(team.wants(b, "job", SLOT + 1))
    assert b.budget.known.spent == 2


def test_a_bid_that_grew_is_sent_again_and_one_that_hardly_grew_is_not(team: Team) -> None:
    a = team.join("a")
    team.run(1)
    for bid in (1.0, 1.2, 1.2, 1.3):
        a.ask("x", bid)
        team.run(1)
    assert [e.bid for e in a.said(Kind.CLAIM)] == [1.0, 1.3]


def test_a_claim_is_not_sent_twice_while_it_is_on_its_way(team: Team) -> None:
    a = team.join("a")
    team.run(1)
    team.latency = 3.0
    for _ in range(25):
        a.ask("x")
        team.run(0.1)
    assert len(a.said(Kind.CLAIM)) == 1


def test_a_claim_that_is_lost_is_sent_again(team: Team) -> None:
    a = team.join("a")
    team.run(1)
    a.ledger.mute = True
    a.ask("x")
    a.ledger.mute = False
    assert granted(team.wants(a, "x", 30))


def test_a_claim_is_renewed_before_its_lease_ends(team: Team) -> None:
    a = team.join("a", share=0.0)
    team.wants(a, "x", 130)
    assert len(a.said(Kind.CLAIM)) == 3


def test_no_more_than_the_pool_may_have_are_in_flight(team: Team) -> None:
    a, b = team.join("a", share=0.5, in_flight=1), team.join("b", share=0.5, in_flight=1)
    granted(team.wants(a, "x", 20))
    assert team.wants(b, "y", 120) is None
    a.budget.end("x", spent=True)
    assert granted(team.wants(b, "y", 1))


def test_while_nobody_can_be_granted_nothing_is_written_but_that_we_are_alive(team: Team) -> None:
    a = team.join("a", in_flight=1)
    granted(team.wants(a, "x", 20))
    team.wants(a, "y", 20)
    before = len(a.ledger.sent)
    team.wants(a, "y", 15)
    assert len(a.ledger.sent) - before <= 1


# --- ends ---------------------------------------------------------------------------------------------------------


def test_what_was_surely_not_spent_is_free_for_another(team: Team) -> None:
    a, b = team.join("a", share=0.5), team.join("b", share=0.5)
    granted(team.wants(a, "x", 20))
    a.budget.end("x", spent=False)
    assert granted(team.wants(b, "y", 2))
    assert b.budget.known.spent == 1


def test_an_end_that_is_lost_is_told_again_until_it_is_read_back(team: Team) -> None:
    a = team.join("a")
    granted(team.wants(a, "x", 20))
    a.ledger.mute = True
    a.budget.end("x", spent=True)
    a.ledger.mute = False
    assert Key("a", "x") in a.budget.known.grants
    team.run(20)
    assert a.budget.known.grants == {}
    told = len(a.said(Kind.END))
    team.run(20)
    assert len(a.said(Kind.END)) == told >= 2


def test_the_end_of_a_claim_that_nobody_has_read_is_not_forgotten(team: Team) -> None:
    a = team.join("a")
    team.run(1)
    team.latency = 1.0
    a.ask("x")
    a.ledger.mute = True
    a.budget.end("x", spent=False)
    a.ledger.mute = False
    team.run(30)
    assert (a.budget.known.claims, a.budget.known.grants, a.budget.known.spent) == ({}, {}, 0)


def test_a_claim_that_ended_is_claimed_anew_only_when_its_end_is_read_back(team: Team) -> None:
    a = team.join("a")
    team.latency = 0.5
    granted(team.wants(a, "x", 20))
    a.budget.end("x", spent=True)
    assert isinstance(a.ask("x"), Wait)
    assert granted(team.wants(a, "x", 2 * SLOT))
    team.run(20)
    assert (len(a.said(Kind.END)), a.budget.known.spent) == (1, 2)
    assert Key("a", "x") in a.budget.known.grants


def test_an_end_that_nobody_began_is_not_written(team: Team) -> None:
    a = team.join("a")
    team.run(1)
    a.budget.end("x", spent=False)
    assert a.said(Kind.END) == []


def test_an_end_before_the_first_step_is_written_by_the_time_that_is_known(team: Team) -> None:
    a = team.join("a")
    a.ask("x")
    a.budget.end("x", spent=False)
    team.run(1)
    assert a.budget.known.claims == {}


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_refusal_of_one_holds_for_all(team: Team) -> None:
    a, b = team.join("a", share=0.5), team.join("b", share=0.5)
    team.run(60)
    a.throttled(30.0)
    team.run(0.1)
    assert b.budget.next_at(team.time.now()) == pytest.approx(b.now + 29.9)
    assert team.wants(b, "y", 29) is None
    assert granted(team.wants(b, "y", 2))
    assert a.said(Kind.CLOSED)[0].limit == 0


def test_a_spent_hour_teaches_all_to_spend_less_in_the_next(team: Team) -> None:
    a, b = team.join("a", share=0.5), team.join("b", share=0.5)
    team.run(1800)
    a.throttled()
    team.run(1)
    assert b.budget.left(team.time.now()) == 0
    assert a.said(Kind.CLOSED)[0].until == pytest.approx(NOON + HOUR)
    team.run(HOUR / 2)
    assert b.budget.known.limit == 25


def test_a_refusal_that_came_after_the_turn_does_not_close_the_hour(team: Team) -> None:
    a = team.join("a")
    team.run(2)
    a.throttled()
    assert granted(team.wants(a, "x", 30))
    assert a.said(Kind.CLOSED)[0].limit == 0


def test_a_guest_draws_on_what_others_bring_and_brings_its_own_only_where_nobody_does() -> None:
    team = Team()
    service = team.join("service")
    first, second = team.join("guest-1", guest=True), team.join("guest-2", guest=True)
    team.run(30)
    assert [e.rate for e in (service.said(Kind.ALIVE)[-1], first.said(Kind.ALIVE)[-1])] == [240.0, 0.0]
    assert team.wants(first, "old", 60) is not None
    team.replicas.remove(service)
    team.run(120)
    assert [e.rate for e in (first.said(Kind.ALIVE)[-1], second.said(Kind.ALIVE)[-1])] == [240.0, 0.0]
    assert team.wants(second, "older", 60) is not None


def test_entries_that_come_with_a_new_generation_belong_to_it() -> None:
    team = Team()
    replica = team.join("one")
    team.run(60)
    before = replica.budget.known.earned
    replica.ledger.begin_anew()
    team.run(0.1)
    assert replica.ledger.generation == 2
    assert replica.budget.known.earned == pytest.approx(before, abs=0.1)


def test_who_leaves_takes_no_turn_and_leaves_its_part_to_its_heir() -> None:
    team = Team()
    old, heir = team.join("old"), team.join("heir", share=0.0)
    team.run(1)
    old.ask("unfinished")
    team.run(1)
    team.replicas.remove(old)
    old.budget.leave()
    heir.share = 1.0
    team.run(1)
    assert not heir.budget.known.claims
    assert heir.budget.known.rate == pytest.approx(240)
    assert team.wants(heir, "next", 2 * SLOT) is not None
