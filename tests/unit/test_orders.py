"""Orders on the pipeline, stepped by hand: rewind, hold, resume, and what comes between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connector.core.hours import Now
from connector.core.intents import Committed, Intent, Origin
from connector.core.jobs import Seen, Status
from connector.core.loads import Broken
from connector.core.orders import Order, OrderKind, OrderState
from tests.unit.bench import A0, A1, B0, Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.core.offsets import TopicPartition

    Make = Callable[..., Bench]

REWIND, HOLD, RESUME = OrderKind.REWIND, OrderKind.HOLD, OrderKind.RESUME
ASKED, HELD, DONE = OrderState.ASKED, OrderState.HELD, OrderState.DONE


def give(bench: Bench, tp: TopicPartition, kind: OrderKind, offset: int = 0, state: OrderState = ASKED) -> None:
    bench.orders.standing[tp] = Order(kind, state, "r1", offset)


def standing(bench: Bench, tp: TopicPartition) -> tuple[OrderState, int]:
    order = bench.orders.standing[tp]
    return order.state, order.offset


def held(bench: Bench) -> dict[TopicPartition, str]:
    return bench.pipeline.held_back(Now(bench.now, bench.now))


def intent(job: str, end: int) -> str:
    return Intent.of(job, end, Origin("cluster", "id-a", "a", keyed=False)).text()


def pushed(bench: Bench) -> Bench:
    """Let everything that is buffered arrive."""
    bench.step()
    bench.step(61)
    while bench.pusher.to_prepare:
        bench.executing()
        bench.pusher.done()
        bench.step(1)
    bench.step(6)
    return bench


@pytest.fixture
def streaming(make: Make) -> Bench:
    """A bench whose tables a and b hold all there is, and whose group has committed it."""
    bench = pushed(make({A0: [b"1"] * 5, A1: [b"2"] * 3, B0: [b"3"] * 4}))
    assert bench.source.offsets == {A0: 5, A1: 3, B0: 4}
    return bench


def reborn(make: Make, bench: Bench) -> Bench:
    """Return what a new process finds."""
    bench.spool.close()
    source = type(bench.source)(bench.source.log)
    source.committed = dict(bench.source.committed)
    again = make({}, source=source, orders=bench.orders)
    again.orders.watched.clear()
    again.assign(*source.log)
    return again


# --- before any order -----------------------------------------------------------------------------------------


def test_a_partition_flows_only_once_its_orders_are_known(make: Make) -> None:
    bench = make({})
    bench.source.log = {A0: [b"1"] * 5}
    bench.orders.told = False
    bench.assign(A0)
    bench.step()
    assert (held(bench), bench.source.paused, bench.source.positions[A0]) == ({A0: "replay"}, {A0}, 0)
    bench.orders.unread.clear()
    bench.step()
    bench.step()
    assert (held(bench), bench.source.positions[A0]) == ({}, 5)


def test_an_order_that_is_done_holds_nothing(streaming: Bench) -> None:
    give(streaming, A0, REWIND, 2, DONE)
    streaming.source.log[A0] += [b"9"]
    streaming.step()
    assert (held(streaming), streaming.source.positions[A0]) == ({}, 6)


# --- rewind ---------------------------------------------------------------------------------------------------


def test_a_rewind_lets_the_range_be_read_again_once_kafka_has_gone_back(streaming: Bench) -> None:
    give(streaming, A0, REWIND, 2)
    streaming.source.accepts_commits = False
    streaming.step()
    assert held(streaming) == {A0: "replay"}
    assert streaming.source.moves == [{A0: 2}]
    streaming.step()
    assert standing(streaming, A0) == (ASKED, 2), "Kafka has not gone back yet"
    streaming.source.accepts_commits = True
    streaming.step()
    assert streaming.source.committed[A0] == Committed(2)
    streaming.step()
    assert standing(streaming, A0) == (DONE, 2)
    pushed(streaming)
    assert streaming.source.offsets == {A0: 5, A1: 3, B0: 4}
    flushed = [what for name, what in streaming.observer.events if name == "decoded"]
    assert flushed[-1] == ("a", 3, 3)
    assert streaming.source.moves == [{A0: 2}]


def test_a_rewind_waits_for_the_push_in_flight_and_nothing_new_of_the_table_is_flushed(make: Make) -> None:
    bench = make({A0: [b"1"] * 5, A1: [b"2"] * 3, B0: [b"3"] * 4})
    bench.step()
    bench.step(61)
    bench.executing()
    give(bench, A0, REWIND, 2)
    bench.source.log[A1] += [b"2"] * 3
    bench.source.log[A0] += [b"1"]
    bench.step()
    assert (held(bench), bench.source.positions[A1]) == ({A0: "replay"}, 6)
    bench.step(61)
    assert bench.source.moves == []
    bench.pusher.done()
    bench.step()
    assert bench.source.committed[A0] == Committed(5), "first what has arrived"
    bench.step()
    assert bench.source.moves == [{A0: 2}]
    assert [load.target.table for load in bench.pusher.to_prepare] == ["b"]
    bench.step()
    bench.step()
    assert standing(bench, A0) == (DONE, 2)
    assert [load.target.table for load in bench.pusher.to_prepare] == ["b", "a"]
    pushed(bench)
    assert bench.source.offsets == {A0: 6, A1: 6, B0: 4}


def test_a_rewind_drops_what_the_buffer_holds_of_its_partition_only(streaming: Bench) -> None:
    streaming.source.log[A0] += [b"1"]
    streaming.source.log[A1] += [b"2"]
    streaming.step()
    give(streaming, A0, REWIND, 4)
    streaming.step()
    assert [r.tp for r in streaming.sink("a").buffer.held] == [A1]
    streaming.step()
    pushed(streaming)
    assert streaming.source.offsets == {A0: 6, A1: 4, B0: 4}


def test_a_rewind_to_what_was_not_read_yet_goes_nowhere(streaming: Bench) -> None:
    give(streaming, A0, REWIND, 100)
    streaming.step()
    assert (standing(streaming, A0), streaming.source.offsets[A0]) == ((DONE, 100), 5)


def test_what_is_to_be_rewound_flows_until_it_is_known_where_it_stands(streaming: Bench) -> None:
    del streaming.source.positions[A0]
    give(streaming, A0, REWIND, 2)
    assert held(streaming) == {}
    streaming.source.positions[A0] = 5
    assert held(streaming) == {A0: "replay"}


@pytest.mark.parametrize("steps", range(5))
def test_a_crash_at_any_step_of_a_rewind_begins_it_again(make: Make, streaming: Bench, steps: int) -> None:
    give(streaming, A0, REWIND, 2)
    streaming.orders.taken = steps != 3
    for _ in range(steps):
        streaming.step()
    streaming.orders.taken = True
    again = reborn(make, streaming)
    for _ in range(4):
        again.step()
    assert standing(again, A0) == (DONE, 2)
    assert sum(sum(load.rows for load in b.pusher.to_prepare) for b in (again, streaming)) == 0
    assert again.source.positions[A0] == 5
    assert [(r.start, r.end) for r in again.sink("a").buffer.held] == [(2, 5)]


def test_a_rewind_is_for_whoever_has_the_partition(make: Make, streaming: Bench) -> None:
    give(streaming, A0, REWIND, 2)
    streaming.source.accepts_commits = False
    streaming.step()
    streaming.take_away(A0)
    streaming.step()
    assert (held(streaming), standing(streaming, A0)) == ({}, (ASKED, 2))
    other = reborn(make, streaming)
    for _ in range(3):
        other.step()
    assert standing(other, A0) == (DONE, 2)
    assert other.source.committed[A0] == Committed(2)


def test_a_partition_revoked_in_the_middle_of_a_rewind_leaves_no_rows_behind(make: Make) -> None:
    bench = make({A0: [b"1"] * 5, A1: [b"2"] * 3})
    bench.step()
    bench.step(61)
    bench.executing()
    give(bench, A0, REWIND, 0)
    bench.step()
    bench.pipeline.revoked([A0])
    bench.source.disown(A0)
    bench.pusher.done()
    bench.step()
    bench.step()
    assert bench.source.moves == []
    assert standing(bench, A0) == (ASKED, 0)
    assert bench.source.committed[A1] == Committed(3)


def test_a_rewind_waits_for_an_intent_that_was_found(make: Make) -> None:
    bench = make({})
    bench.source.log = {A0: [b"1"] * 9}
    bench.source.committed = {A0: Committed(3, intent("job-7", 7))}
    give(bench, A0, REWIND, 1)
    bench.assign(A0)
    bench.step()
    assert (held(bench), bench.source.moves) == ({A0: "intent"}, [])
    bench.pusher.receipts.append(Seen("job-7", Status.DONE))
    bench.step()
    assert bench.source.committed[A0] == Committed(7)
    for _ in range(3):
        bench.step()
    assert standing(bench, A0) == (DONE, 1)
    assert bench.source.committed[A0] == Committed(1)


def test_an_order_on_a_refused_partition_waits_without_stopping_the_table(make: Make) -> None:
    bench = make({})
    bench.source.log = {A0: [b"1"] * 9, A1: [b"2"]}
    bench.source.committed = {A0: Committed(3, "by hand")}
    give(bench, A0, REWIND, 1)
    bench.assign(A0, A1)
    bench.step()
    bench.step(61)
    assert (held(bench), standing(bench, A0)) == ({A0: "refused"}, (ASKED, 1))
    assert [[r.tp for r in load.ranges] for load in bench.pusher.to_prepare] == [[A1]]


# --- hold, resume ---------------------------------------------------------------------------------------------


def test_a_hold_waits_for_the_push_and_answers_with_what_is_committed(make: Make) -> None:
    bench = make({A0: [b"1"] * 5})
    bench.step()
    bench.step(61)
    bench.executing()
    bench.source.log[A0] += [b"2"] * 4
    bench.step()
    give(bench, A0, HOLD)
    bench.source.log[A0] += [b"3"]
    bench.step()
    assert (held(bench), standing(bench, A0)) == ({A0: "replay"}, (ASKED, 0))
    bench.pusher.done()
    bench.step()
    assert standing(bench, A0) == (ASKED, 0), "its end is not committed yet"
    bench.step()
    bench.step()
    assert standing(bench, A0) == (HELD, 5)
    assert (bench.source.positions[A0], bench.sink("a").buffer.fill.records) == (5, 0)
    bench.step(61)
    assert not bench.pusher.to_prepare
    assert bench.source.committed[A0] == Committed(5)
    assert len(bench.orders.answers) == 1


def test_nothing_of_a_table_flows_while_a_partition_of_it_is_held(streaming: Bench) -> None:
    give(streaming, A0, HOLD)
    streaming.step()
    assert standing(streaming, A0) == (HELD, 5)
    assert held(streaming) == {A0: "replay", A1: "replay"}
    streaming.step()
    streaming.source.log = {A0: [b"1"] * 9, A1: [b"2"] * 9, B0: [b"3"] * 9}
    streaming.step(61)
    assert streaming.source.positions == {A0: 5, A1: 3, B0: 9}


def test_a_hold_stands_over_a_crash_and_a_resume_lets_it_go_on_behind_the_rebuilt_range(
    make: Make, streaming: Bench
) -> None:
    give(streaming, A0, HOLD)
    streaming.step()
    again = reborn(make, streaming)
    again.source.log[A0] += [b"7"] * 4
    again.step(61)
    again.step(61)
    assert (held(again)[A0], again.source.positions[A0], standing(again, A0)) == ("replay", 5, (HELD, 5))
    give(again, A0, RESUME, 8)
    again.source.accepts_commits = False
    again.step()
    again.step()
    assert (standing(again, A0), again.source.positions[A0]) == ((ASKED, 8), 8)
    again.source.accepts_commits = True
    again.step()
    assert again.source.committed[A0] == Committed(8)
    again.step()
    again.step()
    assert (standing(again, A0), held(again), again.source.positions[A0]) == ((DONE, 8), {}, 9)


def test_a_resume_may_go_back(streaming: Bench) -> None:
    give(streaming, A0, RESUME, 1)
    for _ in range(3):
        streaming.step()
    assert standing(streaming, A0) == (DONE, 1)
    assert streaming.source.committed[A0] == Committed(1)


def test_a_hold_that_somebody_answered_without_the_partition_is_taken_back_until_nothing_is_on_its_way(
    make: Make,
) -> None:
    bench = make({A0: [b"1"] * 5})
    bench.step()
    bench.step(61)
    bench.executing()
    give(bench, A0, HOLD, 0, HELD)
    bench.step()
    assert standing(bench, A0) == (ASKED, 0)
    bench.pusher.done()
    for _ in range(3):
        bench.step()
    assert standing(bench, A0) == (HELD, 5)


def test_a_hold_of_what_was_never_committed_answers_with_its_own_offset(make: Make) -> None:
    bench = make({})
    bench.source.log = {A0: []}
    give(bench, A0, HOLD, 4)
    bench.assign(A0)
    del bench.source.positions[A0]
    bench.step()
    assert standing(bench, A0) == (HELD, 4)
    assert bench.source.moves == []


def test_a_withdrawn_hold_lets_the_partition_go_on_from_what_is_committed(streaming: Bench) -> None:
    streaming.source.log[A0] += [b"1"] * 2
    streaming.step()
    give(streaming, A0, HOLD)
    for _ in range(3):
        streaming.step()
    assert (standing(streaming, A0), streaming.source.positions[A0]) == ((HELD, 5), 5)
    del streaming.orders.standing[A0]
    streaming.step()
    pushed(streaming)
    assert streaming.source.offsets[A0] == 7


def test_a_rejected_message_that_is_not_acknowledged_yet_keeps_a_resume_from_passing_it(make: Make) -> None:
    bench = make({A0: [b"1", b"bad", b"1", b"1"]})
    bench.step()
    give(bench, A0, RESUME, 4)
    for _ in range(4):
        bench.step()
    assert (bench.source.committed[A0], standing(bench, A0)) == (Committed(1), (ASKED, 4))
    bench.dead_letters.acknowledge()
    for _ in range(2):
        bench.step()
    assert (bench.source.committed[A0], standing(bench, A0)) == (Committed(4), (DONE, 4))


# --- halted, gone, draining -----------------------------------------------------------------------------------


def halted(make: Make) -> Bench:
    bench = make({A0: [b"1"] * 5})
    bench.step()
    bench.step(61)
    bench.pusher.receipts.append(Broken(bench.pusher.to_prepare.popleft(), "no such pool", "look"))
    bench.step()
    assert bench.sink("a").halted
    return bench


def test_a_halted_table_can_be_held_for_its_rebuilding(make: Make) -> None:
    bench = halted(make)
    give(bench, A0, HOLD)
    bench.step()
    assert standing(bench, A0) == (HELD, 0)


def test_a_halted_table_is_rewound_after_the_restart(make: Make) -> None:
    bench = halted(make)
    bench.source.committed[A0] = Committed(4)
    give(bench, A0, REWIND, 2)
    for _ in range(4):
        bench.step(6)
    assert standing(bench, A0) == (ASKED, 2)
    again = reborn(make, bench)
    for _ in range(3):
        again.step()
    assert standing(again, A0) == (DONE, 2)


def test_lost_data_is_told_before_the_order(streaming: Bench) -> None:
    streaming.source.gone[A0] = "messages 5 to 9 were deleted"
    give(streaming, A0, HOLD)
    streaming.step()
    assert held(streaming) == {A0: "data_loss", A1: "replay"}
    assert standing(streaming, A0) == (HELD, 5)


def test_a_drain_does_not_wait_for_a_table_under_an_order(streaming: Bench) -> None:
    streaming.source.log[A1] += [b"2"]
    streaming.source.log[B0] += [b"3"]
    streaming.step()
    give(streaming, A0, HOLD, 0)
    streaming.step()
    streaming.pipeline.drain()
    streaming.step()
    streaming.step()
    assert [load.target.table for load in streaming.pusher.to_prepare] == ["b"]
    now = Now(streaming.now, streaming.now)
    assert not streaming.pipeline.drained(now, streaming.now + 30)
    streaming.executing()
    streaming.pusher.done()
    streaming.step()
    assert streaming.pipeline.drained(now, streaming.now + 30)
