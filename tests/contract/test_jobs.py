"""The job: its fields, its states, which operation is legal in which (data-push-api.md, "Operations", "The job")."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.api import CONNECTION, DELETE, OTHER_POOL, POOL, UPSERT, WAIT, Api, errors, parquet, schema

if TYPE_CHECKING:
    from tests.contract.conftest import Start

FIELDS = {
    "id", "targetName", "dataPoolId", "connectionId", "type", "fileType", "keys", "upsertStrategy",
    "fallbackVarcharLength", "tableSchema", "csvParsingOptions", "allowDuplicate", "foreignKeys", "postExecutionQuery",
    "mirrorTargetNames", "changeDate", "targetSchema", "status", "logs", "lastModified", "lastPing",
}  # fmt: skip


def test_a_new_job_has_every_field_and_explicit_nulls(start: Start, table: str) -> None:
    api = start(clock=lambda: 1_700_000_000.5)
    job = api.create(table).json()
    assert set(job) == FIELDS
    assert {name for name, value in job.items() if value is None} == FIELDS - {
        "id", "targetName", "dataPoolId", "type", "fileType", "status", "logs", "lastModified", "lastPing",
    }  # fmt: skip
    assert (job["status"], job["logs"], job["fileType"], job["dataPoolId"]) == ("NEW", [], "PARQUET", POOL)
    assert job["lastModified"] == 1_700_000_000_500
    assert api.get(job["id"]) == job


def test_explicit_nulls_and_fields_of_the_answer_are_taken_as_the_official_client_sends_them(
    api: Api, table: str
) -> None:
    sent = dict.fromkeys(FIELDS) | {"targetName": table, "type": "REPLACE", "status": None, "extra": 1}
    answer = api.request("POST", "/jobs/", json=sent)
    assert answer.status_code == 200
    assert (answer.json()["fileType"], answer.json()["type"]) == ("PARQUET", "REPLACE")


def test_optional_fields_are_kept_and_answered(api: Api, table: str) -> None:
    described = schema(id="STRING", at="DATETIME")["columns"]
    sent: dict[str, Any] = {
        "dataPoolId": POOL,
        "connectionId": CONNECTION,
        "keys": ["id"],
        "fileType": "CSV",
        "upsertStrategy": "UPSERT_WITH_NULLIFICATION",
        "fallbackVarcharLength": 65000,
        "tableSchema": {"tableName": table, "columns": described},
        "csvParsingOptions": {"separatorSequence": ";", "dateFormat": "dd.MM.yyyy"},
        "allowDuplicate": True,
        "foreignKeys": "id",
        "postExecutionQuery": "SELECT 1",
        "mirrorTargetNames": ["M"],
        "changeDate": 1_700_000_000_000,
        "targetSchema": "S",
    }
    job = api.get(api.new(table, **sent))
    for name, value in sent.items():
        if isinstance(value, dict):
            assert {k: v for k, v in job[name].items() if v is not None and k != "columns"} == {
                k: v for k, v in value.items() if k != "columns"
            }
        else:
            assert job[name] == value, name
    assert [c["columnType"] for c in job["tableSchema"]["columns"]] == ["STRING", "DATETIME"]
    assert job["csvParsingOptions"]["quoteSequence"] is None


@pytest.mark.parametrize(
    ("fields", "attribute"),
    [
        ({"type": "MERGE"}, "type"),
        ({"type": None}, "type"),
        ({"targetName": ""}, "targetName"),
        ({"targetName": None}, "targetName"),
        ({"targetName": "a.b"}, "targetName"),
        ({"fileType": "XML"}, "fileType"),
        ({"connectionId": "no-uuid"}, "connectionId"),
        ({"dataPoolId": OTHER_POOL}, "dataPoolId"),
        ({"keys": "id"}, "keys"),
        ({"keys": [None]}, "keys.0"),
        ({"upsertStrategy": "SOME"}, "upsertStrategy"),
        ({"fallbackVarcharLength": 0}, "fallbackVarcharLength"),
        ({"fallbackVarcharLength": 65001}, "fallbackVarcharLength"),
        ({"tableSchema": schema(a="DECIMAL")}, "tableSchema.columns.0.columnType"),
        ({"tableSchema": schema(a=("STRING", 65001))}, "tableSchema.columns.0.fieldLength"),
        ({"tableSchema": schema(a="STRING", A="STRING")}, "tableSchema.columns"),
        ({"tableSchema": schema(**{"a b": "STRING"})}, "tableSchema"),
        ({"tableSchema": schema(epoch="STRING")}, "tableSchema"),
        ({"tableSchema": schema(a="STRING"), "keys": ["b"]}, "job"),
        ({"csvParsingOptions": {"dateFormat": "yyyy-QQ"}}, "csvParsingOptions"),
        ({"csvParsingOptions": {"charSet": "klingon"}}, "csvParsingOptions"),
        ({"changeDate": "2024-01-01"}, "changeDate"),
    ],
)
def test_a_job_that_cannot_be_is_refused(api: Api, fields: dict[str, Any], attribute: str) -> None:
    answer = api.request("POST", "/jobs/", json={"targetName": "T", "type": "DELTA"} | fields)
    assert answer.status_code == 400
    assert [error["attribute"] for error in answer.json()["errors"]] == [attribute]
    assert set(answer.json()["errors"][0]) == {"attribute", "error", "errorCode", "additionalInfo"}


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b'"text"'])
def test_a_body_that_is_no_job_is_refused(api: Api, content: bytes) -> None:
    assert api.request("POST", "/jobs/", content=content).status_code == 400


def test_all_jobs_of_the_pool_are_listed_without_paging(start: Start) -> None:
    api = start()
    jobs = [api.new(f"T{i}") for i in range(60)]
    assert [job["id"] for job in api.request("GET", "/jobs/").json()] == jobs


def test_a_job_goes_from_new_to_done_and_stays_there(start: Start, table: str) -> None:
    api = start(latencies={"run": 0.05})
    job = api.new(table)
    api.upload(job, parquet(a=[1]))
    assert api.get(job)["status"] == "NEW"
    answer = api.execute(job)
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.get(job)["status"] in ("QUEUED", "RUNNING")
    assert api.emulator.wait_idle(WAIT)
    assert api.get(job)["status"] == "DONE"


def in_status(api: Api, table: str, status: str) -> str:
    """Return a job in `status`; RUNNING lasts as long as the emulator's `run` latency."""
    job = api.new(table, keys=["a"])
    if status == "CANCELED":
        assert api.request("POST", f"/jobs/{job}/cancel").status_code == 200
    elif status in ("DONE", "ERROR", "RUNNING"):
        api.upload(job, parquet(a=[1]))
        if status == "ERROR":
            api.upload(job, parquet(a=["x"]))
        assert api.execute(job).status_code == 200
        if status != "RUNNING":
            assert api.emulator.wait_idle(WAIT)
    assert api.get(job)["status"] in (status, {"RUNNING": "QUEUED"}.get(status, status))
    return job


LEGAL = {
    "upload": ["NEW"],
    "execute": ["NEW"],
    "cancel": ["NEW", "RUNNING"],
    "delete": ["NEW", "DONE", "ERROR", "CANCELED"],
    "get": ["NEW", "RUNNING", "DONE", "ERROR", "CANCELED"],
    "list-chunks": ["NEW", "RUNNING", "DONE", "ERROR", "CANCELED"],
}


@pytest.mark.parametrize("status", ["NEW", "RUNNING", "DONE", "ERROR", "CANCELED"])
@pytest.mark.parametrize("operation", LEGAL)
def test_an_operation_is_legal_in_its_states_only(
    start: Start, api: Api, table: str, operation: str, status: str
) -> None:
    if status == "RUNNING":
        api = start(latencies={"run": 600})
    job = in_status(api, table, status)
    calls = {
        "upload": lambda: api.upload(job, parquet(a=[1])),
        "execute": lambda: api.execute(job),
        "cancel": lambda: api.request("POST", f"/jobs/{job}/cancel"),
        "delete": lambda: api.request("DELETE", f"/jobs/{job}"),
        "get": lambda: api.request("GET", f"/jobs/{job}"),
        "list-chunks": lambda: api.request("GET", f"/jobs/{job}/chunks"),
    }
    answer = calls[operation]()
    if status in LEGAL[operation]:
        assert answer.status_code == 200
        assert status == "RUNNING" or api.emulator.wait_idle(WAIT)
    else:
        assert errors(answer) == ["illegal-status"]
        assert api.get(job)["status"] in (status, "QUEUED")


def test_a_deleted_job_is_gone_and_its_table_stays(api: Api, table: str) -> None:
    job = api.new(table)
    api.upload(job, parquet(a=[1]))
    api.execute(job)
    assert api.emulator.wait_idle(WAIT)
    assert api.request("DELETE", f"/jobs/{job}").status_code == 200
    assert api.request("GET", f"/jobs/{job}").status_code == 404
    assert api.request("GET", f"/jobs/{job}/chunks").status_code == 404
    assert api.emulator.query(f"SELECT a FROM {table}") == [(1,)]


@pytest.mark.parametrize("run", [0, 600])
def test_a_cancelled_job_has_no_effect(start: Start, table: str, run: float) -> None:
    api = start(latencies={"run": run})
    job = api.new(table)
    api.upload(job, parquet(a=[1]))
    if run:
        api.execute(job)
    assert api.request("POST", f"/jobs/{job}/cancel").status_code == 200
    assert api.emulator.wait_idle(WAIT)
    assert api.get(job)["status"] == "CANCELED"
    assert tables(api) == []


def tables(api: Api) -> list[str]:
    sql = "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND schema_name <> '_emulator'"
    return [name for (name,) in api.emulator.query(sql)]


def test_chunks_are_listed_with_type_date_and_checksum(api: Api, table: str) -> None:
    job = api.new(table, keys=["a"])
    first, second = parquet(a=[1]), parquet(a=[2])
    assert api.upload(job, first, UPSERT).content == b""
    api.upload(job, second, DELETE)
    chunks = api.request("GET", f"/jobs/{job}/chunks").json()
    assert [c["type"] for c in chunks] == ["UPSERT", "DELETE"]
    assert [c["checksum"] for c in chunks] == [
        hashlib.md5(d, usedforsecurity=False).hexdigest() for d in (first, second)
    ]
    assert {c["pushJobId"] for c in chunks} == {job}
    assert all(set(c) == {"id", "creationDate", "type", "pushJobId", "checksum"} for c in chunks)
    assert all(isinstance(c["creationDate"], int) and c["creationDate"] > 1_000_000_000_000 for c in chunks)


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"type": "REPLACE", "keys": ["a"]}, "not-delta"), ({"type": "DELTA"}, "no-keys")],
)
def test_chunks_to_delete_need_delta_and_keys(api: Api, table: str, fields: dict[str, Any], code: str) -> None:
    assert errors(api.upload(api.new(table, **fields), parquet(a=[1]), DELETE)) == [code]


def test_of_many_executes_at_once_one_runs_the_job(api: Api, table: str) -> None:
    job = api.new(table)
    api.upload(job, parquet(a=[1]))
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(api.execute(job).status_code)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert sorted(statuses) == [200, 400, 400, 400, 400, 400]
    assert api.emulator.wait_idle(WAIT)
    assert api.emulator.query(f"SELECT count(*) FROM {table}") == [(1,)]
