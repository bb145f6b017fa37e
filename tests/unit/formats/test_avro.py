"""Avro messages with a schema registry's header: what becomes of them in a table."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from connector.config import Table
from connector.core.columns import TableSchema
from connector.errors import ConfigError, RegistryUnavailable
from connector.formats import make_decoder
from tests.unit.formats.tables import Registry, avro, avro_table, decode, reasons, record, rows, types

ORDER = record(("id", "long"), ("name", ["null", "string"]))
GOOD = {"id": 1, "name": "x"}


def long(number: int) -> bytes:
    """Return a zig-zag varint."""
    number = (number << 1) ^ (number >> 63)
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"", "empty", id="no bytes"),
        pytest.param(b"\x00\x00\x00", "broken_avro", id="shorter than the header"),
        pytest.param(b"\x01\x00\x00\x00\x01\x02\x00", "wrong_magic", id="another first byte"),
        pytest.param(b'{"id": 1}', "wrong_magic", id="JSON"),
        pytest.param(b"\x00\x00\x00\x00\x63\x02\x00", "unknown_schema", id="a schema that nobody knows"),
        pytest.param(b"\x00\x00\x00\x00\x02\x02", "not_a_record", id="a schema of bare numbers"),
        pytest.param(b"\x00\x00\x00\x00\x03\x02", "unreadable_schema", id="a schema that is none"),
        pytest.param(b"\x00\x00\x00\x00\x04\x02", "unreadable_schema", id="an array of items without any bytes"),
        pytest.param(b"\x00\x00\x00\x00\x01", "broken_avro", id="the header alone"),
        pytest.param(avro(ORDER, GOOD)[:-1], "broken_avro", id="cut off"),
        pytest.param(avro(ORDER, GOOD) + b"\x00", "broken_avro", id="a byte left over"),
        pytest.param(avro(ORDER, GOOD)[:-1] + b"\xff", "broken_avro", id="text that is not UTF-8"),
        pytest.param(b"\x00\x00\x00\x00\x01\x02\x06", "broken_avro", id="a branch that the union has not"),
        pytest.param(b"\x00\x00\x00\x00\x01\x02\x02" + long(1 << 60), "broken_avro", id="text longer than the message"),
        pytest.param(b"\x00\x00\x00\x00\x01\x02\x02" + long(-5), "broken_avro", id="text of a negative length"),
    ],
)
def test_a_bad_message_is_a_reject_with_its_reason_and_the_others_go_on(value: bytes, reason: str) -> None:
    registry = Registry(
        s1=ORDER, s2="long", s3={"type": "record"}, s4=record(("a", {"type": "array", "items": "null"}))
    )
    decoded = decode(avro_table(registry), avro(ORDER, GOOD), value, None, avro(ORDER, GOOD))
    assert reasons(decoded) == {1: reason}
    assert rows(decoded) == [GOOD, GOOD]
    assert decoded.tombstones == 1


def test_a_damaged_message_among_thousands_is_found_and_all_others_are_rows() -> None:
    values = [avro(ORDER, {"id": i, "name": None}) for i in range(3000)]
    values[7], values[2100] = values[7][:-1], values[2100] + b"x"
    decoded = decode(avro_table(Registry(s1=ORDER)), *values)
    assert reasons(decoded) == {7: "broken_avro", 2100: "broken_avro"}
    assert [row["id"] for row in rows(decoded)] == [i for i in range(3000) if i not in (7, 2100)]


def test_a_schema_that_is_registered_later_is_asked_for_again() -> None:
    registry = Registry()
    table = avro_table(registry)
    assert reasons(decode(table, avro(ORDER, GOOD))) == {0: "unknown_schema"}
    registry.add(1, ORDER)
    assert rows(decode(table, avro(ORDER, GOOD))) == [GOOD]


def test_a_silent_registry_takes_nothing_in() -> None:
    registry = Registry(s1=ORDER)
    table = avro_table(registry)
    registry.away = RegistryUnavailable("no answer", wait=1.0)
    with pytest.raises(RegistryUnavailable):
        decode(table, avro(ORDER, GOOD))
    assert types(table) == {}
    registry.away = None
    assert rows(decode(table, avro(ORDER, GOOD))) == [GOOD]


def test_a_table_in_avro_needs_a_registry() -> None:
    with pytest.raises(ConfigError, match=r"schema_registry\.url"):
        make_decoder(Table(topics=["t"], format="avro"), TableSchema(), None)


def test_several_schemas_in_one_batch_meet_in_one_table_in_the_order_of_the_messages() -> None:
    added = record(("id", "long"), ("name", ["null", "string"]), ("note", "string"))
    removed = record(("id", "long"))
    widened = record(("id", "double"), ("name", "string"))
    table = avro_table(Registry(s1=ORDER, s2=added, s3=removed, s4=widened))
    decoded = decode(
        table,
        avro(ORDER, GOOD),
        avro(added, {**GOOD, "note": "n"}, 2),
        avro(removed, {"id": 3}, 3),
        avro(widened, {"id": 4.5, "name": "y"}, 4),
        avro(ORDER, {"id": 5, "name": None}),
    )
    assert rows(decoded) == [GOOD, {**GOOD, "note": "n"}, {"id": 3}, {"id": 4.5, "name": "y"}, {"id": 5}]
    assert types(table) == {"id": "FLOAT", "name": "STRING", "note": "STRING"}
    settled = table.schema
    decode(table, avro(ORDER, GOOD), avro(removed, {"id": 3}, 3))
    assert table.schema is settled, "an older schema makes no new chunk"


def test_referenced_schemas_are_inlined() -> None:
    address = record(("city", "string"), name="com.acme.Address")
    order = record(("to", "com.acme.Address"), ("alt", ["null", "com.acme.Address"]), name="Order")
    registry = Registry()
    registry.add(1, order, address)
    whole = record(("to", address), ("alt", ["null", "com.acme.Address"]), name="Order")
    value = avro(whole, {"to": {"city": "Ulm"}, "alt": None})
    other = avro(whole, {"to": {"city": "Ulm"}, "alt": {"city": "Bonn"}})
    assert rows(decode(avro_table(registry), value, other)) == [
        {"to_city": "Ulm"},
        {"to_city": "Ulm", "alt_city": "Bonn"},
    ]


def test_a_type_that_several_references_share_is_one() -> None:
    country = record(("code", "string"), name="Country")
    address = record(("city", "string"), ("in_", country), name="Address")
    bank = record(("bic", "string"), ("at", "Country"), name="Bank")
    order = record(("bank", "Bank"), ("to", "Address"), name="Order")
    registry = Registry()
    registry.add(1, order, address, bank)
    whole = record(
        ("bank", record(("bic", "string"), ("at", country), name="Bank")),
        ("to", record(("city", "string"), ("in_", "Country"), name="Address")),
    )
    value = avro(whole, {"bank": {"bic": "X", "at": {"code": "DE"}}, "to": {"city": "Ulm", "in_": {"code": "AT"}}})
    assert rows(decode(avro_table(registry), value)) == [
        {"bank_bic": "X", "bank_at_code": "DE", "to_city": "Ulm", "to_in__code": "AT"}
    ]


def test_a_schema_may_be_wrapped_in_another() -> None:
    registry = Registry(s1={"type": ORDER})
    assert rows(decode(avro_table(registry), avro(ORDER, GOOD))) == [GOOD]


NODE = record(("v", "int"), ("next", ["null", "Node"]), name="Node")


def test_recursive_records_become_text_where_they_repeat() -> None:
    decoded = decode(avro_table(Registry(s1=NODE)), avro(NODE, {"v": 1, "next": {"v": 2, "next": None}}))
    assert rows(decoded) == [{"v": 1, "next": '{"v":2,"next":null}'}]


@pytest.mark.parametrize("levels", [400, 5_000, 1_000_000])
def test_recursive_records_nested_too_deep_are_rejected_never_a_crash(levels: int) -> None:
    good = avro(NODE, {"v": 1, "next": None})
    value = b"\x00\x00\x00\x00\x01" + b"\x02\x02" * levels + b"\x02\x00"
    decoded = decode(avro_table(Registry(s1=NODE)), good, value, good)
    assert reasons(decoded) == {1: "too_deep"}
    assert rows(decoded) == [{"v": 1}, {"v": 1}]


def test_a_record_without_fields_is_a_row_of_a_table_that_has_columns() -> None:
    table = avro_table(Registry(s1=ORDER, s2=record()))
    assert reasons(decode(table, avro(record(), {}, 2))) == {0: "no_columns"}
    assert rows(decode(table, avro(record(), {}, 2), avro(ORDER, GOOD))) == [{}, GOOD]
    coordinates = avro_table(Registry(s2=record()), append=False)
    assert rows(decode(coordinates, avro(record(), {}, 2)))[0]["_kafka_offset"] == 0


def logical(avro_type: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": avro_type, "logicalType": name, **more}


def fixed(size: int, name: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size, **({"logicalType": name} if name else {}), **more}


CENTS = logical("bytes", "decimal", precision=40, scale=2)
NOON = datetime(2020, 1, 31, 12)  # noqa: DTZ001 - as a column has it
TYPES: list[tuple[Any, Any, Any, str]] = [
    ("int", -7, -7, "INTEGER"),
    ("long", 1 << 62, 1 << 62, "INTEGER"),
    ("float", 0.5, 0.5, "FLOAT"),
    ("double", float("inf"), float("inf"), "FLOAT"),
    ("boolean", True, True, "BOOLEAN"),
    ("string", "ü", "ü", "STRING"),
    ("bytes", b"\xff\x00", "/wA=", "STRING"),
    (fixed(2), b"\xff\x00", "/wA=", "STRING"),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B", "STRING"),
    ({"type": "array", "items": "long"}, [1, 2], "[1,2]", "STRING"),
    ({"type": "array", "items": "bytes"}, [b"\xff"], '["/w=="]', "STRING"),
    ({"type": "map", "values": logical("int", "date")}, {"k": date(2020, 1, 1)}, '{"k":"2020-01-01"}', "STRING"),
    ({"type": "array", "items": logical("long", "timestamp-micros")}, [NOON], '["2020-01-31T12:00:00.000"]', "STRING"),
    ({"type": "array", "items": logical("int", "time-millis")}, [time(1)], '["01:00:00.000"]', "STRING"),
    ({"type": "array", "items": ["null", "long", "string"]}, [None, 1, "x"], '[null,1,"x"]', "STRING"),
    (["null", "long", "double"], 3, 3.0, "FLOAT"),
    (["null", "int", "long"], 3, 3, "INTEGER"),
    (["null", "int", "string"], 3, "3", "STRING"),
    (["null", "boolean", "string"], True, "true", "STRING"),
    (["null", "boolean", "string"], "text", "text", "STRING"),
    (["double", {"type": "array", "items": "int"}], [1], "[1]", "STRING"),
    (["null", record(("a", "int"), name="A"), record(("b", "int"), name="B")], {"b": 1}, '{"b":1}', "STRING"),
    (["null", {"type": "map", "values": "int"}, "string"], {"b": 1}, '{"b":1}', "STRING"),
    (["null", {"type": "enum", "name": "E", "symbols": ["A"]}, fixed(1)], b"\x01", "AQ==", "STRING"),
    (["null", fixed(1), {"type": "enum", "name": "E", "symbols": ["A"]}], "A", "A", "STRING"),
    (logical("int", "date"), date(2020, 1, 31), date(2020, 1, 31), "DATE"),
    (logical("int", "time-millis"), time(1, 2, 3, 4000), time(1, 2, 3, 4000), "TIME"),
    (logical("long", "time-micros"), time(1, 2, 3, 4567), time(1, 2, 3, 4000), "TIME"),
    (logical("long", "timestamp-millis"), 1_580_472_000_000, NOON, "DATETIME"),
    (logical("long", "timestamp-micros"), 1_580_472_000_000_999, NOON, "DATETIME"),
    (logical("long", "timestamp-nanos"), 1_580_472_000_000_999_999, NOON, "DATETIME"),
    (logical("long", "local-timestamp-millis"), 1_580_472_000_000, NOON, "DATETIME"),
    (logical("long", "local-timestamp-micros"), -1, datetime(1969, 12, 31, 23, 59, 59, 999000), "DATETIME"),  # noqa: DTZ001
    (logical("string", "uuid"), UUID(int=1), str(UUID(int=1)), "STRING"),
    (fixed(16, "uuid"), UUID(int=1).bytes, str(UUID(int=1)), "STRING"),
    (fixed(4, "uuid"), b"abcd", "YWJjZA==", "STRING"),
    (fixed(12, "duration"), b"\x01\0\0\0\x02\0\0\0\xdc\x05\0\0", "P1M2DT1.500S", "STRING"),
    (CENTS, Decimal("-12.34"), -12.34, "FLOAT"),
    (CENTS, Decimal("12345678901234567890.12"), 12345678901234567890.12, "FLOAT"),
    (["null", CENTS], Decimal("0.07"), 0.07, "FLOAT"),
    (fixed(4, "decimal", precision=9, scale=2), Decimal("-1.05"), -1.05, "FLOAT"),
    (logical("string", "unheard-of"), "x", "x", "STRING"),
]


@pytest.mark.parametrize(("schema", "value", "expected", "kind"), TYPES)
def test_every_type_has_its_column_type(schema: Any, value: Any, expected: Any, kind: str) -> None:
    order = record(("a", schema))
    table = avro_table(Registry(s1=order))
    for _ in range(2):
        decoded = decode(table, avro(order, {"a": value}))
        assert decoded.batch.column("a").to_pylist() == [expected]
    assert types(table) == {"a": kind}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (CENTS, Decimal("-12.30"), "-12.30"),
        (CENTS, Decimal("1234567890123456789012345678901234567.89"), "1234567890123456789012345678901234567.89"),
        (fixed(4, "decimal", precision=9, scale=2), Decimal("0.05"), "0.05"),
        (["null", "long", CENTS], Decimal("5.10"), "5.10"),
        (["null", "long", CENTS], 5, "5"),
        ({"type": "array", "items": CENTS}, [Decimal("5.10")], '["5.10"]'),
        ("bytes", b"\xff\x00", "ff00"),
    ],
)
def test_decimals_as_text_keep_every_digit_and_bytes_may_be_hexadecimal(schema: Any, value: Any, expected: str) -> None:
    order = record(("a", schema))
    table = avro_table(Registry(s1=order), decimals="string", binary="hex")
    assert rows(decode(table, avro(order, {"a": value}))) == [{"a": expected}]


def test_a_decimal_with_more_digits_after_the_point_than_there_are_is_read_all_the_same() -> None:
    oracle = record(("n", {**CENTS, "precision": 64, "scale": 127}), ("m", {**CENTS, "scale": -1}))
    value = avro(record(("n", "bytes"), ("m", "bytes")), {"n": b"\x07", "m": b"\x01"})
    assert rows(decode(avro_table(Registry(s1=oracle)), value)) == [{"n": 7e-127, "m": "AQ=="}]


def test_decimals_of_all_sizes_in_one_batch_are_the_nearest_doubles() -> None:
    order = record(("a", ["null", CENTS]))
    numbers = [0, 1, -1, 127, 128, -128, -129, (1 << 53) - 1, None, -(1 << 53), -(1 << 63), 1 << 60, 10**30, -(10**37)]
    values = [None if n is None else Decimal(n).scaleb(-2) for n in numbers]
    table = avro_table(Registry(s1=order))
    for chosen in (values, values[:11], values[:10], values[:1]):
        decoded = decode(table, *(avro(order, {"a": v}) for v in chosen))
        assert decoded.batch.column("a").to_pylist() == [None if v is None else float(v) for v in chosen]


def test_a_fixed_keeps_every_bit_whatever_number_it_might_be() -> None:
    order = record(("a", ["null", fixed(12)]))
    bits = [
        b"\xff" * 12,
        b"\x01\0\0\0\0\0\xf0\x7f\x01\0\x80\x7f",
        b"\0" * 7 + b"\x80" + b"\x01\0\xa0\xff",
        None,
        bytes(range(12)),
    ]
    decoded = decode(avro_table(Registry(s1=order), binary="hex"), *(avro(order, {"a": b}) for b in bits))
    assert decoded.batch.column("a").to_pylist() == [b and b.hex() for b in bits]


def test_a_decimal_too_long_to_be_written_is_rejected() -> None:
    order = record(("a", CENTS))
    value = avro(record(("a", "bytes")), {"a": b"\x7f" * 5000})
    assert reasons(decode(avro_table(Registry(s1=order)), value)) == {0: "broken_avro"}


@pytest.mark.parametrize(
    ("schema", "numbers"),
    [
        (logical("int", "date"), [-208_189, 2_932_897, 1 << 40]),
        (logical("long", "timestamp-millis"), [-208_188 * 86_400_000 - 1, 2_932_897 * 86_400_000, 1 << 62]),
        (logical("long", "timestamp-micros"), [1 << 62]),
    ],
)
def test_dates_beyond_the_platform_become_null_and_are_counted(schema: Any, numbers: list[int]) -> None:
    order = record(("a", schema), ("b", "long"))
    raw = [avro(record(("a", "long"), ("b", "long")), {"a": n, "b": 1}) for n in numbers]
    decoded = decode(avro_table(Registry(s1=order)), *raw)
    assert rows(decoded) == [{"b": 1}] * len(numbers)
    assert decoded.nulled_dates == len(numbers)


def test_dates_in_text_are_null_where_there_is_no_such_date() -> None:
    order = record(("a", {"type": "array", "items": logical("int", "date")}))
    instants = record(("a", {"type": "array", "items": logical("long", "timestamp-millis")}))
    raw = record(("a", {"type": "array", "items": "long"}))
    table = avro_table(Registry(s1=order, s2=instants))
    decoded = decode(table, avro(raw, {"a": [0, 1 << 30]}), avro(raw, {"a": [0, 1 << 60]}, 2))
    assert rows(decoded) == [{"a": '["1970-01-01",null]'}, {"a": '["1970-01-01T00:00:00.000",null]'}]


def test_times_of_day_beyond_a_day_come_back_into_it() -> None:
    order = record(("a", logical("int", "time-millis")))
    value = avro(record(("a", "int")), {"a": 86_400_001})
    assert rows(decode(avro_table(Registry(s1=order)), value))[0]["a"] == time(0, 0, 0, 1000)


def test_nested_records_are_flattened_and_null_where_the_record_is() -> None:
    inner = record(("x", "int"), ("y", ["null", record(("z", CENTS), name="Z")]), name="I")
    order = record(("a", ["null", inner]), ("n", "null"))
    decoded = decode(
        avro_table(Registry(s1=order)),
        avro(order, {"a": {"x": 1, "y": {"z": Decimal("1.50")}}, "n": None}),
        avro(order, {"a": {"x": 2, "y": None}, "n": None}),
        avro(order, {"a": None, "n": None}),
    )
    assert rows(decoded) == [{"a_x": 1, "a_y_z": 1.5}, {"a_x": 2}, {}]


def test_a_message_of_20_mb_meets_the_limit_of_text() -> None:
    value = avro(ORDER, {"id": 1, "name": "é" * 10_000_000})
    assert reasons(decode(avro_table(Registry(s1=ORDER)), value)) == {0: "too_long"}
    table = avro_table(Registry(s1=ORDER), long_strings="truncate")
    assert rows(decode(table, value)) == [{"id": 1, "name": "é" * 32_500}]


def test_defaults_that_do_not_fit_their_type_are_no_reason_to_refuse_a_schema() -> None:
    order = record(("id", "long"))
    order["fields"][0]["default"] = "zero"
    assert rows(decode(avro_table(Registry(s1=order)), avro(record(("id", "long")), {"id": 1}))) == [{"id": 1}]


def test_keys_may_be_missing_in_a_schema_or_null() -> None:
    other = record(("x", "int"))
    table = avro_table(Registry(s1=ORDER, s2=other), keys=["name"])
    decoded = decode(table, avro(ORDER, GOOD), avro(ORDER, {"id": 2, "name": None}), avro(other, {"x": 1}, 2))
    assert reasons(decoded) == {1: "null_key", 2: "null_key"}
    assert rows(decoded) == [GOOD]
