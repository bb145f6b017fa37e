"""The paced budget after refusals, and how it stands: what is left, when the next push is, and when it is low."""

from __future__ import annotations

import pytest

from connector.core.budget import Grant
from connector.core.hours import HOUR
from tests.unit.core.pacing import NOON, SLOT, Paced, until

# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_refusal_with_a_hint_holds_for_as_long() -> None:
    paced = Paced().run(100)
    paced.budget.throttled(20.0, paced.now)
    assert until(paced.ask("a")) == paced.now.mono + 20
    assert isinstance(paced.run(20).ask("a"), Grant)
    assert paced.budget.limit(paced.now) == 240


def test_a_shorter_refusal_does_not_open_what_a_longer_one_closed() -> None:
    paced = Paced().run(100)
    paced.budget.throttled(50.0, paced.now)
    paced.budget.throttled(1.0, paced.now)
    assert until(paced.ask("a")) == paced.now.mono + 50


def test_without_a_hint_the_hour_is_spent_and_the_next_ones_are_planned_with_less() -> None:
    paced = Paced().run(1800)
    assert paced.take(60) == 60
    spent_in = 1860
    paced.budget.throttled(None, paced.now)
    assert until(paced.ask("a")) == pytest.approx(paced.now.mono + HOUR - spent_in)
    assert paced.budget.left(paced.now) == 0
    learnt = 250 - (190 + 250) / 2 - 2
    assert paced.budget.limit(paced.now) == learnt
    paced.run(HOUR - spent_in)
    assert paced.budget.left(paced.now) == int(learnt)
    assert paced.run(HOUR).budget.limit(paced.now) == 240 - (240 - learnt) * 0.75


def test_a_refusal_that_came_after_the_turn_does_not_close_the_hour() -> None:
    paced = Paced(at=NOON + 2)
    paced.budget.throttled(None, paced.now)
    assert until(paced.ask("a")) == paced.now.mono + 23
    assert paced.budget.limit(paced.now) == 240


def test_who_has_no_part_learns_nothing() -> None:
    paced = Paced(share=0.0, at=NOON + 1800)
    paced.budget.throttled(None, paced.now)
    assert paced.budget.limit(paced.now) == 240


def test_a_refusal_beyond_the_hour_is_waited_for() -> None:
    paced = Paced().run(1800)
    paced.budget.throttled(5000.0, paced.now)
    assert until(paced.ask("a")) == paced.now.mono + 5000
    assert paced.budget.left(paced.now) == 0


# --- how it stands ------------------------------------------------------------------------------------------------


def test_left_is_what_was_earned_and_what_the_rest_of_the_hour_earns() -> None:
    paced = Paced().run(1800)
    assert paced.budget.left(paced.now) == 240
    paced.ask("a")
    assert paced.budget.left(paced.now) == 239
    assert paced.stand(600).budget.left(paced.now) == 239 - 40 + 5 // SLOT


def test_the_next_push_is_when_it_is_earned_or_now() -> None:
    paced = Paced()
    assert paced.budget.next_at(paced.now) == 100 + SLOT
    assert paced.run(100).budget.next_at(paced.now) == paced.now.mono


def test_a_slot_is_the_mean_time_between_two_pushes_of_ours() -> None:
    half, none = Paced(share=0.5), Paced(share=0.0)
    assert half.budget.slot(half.now) == 2 * SLOT
    assert none.budget.slot(none.now) == float("inf")


def test_it_is_low_when_few_are_left_for_long() -> None:
    paced = Paced().run(3000)
    assert not paced.budget.low(paced.now)
    assert paced.take(250) == 216
    assert paced.stand(295).budget.left(paced.now) == 4
    assert not paced.budget.low(paced.now)  # the hour ends before more could be spent
    early = Paced().run(600)
    assert early.take(60) == 43
    early.budget.throttled(2920.0, early.now)
    assert early.budget.left(early.now) == 1
    assert early.budget.low(early.now)
