"""Every operation of the contract as it goes over the wire, and as its answer is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from connector.celonis.auth import KeyAuth
from connector.celonis.jobs import ColumnParsing, CsvParsing, Job, JobSpec, UploadedChunk
from connector.core.jobs import Status
from connector.errors import CelonisUnreachable, Reaction
from tests.unit.celonis.wire import POOL, TEAM, Wire, answered, job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from connector.celonis.client import DataPushClient

    Call = Callable[[DataPushClient, Path], Any]

SPEC = JobSpec("ORDERS", keys=("id",))

OPERATIONS: list[tuple[str, Call, str, str, Any]] = [
    ("create job", lambda c, _: c.create_job(SPEC), "POST", "/jobs/", job()),
    ("list jobs", lambda c, _: c.list_jobs(), "GET", "/jobs/", [job()]),
    ("get job", lambda c, _: c.get_job("job-1"), "GET", "/jobs/job-1", job()),
    ("add upsert chunk", lambda c, p: c.add_upserts("job-1", p), "POST", "/jobs/job-1/chunks/upserted", None),
    ("add delete chunk", lambda c, p: c.add_deletes("job-1", p), "POST", "/jobs/job-1/chunks/deleted", None),
    ("list chunks", lambda c, _: c.list_chunks("job-1"), "GET", "/jobs/job-1/chunks", []),
    ("execute", lambda c, _: c.execute("job-1"), "POST", "/jobs/job-1", None),
    ("execute by column", lambda c, _: c.execute("job-1", "at"), "POST", "/jobs/job-1?duplicateRemovalColumn=at", None),
    ("cancel", lambda c, _: c.cancel_job("job-1"), "POST", "/jobs/job-1/cancel", None),
    ("delete job", lambda c, _: c.delete_job("job-1"), "DELETE", "/jobs/job-1", None),
]


@pytest.fixture
def chunk(tmp_path: Path) -> Path:
    path = tmp_path / "0.chunk.parquet"
    path.write_bytes(b"PAR1 rows PAR1")
    return path


@pytest.mark.parametrize("prefix", ["/data-ingestion", "/integration"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=[o[0] for o in OPERATIONS])
def test_each_operation_has_its_method_and_path_under_both_prefixes(
    operation: tuple[str, Call, str, str, Any], prefix: str, chunk: Path
) -> None:
    _, call, method, path, answer = operation
    wire = Wire(answered(answer))
    with wire.client(prefix=prefix) as client:
        call(client, chunk)
    assert wire.request.method == method
    assert str(wire.request.url) == f"{TEAM}{prefix}/api/v1/data-push/{POOL}{path}"


@pytest.mark.parametrize("scheme", ["AppKey", "Bearer"])
def test_the_key_goes_in_the_header_alone(scheme: str) -> None:
    wire = Wire(answered([]))
    with wire.client(auth=KeyAuth(scheme, "the-key")) as client:
        client.list_jobs()
    assert wire.request.headers["authorization"] == f"{scheme} the-key"
    assert "the-key" not in str(wire.request.url)
    assert wire.bodies == [b""]
    assert wire.request.headers["user-agent"].startswith("kafka-celonis-connector/")


def test_a_job_names_only_what_was_set() -> None:
    wire = Wire(answered(job()))
    with wire.client() as client:
        client.create_job(JobSpec("ORDERS"))
    assert json.loads(wire.bodies[0]) == {
        "targetName": "ORDERS",
        "dataPoolId": POOL,
        "type": "DELTA",
        "fileType": "PARQUET",
    }


def test_a_job_can_say_all_that_the_contract_has() -> None:
    schema = {"tableName": "T", "columns": [{"columnName": "id", "columnType": "STRING", "fieldLength": 80}]}
    csv = CsvParsing(
        escape_sequence="\\",
        quote_sequence='"',
        separator_sequence=";",
        line_ending="\n",
        char_set="UTF-8",
        decimal_separator=",",
        thousand_separator=".",
        date_format="dd.MM.yyyy",
        columns=(ColumnParsing("at", "yyyy-MM-dd", ".", ","), ColumnParsing("n")),
    )
    spec = JobSpec(
        "T",
        keys=("id",),
        table_schema=schema,
        connection_id="c",
        type="REPLACE",
        file_type="CSV",
        upsert_strategy="UPSERT_WITH_NULLIFICATION",
        fallback_varchar_length=500,
        csv=csv,
    )
    assert spec.to_wire("pool") == {
        "targetName": "T",
        "dataPoolId": "pool",
        "connectionId": "c",
        "type": "REPLACE",
        "fileType": "CSV",
        "keys": ["id"],
        "tableSchema": schema,
        "upsertStrategy": "UPSERT_WITH_NULLIFICATION",
        "fallbackVarcharLength": 500,
        "csvParsingOptions": {
            "escapeSequence": "\\",
            "quoteSequence": '"',
            "separatorSequence": ";",
            "lineEnding": "\n",
            "charSet": "UTF-8",
            "decimalSeparator": ",",
            "thousandSeparator": ".",
            "dateFormat": "dd.MM.yyyy",
            "additionalColumnOptions": [
                {"columnName": "at", "dateFormat": "yyyy-MM-dd", "thousandsSeparator": ".", "decimalSeparator": ","},
                {"columnName": "n"},
            ],
        },
    }


@pytest.mark.parametrize(
    ("file_type", "content_type"), [("PARQUET", b"application/octet-stream"), ("CSV", b"text/csv")]
)
def test_a_chunk_is_one_part_called_file(chunk: Path, file_type: str, content_type: bytes) -> None:
    wire = Wire(answered())
    with wire.client() as client:
        client.add_upserts("job-1", chunk, file_type)
    head, _, rest = wire.bodies[0].partition(b"\r\n\r\n")
    assert wire.request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="file"; filename="0.chunk.parquet"' in head
    assert b"Content-Type: " + content_type in head
    assert rest.startswith(b"PAR1 rows PAR1\r\n--")
    assert wire.request.headers["content-length"] == str(len(wire.bodies[0]))


def test_a_job_is_read_with_nulls_and_unknown_fields() -> None:
    wire = Wire(answered(job(status="QUEUED", somethingNew={"a": [1]}, optionalFields=None)))
    with wire.client() as client:
        assert client.get_job("job-1") == Job("job-1", Status.QUEUED, "ORDERS")


def test_a_job_tells_its_logs_connection_columns_and_time() -> None:
    schema = {"tableName": "ORDERS", "columns": []}
    wire = Wire(answered(job(status="ERROR", logs=["a", "b"], connectionId="c", tableSchema=schema, lastModified=17)))
    with wire.client() as client:
        assert client.get_job("job-1") == Job("job-1", Status.ERROR, "ORDERS", "c", schema, ("a", "b"), 17)


def test_chunks_are_read_with_nulls_and_unknown_fields() -> None:
    wire = Wire(
        answered([{"id": "c1", "type": "UPSERT", "checksum": None, "creationDate": 1, "pushJobId": "j", "x": 1}])
    )
    with wire.client() as client:
        assert client.list_chunks("job-1") == [UploadedChunk("c1", "UPSERT", None)]


def test_jobs_that_the_contract_does_not_know_are_left_out_of_the_list() -> None:
    wire = Wire(answered([job(id="a", status="DONE"), job(id="b", status="PONDERING"), {"id": None}, "nonsense"]))
    with wire.client() as client:
        assert [j.id for j in client.list_jobs()] == ["a"]


@pytest.mark.parametrize(
    "answer", ["[]", "{}", '{"id": 7, "status": "NEW"}', '{"id": "", "status": "NEW"}', "null", "", "OK"]
)
def test_a_job_without_an_id_is_no_job_and_another_one_is_made(answer: str) -> None:
    with Wire(httpx.Response(200, text=answer)).client() as client, pytest.raises(CelonisUnreachable) as caught:
        client.create_job(SPEC)
    assert caught.value.reaction is Reaction.REMAKE


@pytest.mark.parametrize("answer", [{}, [{}], [{"id": "x"}], None])
def test_a_list_of_chunks_that_is_none_is_asked_for_again(answer: Any) -> None:
    with Wire(httpx.Response(200, json=answer)).client() as client, pytest.raises(CelonisUnreachable) as caught:
        client.list_chunks("job-1")
    assert caught.value.reaction is Reaction.AGAIN
    assert caught.value.job_id == "job-1"
