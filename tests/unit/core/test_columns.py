"""Column types, how they widen, and what the platform is told."""

from __future__ import annotations

import pyarrow as pa
import pytest

from connector.core.columns import ARROW, MAX_LENGTH, OF_ARROW, Column, ColumnType, TableSchema, length_step, widened

T = ColumnType


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        (T.INTEGER, T.INTEGER, T.INTEGER),
        (T.INTEGER, T.FLOAT, T.FLOAT),
        (T.DATETIME, T.DATE, T.DATETIME),
        (T.BOOLEAN, T.INTEGER, T.STRING),
        (T.TIME, T.DATETIME, T.STRING),
        (T.STRING, T.FLOAT, T.STRING),
    ],
)
def test_the_narrowest_type_that_holds_both(a: T, b: T, both: T) -> None:
    assert widened(a, b) is widened(b, a) is both


@pytest.mark.parametrize(
    ("length", "step"),
    [(0, 80), (80, 80), (81, 160), (40_961, MAX_LENGTH), (MAX_LENGTH, MAX_LENGTH), (10**9, MAX_LENGTH)],
)
def test_lengths_grow_in_steps_up_to_the_platforms_limit(length: int, step: int) -> None:
    assert length_step(length) == step


def test_every_column_type_has_one_arrow_type() -> None:
    assert {OF_ARROW[ARROW[kind]] for kind in ColumnType} == set(ColumnType)


def test_names_compare_without_case() -> None:
    schema = TableSchema((Column("Id", T.INTEGER),))
    assert schema.get("ID") == Column("Id", T.INTEGER)
    assert schema.get("x") is None
    assert schema.joined([Column("iD", T.FLOAT)]).columns == (Column("Id", T.FLOAT),)


def test_new_columns_stand_at_the_end_and_lengths_only_grow() -> None:
    schema = TableSchema((Column("a", T.STRING, 10),))
    grown = schema.joined([Column("b", T.DATE), Column("a", T.STRING, 5)])
    assert grown.columns == (Column("a", T.STRING, 10), Column("b", T.DATE))
    assert grown.joined([Column("a", T.STRING, 99)]).columns[0].length == 99


def test_joining_what_is_known_gives_the_very_same_schema() -> None:
    schema = TableSchema((Column("a", T.FLOAT),))
    assert schema.joined([Column("a", T.INTEGER)]) is schema


def test_an_established_type_never_moves_but_its_length_grows() -> None:
    schema = TableSchema((Column("a", T.INTEGER),)).established()
    assert schema.joined([Column("a", T.STRING, 7)]).columns == (Column("a", T.INTEGER, 7, established=True),)


def test_batches_stand_alike_by_name_type_and_order_not_by_length() -> None:
    schema = TableSchema((Column("a", T.STRING, 1), Column("b", T.DATE)))
    assert schema.stands_like(schema)
    assert schema.stands_like(TableSchema((Column("a", T.STRING, 9), Column("b", T.DATE, established=True))))
    assert not schema.stands_like(TableSchema(schema.columns[::-1]))
    assert not schema.stands_like(TableSchema(schema.columns[:1]))


def test_a_schema_as_arrow() -> None:
    assert TableSchema((Column("t", T.DATETIME),)).arrow() == pa.schema([("t", pa.timestamp("ms"))])


def test_a_schema_goes_over_the_wire_and_comes_back_established() -> None:
    schema = TableSchema((Column("Id", T.STRING, 100), Column("n", T.FLOAT)))
    wire = schema.to_wire("t", ["ID"])
    assert wire == {
        "tableName": "t",
        "columns": [
            {"columnName": "Id", "columnType": "STRING", "fieldLength": 160, "pkField": True},
            {"columnName": "n", "columnType": "FLOAT"},
        ],
    }
    back = TableSchema.from_wire(wire)
    assert back.columns == (Column("Id", T.STRING, 160, established=True), Column("n", T.FLOAT, established=True))


def test_columns_of_types_that_are_unknown_are_left_out() -> None:
    wire = {"columns": [{"columnName": "a", "columnType": "GEOMETRY"}, {"columnName": "b", "columnType": "TIME"}]}
    assert TableSchema.from_wire(wire).columns == (Column("b", T.TIME, established=True),)
    assert TableSchema.from_wire({}).columns == ()


def test_some_columns_are_chosen_by_name_in_the_order_of_the_table() -> None:
    schema = TableSchema((Column("a", T.INTEGER), Column("B", T.STRING), Column("c", T.FLOAT)))
    assert [c.name for c in schema.only(["C", "b", "no"]).columns] == ["B", "c"]
