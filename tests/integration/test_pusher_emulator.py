"""The pusher against the emulator over real HTTP: whatever goes wrong, rows of an append table are stored once."""

from __future__ import annotations

import math
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pytest

from connector.celonis.auth import OAuthClientCredentials
from connector.celonis.client import DataPushClient
from connector.celonis.pusher import JobPusher
from connector.config import OAuth
from connector.core.jobs import Status
from connector.core.loads import Broken, Chunk, Done, Doubtful, Empty, JobFailed, Prepared, Throttled, Unreadable
from connector.errors import CelonisError, SpoolDamaged, SpoolFull
from tests.integration.pushing import CHUNKS, IDS, POOL, QUICK, ROWS, WAIT, Bench, load_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    GoOn = Callable[[], httpx.Response]

ONCE = [
    *(
        f"create:1:{what}"
        for what in ("504-before", "504-after", "cut-after", "html-after", "empty-after", "503", "429")
    ),
    "create:1-2:500-after",
    *(f"upload:2:{what}" for what in ("504-before", "504-after", "cut-before", "cut-after", "500-after", "408-after")),
    *(
        f"upload:2:{what}"
        for what in ("503-before", "503-after", "html-before", "html-after", "empty-before", "302-after")
    ),
    *(f"list-chunks:1:{what}" for what in ("504", "html", "empty", "cut", "503")),
    *(f"execute:1:{what}" for what in ("504-before", "504-after", "cut-before", "cut-after", "500-after", "408-after")),
    *(
        f"execute:1:{what}"
        for what in ("503-before", "503-after", "409-before", "409-after", "429-before", "429-after")
    ),
    *(f"execute:1:{what}" for what in ("html-before", "html-after", "empty-before", "empty-after", "302-before")),
    "execute:1-3:504-before",
    *(f"get:1:{what}" for what in ("503", "504", "html", "empty", "cut", "429")),
    *(f"get:2-4:{what}" for what in ("504", "html", "cut")),
]


@pytest.mark.parametrize("fault", ONCE)
def test_rows_of_an_append_table_are_stored_once_and_executed_once_after(fault: str, tmp_path: Path) -> None:
    with Bench(tmp_path, fault, emulator={"hints": "none"}) as bench:
        done = bench.done(load_of())
        assert bench.stored() == IDS
        assert bench.executed() == 1
        assert done.rows == len(IDS)


def test_several_troubles_in_one_push_still_store_its_rows_once(tmp_path: Path) -> None:
    faults = "create:1:504-after", "upload:1:504-after", "upload:4:cut-after", "list-chunks:2:503", "delete:1:500"
    with Bench(tmp_path, *faults, "execute:1:504-before", "execute:2:504-after", "get:3:503") as bench:
        bench.done(load_of())
        assert bench.stored() == IDS
        assert bench.executed() == 1


def test_an_answer_that_comes_too_late_counts_as_lost(tmp_path: Path) -> None:
    with Bench(tmp_path, "upload:1:timeout=10-after", "execute:1:timeout=10-after") as bench:
        bench.pusher = JobPusher(bench.connect(timeout=0.3, upload_timeout=0.3), bench.chunks, pace=QUICK)
        bench.done(load_of())
        bench.pusher.close()
        assert bench.stored() == IDS
        assert bench.executed() == 1


def test_a_load_goes_up_as_one_job_with_its_columns_keys_and_connection(tmp_path: Path) -> None:
    connection = "aaaaaaaa-2222-3333-4444-555555555555"
    with Bench(tmp_path, connection_id=connection) as bench:
        prepared = bench.prepared(load_of("id"))
        job = bench.client.get_job(prepared.job_id)
        assert (job.status, job.table, job.connection_id) == (Status.NEW, "T", connection)
        assert job.table_schema is not None
        assert [(c["columnName"], c["columnType"], c["pkField"]) for c in job.table_schema["columns"]] == [
            ("id", "INTEGER", True)
        ]
        assert len(bench.client.list_chunks(job.id)) == len(prepared.chunks) == CHUNKS
        assert isinstance(bench.apply(prepared), Done)


@pytest.mark.parametrize("fault", ["upload:1:503-before", "upload:2:504-after", "upload:2:cut-before"])
def test_chunks_of_deletes_delete_in_the_same_job_and_are_counted_apart(fault: str, tmp_path: Path) -> None:
    with Bench(tmp_path, fault) as bench:
        bench.done(load_of("id"))
        bench.build = lambda load: (
            bench.chunk(load, range(1000, 1003)),
            replace(bench.chunk(load, IDS[:5]), deletes=True),
        )
        prepared = bench.prepared(load_of("id", load_id="load-2"))
        assert sorted(c.type for c in bench.client.list_chunks(prepared.job_id)) == ["DELETE", "UPSERT"]
        done = bench.apply(prepared)
        assert isinstance(done, Done)
        assert (done.rows, done.deleted) == (3, 5)
        assert bench.stored() == [*IDS[5:], 1000, 1001, 1002]


def test_a_load_that_replaces_takes_the_place_of_all_rows_and_knows_no_deletes(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        assert isinstance(bench.push(load_of("id")), Done)
        load = load_of("id", load_id="load-2")
        load = replace(load, target=replace(load.target, replace=True))
        bench.build = lambda _: (bench.chunk(load, [90, 91]), replace(bench.chunk(load, [0]), deletes=True))
        assert isinstance(bench.push(load), Done)
        assert bench.stored() == [90, 91]


def test_a_job_that_is_in_doubt_before_its_execute_is_deleted(tmp_path: Path) -> None:
    with Bench(tmp_path, "upload:2:504-after") as bench:
        bench.done(load_of())
        assert [job.status for job in bench.client.list_jobs()] == [Status.DONE]


# --- grants ---------------------------------------------------------------------------------------------------


def test_a_grant_that_ran_out_is_not_used_and_costs_nothing(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        prepared = bench.prepared(load_of())
        bench.pusher.apply(prepared, -math.inf)
        receipt = bench.settled()
        assert isinstance(receipt, Doubtful)
        assert (receipt.late, receipt.executed, receipt.prepared) == (True, False, prepared)
        assert bench.requests()["execute"] == 0


def test_what_is_done_tells_how_long_it_took_and_how_much_of_it_executing(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        prepared = bench.prepared(load_of())
        done = bench.apply(prepared)
        assert isinstance(done, Done)
        assert done.executing > 0
        assert done.seconds == pytest.approx(prepared.seconds + done.executing)


# --- late effects ---------------------------------------------------------------------------------------------


class LateUpload:
    """The first upload answers `status` at once, and its chunk comes in only before the second list of chunks."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._late: GoOn | None = None
        self.came_in = 0
        self._seen: list[str] = []

    def __call__(self, request: httpx.Request, go_on: GoOn) -> httpx.Response:
        kind = request.url.path.rsplit("/", 1)[-1]
        self._seen.append(kind)
        if kind == "upserted" and self._seen.count(kind) == 1:
            headers, body = dict(request.headers), request.read()
            self._late = lambda: httpx.post(request.url, headers=headers, content=body, trust_env=False)
            return httpx.Response(self._status)
        if kind == "chunks" and self._seen.count(kind) == 2 and self._late:
            self.came_in = self._late().status_code
        return go_on()


@pytest.mark.parametrize("status", [503, 504])
def test_a_chunk_that_comes_in_after_it_was_sent_again_is_noticed_before_the_execute(
    status: int, tmp_path: Path
) -> None:
    with Bench(tmp_path) as bench:
        bench.transport.tamper = late = LateUpload(status)
        bench.done(load_of())
        assert late.came_in == (200 if status == 503 else 404), "503 was repeated, 504 made another job"
        assert bench.stored() == IDS
        assert bench.executed() == 1


def test_a_chunk_that_is_there_twice_does_not_pass_for_one_that_was_lost(tmp_path: Path) -> None:
    uploads: list[str] = []

    def first_twice_second_never(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if not request.url.path.endswith("upserted"):
            return go_on()
        uploads.append(request.url.path)
        if len(uploads) == 2:
            return httpx.Response(504)
        if len(uploads) == 1:
            headers, body = dict(request.headers), request.read()
            httpx.post(request.url, headers=headers, content=body, trust_env=False)
        return go_on()

    with Bench(tmp_path) as bench:
        bench.transport.tamper = first_twice_second_never
        bench.done(load_of())
        assert bench.stored() == IDS


def test_an_execute_that_comes_in_late_makes_the_next_one_a_refusal_and_is_no_trouble(tmp_path: Path) -> None:
    executes: list[httpx.Request] = []

    def hold_the_first(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if (
            request.method == "POST"
            and "/jobs/" in request.url.path
            and not request.url.path.endswith(("/", "upserted"))
        ):
            executes.append(request)
            if len(executes) == 1:
                raise httpx.ReadTimeout("late")
            go_on().read()  # the first one comes in now
        return go_on()

    with Bench(tmp_path) as bench:
        bench.transport.tamper = hold_the_first
        bench.done(load_of())
        assert len(executes) == 2
        assert bench.stored() == IDS
        assert bench.executed() == 1


def test_a_job_that_cannot_be_given_up_is_asked_about_again(tmp_path: Path) -> None:
    lies = {"chunks": 1, "delete": 1}

    def lie(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if request.method == "GET" and request.url.path.endswith("/chunks") and lies["chunks"]:
            lies["chunks"] -= 1
            return httpx.Response(200, json=[])
        if request.method == "DELETE" and lies["delete"]:
            lies["delete"] -= 1
            return httpx.Response(400)
        return go_on()

    with Bench(tmp_path) as bench:
        prepared = bench.prepared(load_of())
        bench.transport.tamper = lie
        receipt = bench.apply(prepared)
        assert isinstance(receipt, Doubtful)
        assert receipt.prepared is prepared, "it may be executed already: another job could double its rows"
        assert isinstance(bench.apply(prepared), Done)
        assert bench.stored() == IDS


def test_a_list_of_chunks_that_never_fits_prepares_nothing_and_leaves_no_job(tmp_path: Path) -> None:
    def lie(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        lied = request.url.path.endswith("/chunks")
        return httpx.Response(200, json=[{"id": "x", "type": "UPSERT"}] * 7) if lied else go_on()

    with Bench(tmp_path) as bench:
        bench.transport.tamper = lie
        receipt = bench.prepare(load_of())
        assert isinstance(receipt, Doubtful)
        assert receipt.prepared is None
        assert "holds 7 chunks instead of 3" in receipt.detail
        assert bench.client.list_jobs() == []
        assert bench.executed() == 0


# --- not now --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hints", ["ratelimit", "retry-after", "none"])
def test_a_spent_budget_comes_back_as_exhausted_with_the_hint_and_the_job_is_kept(hints: str, tmp_path: Path) -> None:
    with Bench(tmp_path, emulator={"per_hour": 1, "hints": hints}) as bench:
        bench.done(load_of(load_id="first"))
        prepared = bench.prepared(load_of(load_id="second"))
        receipt = bench.apply(prepared)
        assert isinstance(receipt, Throttled)
        assert receipt.exhausted
        assert receipt.prepared is prepared
        assert (receipt.wait is None) if hints == "none" else (receipt.wait is not None and 0 < receipt.wait <= 3600)


def test_a_job_that_runs_elsewhere_in_the_pool_throttles_without_spending_the_hour(tmp_path: Path) -> None:
    with Bench(tmp_path, emulator={"latencies": {"run": 0.3}}) as bench:
        other, prepared = bench.prepared(load_of("id", load_id="other")), bench.prepared(load_of("id"))
        bench.client.execute(other.job_id)
        receipt = bench.apply(prepared)
        assert isinstance(receipt, Throttled)
        assert not receipt.exhausted
        assert receipt.prepared is prepared
        assert bench.emulator.wait_idle(WAIT)
        assert isinstance(bench.apply(prepared), Done)


def test_a_hint_that_is_longer_than_the_patience_is_given_to_the_loop_at_once(tmp_path: Path) -> None:
    with Bench(tmp_path, "create:1+:429") as bench:
        receipt = bench.prepare(load_of())
        assert isinstance(receipt, Throttled)
        assert not receipt.exhausted, "only an execute spends the hour"
        assert receipt.prepared is None
        assert receipt.wait is not None
        assert bench.requests()["create"] == 1 or receipt.wait <= QUICK.give_back


def test_a_platform_that_is_away_ends_the_patience_and_then_comes_back_as_doubt(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench, socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and never listens
        prepared = bench.prepared(load_of())
        away = bench.connect(f"http://127.0.0.1:{held.getsockname()[1]}")
        bench.pusher = JobPusher(away, bench.chunks, pace=QUICK)
        receipt = bench.prepare(load_of())
        assert isinstance(receipt, Doubtful)
        assert (receipt.prepared, receipt.wait) == (None, QUICK.again)
        receipt = bench.apply(prepared)
        assert isinstance(receipt, Doubtful)
        assert receipt.prepared is prepared
        assert "celonis.team_url" in receipt.detail
        bench.pusher.close()


def test_a_job_that_stays_new_although_its_execute_was_accepted_is_in_doubt_and_goes_on_later(tmp_path: Path) -> None:
    with Bench(tmp_path, "execute:1:empty-before") as bench:
        prepared = bench.prepared(load_of())
        receipt = bench.apply(prepared)
        assert isinstance(receipt, Doubtful)
        assert receipt.detail.endswith("is still NEW")
        assert isinstance(bench.apply(prepared), Done)
        assert bench.executed() == 1


# --- never ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "fault", "hint", "fatal"),
    [
        ("wrong", "get:9:cut", "celonis.auth", True),
        ("no-permission", "get:9:cut", "celonis.pool_id", False),
        ("application-key", "create:1:404", "celonis.api_prefix", False),
        ("application-key", "create:1:400", "mend what the answer says", False),
        ("application-key", "upload:2:413", "spool.chunk_bytes", False),
        ("application-key", "upload:2:400", "mend what the answer says", False),
        ("application-key", "list-chunks:1:403", "celonis.pool_id", False),
    ],
)
def test_what_repeating_cannot_help_names_the_setting_and_leaves_no_job(
    key: str, fault: str, hint: str, *, fatal: bool, tmp_path: Path
) -> None:
    with Bench(tmp_path, fault, key=key) as bench:
        receipt = bench.prepare(load_of())
        assert isinstance(receipt, Broken)
        assert receipt.fatal is fatal
        assert hint in receipt.hint
        assert receipt.hint not in receipt.error, "who shows it adds the hint"
    with Bench(tmp_path) as bench:
        assert bench.client.list_jobs() == []


@pytest.mark.parametrize(("fault", "fatal"), [("execute:1:401", True), ("execute:1:403", False), ("get:1:401", True)])
def test_what_the_execute_refuses_breaks_the_push_and_nothing_was_stored(
    fault: str, tmp_path: Path, *, fatal: bool
) -> None:
    with Bench(tmp_path, fault) as bench:
        receipt = bench.push(load_of())
        assert isinstance(receipt, Broken)
        assert receipt.fatal is fatal
        assert bench.executed() == 0


def test_a_job_that_ends_in_error_tells_its_log(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build = lambda load: (bench.chunk(load, range(1), pa.array(["text"])),)
        receipt = bench.push(load_of())
        assert isinstance(receipt, JobFailed)
        assert receipt.status == "ERROR"
        assert "the tableSchema says INTEGER, the file holds STRING" in " ".join(receipt.logs)


def test_a_job_that_someone_cancels_has_failed(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        prepared = bench.prepared(load_of())
        bench.client.cancel_job(prepared.job_id)
        receipt = bench.apply(prepared)
        assert isinstance(receipt, JobFailed)
        assert receipt.status == "CANCELED"
        assert bench.executed() == 0


def test_a_job_that_is_done_already_is_done_without_another_execute(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        prepared = bench.prepared(load_of())
        bench.client.execute(prepared.job_id)
        assert bench.emulator.wait_idle(WAIT)
        assert isinstance(bench.apply(prepared), Done)
        assert bench.requests()["execute"] == 1


def test_a_job_that_vanished_is_made_again_where_the_table_has_keys(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        prepared = bench.prepared(load_of("id"))
        bench.client.delete_job(prepared.job_id)
        receipt = bench.apply(prepared)
        assert isinstance(receipt, Doubtful)
        assert receipt.prepared is None
        bench.done(load_of("id"))
        assert bench.stored() == IDS


def test_a_job_that_vanished_halts_a_table_without_keys(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        prepared = bench.prepared(load_of())
        bench.client.delete_job(prepared.job_id)
        receipt = bench.apply(prepared)
        assert isinstance(receipt, Broken)
        assert not receipt.fatal
        assert "look into the table" in receipt.hint


def test_a_job_that_vanishes_during_its_upload_is_made_again(tmp_path: Path) -> None:
    deleted: list[str] = []

    def delete_first(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if request.url.path.endswith("/upserted") and not deleted:
            deleted.append(request.url.path.split("/")[-3])
            bench.client.delete_job(deleted[0])
        return go_on()

    with Bench(tmp_path) as bench:
        bench.transport.tamper = delete_first
        bench.done(load_of())
        assert len(deleted) == 1
        assert bench.stored() == IDS


def test_a_token_endpoint_that_is_not_there_is_no_vanished_job(tmp_path: Path) -> None:
    oauth = OAuth.model_validate({"client_id": "c", "client_secret": "s"})
    with Bench(tmp_path) as bench:
        prepared = bench.prepared(load_of("id"))
        auth = OAuthClientCredentials(oauth, f"{bench.emulator.url}/nowhere")
        with DataPushClient(bench.emulator.url, POOL, auth, transport=httpx.HTTPTransport()) as client:
            bench.pusher = JobPusher(client, bench.chunks, pace=QUICK)
            receipt = bench.apply(prepared)
            bench.pusher.close()
        assert isinstance(receipt, Broken)
        assert receipt.error.startswith("token: 404")


def test_a_job_that_runs_too_long_breaks_the_push_and_names_the_setting(tmp_path: Path) -> None:
    with Bench(tmp_path, emulator={"latencies": {"run": 600}}, job_timeout=0.05) as bench:
        receipt = bench.push(load_of())
        assert isinstance(receipt, Broken)
        assert "celonis.job_timeout" in receipt.hint


# --- the disk, and ourselves ----------------------------------------------------------------------------------


def test_a_load_without_records_needs_no_job(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build = lambda _: ()
        assert isinstance(bench.prepare(load_of()), Empty)
        assert bench.requests()["create"] == 0


def test_a_chunk_that_the_disk_lost_makes_the_load_unreadable_and_leaves_no_job(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build = lambda load: (*bench.chunks(load, 1), Chunk(tmp_path / "gone", ROWS, 1))
        assert isinstance(bench.prepare(load_of()), Unreadable)
        assert bench.client.list_jobs() == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SpoolDamaged("a segment is gone"), Unreadable),
        (FileNotFoundError("a segment is gone"), Unreadable),
        (SpoolFull("no space left"), Doubtful),
        (OSError("input/output error"), Doubtful),
        (ZeroDivisionError("a bug"), Broken),
    ],
)
def test_an_error_of_the_build_ends_in_its_receipt_and_the_next_load_is_pushed(
    error: Exception, kind: type[Any], tmp_path: Path
) -> None:
    def fail(_: object) -> tuple[Chunk, ...]:
        raise error

    with Bench(tmp_path, workers=1) as bench:
        bench.build = fail
        receipt = bench.prepare(load_of())
        assert isinstance(receipt, kind)
        assert str(error) in str(receipt)
        bench.build = bench.chunks
        bench.done(load_of())


def test_each_of_many_loads_ends_in_exactly_one_receipt(tmp_path: Path) -> None:
    with Bench(tmp_path, "upload:3:504-after", "create:2:cut", "list-chunks:4:503", workers=4) as bench:
        loads = [load_of("id", load_id=f"load-{i}") for i in range(12)]
        for load in loads:
            bench.pusher.prepare(load)
        receipts = [bench.settled() for _ in loads]
        assert {type(r) for r in receipts} == {Prepared}
        assert sorted(r.load.id for r in receipts) == sorted(load.id for load in loads)
        assert bench.pusher.finished() == []


def test_forgetting_deletes_a_job_and_one_that_cannot_be_deleted_is_kept_in_silence(tmp_path: Path) -> None:
    with Bench(tmp_path, emulator={"latencies": {"run": 0.2}}, workers=1) as bench:
        done = bench.done(load_of("id", load_id="first"))
        running = bench.prepared(load_of("id", load_id="second"))
        bench.client.execute(running.job_id)
        for job_id in (running.job_id, "unknown", done.job_id):
            bench.pusher.forget(job_id)
        assert isinstance(bench.prepare(load_of("id", load_id="third")), Prepared), "the thread lives, and is past them"
        with pytest.raises(CelonisError):
            bench.client.get_job(done.job_id)
        assert bench.client.get_job(running.job_id).id == running.job_id
        assert bench.emulator.wait_idle(WAIT)


def test_closing_cuts_a_wait_short(tmp_path: Path) -> None:
    asked = threading.Event()

    def note(_: httpx.Request, go_on: GoOn) -> httpx.Response:
        asked.set()
        return go_on()

    pace = QUICK._replace(retry_first=300, retry_longest=300, give_back=3000)
    with Bench(tmp_path, "create:1+:503", pace=pace, workers=1) as bench:
        bench.transport.tamper = note
        bench.pusher.prepare(load_of(load_id="waiting"))
        assert asked.wait(WAIT)
        bench.pusher.prepare(load_of(load_id="queued"))
        bench.pusher.close()
        first, second = bench.settled(), bench.settled()
        assert isinstance(first, Throttled)
        assert isinstance(second, Doubtful)
        assert bench.requests()["create"] == 1


def test_closing_leaves_a_running_job_alone(tmp_path: Path) -> None:
    pace = QUICK._replace(poll_first=300, poll_longest=300)
    with Bench(tmp_path, emulator={"latencies": {"run": 0.3}}, pace=pace) as bench:
        prepared = bench.prepared(load_of())
        bench.pusher.apply(prepared, math.inf)
        assert bench.emulator.wait_until(lambda: bench.executed() == 1, WAIT)
        bench.pusher.close()
        receipt = bench.settled()
        assert isinstance(receipt, Doubtful)
        assert receipt.prepared is prepared
        assert bench.emulator.wait_idle(WAIT)
        assert bench.stored() == IDS


def test_a_client_that_is_closed_under_a_push_is_no_bug_while_the_service_is_closing(tmp_path: Path) -> None:
    building, may_go_on = threading.Event(), threading.Event()

    def build(load: Any) -> tuple[Chunk, ...]:
        building.set()
        assert may_go_on.wait(WAIT)
        return bench.chunks(load)

    with Bench(tmp_path) as bench:
        bench.build = build
        bench.pusher.prepare(load_of())
        assert building.wait(WAIT)
        bench.pusher.close()
        bench.client.close()
        may_go_on.set()
        assert isinstance(bench.settled(), Doubtful)
