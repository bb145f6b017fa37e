"""Keys of tombstones: what is deleted, and what is not understood and so deletes nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from connector.config import Table
from connector.core.columns import Column, ColumnType, TableSchema
from connector.core.messages import MessageBatch
from connector.errors import ConfigError, RegistryUnavailable
from connector.formats import make_decoder
from tests.fakes import FakeMessage
from tests.unit.formats.tables import Registry, avro, avro_table, json_table, reasons, record, rows, types

if TYPE_CHECKING:
    from connector.core.messages import Decoded
    from connector.formats.decoder import TableDecoder

INTEGERS = TableSchema((Column("id", ColumnType.INTEGER, established=True),))
TEXTS = TableSchema((Column("id", ColumnType.STRING, 80, established=True),))
PAIRS = TableSchema((Column("region", ColumnType.STRING, 80), Column("id", ColumnType.INTEGER)))


def decode(decoder: TableDecoder, *messages: tuple[Any, bytes | None]) -> Decoded:
    """Decode one batch of (value, key); a value of None is a tombstone, another one that is no bytes becomes JSON."""
    raw = [(v if v is None or isinstance(v, bytes) else orjson.dumps(v), key) for v, key in messages]
    decoded = decoder.decode(MessageBatch.of("t", [FakeMessage("t", 0, i, v, key) for i, (v, key) in enumerate(raw)]))
    numbers = [*decoded.rows.tolist(), *(r.offset for r in decoded.rejects)]
    if decoded.deletes:
        decoded.deletes.batch.validate(full=True)
        numbers += decoded.deletes.rows.tolist()
        assert len(decoded.deletes.rows) == decoded.deletes.batch.num_rows > 0
        assert sorted(decoded.deletes.rows.tolist()) == decoded.deletes.rows.tolist()
    assert sorted(numbers) == list(range(len(raw))) if not decoded.tombstones else numbers == sorted(set(numbers))
    return decoded


def deleted(decoded: Decoded) -> list[dict[str, Any]]:
    """Return the keys to delete, in the order of their messages."""
    return decoded.deletes.batch.to_pylist() if decoded.deletes else []


def told(decoded: Decoded) -> list[tuple[str, str]]:
    return [(r.reason, r.detail) for r in decoded.rejects]


# --- JSON and text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key", "row"),
    [
        pytest.param(INTEGERS, b'{"id": 17}', 17, id="an object gives its column"),
        pytest.param(INTEGERS, b'{"ID": 17, "more": [1]}', 17, id="in any case, and what is no key does not matter"),
        pytest.param(INTEGERS, b"17", 17, id="a number is the one key"),
        pytest.param(INTEGERS, b" 17 ", 17, id="white space means nothing in JSON"),
        pytest.param(INTEGERS, b"17.0", 17, id="a double that is exactly an integer is one"),
        pytest.param(INTEGERS, b'"17"', 17, id="a number in quotes is one in a column of numbers"),
        pytest.param(INTEGERS, b"9007199254740993", 9007199254740993, id="large integers stay exact"),
        pytest.param(TEXTS, b'"PO-17"', "PO-17", id="a JSON string is its content"),
        pytest.param(TEXTS, b"PO-17", "PO-17", id="what is no JSON is text"),
        pytest.param(TEXTS, "größe".encode(), "größe", id="in UTF-8"),
        pytest.param(TEXTS, b"0017", "0017", id="a number with leading zeros is text"),
        pytest.param(TEXTS, b"1.10", "1.10", id="a number is its own text in a column of text"),
        pytest.param(TEXTS, b"1e5", "1e5", id="however it is written"),
        pytest.param(TEXTS, b"true", "true", id="a truth value too"),
        pytest.param(TEXTS, b"[1]", "[1]", id="an array is text"),
        pytest.param(TEXTS, b'{"id": 17}', "17", id="a number in an object is that of a record"),
    ],
)
def test_a_key_of_a_json_table_is_json_else_text(table: TableSchema, key: bytes, row: Any) -> None:
    decoder = json_table(table, keys=["id"])
    for _ in range(2):
        assert deleted(decode(decoder, (None, key))) == [{"id": row}]
    assert types(decoder) == {c.name: c.type.value for c in table.columns}


@pytest.mark.parametrize(
    ("settings", "key", "reason", "detail"),
    [
        pytest.param({}, None, "null_key", "a tombstone without a Kafka key", id="no key"),
        pytest.param({}, b"", "null_key", "a tombstone without a Kafka key", id="an empty one"),
        pytest.param({}, b"null", "null_key", "it is null", id="null"),
        pytest.param({}, b'{"id": null}', "null_key", "key column id has no value", id="null in an object"),
        pytest.param({}, b'{"no": 1}', "null_key", "key column id has no value", id="an object without the key"),
        pytest.param({}, b"{}", "null_key", "key column id has no value", id="an empty object"),
        pytest.param({}, b"17.5", "bad_key", "wrong_type", id="a number that does not fit the column"),
        pytest.param({}, b"PO-17", "bad_key", "wrong_type", id="text in a column of numbers"),
        pytest.param({}, b"\xff\xfe", "bad_key", "can't decode byte 0xff", id="no UTF-8"),
        pytest.param({}, (17).to_bytes(8, "big"), "bad_key", "it is binary", id="a number as eight bytes"),
        pytest.param({}, b'{"a":' * 99 + b"1" + b"}" * 99, "bad_key", "too_deep", id="objects nested too deep"),
        pytest.param({"key_format": "json"}, b"0017", "bad_key", "it is not JSON", id="text where JSON is set"),
        pytest.param({"key_format": "json"}, b"[1]", "bad_key", "it is an array", id="an array where JSON is set"),
        pytest.param({"key_format": "text"}, b'{"id": 17}', "bad_key", "wrong_type", id="JSON where text is set"),
        pytest.param({"keys": ["id", "n"]}, b"17", "bad_key", "one value, and the table has keys id, n", id="two keys"),
    ],
)
def test_a_key_that_is_not_understood_is_a_reject_and_the_others_go_on(
    settings: dict[str, Any], key: bytes | None, reason: str, detail: str
) -> None:
    base = TableSchema((*INTEGERS.columns, Column("n", ColumnType.INTEGER)))
    decoder = json_table(base, **{"keys": ["id"]} | settings)
    good = b'{"id": 1, "n": 1}' if "keys" in settings else b"1"
    decoded = decode(decoder, (None, good), (None, key), ({"id": 2, "n": 2}, b"2"), (None, good))
    ((found, text),) = told(decoded)
    assert (found, reasons(decoded)) == (reason, {1: reason})
    assert detail in text
    assert [row["id"] for row in deleted(decoded)] == [1, 1]
    assert rows(decoded) == [{"id": 2, "n": 2}]


def test_a_format_that_is_set_is_taken_at_its_word() -> None:
    json = json_table(TEXTS, keys=["id"], key_format="json")
    assert deleted(decode(json, (None, b"1.10"), (None, b'"a"'))) == [{"id": "1.1"}, {"id": "a"}]
    text = json_table(TEXTS, keys=["id"], key_format="text")
    assert deleted(decode(text, (None, b'"a"'), (None, b"null"))) == [{"id": '"a"'}, {"id": "null"}]
    assert deleted(decode(json_table(INTEGERS, keys=["id"], key_format="text"), (None, b"17"))) == [{"id": 17}]


def test_several_keys_come_from_an_object_by_name_in_the_order_of_the_table() -> None:
    decoder = json_table(PAIRS, keys=["id", "region"])
    decoded = decode(decoder, (None, b'{"id": 1, "region": "eu"}'), (None, b'{"region": "us", "id": 2}'))
    assert deleted(decoded) == [{"region": "eu", "id": 1}, {"region": "us", "id": 2}]


def test_nested_keys_are_flattened_like_the_columns_of_records() -> None:
    decoder = json_table(keys=["order_id"])
    decoded = decode(decoder, ({"order": {"id": 1}, "n": 1}, None), (None, b'{"order": {"id": 1}}'), (None, b"1"))
    assert deleted(decoded) == [{"order_id": 1}, {"order_id": 1}]


def test_a_name_goes_to_the_column_that_records_have_given_its_path() -> None:
    decoder = json_table(keys=["a_b"])
    decode(decoder, ({"a_b": 1, "a": {"b": 2}}, None))
    assert deleted(decode(decoder, (None, b'{"a": {"b": 2}, "a_b": 1}'))) == [{"a_b": 1}]
    assert reasons(decode(decoder, (None, b'{"a": {"b": 2}}'))) == {0: "null_key"}


def test_records_tell_the_type_of_a_key_before_the_tombstones_of_their_batch_and_these_never_widen_it() -> None:
    decoder = json_table(keys=["id"])
    decoded = decode(decoder, (None, b"17"), ({"id": "PO-1"}, None), (None, b"PO-2"))
    assert deleted(decoded) == [{"id": "17"}, {"id": "PO-2"}]
    decoder = json_table(keys=["id"])
    decode(decoder, ({"id": 1}, None))
    assert reasons(decode(decoder, (None, b"PO-1"))) == {0: "bad_key"}
    assert types(decoder) == {"id": "INTEGER"}


def test_a_table_that_nobody_knows_yet_has_the_types_of_the_first_keys() -> None:
    decoder = json_table(keys=["id"])
    assert deleted(decode(decoder, (None, b"17"))) == [{"id": 17}]
    assert types(decoder) == {"id": "INTEGER"}
    assert rows(decode(decoder, ({"id": "PO-1"}, None))) == [{"id": "PO-1"}], "records may still widen it"
    mixed = json_table(keys=["id"])
    assert deleted(decode(mixed, (None, b"17"), (None, b"PO-1"), (None, b'{"id": 2}'))) == [
        {"id": "17"},
        {"id": "PO-1"},
        {"id": "2"},
    ]
    half = json_table(TEXTS, keys=["id", "n"])
    assert deleted(decode(half, (None, b'{"id": 1, "n": 2}'))) == [{"id": "1", "n": 2}]
    assert reasons(decode(json_table(keys=["id"]), (None, b'{"no": 1}'))) == {0: "null_key"}


def test_long_keys_are_rejected_or_cut_as_those_of_records_are_and_make_room_for_themselves() -> None:
    decoder = json_table(TEXTS, keys=["id"])
    assert reasons(decode(decoder, (None, b"x" * 65_001))) == {0: "bad_key"}
    assert deleted(decode(decoder, (None, b"x" * 300))) == [{"id": "x" * 300}]
    assert decoder.schema.columns[0].length == 300, "a key that is cut would delete another row"
    cutting = json_table(TEXTS, keys=["id"], long_strings="truncate")
    assert deleted(decode(cutting, (None, b"x" * 65_001))) == [{"id": "x" * 65_000}]


# --- Avro -----------------------------------------------------------------------------------------------------

ORDER = record(("id", "long"), ("name", ["null", "string"]))
KEY = record(("id", "long"), name="Key")


def order(number: int) -> bytes:
    return avro(ORDER, {"id": number, "name": "x"})


@pytest.mark.parametrize(
    ("schema", "value", "row"),
    [
        pytest.param(KEY, {"id": 7}, 7, id="a record"),
        pytest.param("long", 7, 7, id="a bare number"),
        pytest.param({"type": "int"}, 7, 7, id="in the long spelling"),
        pytest.param(["null", "long"], 7, 7, id="a union with null"),
        pytest.param("string", "7", 7, id="text of a number"),
    ],
)
def test_a_key_of_an_avro_table_with_a_header_is_avro(schema: Any, value: Any, row: Any) -> None:
    decoder = avro_table(Registry(s1=ORDER, s2=schema), keys=["id"])
    decoded = decode(decoder, (order(7), None), (None, avro(schema, value, 2)), (None, b"8"), (order(9), None))
    assert deleted(decoded) == [{"id": row}, {"id": 8}], "a key without the header is text"
    assert decoded.rows.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("key", "reason", "detail"),
    [
        pytest.param(b"\x00\x00\x00\x00\x63\x02", "bad_key", "unknown_schema", id="a schema that nobody knows"),
        pytest.param(avro(KEY, {"id": 7}, 2)[:-1], "bad_key", "broken_avro", id="cut off"),
        pytest.param(avro("long", 7, 3) + b"\x00", "bad_key", "broken_avro", id="a byte left over"),
        pytest.param(avro(["null", "long"], None, 4), "null_key", "id has no value", id="null"),
        pytest.param(avro(record(("no", "long")), {"no": 7}, 5), "null_key", "id has no value", id="another record"),
        pytest.param(b"\x00\x00\x00\x00\x06\x02", "bad_key", "unreadable_schema", id="a schema that is none"),
        pytest.param(b"\x00\x00\x00\x00\x07\x02", "bad_key", "unreadable_schema", id="nor JSON"),
        pytest.param(b"PO-1", "bad_key", "wrong_type", id="text in a column of numbers"),
    ],
)
def test_an_avro_key_that_is_not_understood_is_a_reject(key: bytes, reason: str, detail: str) -> None:
    registry = Registry(s1=ORDER, s2=KEY, s3="long", s4=["null", "long"], s5=record(("no", "long")), s6=5)
    registry.schemas[7] = "{", ()
    decoded = decode(avro_table(registry, keys=["id"]), (order(1), None), (None, key), (None, b"2"))
    ((found, text),) = told(decoded)
    assert (found, deleted(decoded)) == (reason, [{"id": 2}])
    assert detail in text


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("boolean", True),
        ("int", -5),
        ("long", (1 << 63) - 1),
        ("double", 0.1),
        ("string", "PO-ü"),
        ("bytes", b"\x00\xff"),
        ({"type": "fixed", "name": "F", "size": 3}, b"\x00\x01\x02"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
        ({"type": "int", "logicalType": "date"}, 20_000),
        ({"type": "int", "logicalType": "time-millis"}, 1_000),
        ({"type": "long", "logicalType": "timestamp-micros"}, 1_700_000_000_123_456),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("12.34")),
        ({"type": "string", "logicalType": "uuid"}, "11111111-2222-3333-4444-555555555555"),
        (["null", "long", "string"], "a"),
    ],
    ids=str,
)
@pytest.mark.parametrize("decimals", ["double", "string"])
def test_an_avro_key_means_the_row_of_the_record_with_the_same_value(schema: Any, value: Any, decimals: str) -> None:
    one = record(("id", schema))
    decoder = avro_table(Registry(s1=one, s2=schema), keys=["id"], decimals=decimals)
    whole, bare = avro(one, {"id": value}), avro(schema, value, 2)
    decoded = decode(decoder, (whole, None), (None, whole), (None, bare))
    assert deleted(decoded) == rows(decoded) * 2


def test_avro_is_not_guessed_where_it_is_set() -> None:
    decoder = avro_table(Registry(s1=ORDER, s2="string"), keys=["id"], key_format="avro")
    assert reasons(decode(decoder, (None, b"PO-1"))) == {0: "bad_key"}
    json = make_decoder(
        Table(topics=["t"], format="json", keys=["id"], key_format="avro"), TEXTS, Registry(s2="string")
    )
    assert deleted(decode(json, (None, avro("string", "PO-1", 2)))) == [{"id": "PO-1"}]
    with pytest.raises(ConfigError, match="schema_registry"):
        make_decoder(Table(topics=["t"], format="json", keys=["id"], key_format="avro"), TEXTS, None)


def test_a_key_schema_that_names_or_wraps_a_record_is_one() -> None:
    registry = Registry(s1=ORDER, s3={"type": KEY})
    registry.add(2, "Key", KEY)
    keys = [avro(KEY, {"id": 7}, number) for number in (2, 3)]
    assert deleted(decode(avro_table(registry, keys=["id"]), *((None, key) for key in keys))) == [{"id": 7}] * 2


def test_a_silent_registry_takes_nothing_in() -> None:
    registry = Registry(s1=ORDER, s2=KEY)
    decoder = avro_table(registry, keys=["id"])
    decode(decoder, (order(1), None))
    before, registry.away = decoder.schema, RegistryUnavailable("no answer", wait=1.0)
    with pytest.raises(RegistryUnavailable):
        decode(decoder, (order(2), None), (None, avro(KEY, {"id": 1}, 2)))
    assert decoder.schema is before


# --- what a tombstone means -----------------------------------------------------------------------------------


def test_tombstones_are_deletes_where_the_table_has_keys_and_are_ignored_elsewhere() -> None:
    for settings in ({"append": True}, {"append": False, "keys": []}, {"keys": ["id"], "on_tombstone": "ignore"}):
        decoded = decode(json_table(**settings), (None, b"1"), ({"id": 1}, b"1"), (None, None))
        assert (decoded.tombstones, deleted(decoded), decoded.rejects, len(decoded.rows)) == (2, [], [], 1)


@pytest.mark.parametrize("settings", [{"append": True}, {"append": False}, {"keys": ["id"]}])
def test_tombstones_are_rejected_where_that_is_set(settings: dict[str, Any]) -> None:
    decoded = decode(json_table(on_tombstone="reject", **settings), (None, b"1"), ({"id": 1}, b"1"), (None, None))
    assert (reasons(decoded), decoded.tombstones, deleted(decoded)) == ({0: "tombstone", 2: "tombstone"}, 0, [])
    assert decode(json_table(on_tombstone="reject", **settings), ({"id": 1}, b"1")).rejects == []


def test_half_a_batch_of_tombstones_stands_between_its_records() -> None:
    decoder = json_table(keys=["id"])
    messages: list[tuple[Any, bytes | None]] = [
        (None, b"%d" % i) if i % 2 else ({"id": i}, b"%d" % i) for i in range(10_000)
    ]
    decoded = decode(decoder, *messages)
    assert decoded.deletes
    assert decoded.deletes.rows.tolist() == list(range(1, 10_000, 2))
    assert decoded.deletes.batch.column("id").to_pylist() == list(range(1, 10_000, 2))
