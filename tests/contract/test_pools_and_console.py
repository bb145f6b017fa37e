"""What the official client reads besides, and the emulator's own addresses."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from connector.emulator import Emulator, EmulatorSettings
from tests.contract.api import CONNECTION, KEY, OTHER_POOL, POOL, Api, parquet, schema
from tests.contract.conftest import POOLS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    settings = EmulatorSettings(tmp_path_factory.mktemp("pools"), pools=POOLS, app_keys={KEY: [POOL]})
    with Emulator(settings) as running:
        api = Api(running)
        with api.http:
            api.done("ORDERS", parquet(id=[1], s=["x"], at=pa.array([1], pa.timestamp("ms"))))
            declared = schema(n="FLOAT", s=("STRING", 7))
            api.done("ORDERS", parquet(n=[1.5]), connectionId=CONNECTION, tableSchema=declared)
            yield api


def test_the_user_and_the_team(api: Api) -> None:
    assert {"id", "name", "email"} <= set(api.http.get("/api/cloud").json())
    assert {"id", "name", "domain"} <= set(api.http.get("/api/team/").json())


def test_pools_are_those_of_the_key(api: Api) -> None:
    pools = api.http.get("/integration/api/pools").json()
    assert [(p["id"], p["name"]) for p in pools] == [(POOL, "first")]
    assert api.http.get(f"/integration/api/pools/{POOL}").json()["name"] == "first"
    assert api.http.get(f"/integration/api/pools/{OTHER_POOL}").status_code == 403


def test_tables_and_their_connections(api: Api) -> None:
    tables = api.http.get(f"/integration/api/pools/{POOL}/tables").json()
    assert [(t["name"], t["dataSourceId"], t["type"]) for t in tables] == [
        ("ORDERS", None, "TABLE"),
        ("ORDERS", CONNECTION, "TABLE"),
    ]
    sources = api.http.get(f"/integration/api/pools/{POOL}/data-sources/").json()
    assert [source["id"] for source in sources] == [CONNECTION]


def test_the_length_of_a_column_is_reported_times_four(api: Api) -> None:
    tables = api.http.get(f"/integration/api/pools/{POOL}/tables").json()
    reported = [
        [
            (c["name"], c["type"], c["length"])
            for c in api.http.get(
                f"/integration/api/pools/{POOL}/columns",
                params={"tableName": t["name"].lower(), "schemaName": t["schemaName"]},
            ).json()
        ]
        for t in tables
    ]
    assert reported == [
        [("id", "INTEGER", 0), ("s", "STRING", 320), ("at", "DATE", 0)],
        [("n", "FLOAT", 0), ("s", "STRING", 28)],
    ]


@pytest.mark.parametrize(("query", "status"), [("", 400), ("tableName=NONE", 404)])
def test_columns_of_no_table(api: Api, query: str, status: int) -> None:
    assert api.http.get(f"/integration/api/pools/{POOL}/columns?{query}").status_code == status


@pytest.mark.parametrize("path", ["/api/cloud", "/api/team", "/integration/api/pools"])
def test_these_addresses_want_credentials_too(api: Api, path: str) -> None:
    with closing(Api(api.emulator, authorization="").http) as http:
        assert http.get(path).status_code == 401


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            'SELECT id, s, "at" FROM orders',
            {"columns": ["id", "s", "at"], "rows": [[1, "x", "1970-01-01T00:00:00.001000"]]},
        ),
        ("SELECT sum(id)::HUGEINT AS n, NULL AS x FROM ORDERS", {"columns": ["n", "x"], "rows": [[1, None]]}),
        (f'SELECT n FROM "{POOL}/{CONNECTION}".ORDERS', {"columns": ["n"], "rows": [[1.5]]}),
    ],
)
def test_sql_over_http(api: Api, sql: str, expected: dict[str, Any]) -> None:
    assert api.http.post("/emulator/sql", content=sql).json() == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT * FROM nowhere",
        "DROP TABLE ORDERS",
        "COMMIT; DROP TABLE ORDERS",
        "COMMIT",
        "",
        "COPY ORDERS TO '/tmp/orders.csv'",
        "SELECT * FROM read_text('/etc/hostname')",
        b"\xff",
    ],
)
def test_sql_that_fails_or_would_change_something_is_refused_with_a_message(api: Api, sql: str | bytes) -> None:
    answer = api.http.post("/emulator/sql", content=sql)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["error"]
    assert api.emulator.query(f'SELECT count(*) FROM "{POOL}".ORDERS') == [(1,)]


def test_a_web_page_gets_no_answer(api: Api) -> None:
    answer = api.http.post("/emulator/sql", content="SELECT 1", headers={"origin": "http://example.com"})
    assert answer.status_code == 403


def test_bookkeeping_stands_in_a_schema_of_its_own(api: Api) -> None:
    sql = "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND schema_name <> '_emulator'"
    assert sorted(api.emulator.query(sql)) == [(POOL, "ORDERS"), (f"{POOL}/{CONNECTION}", "ORDERS")]


def test_an_unknown_address_is_not_found_and_a_wrong_method_not_allowed(api: Api) -> None:
    assert api.http.get("/nowhere").status_code == 404
    assert api.http.put(f"{api.root}/jobs/").status_code == 405
