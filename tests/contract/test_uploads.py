"""What a chunk must look like, checked at upload (data-push-api.md, "What the data must look like")."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.contract.api import DELETE, POOL, UPSERT, Api, errors, parquet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.conftest import Start

TIMES = [datetime(2024, 1, 2, 3, 4, 5)]  # noqa: DTZ001 - tables have no zones
SAFE: dict[str, Any] = {
    "int32": pa.array([1], pa.int32()),
    "int64": pa.array([1], pa.int64()),
    "float": pa.array([1], pa.float32()),
    "double": pa.array([1], pa.float64()),
    "boolean": pa.array([True]),
    "text": pa.array(["ä"]),
    "large-text": pa.array(["ä"], pa.large_string()),
    "dictionary": pa.array(["ä"]).dictionary_encode(),
    "date": pa.array([date(2024, 1, 2)]),
    "time-ms": pa.array([time(1, 2, 3)], pa.time32("ms")),
    "timestamp-ms": pa.array(TIMES, pa.timestamp("ms")),
    "timestamp-ms-utc": pa.array(TIMES, pa.timestamp("ms", "UTC")),
    "nulls": pa.nulls(1),
}


@pytest.mark.parametrize("name", SAFE)
def test_what_is_known_to_work_is_taken(api: Api, table: str, name: str) -> None:
    api.done(table, parquet(a=SAFE[name]))


def test_int96_timestamps_are_taken(api: Api, table: str) -> None:
    api.done(table, parquet({"use_deprecated_int96_timestamps": True}, a=pa.array(TIMES, pa.timestamp("ns"))))
    assert api.emulator.query(f"SELECT a FROM {table}") == [(TIMES[0],)]


def test_an_uncompressed_file_and_one_without_rows_are_taken(api: Api, table: str) -> None:
    api.done(table, parquet({"compression": "none"}, a=[1]), parquet(a=pa.array([], pa.int64())))


ALWAYS: dict[str, tuple[Any, str]] = {
    "decimal": (pa.array([Decimal("1.5")]), "decimal"),
    "decimal256": (pa.array([Decimal("1.5")], pa.decimal256(40, 2)), "decimal"),
    "struct": (pa.array([{"x": 1}]), "nested"),
    "list": (pa.array([[1]]), "nested"),
    "map": (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "nested"),
    "bytes": (pa.array([b"x"]), "unsupported-type"),
}
UNSHOWN: dict[str, tuple[dict[str, Any], Any, str]] = {
    "zstd": ({"compression": "zstd"}, [1], "compression"),
    "gzip": ({"compression": "gzip"}, [1], "compression"),
    "v2-pages": ({"data_page_version": "2.0"}, [1], "data-page"),
    "timestamp-us": ({}, pa.array(TIMES, pa.timestamp("us")), "time-unit"),
    "timestamp-ns": ({}, pa.array(TIMES, pa.timestamp("ns")), "time-unit"),
    "time-us": ({}, pa.array([time(1)], pa.time64("us")), "time-unit"),
    "uint32": ({}, pa.array([1], pa.uint32()), "integer"),
    "int8": ({}, pa.array([1], pa.int8()), "integer"),
}


@pytest.mark.parametrize("name", ALWAYS)
def test_decimals_nested_columns_and_bytes_are_refused(api: Api, lenient: Api, table: str, name: str) -> None:
    column, code = ALWAYS[name]
    for either in (api, lenient):
        assert errors(either.upload(either.new(table), parquet(a=column))) == [code]


@pytest.mark.parametrize("name", UNSHOWN)
def test_what_nothing_public_shows_to_work_is_refused_unless_lenient(
    api: Api, lenient: Api, table: str, name: str
) -> None:
    options, column, code = UNSHOWN[name]
    assert errors(api.upload(api.new(table), parquet(options, a=column))) == [code]
    lenient.done(table, parquet(options, a=column))


GOOD = parquet(a=[1, 2, 3])


@pytest.mark.parametrize(
    "data",
    [b"", b"not parquet", GOOD[:-1], GOOD[: len(GOOD) // 2], GOOD[4:], b"PAR1" + b"\0" * 50 + b"PAR1"],
    ids=["empty", "text", "cut", "half", "no-magic", "hollow"],
)
def test_a_bad_parquet_file_is_refused(api: Api, table: str, data: bytes) -> None:
    job = api.new(table)
    assert errors(api.upload(job, data)) == ["bad-parquet"]
    assert api.request("GET", f"/jobs/{job}/chunks").json() == []


def test_a_damaged_page_ends_the_job_in_error(api: Api, table: str) -> None:
    damaged = bytearray(parquet({"use_dictionary": False, "compression": "none"}, a=["some text"] * 1000))
    damaged[20:4000] = b"\xff" * 3980
    assert api.failed(table, bytes(damaged)).startswith("The data could not be loaded")


@pytest.mark.parametrize("kind", [UPSERT, DELETE])
def test_a_missing_key_column_is_refused(api: Api, table: str, kind: str) -> None:
    job = api.new(table, keys=["ID", "part"])
    assert errors(api.upload(job, parquet(id=[1]), kind)) == ["missing-key"]
    assert api.upload(job, parquet(id=[1], PART=[2]), kind).status_code == 200


@pytest.mark.parametrize(
    ("columns", "codes"),
    [
        (["a b"], ["unsafe-name"]),
        (["a.b"], ["unsafe-name"]),
        (["ä"], ["unsafe-name"]),
        (["epoch"], ["reserved-name"]),
        (["_CELONIS_CHANGE_DATE"], ["reserved-name"]),
        (["id", "ID"], ["duplicate-column"]),
        ([], ["no-columns"]),
        (["a-b", "_c", "9"], []),
    ],
)
def test_names_of_columns(api: Api, table: str, columns: list[str], codes: list[str]) -> None:
    answer = api.upload(api.new(table), parquet(None, **{name: [1] for name in columns}))
    assert (errors(answer) if codes else []) == codes


def test_a_chunk_of_a_gigabyte_is_refused_and_leaves_nothing(start: Start, table: str, tmp_path: Path) -> None:
    data = parquet(a=[1])
    api = start(max_chunk_bytes=len(data))
    job = api.new(table)
    assert errors(api.upload(job, data)) == ["too-large"]
    assert list((tmp_path / "emulator" / "chunks").iterdir()) == []
    api = start(max_chunk_bytes=len(data) + 1, directory=tmp_path / "larger")
    assert api.upload(api.new(table), data).status_code == 200


@pytest.mark.parametrize("name", ["chunk.parquet", "", "a/b", "..", "ä.bin", 'quo"te'])
def test_any_file_name_on_the_part_is_taken(api: Api, table: str, name: str) -> None:
    job = api.new(table)
    answer = api.request("POST", f"/jobs/{job}/chunks/upserted", files={"file": (name or None, parquet(a=[1]))})
    assert answer.status_code == 200


def test_other_parts_are_ignored(api: Api, table: str) -> None:
    files = [("note", ("n", b"x")), ("file", ("f", parquet(a=[1]))), ("other", ("o", b"y" * 100))]
    assert api.request("POST", f"/jobs/{api.new(table)}/chunks/upserted", files=files).status_code == 200


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"files": [("other", ("f", b"x"))]}, "no-file"),
        ({"files": [("file", ("f", b"x")), ("file", ("g", b"y"))]}, "no-file"),
        ({"content": b"x"}, "not-multipart"),
        ({"json": {}}, "not-multipart"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, "bad-multipart"),
        ({"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, "bad-multipart"),
    ],
)
def test_a_request_without_one_file_is_refused(api: Api, table: str, sent: dict[str, Any], code: str) -> None:
    assert errors(api.request("POST", f"/jobs/{api.new(table)}/chunks/upserted", **sent)) == [code]


def test_an_upload_that_breaks_off_adds_no_chunk(start: Start, table: str, tmp_path: Path) -> None:
    import socket  # noqa: PLC0415 - httpx does not break off

    api = start()
    job = api.new(table)
    host, _, port = api.emulator.url.removeprefix("http://").partition(":")
    head = (
        f"POST {api.root}/jobs/{job}/chunks/upserted HTTP/1.1\r\nHost: x\r\nAuthorization: AppKey application-key\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    )
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.encode() + b"PAR1")
    assert api.request("GET", f"/jobs/{job}/chunks").json() == []
    api.done(table, parquet(a=[1]))
    api.emulator.__exit__(None, None, None)
    api.emulator.__enter__()
    assert [f.name for f in (tmp_path / "emulator" / "chunks").iterdir() if f.suffix] == []


def test_pools_keep_their_tables_apart(start: Start, table: str) -> None:
    other_pool = "99999999-2222-3333-4444-555555555555"
    api = start(app_keys={"application-key": [POOL, other_pool]})
    other = Api(api.emulator, pool=other_pool)
    with other.http:
        other.done(table, parquet(a=["other"]))
        api.done(table, parquet(a=[1]))
        api.done(table, parquet(a=[2.5]), connectionId="aaaaaaaa-2222-3333-4444-555555555555")
    assert api.emulator.query(f"SELECT a FROM {table}") == [(1,)]
    assert api.emulator.query(f'SELECT a FROM "{other_pool}".{table}') == [("other",)]
    assert api.emulator.query(f'SELECT a FROM "{POOL}/aaaaaaaa-2222-3333-4444-555555555555".{table}') == [(2.5,)]
