"""The intent protocol on the pipeline, stepped by hand: prepare, decide, apply, finish, assign, revoke, lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connector.core.hours import Now
from connector.core.intents import Committed, Intent, Origin, parse
from connector.core.jobs import Seen, Status, Unseen
from connector.core.loads import Broken, Doubtful, JobFailed
from connector.errors import CelonisUnauthorized
from tests.unit.bench import A0, A1, B0, Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.core.offsets import TopicPartition

    Make = Callable[..., Bench]


def intent(job: str, end: int, topic: str = "a") -> str:
    return Intent.of(job, end, Origin("cluster", f"id-{topic}", topic, keyed=False)).text()


def noted(bench: Bench, tp: TopicPartition) -> Intent | None:
    return parse(bench.source.committed[tp].metadata)


def held(bench: Bench) -> dict[TopicPartition, str]:
    return bench.pipeline.held_back(Now(bench.now, bench.now))


# --- prepare, decide, apply, finish ---------------------------------------------------------------------------


def test_a_job_is_executed_only_after_its_intents_stand_for_all_its_partitions_in_one_commit(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    prepared = bench.pusher.prepared()
    bench.source.accepts_commits = False
    bench.step()
    bench.step()
    assert not bench.pusher.to_apply
    bench.source.accepts_commits = True
    bench.step()
    bench.step()
    assert list(bench.pusher.to_apply) == [prepared]
    together = next(c for c in bench.source.commits if c[A0].metadata)
    assert together[A0] == Committed(0, intent(prepared.job_id, 5))
    assert together[A1] == Committed(0, intent(prepared.job_id, 3))
    assert together[B0] == Committed(0), "of another table"


def test_the_end_is_committed_without_a_note_once_the_job_is_done(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    bench.executing()
    bench.step(20)
    assert noted(bench, A0) is not None, "a commit in between leaves the note as it is"
    bench.pusher.done()
    bench.step()
    assert (bench.source.committed[A0], bench.source.committed[A1]) == (Committed(5), Committed(3))


def test_a_partition_lost_before_the_decision_drops_the_job_and_the_rest_is_built_again(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    prepared = bench.pusher.prepared()
    bench.take_away(A0)
    bench.step()
    assert bench.pusher.forgotten == [prepared.job_id]
    assert [r.tp for r in bench.pusher.to_prepare[-1].ranges] == [A1]
    assert noted(bench, A1) is None


def test_a_partition_lost_and_regained_before_the_decision_is_not_what_it_was(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    prepared = bench.pusher.prepared()
    bench.take_away(A0)
    bench.assign(A0)
    bench.step()
    bench.step()
    assert bench.pusher.forgotten == [prepared.job_id]
    assert not bench.pusher.to_apply


def test_intents_that_kafka_refused_when_the_group_moved_drop_the_job(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    prepared = bench.pusher.prepared()
    bench.source.accepts_commits = False
    bench.step()
    bench.take_away(A0)
    bench.step()
    bench.source.accepts_commits = True
    bench.step()
    assert bench.pusher.forgotten == [prepared.job_id]
    assert noted(bench, A1) is None
    assert [r.tp for r in bench.pusher.to_prepare[-1].ranges] == [A1]


def test_nothing_is_decided_about_a_moved_group_while_the_commit_is_on_its_way(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    prepared = bench.pusher.prepared()
    bench.source.accepts_commits = False
    bench.step()
    bench.source.committing = True
    bench.take_away(A0)
    bench.step()
    assert bench.pusher.forgotten == []
    bench.source.committing = False
    bench.source.committed[A1] = Committed(0, intent(prepared.job_id, 3))
    bench.step()
    assert list(bench.pusher.to_apply) == [prepared], "its intents stand for all: whoever has A0 rolls forward too"
    assert bench.pusher.forgotten == []


def test_a_partition_that_is_revoked_before_the_intents_stand_gets_none_without_the_others(bench: Bench) -> None:
    bench.step()
    bench.step(61)
    prepared = bench.pusher.prepared()
    bench.source.accepts_commits = False
    bench.step()
    bench.source.accepts_commits = True
    bench.pipeline.revoked([A0])
    bench.source.disown(A0)
    bench.step()
    assert bench.pusher.forgotten == [prepared.job_id]
    assert bench.source.committed.get(A0, Committed(0)) == Committed(0), "its next owner would roll the job forward"


def test_a_job_whose_intents_stand_is_left_to_the_next_owner_when_all_its_partitions_are_lost(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1, limit=1)
    bench.budget.valid = 5.0
    bench.step()
    bench.pusher.prepared()
    bench.step()
    bench.budget.pushes = 0
    bench.step(6)
    assert not bench.pusher.to_apply, "its grant ran out while the intents were on their way"
    bench.take_away(A0)
    bench.step()
    assert bench.sink("a").empty
    assert bench.pusher.forgotten == []
    assert noted(bench, A0) is not None


def test_a_job_whose_end_was_not_committed_before_its_partition_went_away_is_no_reason_to_delete(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1, delete=True)
    for accepts in (True, False):
        bench.step()
        bench.executing()
        bench.source.accepts_commits = accepts
        bench.pusher.done()
        bench.step()
        bench.source.log[A0] += [b"2"]
    bench.take_away(A0)
    bench.source.accepts_commits = True
    bench.assign(A0)
    for _ in range(3):
        bench.step(6)
    assert list(bench.pusher.to_ask) == ["job-2"], "its intent stands, so its new owner asks for it"
    assert bench.pusher.forgotten == []


def test_a_partition_lost_while_the_job_runs_is_not_committed_and_its_job_is_kept(make: Make) -> None:
    bench = make({A0: [b"1"] * 3, A1: [b"2"] * 2}, records=5, delete=True)
    bench.step()
    bench.executing()
    before = bench.source.committed[A0]
    bench.take_away(A0)
    bench.pusher.done()
    bench.step()
    assert bench.source.committed[A0] == before
    assert bench.source.committed[A1] == Committed(2)
    bench.source.log[A1] += [b"3"] * 5
    bench.step()
    bench.executing()
    bench.pusher.done()
    bench.step()
    bench.step(10)
    assert bench.pusher.forgotten == [], "whoever has A0 may still ask for the first job"


def test_a_job_whose_end_we_could_not_commit_is_left_to_whoever_has_its_partition_now(make: Make) -> None:
    bench = make({A0: [b"1"], A1: []}, records=1, delete=True)
    bench.step()
    bench.executing()
    bench.pusher.done()
    bench.source.accepts_commits = False  # we were evicted, and have not heard of it yet
    bench.step()
    bench.take_away(A0)
    bench.source.accepts_commits = True
    for _ in range(2):
        bench.source.log[A1] += [b"2"]
        bench.step(6)
        bench.executing()
        bench.pusher.done()
        bench.step(6)
    assert bench.pusher.forgotten == ["job-2"], "job-1 stands in the intent of A0"


def test_a_job_without_effect_gives_way_to_another_with_its_own_intents(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.step()
    prepared = bench.executing()
    bench.pusher.to_apply.clear()
    bench.pusher.receipts.append(JobFailed(prepared.load, prepared.job_id, "ERROR", ("no",)))
    bench.step(6)
    assert noted(bench, A0) is None
    again = bench.executing()
    assert noted(bench, A0) == parse(intent(again.job_id, 1))


def test_an_execute_in_doubt_keeps_its_intents_and_its_job(make: Make) -> None:
    bench = make({A0: [b"1"], A1: [b"2"]}, records=2)
    bench.step()
    prepared = bench.executing()
    bench.pusher.to_apply.clear()
    bench.pusher.receipts.append(Doubtful(prepared.load, prepared, 3.0, "no answer"))
    bench.step()
    bench.take_away(A1)
    bench.step(3.1)
    assert list(bench.pusher.to_apply) == [prepared], "not built again: the job may have run"
    assert bench.pusher.forgotten == []
    assert noted(bench, A0) is not None


def test_a_table_that_halts_while_its_job_may_run_leaves_the_intents(make: Make) -> None:
    bench = make({A0: [b"1"]}, records=1)
    bench.step()
    prepared = bench.executing()
    bench.pusher.to_apply.clear()
    bench.pusher.receipts.append(Broken(prepared.load, "job is RUNNING after 2 h", "look at it"))
    bench.step()
    bench.step(10)
    assert noted(bench, A0) == parse(intent(prepared.job_id, 1))


# --- assign ---------------------------------------------------------------------------------------------------


@pytest.fixture
def found(make: Make) -> Bench:
    """A bench that has just been assigned A0 under an intent, and A1 without one."""
    bench = make({})
    bench.source.log = {A0: [b"1"] * 9, A1: [b"2"] * 2}
    bench.source.committed = {A0: Committed(3, intent("job-7", 7))}
    bench.assign(A0, A1)
    bench.step()
    return bench


def test_a_partition_under_an_intent_waits_while_the_others_flow(found: Bench) -> None:
    assert list(found.pusher.to_ask) == ["job-7"]
    assert held(found) == {A0: "intent"}
    assert found.source.positions == {A0: 3, A1: 2}
    found.step(30)
    assert found.source.committed[A0] == Committed(3, intent("job-7", 7)), "its note is left as it is"


def test_a_job_that_is_done_moves_the_partition_to_its_end(found: Bench) -> None:
    found.pusher.receipts.append(Seen("job-7", Status.DONE))
    found.step()
    assert found.source.committed[A0] == Committed(7)
    found.step()
    assert (held(found), found.source.positions[A0]) == ({}, 9)


def test_a_job_that_is_new_is_rolled_forward_within_the_budget(found: Bench) -> None:
    left = found.budget.pushes
    found.pusher.receipts.append(Seen("job-7", Status.NEW))
    found.step()
    assert list(found.pusher.to_resume) == ["job-7"]
    assert found.budget.pushes == left - 1
    found.pusher.receipts.append(Seen("job-7", Status.DONE))
    found.step()
    assert found.source.committed[A0] == Committed(7)
    assert found.pipeline.recovery.rolled_forward == 1


def test_a_job_that_is_new_waits_for_the_budget(found: Bench) -> None:
    found.budget.opens_in = 100.0
    found.pusher.receipts.append(Seen("job-7", Status.NEW))
    found.step()
    found.step(99)
    assert not found.pusher.to_resume
    found.budget.opens_in = 0.0
    found.step(2)
    assert list(found.pusher.to_resume) == ["job-7"]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_a_job_that_runs_is_waited_for_without_the_budget(found: Bench, status: Status) -> None:
    left = found.budget.pushes
    found.pusher.receipts.append(Seen("job-7", status))
    found.step()
    assert list(found.pusher.to_resume) == ["job-7"]
    assert found.budget.pushes == left


@pytest.mark.parametrize("status", [Status.ERROR, Status.CANCELED])
def test_a_job_without_effect_lets_the_partition_go_on_from_where_it_was(found: Bench, status: Status) -> None:
    found.pusher.receipts.append(Seen("job-7", status, ("no",)))
    found.step()
    assert found.source.committed[A0] == Committed(3)
    assert found.pipeline.recovery.rolled_forward == 0
    found.step()
    assert found.source.positions[A0] == 9
    assert found.sink("a").buffer.fill.records == 8


def test_an_unknown_job_lets_a_keyed_table_go_on_and_holds_an_append_table(make: Make) -> None:
    bench = make({})
    bench.keyed.add("b")
    bench.source.log = {A0: [b"1"] * 9, B0: [b"2"] * 9}
    bench.source.committed = {A0: Committed(3, intent("gone-a", 7)), B0: Committed(3, intent("gone-b", 7, "b"))}
    bench.assign(A0, B0)
    bench.step()
    bench.pusher.receipts += [Seen("gone-a", None), Seen("gone-b", None)]
    bench.step()
    bench.step(10)
    assert held(bench) == {A0: "refused"}
    assert "gone-a" in bench.pipeline.recovery.refused[A0]
    assert bench.source.committed[A0] == Committed(3, intent("gone-a", 7))
    assert bench.source.positions[B0] == 9


def test_no_answer_about_a_job_is_asked_for_again(found: Bench) -> None:
    found.pusher.to_ask.clear()
    found.pusher.receipts.append(Unseen("job-7", 5.0, "no answer"))
    found.step()
    found.step(4)
    assert not found.pusher.to_ask
    found.step(1.1)
    assert list(found.pusher.to_ask) == ["job-7"]


def test_credentials_refused_while_rolling_forward_end_the_service(found: Bench) -> None:
    found.pusher.receipts.append(Unseen("job-7", 5.0, "401", fatal=True))
    with pytest.raises(CelonisUnauthorized):
        found.step()


def test_a_refused_roll_forward_closes_the_hour(found: Bench) -> None:
    found.pusher.receipts.append(Unseen("job-7", None, "429", exhausted=True))
    found.step()
    assert found.budget.refusals == [None]


def test_no_load_of_the_table_is_flushed_before_its_found_job_is_final(found: Bench) -> None:
    found.step(61)
    assert not found.pusher.to_prepare, "one job per table"
    found.pusher.receipts.append(Seen("job-7", Status.DONE))
    found.step()
    assert [load.target.table for load in found.pusher.to_prepare] == ["a"]


def test_a_partition_that_goes_away_while_it_waits_is_forgotten(found: Bench) -> None:
    found.take_away(A0)
    found.pusher.receipts.append(Seen("job-7", Status.DONE))
    found.step()
    assert A0 not in found.source.positions
    assert found.source.committed[A0] == Committed(3, intent("job-7", 7))


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("by hand", "not written by this product"),
        (intent("job-7", 7).replace('"v":1', '"v":9'), "another version"),
        (intent("job-7", 7, "other"), "another topic"),
        (intent("job-7", 2), "before the committed offset"),
    ],
)
def test_what_cannot_be_acted_on_holds_its_partition_until_a_person_moves_it(
    make: Make, metadata: str, reason: str
) -> None:
    bench = make({})
    bench.source.log = {A0: [b"1"] * 9, A1: [b"2"] * 2}
    bench.source.committed = {A0: Committed(3, metadata)}
    bench.assign(A0, A1)
    bench.step()
    bench.step(10)
    assert held(bench) == {A0: "refused"}
    assert reason in bench.pipeline.recovery.refused[A0]
    assert bench.source.committed[A0] == Committed(3, metadata)
    assert bench.source.positions[A1] == 2
    bench.take_away(A0)
    bench.source.committed[A0] = Committed(5)
    bench.assign(A0)
    bench.step()
    bench.step()
    assert (held(bench), bench.source.positions[A0]) == ({}, 9)
