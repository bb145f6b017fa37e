"""What becomes of values: lengths, dates, CSV (data-push-api.md, "What the data must look like", "The job")."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import pyarrow as pa
import pytest

from tests.contract.api import POOL, Api, errors, parquet, schema


def lengths(api: Api, table: str) -> list[int]:
    return sorted(n for (n,) in api.emulator.query(f"SELECT length(s) FROM {table}"))


def reported(api: Api, table: str) -> int:
    columns = api.http.get(f"/integration/api/pools/{POOL}/columns", params={"tableName": table}).json()
    return int(next(c["length"] for c in columns if c["name"] == "s"))


LONG = parquet(s=["ä" * 300])


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({}, 80),
        ({"fallbackVarcharLength": 200}, 200),
        ({"tableSchema": schema(s=("STRING", 100))}, 100),
        ({"tableSchema": schema(s=("STRING", 100)), "fallbackVarcharLength": 200}, 100),
        ({"tableSchema": schema(s="STRING"), "fallbackVarcharLength": 200}, 200),
        ({"tableSchema": schema(s="STRING")}, 80),
        ({"tableSchema": schema(s=("STRING", 1000))}, 300),
    ],
)
@pytest.mark.parametrize("kind", ["DELTA", "REPLACE"])
def test_a_string_is_cut_silently_at_its_length(
    api: Api, table: str, kind: str, fields: dict[str, Any], length: int
) -> None:
    api.done(table, LONG, type=kind, **fields)
    assert lengths(api, table) == [length]


def test_a_greater_length_alters_the_table(api: Api, table: str) -> None:
    api.done(table, LONG)
    assert reported(api, table) == 4 * 80
    api.done(table, LONG, tableSchema=schema(s=("STRING", 250)))
    assert reported(api, table) == 4 * 250
    assert lengths(api, table) == [80, 250]


def test_a_load_without_lengths_is_cut_at_80_whatever_the_table_has(api: Api, table: str) -> None:
    api.done(table, LONG, tableSchema=schema(s=("STRING", 250)))
    api.done(table, LONG)
    assert lengths(api, table) == [80, 250]
    assert reported(api, table) == 4 * 250


def test_replace_without_schema_resets_lengths_to_80(api: Api, table: str) -> None:
    api.done(table, LONG, type="REPLACE", tableSchema=schema(s=("STRING", 250)))
    api.done(table, LONG, type="REPLACE")
    assert (lengths(api, table), reported(api, table)) == ([80], 320)


def test_values_of_every_type_come_back(api: Api, table: str) -> None:
    at = datetime(2024, 2, 29, 23, 59, 59, 123_000)  # noqa: DTZ001 - tables have no zones
    columns: dict[str, Any] = {
        "b": pa.array([True, None]),
        "i": pa.array([-(2**63), None], pa.int64()),
        "i32": pa.array([7, None], pa.int32()),
        "f": pa.array([1.5, None]),
        "s": pa.array(["ü€😀", None]),
        "d": pa.array([at.date(), None]),
        "t": pa.array([at.time(), None], pa.time32("ms")),
        "dt": pa.array([at, None], pa.timestamp("ms")),
        "z": pa.array([at, None], pa.timestamp("ms", "UTC")),
    }
    api.done(table, parquet(**columns))
    row = (True, -(2**63), 7, 1.5, "ü€😀", at.date(), at.time(), at, at)
    assert api.emulator.query(f"SELECT * FROM {table} ORDER BY i NULLS LAST") == [row, (None,) * 9]


FIRST, LAST = datetime(1400, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_000)  # noqa: DTZ001
MILLISECOND = 1
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001


def milliseconds(at: datetime) -> int:
    difference = at - _EPOCH
    return difference.days * 86_400_000 + difference.seconds * 1000 + difference.microseconds // 1000


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        (milliseconds(FIRST), FIRST),
        (milliseconds(FIRST) - 1, None),
        (milliseconds(LAST), LAST),
        (milliseconds(LAST) + 1, None),
        (2**63 - 1, None),
        (-(2**63) + 1, None),
    ],
)
def test_datetimes_outside_of_1400_to_9999_become_null(api: Api, table: str, number: int, kept: datetime) -> None:
    api.done(table, parquet(id=[1, 2], dt=pa.array([number, 0], pa.int64()).cast(pa.timestamp("ms"))))
    assert api.emulator.query(f"SELECT dt FROM {table} ORDER BY id") == [(kept,), (_EPOCH,)]


@pytest.mark.parametrize(
    ("days", "kept"),
    [
        ((FIRST - _EPOCH).days, FIRST.date()),
        ((FIRST - _EPOCH).days - 1, None),
        ((LAST - _EPOCH).days, LAST.date()),
        ((LAST - _EPOCH).days + 1, None),
    ],
)
def test_dates_outside_of_1400_to_9999_become_null(api: Api, table: str, days: int, kept: date) -> None:
    api.done(table, parquet(d=pa.array([days], pa.int32()).cast(pa.date32())))
    assert api.emulator.query(f"SELECT d FROM {table}") == [(kept,)]


def test_precision_is_milliseconds(lenient: Api, table: str) -> None:
    fine = datetime(2024, 1, 1, 1, 2, 3, 456_789)  # noqa: DTZ001 - tables have no zones
    columns = {"dt": pa.array([fine], pa.timestamp("us")), "t": pa.array([fine.time()], pa.time64("us"))}
    lenient.done(table, parquet(**columns))
    coarse = fine.replace(microsecond=456_000)
    assert lenient.emulator.query(f"SELECT dt, t FROM {table}") == [(coarse, coarse.time())]


DECLARED = schema(i="INTEGER", f="FLOAT", b="BOOLEAN", s=("STRING", 5), d="DATE", t="TIME", dt="DATETIME")


def test_csv_with_defaults(api: Api, table: str) -> None:
    text = (
        "i,f,b,s,d,t,dt\n"
        '1,1.5,true,"a,""b""c",2024-02-29,01:02:03,2024-02-29 01:02:03.004\n'
        ",,,,,,\n"
    )  # fmt: skip
    api.done(table, text.encode(), fileType="CSV", tableSchema=DECLARED)
    at = datetime(2024, 2, 29, 1, 2, 3, 4_000)  # noqa: DTZ001 - tables have no zones
    row = (1, 1.5, True, 'a,"b"', date(2024, 2, 29), time(1, 2, 3), at)
    assert api.emulator.query(f"SELECT * FROM {table} ORDER BY i NULLS LAST") == [row, (None,) * 7]


def test_csv_with_every_option(api: Api, table: str) -> None:
    options = {
        "separatorSequence": ";",
        "quoteSequence": "'",
        "escapeSequence": "\\",
        "lineEnding": "\r\n",
        "charSet": "ISO-8859-1",
        "decimalSeparator": ",",
        "thousandSeparator": ".",
        "dateFormat": "dd.MM.yyyy HH:mm:ss",
        "additionalColumnOptions": [
            {"columnName": "D", "dateFormat": "yyyyMMdd"},
            {"columnName": "f", "decimalSeparator": ".", "thousandsSeparator": "'"},
        ],
    }
    text = "i;f;s;d;dt\r\n1.234;1234.5;'ä;\\'b';20240229;29.02.2024 01:02:03\r\n"
    fields = {"fileType": "CSV", "tableSchema": DECLARED, "csvParsingOptions": options}
    api.done(table, text.encode("latin-1"), **fields)
    at = datetime(2024, 2, 29, 1, 2, 3)  # noqa: DTZ001 - tables have no zones
    assert api.emulator.query(f"SELECT i, f, s, d, dt FROM {table}") == [(1234, 1234.5, "ä;'b", at.date(), at)]


def test_csv_without_a_schema_is_text_and_each_chunk_repeats_its_header(api: Api, table: str) -> None:
    api.done(table, b"id,v\n1,x\n", b"v,id\ny,2\n", b"\xef\xbb\xbfid,v\n3,z\n", fileType="CSV")
    assert sorted(api.emulator.query(f"SELECT id, v FROM {table}")) == [("1", "x"), ("2", "y"), ("3", "z")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("closed", [True, False])
def test_csv_with_any_line_end(api: Api, table: str, end: str, *, closed: bool) -> None:
    data = end.join(["id,v", "1,a", "2,b"]) + end * closed
    api.done(table, data.encode(), fileType="CSV", csvParsingOptions={"lineEnding": end})
    assert sorted(api.emulator.query(f"SELECT * FROM {table}")) == [("1", "a"), ("2", "b")]


def test_csv_upserts_and_deletes_by_key(api: Api, table: str) -> None:
    fields: dict[str, Any] = {"fileType": "CSV", "keys": ["id"], "tableSchema": schema(id="INTEGER", v="STRING")}
    api.done(table, b"id,v\n1,a\n2,b\n", **fields)
    api.done(table, b"id,v\n2,B\n", deletes=[b"id\n1\n"], **fields)
    assert api.emulator.query(f"SELECT * FROM {table}") == [(2, "B")]


@pytest.mark.parametrize("column", ["i", "f", "b", "d", "t", "dt"])
def test_a_csv_value_of_another_type_ends_the_job_in_error_without_telling_it(
    api: Api, table: str, column: str
) -> None:
    line = api.failed(table, f"{column}\nsecret\n".encode(), fileType="CSV", tableSchema=DECLARED)
    assert line.startswith(f"Column {column}: a value is not a")
    assert "secret" not in line


def test_csv_rows_that_do_not_fit_their_header_end_the_job_in_error(api: Api, table: str) -> None:
    line = api.failed(table, b"a,b\nsecret\n", fileType="CSV")
    assert "secret" not in line


@pytest.mark.parametrize(
    ("data", "codes"),
    [(b"", ["no-columns", "missing-key"]), (b"\xff\xfe\xff\n", ["bad-csv"]), (b"a,b\n", ["missing-key"])],
)
def test_a_csv_chunk_is_checked_at_upload(api: Api, table: str, data: bytes, codes: list[str]) -> None:
    assert errors(api.upload(api.new(table, fileType="CSV", keys=["id"]), data)) == codes
