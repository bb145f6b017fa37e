"""The loop, stepped by hand with a manual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connector.core.flush import FlushPolicy, Trigger
from connector.core.hours import Now
from connector.core.loads import Broken, Doubtful, Empty, JobFailed, Throttled
from connector.core.offsets import TopicPartition
from connector.errors import CelonisUnauthorized, ConnectorError, RegistryUnavailable, SpoolFull
from tests.unit.bench import A0, A1, B0

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.bench import Bench

    Make = Callable[..., Bench]


def test_nothing_is_committed_before_the_job_is_done_and_everything_after_it(bench: Bench, tmp_path: Path) -> None:
    bench.step()
    bench.step(61)
    assert bench.source.offsets == {A0: 0, A1: 0, B0: 0}
    assert [load.target.table for load in bench.pusher.to_prepare] == ["a", "b"]
    bench.pusher.prepared()
    bench.step()
    bench.step()
    assert len(bench.pusher.to_apply) == 1
    bench.pusher.done()
    bench.step()
    assert bench.source.offsets == {A0: 5, A1: 3, B0: 0}
    bench.pusher.prepared()
    bench.step()
    bench.step()
    bench.pusher.done()
    bench.step()
    assert bench.source.offsets == {A0: 5, A1: 3, B0: 4}
    assert bench.files(tmp_path) == []
    assert bench.decoder("a").establishments == 1


def test_a_load_is_flushed_by_age_of_its_first_record_and_says_why(bench: Bench) -> None:
    bench.step()
    bench.step(59)
    assert not bench.pusher.to_prepare
    bench.step(1)
    assert {load.trigger for load in bench.pusher.to_prepare} == {Trigger.AGE}


def test_a_load_is_flushed_by_the_number_of_records(make: Make) -> None:
    bench = make({A0: [b"1"] * 5}, records=5)
    bench.step()
    assert bench.pusher.to_prepare[0].trigger is Trigger.RECORDS


def test_one_load_of_a_table_is_in_flight(make: Make) -> None:
    bench = make({A0: [b"1"] * 5}, records=5)
    bench.step()
    bench.source.log[A0] += [b"2"] * 5
    bench.step()
    assert len(bench.pusher.to_prepare) == 1
    bench.pusher.prepared()
    bench.step()
    bench.step()
    bench.pusher.done()
    bench.step()
    assert bench.source.offsets == {A0: 5}
    assert len(bench.pusher.to_prepare) == 1


def test_one_job_executes_at_a_time(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    bench.pusher.prepared()
    bench.pusher.prepared()
    bench.step()
    bench.step()
    assert len(bench.pusher.to_apply) == 1
    bench.pusher.done()
    bench.step()
    bench.step()
    assert len(bench.pusher.to_apply) == 1


def test_few_pushes_left_pause_the_tables_that_have_a_pushs_worth_and_no_others(make: Make) -> None:
    bench = make({A0: [b"1"] * 3, A1: [b"1"], B0: [b"1"]}, records=4, limit=1)
    bench.budget.pushes = 0
    bench.step()
    assert bench.source.paused == {A0, A1}
    bench.source.log[B0] += [b"2"]
    bench.step()
    assert bench.source.positions[B0] == 2
    bench.assign(A1)
    bench.step()
    assert A1 in bench.source.paused, "a partition that came back is paused anew"
    assert set(bench.pipeline.held_back(Now(bench.now, bench.now)).values()) == {"budget"}
    bench.budget.pushes = 1
    bench.step()
    assert bench.source.paused == set()


def test_a_load_is_sealed_no_earlier_than_its_preparation_takes(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.budget.opens_in = 30.0
    bench.step()
    assert not bench.pusher.to_prepare
    bench.source.log[A0] += [b"2"]
    bench.budget.opens_in = 1.0
    bench.step()
    assert [load.rows for load in bench.pusher.to_prepare] == [2], "what came meanwhile goes along"


def test_a_table_that_is_due_and_has_no_turn_does_not_make_the_loop_spin(make: Make) -> None:
    bench = make({A0: [b"1"], B0: []})
    bench.step()
    bench.budget.opens_in = 30.0
    bench.step(61)
    bench.step()
    assert not bench.pusher.to_prepare
    assert bench.source.timeouts[-1] == 0.1
    bench.budget.opens_in = 1.55
    bench.step()
    assert bench.source.timeouts[-1] == pytest.approx(0.05)


def test_the_table_whose_rows_wait_the_most_is_sealed_first_when_there_is_one_turn(make: Make) -> None:
    bench = make({A0: [b"1"], B0: [b"1"] * 9})
    bench.budget.seconds = 15.0
    bench.step()
    bench.step(61)
    assert [load.target.table for load in bench.pusher.to_prepare] == ["b"]


def test_a_table_that_wants_to_be_fresh_goes_first_when_its_time_has_come(make: Make) -> None:
    bench = make({A0: [b"1"], B0: [b"1"] * 9})
    bench.budget.seconds = 15.0
    bench.step()
    bench.sink("a").max_staleness = 50.0
    bench.step(40)
    assert [(load.target.table, load.trigger) for load in bench.pusher.to_prepare] == [("a", Trigger.STALENESS)]


def test_a_grant_that_was_not_used_goes_back(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1, limit=5)
    bench.step()
    prepared = bench.executing()
    assert bench.budget.pushes == 4
    bench.pusher.to_apply.clear()
    bench.pusher.receipts.append(Doubtful(prepared.load, prepared, 1.0, "the grant ran out"))
    bench.step()
    assert (bench.budget.pushes, bench.budget.ended) == (5, [(prepared.load.id, False)])
    bench.step(2)
    bench.pusher.receipts.append(Doubtful(prepared.load, prepared, 1.0, "no answer", executed=True))
    bench.step()
    assert (bench.budget.pushes, bench.budget.ended[-1]) == (4, (prepared.load.id, True))


def test_a_throttled_execute_closes_the_budget_when_the_platform_says_the_hour_is_gone(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.step()
    prepared = bench.executing()
    bench.pusher.to_apply.clear()
    bench.pusher.receipts.append(Throttled(prepared.load, prepared, None, exhausted=True, detail="429"))
    bench.step()
    assert bench.budget.refusals == [None]
    bench.step(3599)
    assert not bench.pusher.to_apply
    bench.budget.pushes = 1
    bench.step(1)
    assert list(bench.pusher.to_apply) == [prepared], "the same job goes on, nothing is uploaded again"
    assert not bench.pusher.to_prepare


def test_a_conflict_is_tried_again_after_the_hint(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.step()
    prepared = bench.pusher.prepared()
    bench.step()
    bench.step()
    bench.pusher.to_apply.clear()
    bench.pusher.receipts.append(Throttled(prepared.load, prepared, 7.0, exhausted=False, detail="409"))
    bench.step()
    bench.step(6.9)
    assert not bench.pusher.to_apply
    bench.step(0.2)
    assert list(bench.pusher.to_apply) == [prepared]


def test_a_push_in_doubt_before_its_execute_starts_over_with_another_job(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.step()
    load = bench.pusher.to_prepare.popleft()
    bench.pusher.receipts.append(Doubtful(load, None, 3.0, "no answer"))
    bench.step()
    bench.step(2)
    assert not bench.pusher.to_prepare
    bench.step(1.1)
    assert list(bench.pusher.to_prepare) == [load]


def test_a_failed_job_is_tried_once_more_then_its_table_halts_and_the_others_go_on(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    load_a, load_b = bench.pusher.to_prepare
    bench.pusher.receipts.append(JobFailed(load_a, "job-1", "ERROR", ("type changed",)))
    bench.step()
    assert list(bench.pusher.to_prepare) == [load_a, load_b, load_a]
    bench.pusher.receipts.append(JobFailed(load_a, "job-2", "ERROR", ("type changed",)))
    bench.step()
    assert (
        bench.sink("a").halted
        == "job job-2 ended ERROR: type changed (mend the data or the table in Celonis, then restart)"
    )
    assert bench.source.paused == {A0, A1}
    assert (bench.source.positions[A0], bench.source.positions[A1]) == (0, 0)
    bench.pusher.to_prepare.remove(load_a)
    bench.pusher.prepared()
    bench.step()
    bench.step()
    bench.pusher.done()
    bench.step()
    assert bench.source.offsets == {A0: 0, A1: 0, B0: 4}


def test_a_broken_push_halts_its_table_with_the_hint(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.step()
    load = bench.pusher.to_prepare.popleft()
    bench.pusher.receipts.append(Broken(load, "403 on create", "grant the permission"))
    bench.step()
    assert bench.sink("a").halted == "403 on create (grant the permission)"
    bench.step(100)
    assert bench.source.offsets.get(A0, 0) == 0
    assert not bench.pusher.to_prepare


def test_credentials_that_are_refused_end_the_service(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.step()
    load = bench.pusher.to_prepare.popleft()
    bench.pusher.receipts.append(Broken(load, "401 on create", "renew the key", fatal=True))
    with pytest.raises(ConnectorError, match="renew the key"):
        bench.step()


def test_rejects_hold_the_push_and_their_offsets_until_the_dead_letter_topic_has_them(make: Make) -> None:
    bench = make({A0: [b"1", b"x", b"3"]}, records=2)
    bench.step()
    bench.pusher.prepared()
    bench.step()
    bench.step(5)
    assert [(r.offset, r.reason) for r in bench.dead_letters.sent] == [(1, "broken")]
    assert bench.source.offsets == {A0: 0}
    assert not bench.pusher.to_apply, "the intent's end would commit the reject"
    bench.dead_letters.acknowledge()
    bench.step()
    bench.step()
    bench.pusher.done()
    bench.step()
    assert bench.source.offsets == {A0: 3}


def test_tombstones_alone_are_committed_without_any_push(make: Make) -> None:
    bench = make({A0: [None, None]})
    bench.step()
    bench.step(5)
    assert bench.source.offsets == {A0: 2}
    assert not bench.pusher.to_prepare


def test_a_silent_registry_holds_its_topic_only_and_loses_nothing(bench: Bench) -> None:
    bench.step()
    bench.decoder("a").away = RegistryUnavailable("no answer", wait=2.0)
    bench.source.log[A0] += [b"9"]
    bench.source.log[B0] += [b"9"]
    bench.step()
    assert bench.source.paused == {A0, A1}
    assert (bench.source.positions[A0], bench.source.positions[B0]) == (5, 5)
    bench.decoder("a").away = None
    bench.step(2.1)
    bench.step()
    assert bench.source.positions[A0] == 6
    assert bench.sink("a").buffer.fill.records == 9


def test_a_topic_without_a_table_stands_still_and_the_others_flow(make: Make) -> None:
    nowhere = TopicPartition("nowhere", 0)
    bench = make({nowhere: [b"1"], A0: [b"1"]})
    bench.step()
    assert bench.source.paused == {nowhere}
    assert bench.source.positions == {nowhere: 0, A0: 1}
    assert "no entry takes topic nowhere" in bench.pipeline.unroutable["nowhere"]


def test_a_revoked_partition_is_committed_as_far_as_it_is_safe_and_forgotten(bench: Bench) -> None:
    bench.step()
    bench.source.log[A1] += [None]
    bench.step()
    bench.pipeline.revoked([A1])
    bench.source.disown(A1)
    assert bench.source.offsets[A1] == 0, "its records are not pushed yet"
    bench.step(61)
    load = bench.pusher.to_prepare[0]
    assert [r.tp for r in load.ranges] == [A0]
    assert [(r.tp, r.live) for s in load.segments for r in s.runs] == [(A0, True), (A1, False)]


def test_a_lost_partition_is_never_committed(make: Make) -> None:
    bench = make({A0: [b"1"], A1: [None]})
    bench.step()
    bench.pipeline.lost([A1])
    bench.source.disown(A1)
    bench.step(5)
    assert A1 not in bench.source.commits[-1]


def test_a_prepared_load_is_built_again_when_a_partition_of_it_was_lost(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    prepared = bench.pusher.prepared()
    bench.pipeline.lost([A0])
    bench.source.disown(A0)
    bench.step()
    assert bench.pusher.forgotten == [prepared.job_id]
    assert not bench.pusher.to_apply
    again = bench.pusher.to_prepare[-1]
    assert [r.tp for r in again.ranges] == [A1]
    bench.pusher.to_prepare.rotate(1)
    bench.pusher.prepared()
    bench.step()
    bench.step()
    assert bench.pusher.to_apply[0].load == again


def test_a_load_of_which_nothing_is_left_needs_no_job(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.step()
    bench.pusher.receipts.append(Empty(bench.pusher.to_prepare.popleft()))
    bench.step()
    assert bench.sink("a").empty
    assert bench.budget.pushes == 10


def test_finished_jobs_but_the_last_are_deleted_only_after_their_offsets_are_committed(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1, delete=True)
    for _ in range(2):
        bench.step()
        bench.pusher.prepared()
        bench.step()
        bench.step()
        bench.pusher.done()
        bench.source.log[A0] += [b"2"]
        if bench.pusher.jobs == 2:
            bench.source.accepts_commits = False
        bench.step()
    assert bench.pusher.forgotten == []
    bench.source.accepts_commits = True
    bench.step()
    assert bench.pusher.forgotten == ["job-1"]


def test_a_full_spool_pauses_consumption_and_pushes_the_largest_table(make: Make) -> None:
    bench = make({A0: [b"1"] * 10, B0: []}, spool_bytes=1 << 20)
    bench.source.log[B0] = [b"%d" % (i * 7919**4 % 10**18) for i in range(150_000)]
    bench.source.batch = 150_000
    bench.policy = FlushPolicy(10**9, 1 << 40, 1e9)
    bench.step()
    assert [(load.target.table, load.trigger) for load in bench.pusher.to_prepare] == [("b", Trigger.SPOOL)]
    assert bench.source.paused == {A0, B0}
    position = bench.source.positions[B0]
    bench.step()
    assert bench.source.positions[B0] == position
    bench.pusher.prepared()
    bench.step()
    bench.step()
    bench.pusher.done()
    bench.step()
    assert bench.source.paused == set()


def test_a_buffer_that_the_disk_did_not_keep_is_read_again(make: Make) -> None:
    bench = make({A0: [b"1", b"2"], B0: [b"3"]})
    bench.step()
    buffer = bench.sink("a").buffer
    spill = buffer.flush

    def full(*_: object) -> object:
        raise SpoolFull("no space left on device")

    buffer.flush = full  # type: ignore[method-assign, assignment]
    bench.step(61)
    assert bench.source.positions == {A0: 0, B0: 1}
    assert bench.source.paused == {A0, B0}
    buffer.flush = spill  # type: ignore[method-assign]
    bench.step(5.1)
    bench.step()
    assert bench.sink("a").buffer.fill.records == 2


def test_draining_pushes_what_is_here_reads_nothing_more_and_ends(bench: Bench) -> None:
    bench.step()
    bench.pipeline.drain()
    bench.source.log[A0] += [b"9"]
    bench.step()
    assert [load.trigger for load in bench.pusher.to_prepare] == [Trigger.DRAIN, Trigger.DRAIN]
    now, deadline = Now(bench.now, bench.now), bench.now + 30
    for _ in range(2):
        assert not bench.pipeline.drained(now, deadline)
        bench.pusher.prepared()
        bench.step()
        bench.step()
        bench.pusher.done()
        bench.step()
    assert bench.pipeline.drained(now, deadline)
    assert bench.source.offsets == {A0: 5, A1: 3, B0: 4}


def test_draining_ends_when_no_push_is_left_before_its_deadline(make: Make) -> None:
    bench = make({A0: [b"1"]})
    bench.budget.opens_in = 40.0
    bench.step()
    bench.pipeline.drain()
    bench.step()
    assert not bench.pusher.to_prepare, "it would wait for its turn for nothing"
    assert not bench.pipeline.drained(Now(bench.now, bench.now), bench.now + 60)
    assert bench.pipeline.drained(Now(bench.now, bench.now), bench.now + 30)
    assert bench.source.offsets == {A0: 0}


def test_messages_whose_decoding_ends_the_service_are_not_committed_on_the_way_out(make: Make) -> None:
    bench = make({A0: [b"1"], A1: [b"2"], B0: [b"3"]})
    bench.step()
    bench.decoder("a").fatal = CelonisUnauthorized("401")
    for tp in (A0, A1, B0):
        bench.source.log[tp] += [b"9"]
    with pytest.raises(CelonisUnauthorized):
        bench.step()
    bench.pipeline.revoked([A0, A1, B0])
    assert bench.source.offsets == {A0: 0, A1: 0, B0: 0}


def test_a_table_of_two_topics_that_the_disk_did_not_keep_is_read_again_from_both(make: Make) -> None:
    bench = make({A0: [b"1"], B0: [b"2"]}, shared=True)
    bench.step()
    buffer = bench.sink("shared").buffer
    add = buffer.add

    def full(*_: object) -> None:
        raise SpoolFull("no space left on device")

    buffer.add = full  # type: ignore[method-assign, assignment]
    for tp in (A0, B0):
        bench.source.log[tp] += [b"3"]
    bench.step()
    assert bench.source.positions == {A0: 0, B0: 0}
    buffer.add = add  # type: ignore[method-assign]
    bench.step(5.1)
    bench.step()
    assert [(r.tp, r.start, r.end) for r in buffer.held] == [(A0, 0, 2), (B0, 0, 2)]


def test_consumption_waits_while_the_dead_letter_topic_takes_nothing(make: Make) -> None:
    bench = make({A0: [b"x"]})
    bench.dead_letters.full = True
    bench.step()
    assert bench.source.paused == {A0}
    bench.dead_letters.full = False
    bench.step()
    assert bench.source.paused == set()
