"""What is known of tables before the first record."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from connector.celonis.jobs import Job
from connector.celonis.schemas import PlatformTables, schemas_of
from connector.core.columns import Column, ColumnType, TableSchema
from connector.core.jobs import Status
from connector.errors import CelonisUnauthorized, TablesUnavailable
from tests.unit.celonis.wire import Wire, answered, job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ID = {"columnName": "id", "columnType": "INTEGER"}
CONNECTION = "AAAAAAAA-2222-3333-4444-555555555555"


def text(length: int | None) -> dict[str, Any]:
    return {"columnName": "name", "columnType": "STRING", "fieldLength": length, "decimals": None, "pkField": None}


def done(table: str, *columns: dict[str, Any], at: int = 0, status: Status = Status.DONE, **fields: Any) -> Job:
    return Job("j", status, table, table_schema={"tableName": table, "columns": [*columns]}, last_modified=at, **fields)


def names(schema: TableSchema) -> list[str]:
    return [f"{c.name} {c.type} {c.length}" for c in schema.columns]


def test_only_jobs_that_are_done_count() -> None:
    jobs = [done("A", ID), *(done("B", ID, status=s) for s in set(Status) - {Status.DONE})]
    assert list(schemas_of(jobs, None)) == ["a"]


def test_the_latest_job_of_a_table_gives_the_types_and_lengths_never_shrink() -> None:
    newer = done("Orders", ID | {"columnType": "FLOAT"}, text(80), at=20)
    older = done("ORDERS", ID, text(160), ID | {"columnName": "gone"}, at=10)
    for jobs in ([newer, older], [older, newer]):
        assert names(schemas_of(jobs, None)["orders"]) == ["id FLOAT 0", "name STRING 160", "gone INTEGER 0"]


def test_tables_of_another_connection_are_others() -> None:
    jobs = [done("A", ID), done("A", text(5), connection_id=CONNECTION.lower()), done("B", ID, connection_id="other")]
    assert names(schemas_of(jobs, None)["a"]) == ["id INTEGER 0"]
    assert {t: names(s) for t, s in schemas_of(jobs, CONNECTION).items()} == {"a": ["name STRING 5"]}


@pytest.mark.parametrize(
    "schema", [{"columns": None}, {}, {"columns": [{"columnType": "GEOMETRY", "columnName": "g"}]}]
)
def test_a_job_that_tells_no_columns_we_know_tells_nothing(schema: dict[str, Any]) -> None:
    assert schemas_of([Job("j", Status.DONE, "A", table_schema=schema)], None).get("a", TableSchema()) == TableSchema()


@pytest.mark.parametrize(
    "schema", [{"columns": [{"columnType": "STRING"}]}, {"columns": ["id"]}, {"columns": 7}, ["x"]]
)
def test_columns_of_another_client_that_cannot_be_read_are_skipped(schema: Any) -> None:
    assert list(schemas_of([Job("j", Status.DONE, "A", table_schema=schema), done("B", ID)], None)) == ["b"]


# --- asking ---------------------------------------------------------------------------------------------------

LIST = [job(status="DONE", tableSchema={"tableName": "ORDERS", "columns": [ID]})]


@pytest.fixture
def ask() -> Iterator[Callable[[Wire], PlatformTables]]:
    """Ask what `wire` says of tables, with short waits; asking ends with the test."""
    made: list[tuple[PlatformTables, Any]] = []

    def asking(wire: Wire) -> PlatformTables:
        client = wire.client(timeout=5)
        made.append((PlatformTables(client, None, first_wait=0.001), client))
        return made[-1][0]

    yield asking
    for tables, client in made:
        tables.close()
        client.close()


def known(tables: PlatformTables, table: str = "ORDERS") -> TableSchema:
    """Ask as the loop does, until the answer is there."""
    end, tick = time.monotonic() + 10, threading.Event()
    while time.monotonic() < end:
        try:
            return tables.columns(table)
        except TablesUnavailable:
            tick.wait(0.002)
    raise AssertionError("the tables never became known")


def test_until_the_platform_answers_the_tables_are_not_known(ask: Callable[[Wire], PlatformTables]) -> None:
    may_answer = threading.Event()

    def later(_: httpx.Request) -> httpx.Response:
        assert may_answer.wait(10)
        return answered(LIST)

    tables = ask(Wire(later))
    with pytest.raises(TablesUnavailable, match="Celonis has not answered yet") as caught:
        tables.columns("ORDERS")
    assert caught.value.wait > 0
    may_answer.set()
    assert known(tables, "orders") == TableSchema((Column("id", ColumnType.INTEGER, established=True),))
    assert tables.columns("UNKNOWN") == TableSchema()


def test_trouble_is_waited_out_and_told(ask: Callable[[Wire], PlatformTables]) -> None:
    told, may_go_on = threading.Event(), threading.Event()

    def hold(_: httpx.Request) -> httpx.Response:
        told.set()
        assert may_go_on.wait(10)
        return answered(LIST)

    page = httpx.Response(200, html="<html>")
    tables = ask(Wire(httpx.ConnectError("refused"), answered(None, 429), page, answered(None, 500), hold))
    assert told.wait(10)
    with pytest.raises(TablesUnavailable, match="list: 500"):
        tables.columns("ORDERS")
    may_go_on.set()
    assert names(known(tables)) == ["id INTEGER 0"]


def test_refused_credentials_are_the_end(ask: Callable[[Wire], PlatformTables]) -> None:
    tables = ask(Wire(answered(None, 401)))
    with pytest.raises(CelonisUnauthorized):
        known(tables)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_key_that_may_not_list_jobs_may_still_push(status: int, ask: Callable[[Wire], PlatformTables]) -> None:
    assert known(ask(Wire(answered(None, status)))) == TableSchema()


def test_an_answer_that_breaks_us_is_told_and_nothing_is_guessed(ask: Callable[[Wire], PlatformTables]) -> None:
    asked = threading.Event()

    def fail(_: httpx.Request) -> httpx.Response:
        asked.set()
        raise ZeroDivisionError("a bug")

    tables = ask(Wire(fail))
    assert asked.wait(10)
    end, tick = time.monotonic() + 10, threading.Event()
    said = ""
    while "ZeroDivisionError: a bug" not in said and time.monotonic() < end:
        with pytest.raises(TablesUnavailable) as caught:
            tables.columns("ORDERS")
        said = str(caught.value)
        tick.wait(0.002)
    assert "ZeroDivisionError: a bug" in said


def test_asking_ends_when_it_is_closed(ask: Callable[[Wire], PlatformTables]) -> None:
    wire = Wire(answered(None, 503, retry_after="300"))
    tables = ask(wire)
    tables.close()
    ended = [t for t in threading.enumerate() if t.name == "tables"]
    for thread in ended:
        thread.join(10)
        assert not thread.is_alive()
    assert len(wire.requests) <= 2
