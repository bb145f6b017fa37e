"""The paced budget: pushes are earned by time that passes here, spent within their hour, and never in advance."""

from __future__ import annotations

import pytest

from connector.core.budget import Claim, Grant, Wait
from connector.core.hours import HOUR, Now, TeamClock
from connector.core.paced import PacedBudget
from tests.unit.core.pacing import NOON, SLOT, Paced, deadline, until


def test_nothing_is_granted_before_time_has_earned_it_and_the_wait_says_when() -> None:
    paced = Paced()
    assert until(paced.ask("a")) == 100 + SLOT
    assert isinstance(paced.run(SLOT - 1).ask("a"), Wait)
    assert isinstance(paced.run(1).ask("a"), Grant)


def test_before_the_first_step_nothing_is_earned() -> None:
    assert isinstance(PacedBudget(240, TeamClock()).acquire(Claim("a", "t"), Now(100.0, NOON)), Wait)


def test_a_part_earns_a_part() -> None:
    assert until(Paced(share=0.25).ask("a")) == 100 + 4 * SLOT


def test_without_a_part_it_is_worth_asking_again_in_a_second() -> None:
    assert until(Paced(share=0.0).ask("a")) == 101


def test_a_part_counts_from_when_it_was_told() -> None:
    paced = Paced(share=0.0)
    paced.share = 1.0
    paced.run(1)
    assert until(paced.ask("a")) == paced.now.mono + SLOT


def test_what_is_not_spent_can_be_spent_later_in_the_hour() -> None:
    paced = Paced().run(HOUR / 2)
    assert paced.take(200) == 120 + 200 // SLOT


def test_two_grants_are_a_little_apart() -> None:
    paced = Paced().run(2 * SLOT)
    paced.ask("a")
    assert until(paced.ask("b")) == pytest.approx(paced.now.mono + 0.2)


def test_what_is_not_spent_when_the_hour_turns_is_gone() -> None:
    paced = Paced(at=NOON + 1800).run(1800)
    assert until(paced.ask("a")) == pytest.approx(paced.now.mono + SLOT)
    assert paced.budget.granted == 0


def test_a_grant_is_the_same_one_as_long_as_it_can_be_used() -> None:
    paced = Paced().run(SLOT)
    first = paced.ask("a")
    assert deadline(first) == paced.now.mono + 30
    assert paced.run(29).ask("a") == first
    assert paced.budget.granted == 1


def test_a_grant_that_was_not_used_in_time_is_made_anew_for_the_same_push() -> None:
    paced = Paced().run(SLOT)
    first = deadline(paced.ask("a"))
    again = paced.run(31).ask("a")
    assert deadline(again) == paced.now.mono + 30 > first
    assert paced.budget.granted == 1


def test_no_grant_holds_in_the_last_three_seconds_of_the_hour() -> None:
    paced = Paced(at=NOON + 3580).run(SLOT)
    assert deadline(paced.ask("a")) == pytest.approx(paced.now.mono + 2)
    rich = Paced(at=NOON + 1800).run(1796)
    assert isinstance(rich.ask("b"), Grant)
    rich.run(1)
    assert until(rich.ask("c")) == pytest.approx(rich.now.mono + 3)
    assert rich.budget.granted == 1


def test_what_was_granted_and_surely_not_spent_is_free_in_its_hour() -> None:
    paced = Paced().run(SLOT)
    paced.ask("a")
    paced.budget.end("a", spent=False)
    assert isinstance(paced.run(1).ask("b"), Grant)
    paced.budget.end("b", spent=True)
    assert isinstance(paced.run(1).ask("c"), Wait)
    assert paced.budget.granted == 1


def test_what_was_granted_in_one_hour_is_not_given_back_to_the_next() -> None:
    paced = Paced(at=NOON + 3570).run(20)
    paced.ask("a")
    paced.run(10 + SLOT)
    assert isinstance(paced.ask("b"), Grant)
    paced.budget.end("a", spent=False)
    assert isinstance(paced.run(1).ask("c"), Wait)
    assert paced.budget.granted == 1


def test_an_end_that_nobody_began_changes_nothing() -> None:
    paced = Paced().run(SLOT)
    paced.budget.end("a", spent=False)
    assert isinstance(paced.ask("b"), Grant)
    assert isinstance(paced.run(1).ask("c"), Wait)


# --- clocks -------------------------------------------------------------------------------------------------------


def test_a_process_that_stood_still_earns_five_seconds_of_it() -> None:
    assert until(Paced().stand(600).ask("a")) == 700 + SLOT - 5


@pytest.mark.parametrize("jump", [-600.0, 600.0, 1.5])
def test_where_a_clock_jumps_what_was_earned_is_forgotten(jump: float) -> None:
    paced = Paced(at=NOON + 1000).run(100).stand(1.0, jump=jump)
    assert until(paced.ask("a")) == paced.now.mono + SLOT


def test_over_a_jump_nothing_is_given_back_and_no_grant_holds() -> None:
    paced = Paced(at=NOON + 1000).run(SLOT)
    paced.ask("a")
    paced.ask("b")
    paced.stand(1.0, jump=600)
    assert isinstance(paced.ask("a"), Wait)
    paced.budget.end("a", spent=False)
    assert isinstance(paced.ask("c"), Wait)


def test_clocks_that_differ_by_less_than_a_second_in_a_step_are_the_same() -> None:
    assert isinstance(Paced().run(SLOT - 1).stand(1.0, jump=0.9).ask("a"), Grant)


def test_a_monotonic_clock_that_goes_back_earns_nothing() -> None:
    paced = Paced()
    paced.budget.step(Now(99.5, NOON), 1.0)
    assert until(paced.budget.acquire(Claim("a", "t"), Now(99.5, NOON))) == 99.5 + SLOT


def test_at_speed_sixty_all_is_sixty_times_as_fast_but_a_grant_is_valid_for_two_seconds() -> None:
    paced = Paced(speed=60.0)
    assert until(paced.ask("a")) == 100 + SLOT / 60
    paced.run(SLOT)
    assert deadline(paced.ask("a")) == pytest.approx(paced.now.mono + 2.0)
    assert paced.stand(300).budget.left(paced.now) == pytest.approx(239, abs=1)


# --- replays ------------------------------------------------------------------------------------------------------


def test_replays_take_no_more_than_their_share_and_live_loads_the_rest() -> None:
    paced = Paced().run(HOUR / 2)
    assert paced.take(60, replay=True) == 30
    assert paced.take(60) == 60


def test_a_replay_given_back_may_be_another() -> None:
    paced = Paced().run(4 * SLOT)
    paced.ask("a", replay=True)
    assert isinstance(paced.run(1).ask("b", replay=True), Wait)
    paced.budget.end("a", spent=False)
    assert isinstance(paced.ask("b", replay=True), Grant)


def test_where_replays_have_no_share_they_wait_for_ever() -> None:
    paced = Paced(replay_share=0.0).run(1800)
    assert until(paced.ask("a", replay=True)) == paced.now.mono + 1800
    assert isinstance(paced.ask("b"), Grant)


@pytest.mark.parametrize("rate", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("replay", [False, True])
def test_with_slack_a_low_rate_has_all_its_pushes_in_each_hour_and_no_more(rate: int, *, replay: bool) -> None:
    budget, counts = PacedBudget(rate, TeamClock(), replay_share=1.0, slack=0.02), [0, 0, 0]
    for second in range(3 * int(HOUR)):
        now = Now(100.0 + second, NOON + second)
        budget.step(now, 1.0)
        if isinstance(budget.acquire(Claim(str(second), "t", replay=replay), now), Grant):
            budget.end(str(second), spent=True)
            counts[second // int(HOUR)] += 1
    assert counts == [rate] * 3


def test_slack_shortens_the_wait_and_is_among_what_is_left() -> None:
    budget, now = PacedBudget(1, TeamClock(), slack=0.02), Now(100.0, NOON)
    budget.step(now, 1.0)
    assert until(budget.acquire(Claim("a", "t"), now)) == pytest.approx(100 + 0.98 * HOUR)
    late = Now(100.0 + 120, NOON + 120)
    budget.step(late, 1.0)
    assert budget.left(late) == 0, "nothing was earned while it stood still"
    early = PacedBudget(1, TeamClock(), slack=0.02)
    early.step(now, 1.0)
    assert early.left(now) == 1
