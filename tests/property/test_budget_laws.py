"""The budget: no hour ever has more executes than its limit, whatever starts, stops, freezes, moves or is cut off.

What the laws rest on, in both modes: every wall clock, the broker's too, is at most 2.5 s (of the team's time) beside
the true one; an execute reaches the platform within 0.4 s; a replica is told its true part of the partitions, and a
partition goes to its next owner only once the last one has stepped without it or was silent for a session (tests/
property/budgets/ownership.py). So parts never add up to more than 1, except in the ledger, where the lease of a dead
replica overlaps with the part of its heir: there the income of a group is capped by its rate.

A replica that goes alone earns outside of that cap. It waits until its own lease has run out, and takes no part into
account that came to it within as much time, so a strict law holds for it too as long as its group does not rebalance
twice within a lease (66 s): a part that came and another that went would look like the one it had.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.budget import Claim, Grant
from connector.core.entries import Entry, Kind, Stamped
from connector.core.hours import HOUR, Now, TeamClock, hour_of
from connector.core.ledger import REMEMBERED_HOURS, Ledger
from connector.core.paced import PacedBudget
from tests.property.budgets.laws import broken, state
from tests.property.budgets.nature import Foreign, Mode, Nature, drawn
from tests.property.budgets.world import World
from tests.shared_log import NOON

BOTH = pytest.mark.parametrize("mode", list(Mode))
QUICK = Nature(Mode.PACED, 1, in_flight=6, use=0.0, service=1.0, pause=2.0)  # as much as can be is executed

HARD = {
    "replicas that stop and start anew": replace(QUICK, rates=(150,), stops=15),
    "replicas that crash": replace(QUICK, rates=(150,), crashes=12),
    "replicas that stand still": replace(QUICK, freezes=30, replicas=4),
    "partitions that move every minute": replace(QUICK, moves=60, replicas=4),
    "everything at once": replace(QUICK, stops=6, crashes=6, freezes=10, moves=20, dropped=0.2, use=40.0),
    "a fast clock": replace(QUICK, speed=60.0, stops=6, crashes=4, freezes=10, moves=20),
    "three deployments that leave a reserve": replace(
        QUICK, rates=(100, 80, 60), replicas=2, foreign=Foreign.MODEST, stops=6, freezes=6, one_pool=True
    ),
    "a foreign client that takes all it can": replace(QUICK, rates=(200,), foreign=Foreign.GREEDY, hours=2.15),
    "replays beside live loads": replace(QUICK, replays=0.6, in_flight=2, service=4.0, dropped=0.1),
    "half an hour without work": replace(QUICK, idle=HOUR / 2, stops=6),
}
CUT_OFF = {
    "replicas that lose the ledger": replace(QUICK, troubles=12),
    "replicas that lose the ledger while others stop and crash": replace(QUICK, troubles=12, stops=8, crashes=6),
    "replicas that lose the ledger while partitions move": replace(QUICK, troubles=12, moves=40, replicas=4),
}


def executes(world: World, hour: int = 0) -> int:
    """Return the executes of the full hour number `hour`."""
    return Counter(hour_of(e.at) for e in world.executed)[hour_of(NOON) + hour]


@BOTH
@pytest.mark.parametrize("seed", range(int(os.environ.get("LAW_EXAMPLES", "12"))))
def test_the_laws_hold_in_any_world(mode: Mode, seed: int) -> None:
    assert broken(World(drawn(mode, seed)).run()) == []


@BOTH
@pytest.mark.parametrize("kind", HARD)
def test_the_laws_hold_with(mode: Mode, kind: str) -> None:
    world = World(replace(HARD[kind], mode=mode)).run()
    assert broken(world) == []
    assert executes(world) > 0


@pytest.mark.parametrize("kind", CUT_OFF)
def test_over_a_ledger_the_laws_hold_with(kind: str) -> None:
    world = World(replace(CUT_OFF[kind], mode=Mode.LEDGER)).run()
    assert broken(world) == []
    assert executes(world) > 0


@pytest.mark.parametrize(("mode", "replicas"), [(Mode.PACED, 1), (Mode.LEDGER, 3)])
@pytest.mark.parametrize("idle", [0.0, HOUR / 2], ids=["always", "from half past on"])
@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_where_there_is_work_the_hour_is_used(mode: Mode, replicas: int, idle: float, speed: float) -> None:
    """Unspent pushes are not lost within their hour: 95 % of it are executed even if nobody claims for half of it."""
    world = World(replace(QUICK, mode=mode, replicas=replicas, idle=idle, speed=speed)).run()
    assert executes(world) >= 0.95 * 250


JUMPS = st.sampled_from([0.0, 0.0, 0.0, 1.5, -1.5, HOUR, -HOUR, 3 * HOUR, -HOUR / 2])
STEPS = st.lists(st.tuples(st.sampled_from([0.1, 1.0, 4.0, 5.0, 60.0, 900.0]), JUMPS, st.booleans()), max_size=80)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("stops", [0.0, 4.0])
def test_a_pool_that_takes_one_job_at_a_time_does_not_stand_still(mode: Mode, replicas: int, stops: float) -> None:
    """Loads overtake each other: the grant of one that is not the first any more must not stand in the way."""
    nature = replace(QUICK, mode=mode, replicas=replicas, in_flight=1, stops=stops, rates=(200,), hours=2.1)
    world = World(nature).run()
    assert broken(world) == []
    assert executes(world) >= 0.7 * 200


@given(st.sampled_from([3600.0, 7200.0]), STEPS)
def test_time_that_passes_earns_and_no_jump_of_the_wall_clock_does(
    limit: float, steps: list[tuple[float, float, bool]]
) -> None:
    budget, mono, utc = PacedBudget(limit, TeamClock()), 0.0, NOON
    passed = granted = 0.0
    for number, (seconds, jump, spent) in enumerate(steps):
        mono, utc = mono + seconds, utc + seconds + jump
        passed += min(seconds, 5.0) if number else 0.0
        budget.step(Now(mono, utc), 1.0)
        if isinstance(budget.acquire(Claim(f"c{number}", "t"), Now(mono, utc)), Grant):
            granted += spent
            budget.end(f"c{number}", spent=spent)
        assert granted <= passed * limit / HOUR + 1e-6
        assert budget.left(Now(mono, utc)) >= 0


@given(st.sampled_from([1.0, 2.0, 5.5, 120.0]), st.sampled_from([0.01, 0.02]), STEPS)
def test_slack_is_not_earned_again_by_what_passes_or_jumps_within_an_hour(
    limit: float, slack: float, steps: list[tuple[float, float, bool]]
) -> None:
    budget, mono, utc = PacedBudget(limit, TeamClock(), slack=slack), 0.0, NOON
    earned = granted = 0.0  # in this hour
    for number, (seconds, jump, spent) in enumerate(steps):
        before, mono, utc = utc, mono + seconds, utc + seconds + jump
        if hour_of(utc) != hour_of(before):
            earned = granted = 0.0
        earned += min(seconds, 5.0) * limit / HOUR if number else 0.0
        budget.step(Now(mono, utc), 1.0)
        if isinstance(budget.acquire(Claim(f"c{number}", "t"), Now(mono, utc)), Grant):
            granted += spent
            budget.end(f"c{number}", spent=spent)
        assert granted <= earned + slack + 1e-6


WRITTEN = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.3, 5.0, 30.0, 200.0, 1500.0]),  # seconds since the entry before
        st.sampled_from(list(Kind)),
        st.integers(0, 3),  # the writer
        st.integers(0, 4),  # the claim
        st.sampled_from([0.0, 1.0, 7.0]),  # its bid
        st.sampled_from([60.0, HOUR, 30 * HOUR]),  # for how long it is closed
        st.booleans(),
    ),
    min_size=10,
    max_size=200,
)


@given(WRITTEN, st.sampled_from([1.0, 60.0]))
def test_a_reader_that_begins_before_the_remembered_hours_knows_what_all_know(
    written: list[tuple[float, Kind, int, int, float, float, bool]], speed: float
) -> None:
    clock, team = TeamClock(speed), NOON
    log: list[Stamped] = []
    for offset, (seconds, kind, writer, claim, bid, closed, flag) in enumerate(written * 3):
        team += seconds
        at = NOON + (team - NOON) / speed
        me = Entry(kind, "g", f"r{writer}", "p", 240, 0.25, 2, id=f"{claim}", bid=bid, replay=flag, spent=flag)
        end = clock.of(at) + closed
        log.append(Stamped(offset, at, replace(me, until=end, limit=100.0 * flag) if kind is Kind.CLOSED else me))
    last = clock.of(log[-1].at)
    whole, late = Ledger(clock), Ledger(clock)
    for stamped in log:
        whole.apply(stamped)
        if clock.of(stamped.at) >= last - (REMEMBERED_HOURS + 1) * HOUR:
            late.apply(stamped)
    assert state(late) == state(whole)
    assert (late.limit, late.opens_at(), late.left(last)) == (whole.limit, whole.opens_at(), whole.left(last))
