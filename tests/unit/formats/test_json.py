"""JSON messages: what becomes of them in a table."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from connector.core.columns import Column, ColumnType, TableSchema
from connector.formats.json_values import MAX_DEPTH, MAX_PLACES
from tests.unit.formats.tables import decode, json_table, reasons, rows, types

GOOD = {"id": 1, "name": "x"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"", "empty", id="no bytes"),
        pytest.param(b"  \n", "broken_json", id="nothing but white space"),
        pytest.param(b'{"id": 1, "na', "broken_json", id="cut off"),
        pytest.param(b'{"id": 1}}', "broken_json", id="one brace too many"),
        pytest.param(b'{"id": 1}{"id": 2}', "broken_json", id="two objects"),
        pytest.param(b'{"id": 1}\n{"id": 2}', "broken_json", id="two objects on two lines"),
        pytest.param(b'{"id": NaN}', "broken_json", id="NaN"),
        pytest.param(b'{"id": 1e999}', "broken_json", id="a number beyond any double"),
        pytest.param(b'{"id": "\\ud800"}', "broken_json", id="half a surrogate pair"),
        pytest.param(b'{"id": "a\nb"}', "broken_json", id="a raw newline in a string"),
        pytest.param(b'\xef\xbb\xbf{"id": 1}', "broken_json", id="a byte order mark"),
        pytest.param(b'{"name": "\xff"}', "not_utf8", id="not UTF-8"),
        pytest.param(b'{"name\xc3": 1}', "not_utf8", id="a name that is not UTF-8"),
        pytest.param(b"[1]", "not_an_object", id="an array"),
        pytest.param(b"null", "not_an_object", id="null"),
        pytest.param(b'"{}"', "not_an_object", id="a string"),
        pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, "too_deep", id="5000 objects in each other"),
        pytest.param(b'{"a":' * 500 + b"1" + b"}" * 500, "too_deep", id="500 objects in each other"),
        pytest.param(b'{"a":' + b"[" * 100_000, "too_deep", id="100000 open arrays"),
        pytest.param(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "too_deep", id="300 arrays in each other"),
        pytest.param(
            orjson.dumps({f"k{i}": i for i in range(MAX_PLACES + 1)}), "too_many_columns", id="names that are data"
        ),
    ],
)
def test_a_bad_message_is_a_reject_with_its_reason_and_the_others_go_on(value: bytes, reason: str) -> None:
    table = json_table()
    for _ in range(3):  # the columnar reader learns the table's shape from the first batch
        decoded = decode(table, GOOD, value, None, GOOD)
        assert reasons(decoded) == {1: reason}
        assert rows(decoded) == [GOOD, GOOD]
        assert decoded.tombstones == 1
        assert reasons(decode(table, GOOD, value)) == {1: reason}
        assert reasons(decode(table, value)) == {0: reason}
    assert types(table) == {"id": "INTEGER", "name": "STRING"}


@pytest.mark.parametrize(
    ("value", "row"),
    [
        pytest.param(b'{"id": 1, "id": 2}', {"id": 2}, id="of a name given twice the last value counts"),
        pytest.param(b'{"id": 1, "id": null}', {}, id="also when it is null"),
        pytest.param(b' {"id"\r\n:\t1} \n', {"id": 1}, id="white space around and inside means nothing"),
        pytest.param(b'{"\\u0069d": 1}', {"id": 1}, id="escapes in names are read"),
        pytest.param(b'{"name": "\\u0000\\n\\ud83d\\ude00"}', {"name": "\x00\n😀"}, id="escapes in strings are read"),
        pytest.param(b"{}", {}, id="an empty object is a row of nulls"),
        pytest.param(b'{"id": {}, "x": {"y": {}}}', {}, id="so are nested empty objects"),
        pytest.param(b'{"id": null, "never": null}', {}, id="and nulls"),
    ],
)
def test_a_strange_message_is_read_as_json_has_it(value: bytes, row: dict[str, Any]) -> None:
    table = json_table()
    for _ in range(3):
        assert rows(decode(table, GOOD, value)) == [GOOD, row]


def test_a_message_of_20_mb_is_cut_or_rejected_by_setting() -> None:
    huge = {"id": 2, "name": "é" * 10_000_000}
    for _ in range(2):
        assert reasons(decode(json_table(), GOOD, huge)) == {1: "too_long"}
    table = json_table(long_strings="truncate")
    for _ in range(2):
        decoded = decode(table, GOOD, huge)
        assert (decoded.cut, rows(decoded)[1]["name"]) == (1, "é" * 32_500)
    assert table.schema.columns[1].length == 65_000


def test_objects_become_columns_and_arrays_text() -> None:
    table = json_table()
    value = {"a": {"b": {"c": 1}, "d-e": "x"}, "list": [1, {"k": None}, [2.0, "ü"]], "empty": []}
    for _ in range(2):
        assert rows(decode(table, value)) == [
            {"a_b_c": 1, "a_d_e": "x", "list": '[1,{"k":null},[2.0,"ü"]]', "empty": "[]"}
        ]


def test_names_that_would_clash_keep_apart_and_none_is_lost() -> None:
    table = json_table()
    value = {"a.b": 1, "a": {"b": 2}, "a_b": 3, "A_B": 4, "2": 5, "": 6, "_kafka_offset": 7}
    for _ in range(2):
        (row,) = rows(decode(table, value))
        assert sorted(row.values()) == [1, 2, 3, 4, 5, 6, 7]
        assert (row["a_b"], row["_2"], row["_"], row["_kafka_offset"]) == (3, 5, 6, 7)


def test_a_column_that_flips_between_integer_and_float_makes_no_new_schema_each_time() -> None:
    table = json_table()
    schemas = []
    for value in (1, 1.5, 2, 2.5, 3, 3.5):
        decode(table, {"n": value})
        schemas.append(table.schema)
    assert len({id(s) for s in schemas}) == 2
    assert types(table) == {"n": "FLOAT"}


def test_a_column_widens_to_text_once() -> None:
    table = json_table()
    found = [rows(decode(table, {"n": v}))[0]["n"] for v in (1, "x", 2, 2.5, True, [1], 10**18)]
    assert found == [1, "x", "2", "2.5", "true", "[1]", "1000000000000000000"]
    assert types(table) == {"n": "STRING"}


def test_integers_beyond_64_bits_are_doubles() -> None:
    table = json_table()
    for _ in range(3):
        assert rows(decode(table, {"n": 1}, {"n": 1 << 63}, b'{"n": 1000000000000000000000000000000}')) == [
            {"n": 1},
            {"n": 2.0**63},
            {"n": 1e30},
        ]


def test_the_values_beside_it_do_not_change_what_becomes_of_a_value() -> None:
    big = (1 << 62) + 1
    base = TableSchema((Column("n", ColumnType.INTEGER),))
    for other, reason in ((1.5, "wrong_type"), ("x", "wrong_type"), (True, "wrong_type"), ([1], "wrong_type")):
        table = json_table(base.established())
        for _ in range(3):
            decoded = decode(table, {"n": big}, {"n": other}, {"n": 2.0}, {"n": "3"})
            assert reasons(decoded) == {1: reason}
            assert rows(decoded) == [{"n": big}, {"n": 2}, {"n": 3}]
            assert rows(decode(table, {"n": big})) == [{"n": big}]


def test_numbers_for_a_text_column_are_written_as_they_came() -> None:
    table = json_table(columns={"id": {"type": "STRING"}})
    for value, text in ((5, "5"), (5.0, "5.0"), (5, "5"), ((1 << 63) - 1, "9223372036854775807"), ("5", "5"), (5, "5")):
        assert rows(decode(table, {"id": value})) == [{"id": text}]


def test_types_are_fixed_once_a_load_went_out() -> None:
    table = json_table()
    decode(table, {"n": 1})
    table.establish()
    fixed = table.schema
    table.establish()
    assert table.schema is fixed
    decoded = decode(table, {"n": 1.5}, {"n": 2}, {"m": "new"})
    assert reasons(decoded) == {0: "wrong_type"}
    assert "column n is INTEGER, the value is FLOAT" in decoded.rejects[0].detail
    assert rows(decoded) == [{"n": 2}, {"m": "new"}]


def test_declared_columns_say_what_text_and_numbers_mean() -> None:
    table = json_table(
        columns={"at": {"type": "DATETIME"}, "day": {"type": "DATE"}, "ms": {"type": "DATETIME"}, "n": {"length": 500}}
    )
    for _ in range(2):
        decoded = decode(
            table,
            {"at": "2020-01-01T10:00:00Z", "day": "2020-01-01", "ms": 1_577_872_800_000, "n": "x"},
            {"at": "1200-01-01T00:00:00", "ms": 1 << 60},
            {"at": "later"},
        )
        assert [str(v) for v in decoded.batch.column("at").to_pylist()] == ["2020-01-01 10:00:00", "None"]
        assert [str(v) for v in decoded.batch.column("ms").to_pylist()] == ["2020-01-01 10:00:00", "None"]
        assert decoded.nulled_dates == 2
        assert reasons(decoded) == {2: "wrong_type"}
    known = table.schema.get("n")
    assert known
    assert known.length == 500


def test_a_record_without_its_key_is_rejected() -> None:
    table = json_table(keys=["Id"])
    assert reasons(decode(table, {"x": 1})) == {0: "null_key"}, "the key column has never been seen"
    for _ in range(2):
        decoded = decode(table, {"id": 1}, {"id": None}, {"x": 2}, {"id": 3})
        assert reasons(decoded) == {1: "null_key", 2: "null_key"}
        assert rows(decoded) == [{"id": 1}, {"id": 3}]


def test_a_record_is_rejected_once_for_the_first_reason() -> None:
    table = json_table(keys=["id"], columns={"a": {"type": "INTEGER"}, "id": {"type": "INTEGER"}})
    assert reasons(decode(table, {"a": "x"}, {"a": "y", "id": 1}, {"id": 2})) == {0: "wrong_type", 1: "wrong_type"}


def test_a_table_without_keys_gets_the_coordinates_and_a_field_of_their_name_another_one() -> None:
    table = json_table(append=False)
    for _ in range(2):
        decoded = decode(table, {"_kafka_offset": "mine"}, None, {})
        first, second = rows(decoded)
        assert {k: v for k, v in first.items() if v != "mine"} == {
            "_kafka_topic": "orders",
            "_kafka_partition": 0,
            "_kafka_offset": 0,
        }
        assert "mine" in first.values()
        assert second["_kafka_offset"] == 2


def test_excluded_columns_are_left_out() -> None:
    table = json_table(TableSchema((Column("Secret", ColumnType.STRING),)), columns={"secret": {"exclude": True}})
    for value in ("x", 1, 1.5, "y"):
        assert rows(decode(table, {"a": 1, "secret": value})) == [{"a": 1}]
    assert types(table) == {"a": "INTEGER"}


def test_a_record_without_values_needs_a_table_with_columns() -> None:
    table = json_table()
    assert reasons(decode(table, {}, {"a": None})) == {0: "no_columns", 1: "no_columns"}
    assert rows(decode(table, {}, {"a": 1})) == [{}, {"a": 1}]


def test_lengths_grow_with_the_data() -> None:
    table = json_table()
    for text in ("x" * 10, "ü" * 100, "y"):
        decode(table, {"s": text})
        decode(table, {"s": text})
    assert [c.length for c in table.schema.columns] == [200]


def test_the_number_of_columns_is_bounded_over_batches_and_known_ones_go_on() -> None:
    table = json_table()
    half = MAX_PLACES // 2
    decode(table, {f"k{i}": i for i in range(half)})
    decoded = decode(
        table, *({f"k{half * n + i}": i for i in range(half)} for n in (0, 1, 2)), {"k0": "x"}, {"z": None}
    )
    assert reasons(decoded) == {2: "too_many_columns", 4: "too_many_columns"}
    assert len(table.schema.columns) == MAX_PLACES


def test_objects_nested_as_deep_as_allowed_are_flattened() -> None:
    table = json_table()
    nested: Any = 1
    for _ in range(MAX_DEPTH):
        nested = {"a": nested}
    for _ in range(2):
        (row,) = rows(decode(table, nested))
        assert list(row.values()) == [1]


def test_a_place_may_hold_an_object_and_a_scalar_in_turn() -> None:
    table = json_table()
    for _ in range(3):
        assert rows(decode(table, {"a": 1}, {"a": {"b": 2}}, {"a": {"b": None}})) == [{"a": 1}, {"a_b": 2}, {}]
        assert rows(decode(table, {"a": {"b": 2}}, {"a": 1})) == [{"a_b": 2}, {"a": 1}]


def test_scalars_first_and_objects_later_at_one_place() -> None:
    table = json_table()
    decode(table, {"a": 1})
    for _ in range(3):
        assert rows(decode(table, {"a": {"b": 2}}, {"a": 1})) == [{"a_b": 2}, {"a": 1}]


def test_a_new_name_in_a_nested_object_is_found() -> None:
    table = json_table()
    decode(table, {"a": {"b": 1}})
    assert rows(decode(table, {"a": {"b": 1, "c": None}}, {"a": {"c": 2}})) == [{"a_b": 1}, {"a_c": 2}]
    assert rows(decode(table, {"a": {"b": 1, "d": {"e": None}}})) == [{"a_b": 1}]


def test_a_batch_of_tombstones_is_counted_and_nothing_else() -> None:
    decoded = decode(json_table(), None, None)
    assert (decoded.batch.num_rows, decoded.tombstones, decoded.rejects) == (0, 2, [])


def test_a_batch_may_be_empty() -> None:
    assert decode(json_table()).batch.num_rows == 0
