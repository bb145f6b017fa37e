"""How the pushes of an hour go to tables: the square-root law within bounds, its laws, and what it foretells."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connector.core.capacity import Bound, Demand, Limits, Plan, plan, push_rates
from connector.core.flush import FlushPolicy, Trigger
from connector.core.hours import HOUR
from connector.core.schedule import Candidate, choose

MIB = 1 << 20


def demand(table: str = "T", rate: float = 10.0, **changes: Any) -> Demand:
    policy = FlushPolicy(**({"records": 1_000_000, "size": 1024 * MIB, "age": 60.0} | changes.pop("policy", {})))
    settings: dict[str, Any] = {"record_bytes": 100.0, "policy": policy} | changes
    return Demand(table, rate, **settings)


def limits(pushes: int = 240, **changes: Any) -> Limits:
    settings: dict[str, Any] = {"chunk_bytes": 256 * MIB, "spool_bytes": 10 << 30} | changes
    return Limits(pushes, **settings)


def hourly(*demands: Demand, pushes: int = 240, **changes: Any) -> list[float]:
    return [HOUR * rate for rate in push_rates(demands, limits(pushes, **changes))]


# --- how often a table is pushed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "pushes", "bound"),
    [
        (demand(rate=1000), 3600 / 60.001, Bound.AGE),
        (demand(rate=1000, policy={"records": 10_000}), 360, Bound.RECORDS),
        (demand(rate=1000, policy={"size": 2_000_000}), 180, Bound.BYTES),
        (demand(rate=0.001), 3600 / 1060, Bound.AGE),  # an age counts from the first record on
        (demand(rate=0.001, policy={"records": 1}), 3.6, Bound.RECORDS),
        (demand(rate=0.001, policy={"size": 1}), 3.6, Bound.BYTES),  # never more often than records come
        (demand(rate=1000, max_staleness=35.0), 3600 / 30.001, Bound.STALENESS),  # before it is eligible
        (demand(rate=1000, max_staleness=600.0), 3600 / 60.001, Bound.AGE),
        (demand(rate=1000, max_staleness=4.0), 720, Bound.STALENESS),  # shorter than a push: whatever there is
    ],
)
def test_with_budget_to_spare_a_table_is_pushed_as_its_own_settings_say(
    asked: Demand, pushes: float, bound: Bound
) -> None:
    (table,) = plan([asked], limits(10_000)).tables
    assert table.pushes * HOUR == pytest.approx(pushes)
    assert table.bound is bound


def test_under_the_budget_pushes_go_by_the_square_root_of_weight_times_rate() -> None:
    policy = {"age": 1.0}
    found = hourly(demand(rate=100, policy=policy), demand(rate=400, policy=policy, weight=4.0), pushes=50)
    assert found == pytest.approx([10, 40])


def test_what_a_table_cannot_use_goes_to_the_others() -> None:
    found = hourly(demand(rate=10_000, policy={"age": 3600.0, "size": 1 << 40, "records": 10**9}), demand(rate=400))
    assert found == pytest.approx([1, 60], rel=1e-3)
    rare, *rest = hourly(demand(rate=0.001), *[demand(rate=50)] * 8)
    assert rare < 3.6
    assert rest == pytest.approx([(240 - rare) / 8] * 8)


def test_a_deadline_comes_before_the_square_root() -> None:
    slow, fast = hourly(demand(rate=1, max_staleness=65.0), demand(rate=10_000, policy={"age": 1.0}), pushes=100)
    assert slow == pytest.approx(3600 / 61)
    assert slow + fast == pytest.approx(100)


def test_deadlines_that_need_more_than_there_is_get_their_part_and_leave_nothing() -> None:
    found = plan(
        [demand("A", 1000, max_staleness=25.0), demand("B", 1000, max_staleness=25.0), demand("C", 1000)], limits()
    )
    assert [t.pushes * HOUR for t in found.tables] == pytest.approx([120, 120, 0])
    late, _, starved = found.tables
    assert late.worst > 25
    assert late.bound is Bound.STALENESS
    assert math.isinf(starved.worst)
    assert math.isinf(found.spool)
    assert starved.chunks == 0


def test_the_service_is_the_ceiling_where_it_takes_longer_than_a_slot() -> None:
    asked = [demand(str(n), 1000) for n in range(10)]
    assert sum(hourly(*asked, service=36.0)) == pytest.approx(100)
    assert sum(hourly(*asked, service=36.0, in_flight=2)) == pytest.approx(200)
    assert sum(hourly(*asked, service=36.0, in_flight=4)) == pytest.approx(240)


# --- what becomes of it ---------------------------------------------------------------------------------------


def test_staleness_is_half_the_interval_and_the_push_and_at_worst_all_of_it_and_a_slot() -> None:
    found = plan([demand(str(n), 1000) for n in range(8)], limits())
    table = found.tables[0]
    assert found.binding
    assert table.mean == pytest.approx(60 + 5, rel=1e-3)
    assert table.worst == pytest.approx(120 + 5 + 15, rel=1e-3)
    assert table.records == pytest.approx(120_000)
    assert table.size == pytest.approx(12_000_000)
    assert table.chunks == 1


def test_the_only_record_of_a_buffer_waits_for_all_of_the_age() -> None:
    (table,) = plan([demand(rate=0.0001)], limits()).tables
    assert table.mean == pytest.approx(65, rel=0.01)
    assert table.worst == pytest.approx(65)


def test_a_deadline_that_is_kept_is_the_worst() -> None:
    crowd = [demand(str(n), 1000) for n in range(8)]
    found = plan([demand(rate=1, max_staleness=40.0), *crowd], limits())
    assert found.tables[0].worst == pytest.approx(40)
    assert found.tables[0].bound is Bound.STALENESS


def test_a_table_without_messages_takes_nothing() -> None:
    found = plan([demand("A", 0.0), demand("B", 10.0)], limits())
    assert found.tables[0].bound is Bound.IDLE
    assert found.tables[0].pushes == 0
    alone = plan([demand("A", 0.0)], limits())
    assert (alone.mean, alone.optimum, alone.spool, alone.pushes) == (0, 0, 0, 0)


def test_the_spool_holds_buffers_the_largest_loads_and_in_the_bad_case_an_hour() -> None:
    policy = {"age": 100.0}
    asked = [
        demand("A", 1000, policy=policy),
        demand("B", 10, policy=policy),
        demand("C", 1000, policy=policy, copies=2),
    ]
    found = plan(asked, limits(loads=2))
    each = 1000 * 100 * 100
    assert found.spool == pytest.approx(2 * each + each / 100 + 2 * each + each, rel=0.01)
    assert found.spool_hour - found.spool == pytest.approx(HOUR * 201_000)
    assert plan(asked, limits(pushes=100, loads=2)).spool > found.spool


def test_a_load_that_is_larger_than_a_chunk_has_several() -> None:
    assert plan([demand(rate=1e6, policy={"records": 10**9})], limits(chunk_bytes=10**9)).tables[0].chunks == 2


def test_fixed_intervals_with_as_many_pushes_are_worse_under_uneven_rates() -> None:
    found = plan([demand(str(n), 4.0**n, policy={"age": 1.0}) for n in range(8)], limits())
    assert found.interval == pytest.approx(120)
    assert found.fixed == pytest.approx(65)
    assert found.optimum < found.mean * (1 + 1e-6) < found.fixed


# --- laws -----------------------------------------------------------------------------------------------------

DEMANDS = st.lists(
    st.builds(
        Demand,
        table=st.uuids().map(str),
        rate=st.floats(1e-4, 1e5),
        record_bytes=st.floats(1, 1e4),
        policy=st.builds(
            FlushPolicy, records=st.integers(1, 10**7), size=st.integers(1, 1 << 32), age=st.floats(0.1, 1e4)
        ),
        weight=st.floats(0.01, 100),
        max_staleness=st.none() | st.floats(1, 1e4),
    ),
    min_size=1,
    max_size=12,
)


def promised(found: Plan) -> float:
    return sum(t.demand.deadline(found.limits.service) for t in found.tables)


@given(DEMANDS, st.integers(1, 250))
def test_pushes_stay_within_the_budget_and_within_what_each_table_asks_and_bears(
    demands: list[Demand], pushes: int
) -> None:
    found = plan(demands, limits(pushes))
    budget = pushes / HOUR
    assert found.pushes <= budget * (1 + 1e-9)
    for table in found.tables:
        floor, eligible = table.demand.deadline(5.0), table.demand.eligible[0]
        assert table.pushes <= max(floor, eligible) * (1 + 1e-9)
        assert table.pushes <= table.demand.rate * (1 + 1e-9)
        if promised(found) < budget:
            assert table.pushes >= floor * (1 - 1e-9)
    if found.binding:
        assert found.pushes == pytest.approx(budget)


@given(DEMANDS, st.integers(1, 250), st.integers(1, 250))
def test_more_budget_never_makes_the_mean_staleness_worse(demands: list[Demand], one: int, other: int) -> None:
    less, more = (plan(demands, limits(pushes)) for pushes in sorted((one, other)))
    assert more.mean <= less.mean * (1 + 1e-6)


@given(DEMANDS, st.integers(1, 250))
def test_where_the_budget_alone_decides_the_mean_is_the_optimum(demands: list[Demand], pushes: int) -> None:
    found = plan(demands, limits(pushes))
    assume(all(t.bound is Bound.BUDGET and t.records > 1000 for t in found.tables))
    assert found.mean == pytest.approx(found.optimum, rel=0.01)


# --- what the scheduler makes of it ---------------------------------------------------------------------------


def scheduled(demands: list[Demand], slot: float, slots: int) -> dict[str, float]:
    """Return pushes an hour when `choose` gives each of `slots` to a table; records flow evenly."""
    opened = dict.fromkeys((d.table for d in demands), 0.0)
    pushed = dict.fromkeys(opened, 0)
    for n in range(1, slots + 1):
        now = n * slot
        candidates = [
            Candidate(
                d.table, int(d.rate * (now - at)), int(d.rate * (now - at)) * (now + at) / 2, at, 0,
                Trigger.AGE if now - at >= d.policy.age else None, d.weight, d.max_staleness,
            )
            for d in demands
            for at in [opened[d.table]]
        ]  # fmt: skip
        chosen = choose(candidates, now, slot=slot, service=5.0, pressed=False, replay_allowed=False)
        if chosen:
            opened[chosen.candidate.table] = now
            pushed[chosen.candidate.table] += 1
    return {table: count * HOUR / (slots * slot) for table, count in pushed.items()}


def test_the_plan_foretells_what_the_scheduler_does() -> None:
    policy = {"age": 15.0, "records": 10**9}
    demands = [demand(str(n), 10.0 * 1.6**n, weight=1 + n % 3, policy=policy) for n in range(12)]
    demands.append(demand("rare", 2.0, max_staleness=300.0))
    found = plan(demands, limits())
    seen = scheduled(demands, 15.0, 20_000)
    for table in found.tables:
        assert seen[table.demand.table] == pytest.approx(table.pushes * HOUR, rel=0.2), table.demand.table
