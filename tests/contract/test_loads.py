"""What a load does to its table (data-push-api.md, "What a load does")."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.contract.api import Api, errors, fresh_table, parquet, schema

if TYPE_CHECKING:
    from tests.contract.conftest import Start

Row = tuple[Any, ...]


def rows(api: Api, table: str, columns: str = "*") -> list[Row]:
    return sorted(api.emulator.query(f"SELECT {columns} FROM {table}"), key=repr)


def test_replace_swaps_the_whole_table(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1, 2], a=["x", "y"]), type="REPLACE")
    api.done(table, parquet(id=["3"], b=[True]), type="REPLACE")
    assert api.emulator.query(f"SELECT * FROM {table}") == [("3", True)]


def test_replace_with_several_chunks_holds_all_of_them(api: Api, table: str) -> None:
    api.done(table, *(parquet(id=[i]) for i in range(5)), type="REPLACE")
    assert rows(api, table) == [(i,) for i in range(5)]


def test_replace_with_a_schema_and_no_chunk_empties_the_table(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1]), type="REPLACE")
    api.done(table, type="REPLACE", tableSchema=schema(id="INTEGER"))
    assert rows(api, table) == []


def test_replace_with_nothing_to_go_by_fails(api: Api, table: str) -> None:
    assert "neither" in api.failed(table, type="REPLACE")


def test_a_failed_replace_leaves_the_table_as_it_was(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1]), type="REPLACE")
    api.failed(table, parquet(id=[2]), parquet(id=["x"]), type="REPLACE")
    assert rows(api, table) == [(1,)]


def test_delta_without_keys_appends_and_a_repeat_doubles(api: Api, table: str) -> None:
    for _ in range(2):
        api.done(table, parquet(id=[1, 2]))
    assert rows(api, table) == [(1,), (1,), (2,), (2,)]


def test_delta_with_keys_upserts_and_a_repeat_is_harmless(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1, 2], v=["a", "b"]), keys=["id"])
    for _ in range(2):
        api.done(table, parquet(ID=[2, 3], V=["B", "C"]), keys=["Id"])
    assert rows(api, table) == [(1, "a"), (2, "B"), (3, "C")]


def test_keys_may_be_several_columns(api: Api, table: str) -> None:
    api.done(table, parquet(a=[1, 1], b=["x", "y"], v=[1, 2]), keys=["a", "b"])
    api.done(table, parquet(a=[1], b=["y"], v=[3]), keys=["b", "a"])
    assert rows(api, table) == [(1, "x", 1), (1, "y", 3)]


def test_chunks_to_delete_remove_rows_by_their_key_alone(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1, 2, 3], v=["a", "b", "c"]), keys=["id"])
    api.done(table, deletes=[parquet(id=[1], v=["other"]), parquet(ID=[3])], keys=["id"])
    assert rows(api, table) == [(2, "b")]


def test_deleting_from_a_table_that_does_not_exist_does_nothing(api: Api, table: str) -> None:
    api.done(table, deletes=[parquet(id=[1])], keys=["id"])
    assert api.emulator.query(f"SELECT 1 FROM duckdb_tables() WHERE table_name = '{table}'") == []


def test_a_job_without_chunks_changes_nothing(api: Api, table: str) -> None:
    api.done(table)
    api.done(table, parquet(id=[1]))
    api.done(table)
    assert rows(api, table) == [(1,)]


@pytest.mark.parametrize("kind", ["DELTA", "REPLACE"])
@pytest.mark.parametrize("chunks", [1, 2])
def test_among_duplicate_keys_of_a_job_anyone_may_win(start: Start, kind: str, chunks: int) -> None:
    api = start(per_second=1000)
    winners = set()
    for _ in range(40):
        table = fresh_table()
        files = [parquet(id=[1, 1], v=[1, 2])] if chunks == 1 else [parquet(id=[1], v=[v]) for v in (1, 2)]
        api.done(table, *files, keys=["id"], type=kind)
        ((winner,),) = api.emulator.query(f"SELECT v FROM {table}")
        winners.add(winner)
        if len(winners) == 2:
            return
    pytest.fail("the winner never changed")


def test_the_same_seed_draws_the_same_winners(start: Start, tmp_path: Any) -> None:
    drawn = []
    for run in range(2):
        api = start(seed=11, directory=tmp_path / str(run))
        api.done("T", parquet(id=list(range(50)) * 2, v=list(range(100))), keys=["id"])
        drawn.append(rows(api, "T"))
    assert drawn[0] == drawn[1]


def test_the_highest_of_the_duplicate_removal_column_wins(api: Api, table: str) -> None:
    first = parquet(id=[1, 1, 2], at=pa.array([5, 7, None], pa.int64()), v=["a", "b", "n"])
    second = parquet(id=[1, 2, 3], at=[6, 1, 1], v=["c", "d", "e"])
    api.done(table, first, second, keys=["id"], parameters={"duplicateRemovalColumn": "AT"})
    assert rows(api, table) == [(1, 7, "b"), (2, 1, "d"), (3, 1, "e")]


def test_a_duplicate_removal_column_that_a_chunk_lacks_is_refused(api: Api, table: str) -> None:
    job = api.new(table, keys=["id"])
    api.upload(job, parquet(id=[1]))
    assert errors(api.execute(job, duplicateRemovalColumn="at")) == ["missing-column"]
    assert api.get(job)["status"] == "NEW"


def test_whether_a_delete_comes_before_or_after_an_upsert_is_not_promised(start: Start) -> None:
    api = start(per_second=1000)
    seen = set()
    for _ in range(40):
        table = fresh_table()
        api.done(table, parquet(id=[1]), deletes=[parquet(id=[1])], keys=["id"])
        seen.add(len(rows(api, table)))
        if seen == {0, 1}:
            return
    pytest.fail("the order never changed")


def test_null_keys_are_inconsistent(start: Start) -> None:
    api = start(per_second=1000)
    seen = set()
    for _ in range(40):
        table = fresh_table()
        for v in (1, 2):
            api.done(table, parquet(id=pa.nulls(1, pa.int64()), v=[v]), keys=["id"])
        seen.add(len(rows(api, table)))
        if seen == {1, 2}:
            return
    pytest.fail("null keys were consistent")


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("UPSERT_WITH_NULLIFICATION", [(1, None, 10), (2, "b", 2)]),
        ("UPSERT_WITH_UNCHANGED_METADATA", [(1, "a", 10), (2, "b", 2)]),
        (None, [(1, "a", 10), (2, "b", 2)]),
    ],
)
def test_what_becomes_of_a_missing_column(api: Api, table: str, strategy: str | None, expected: list[Row]) -> None:
    api.done(table, parquet(id=[1, 2], s=["a", "b"], n=[1, 2]), keys=["id"])
    api.done(table, parquet(id=[1], n=[10]), keys=["id"], upsertStrategy=strategy)
    assert rows(api, table) == expected


def test_a_column_that_only_some_chunks_leave_out_is_kept_for_their_rows_alone(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1, 2, 3], s=["a", "b", "c"]), keys=["id"])
    declared = schema(id="INTEGER", s="STRING", n="INTEGER")
    chunks = [parquet(id=[1], n=[1]), parquet(id=[2], s=pa.array([None], pa.string()), n=[2]), parquet(id=[4], n=[4])]
    api.done(table, *chunks, keys=["id"], tableSchema=declared)
    assert rows(api, table, "id, s, n") == [(1, "a", 1), (2, None, 2), (3, "c", None), (4, None, 4)]


def test_a_declared_column_that_no_chunk_has_keeps_its_values(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1], s=["a"]), keys=["id"])
    api.done(table, parquet(id=[1]), keys=["id"], tableSchema=schema(id="INTEGER", s="STRING"))
    assert rows(api, table) == [(1, "a")]


def test_the_schema_may_gain_a_column_and_old_rows_have_null_there(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1]))
    api.done(table, parquet(id=[2], extra=[0.5]))
    api.done(table, parquet(id=[3]))
    assert rows(api, table) == [(1, None), (2, 0.5), (3, None)]


@pytest.mark.parametrize(
    ("before", "after"),
    [([1], ["x"]), (["x"], [1]), ([1], [1.5]), ([1.5], [1]), ([True], [1])],
    ids=["INTEGER-STRING", "STRING-INTEGER", "INTEGER-FLOAT", "FLOAT-INTEGER", "BOOLEAN-INTEGER"],
)
def test_a_type_change_ends_the_job_in_error_and_says_so(
    api: Api, table: str, before: list[Any], after: list[Any]
) -> None:
    api.done(table, parquet(id=[1], v=before))
    line = api.failed(table, parquet(id=[2], V=after))
    assert line.startswith("Column v: its type cannot change from ")
    assert rows(api, table, "v") == [(before[0],)]


def test_chunks_that_disagree_on_a_type_end_the_job_in_error(api: Api, table: str) -> None:
    assert "disagree" in api.failed(table, parquet(a=[1]), parquet(a=["x"]))


def test_chunks_may_differ_in_the_width_of_a_number(api: Api, table: str) -> None:
    narrow = parquet(i=pa.array([1], pa.int32()), f=pa.array([0.5], pa.float32()))
    wide = parquet(i=pa.array([2**40]), f=pa.array([0.1]))
    for keys in (None, ["i"]):
        api.done(table, narrow, wide, narrow, wide, keys=keys, type="REPLACE")
        assert set(rows(api, table)) == {(1, 0.5), (2**40, 0.1)}


def test_a_column_of_nothing_but_nulls_is_the_trap_unless_it_is_declared(api: Api, table: str) -> None:
    chunks = parquet(a=["x"]), parquet(a=pa.nulls(2))
    assert "disagree" in api.failed(table, *chunks)
    api.done(table, *chunks, tableSchema=schema(a="STRING"))
    assert rows(api, table) == [("x",), (None,), (None,)]


def test_a_first_load_of_nulls_makes_an_integer(api: Api, table: str) -> None:
    api.done(table, parquet(a=pa.nulls(1)))
    assert "from INTEGER to STRING" in api.failed(table, parquet(a=["x"]))


@pytest.mark.parametrize(
    ("declared", "column", "fails"),
    [
        ("FLOAT", [1], False),
        ("DATETIME", pa.array([1], pa.date32()), False),
        ("STRING", [1], True),
        ("INTEGER", [1.5], True),
        ("INTEGER", ["1"], True),
        ("DATE", pa.array([1], pa.timestamp("ms")), True),
    ],
)
def test_a_declared_type_must_be_that_of_the_file_or_wider(
    api: Api, table: str, declared: str, column: Any, *, fails: bool
) -> None:
    described = schema(a=declared)
    if fails:
        assert f"says {declared}" in api.failed(table, parquet(a=column), tableSchema=described)
    else:
        api.done(table, parquet(a=column), tableSchema=described)


def test_names_of_tables_and_columns_have_no_case(api: Api, table: str) -> None:
    api.done(table.lower(), parquet(Id=[1]))
    api.done(table.upper(), parquet(iD=[2]))
    assert rows(api, table, "ID") == [(1,), (2,)]


def test_log_lines_hold_no_values(api: Api, table: str) -> None:
    api.done(table, parquet(id=[1]))
    assert "4711" not in api.failed(table, parquet(id=["4711"]))


def test_jobs_in_flight_together_all_take_effect(start: Start) -> None:
    api = start(executes_in_flight=8, latencies={"run": 0.01})
    for i in range(8):
        job = api.new("T")
        api.upload(job, parquet(id=[i]))
        assert api.execute(job).status_code == 200
    assert api.emulator.wait_idle(20)
    assert rows(api, "T") == [(i,) for i in range(8)]


def test_many_upserts_and_deletes_end_as_a_dictionary_would(api: Api, table: str) -> None:
    dice, expected = random.Random(5), dict[int, int]()
    for n in range(12):
        keys = dice.sample(range(60), 20)
        upserts, deletes = keys[:14], keys[14:]
        expected |= dict.fromkeys(upserts, n)
        expected = {k: v for k, v in expected.items() if k not in deletes}
        half = len(upserts) // 2
        files = [parquet(id=part, v=[n] * len(part)) for part in (upserts[:half], upserts[half:])]
        api.done(table, *files, deletes=[parquet(id=deletes)], keys=["id"])
    assert dict(api.emulator.query(f"SELECT id, v FROM {table}")) == expected
