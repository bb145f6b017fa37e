"""Owns the reading of an Avro schema: which leaves its records have, and which decoder may be used for it.

Never decodes data. Invariant: the leaves depend on the schema alone, so both decoders give the same columns; both are
handed the schema without logical types, and what these mean is applied afterwards, the same way for both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from fastavro.schema import parse_schema

from connector.core.columns import ColumnType, widened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connector.formats.leaves import Path

Schema = str | dict[str, Any] | list[Any]

_SCALARS = {
    "boolean": ColumnType.BOOLEAN,
    "int": ColumnType.INTEGER,
    "long": ColumnType.INTEGER,
    "float": ColumnType.FLOAT,
    "double": ColumnType.FLOAT,
    "string": ColumnType.STRING,
    "enum": ColumnType.STRING,
    "bytes": ColumnType.STRING,
    "fixed": ColumnType.STRING,
}
_LOGICAL = {  # (logical type, type underneath) → column type; a pair that is not here is no logical type
    ("date", "int"): ColumnType.DATE,
    ("time-millis", "int"): ColumnType.TIME,
    ("time-micros", "long"): ColumnType.TIME,
    **{
        (f"{local}timestamp-{unit}", "long"): ColumnType.DATETIME
        for local in ("", "local-")
        for unit in ("millis", "micros", "nanos")
    },
    ("uuid", "string"): ColumnType.STRING,
    ("uuid", "fixed"): ColumnType.STRING,
    ("duration", "fixed"): ColumnType.STRING,
    ("scaled", "bytes"): ColumnType.FLOAT,  # a decimal, see `_lenient`
    ("scaled", "fixed"): ColumnType.FLOAT,
}

_STRUCTURE: tuple[str, ...] = ("type", "name", "symbols", "size")
_CONTENTS: tuple[str, ...] = ("items", "values")
_RECORDS: tuple[str, ...] = ("record", "error")
_LOOSE = {"int": "long", "bytes": "string"}  # damaged ints are not cut to 32 bits, and bytes can be taken at all


class Scalar(NamedTuple):
    """A scalar Avro type: what is on the wire, what it means, and its decimal scale."""

    avro: str
    logical: str
    type: ColumnType
    scale: int = 0


@dataclass(frozen=True, slots=True)
class LeafPlan:
    """One leaf: a scalar, or anything else (`scalar` None) that becomes JSON text of `schema`."""

    path: Path
    schema: Schema
    scalar: Scalar | None


@dataclass(frozen=True, slots=True)
class AvroPlan:
    """What there is to know about a writer schema.

    `wire`: without logical types, parsed, for the reference. `text`: JSON of `framed`, for the vectorised decoder; None
    where that one is not right. `recursive`: a record may hold its like.
    """

    wire: Any
    text: str | None
    leaves: tuple[LeafPlan, ...]
    recursive: bool
    named: dict[str, Any] = field(repr=False)


class NotARecord(ValueError):  # noqa: N818
    """The schema is valid, but its values are no records."""


def plan(text: str, references: tuple[str, ...] = ()) -> AvroPlan:
    """Read a writer schema and those that it refers to (JSON text).

    Raises:
        NotARecord: the values are no records. ValueError: the schema cannot be read.
    """
    named: dict[str, Any] = {}
    try:
        for reference in references:
            parse_schema(_lenient(json.loads(reference)), named_schemas=named)
        schema = parse_schema(_lenient(json.loads(text)), named_schemas=named)
        inner = resolved(schema, named)
        if not isinstance(inner, dict) or inner["type"] not in _RECORDS:
            raise NotARecord("the values of this schema are no records")  # noqa: TRY301
        leaves = tuple(_leaves((), inner, named, ()))
        wire = _on_the_wire(schema, named, set())
        bombs = _weightless_items(inner, named, set())
        recursive = _recursive(inner, named, ())
        columnar = leaves and not recursive and _columnar(inner, named, ())
        fast = json.dumps(framed(_loose(wire))) if columnar else None
    except NotARecord:
        raise
    except Exception as e:
        raise ValueError(f"{type(e).__name__}: {e}") from e
    if bombs:
        raise ValueError("an array or map of items that take no bytes: a few bytes could claim any number of them")
    return AvroPlan(parse_schema(wire), fast, leaves, recursive, named)


def _lenient(schema: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a schema without what fastavro is stricter about than its values need.

    That is the defaults, and the precision of decimals: Kafka Connect writes more digits after the point than there
    are at all (precision 64, scale 127) for an Oracle NUMBER. A decimal is called `scaled` from here on; one whose
    scale is no natural number is no decimal (Avro specification, "Logical Types": then the type underneath).
    """
    if isinstance(schema, list):
        return [_lenient(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    if "name" not in schema and isinstance(schema.get("type"), (dict, list)):
        return _lenient(schema["type"])  # a type wrapped in another
    result = {k: v for k, v in schema.items() if k != "default"}
    if schema.get("logicalType") == "decimal":
        scale = schema.get("scale", 0)
        result["logicalType"] = "scaled" if isinstance(scale, int) and scale >= 0 else ""
    return {k: _lenient(v) if k in ("type", "fields", *_CONTENTS) else v for k, v in result.items()}


def resolved(schema: Schema, named: dict[str, Any]) -> Schema:
    """Follow a name to its definition."""
    if isinstance(schema, str) and schema in named:
        return named[schema]  # type: ignore[no-any-return]
    return schema


def kind_of(schema: Schema) -> str:
    """Return the name of an Avro type: `union` for a list."""
    if isinstance(schema, list):
        return "union"
    return schema if isinstance(schema, str) else str(schema["type"])


def branches(schema: list[Any]) -> list[Any]:
    """Return what a union may hold apart from null."""
    return [s for s in schema if kind_of(s) != "null"]


def scalar_of(schema: Schema) -> Scalar | None:
    """Return what a resolved schema is as a scalar, or None. A union of scalars only is not one here."""
    kind = kind_of(schema)
    if kind not in _SCALARS:
        return None
    logical = schema.get("logicalType", "") if isinstance(schema, dict) else ""
    meaning = _LOGICAL.get((logical, kind))
    if logical == "uuid" and kind == "fixed" and isinstance(schema, dict) and schema["size"] != 16:  # noqa: PLR2004
        meaning = None
    if meaning is None:
        return Scalar(kind, "", _SCALARS[kind])
    return Scalar(kind, logical, meaning, schema.get("scale", 0) if isinstance(schema, dict) else 0)


def union_type(schema: list[Any], named: dict[str, Any]) -> ColumnType | None:
    """Return the column type that holds every branch of a union of scalars, or None when one is no scalar."""
    scalars = [scalar_of(resolved(s, named)) for s in branches(schema)]
    kind: ColumnType | None = None
    for scalar in scalars:
        if scalar is None:
            return None
        kind = scalar.type if kind is None else widened(kind, scalar.type)
    return kind


def _leaves(path: Path, schema: Schema, named: dict[str, Any], outer: tuple[str, ...]) -> Iterator[LeafPlan]:
    schema = resolved(schema, named)
    if isinstance(schema, list) and len(branches(schema)) == 1:
        schema = resolved(branches(schema)[0], named)
    if kind_of(schema) in _RECORDS and isinstance(schema, dict) and schema["name"] not in outer:
        for f in schema["fields"]:
            yield from _leaves((*path, f["name"]), f["type"], named, (*outer, schema["name"]))
    elif kind_of(schema) != "null" and not (isinstance(schema, list) and not branches(schema)):
        yield LeafPlan(path, schema, scalar_of(schema))


def _on_the_wire(schema: Schema, named: dict[str, Any], defined: set[str]) -> Schema:
    """Return a self-contained schema of the same bytes, without logical types, defaults and docs."""
    if isinstance(schema, str):
        return _on_the_wire(named[schema], named, defined) if schema in named and schema not in defined else schema
    if isinstance(schema, list):
        return [_on_the_wire(s, named, defined) for s in schema]
    kind = schema["type"]
    if "name" in schema:
        if schema["name"] in defined:
            return str(schema["name"])
        defined.add(schema["name"])
    result: dict[str, Any] = {k: schema[k] for k in _STRUCTURE if k in schema}
    if kind in _RECORDS:
        fields = [{"name": f["name"], "type": _on_the_wire(f["type"], named, defined)} for f in schema["fields"]]
        return {**result, "type": "record", "fields": fields}
    for inner in _CONTENTS:
        if inner in schema:
            result[inner] = _on_the_wire(schema[inner], named, defined)
    return result if len(result) > 1 else str(kind)


def framed(wire: Schema) -> Schema:
    """Return the schema of a whole message with 8 bytes behind it: magic byte, schema id, record, end.

    So the vectorised decoder needs no header cut off, and what stands in the header and at the end are columns to
    check: it does not mind bytes that are left over. A byte 0 is a false, four bytes are a float.
    """
    parts = {"magic": "boolean", "id": "float", "record": wire, "end": "double"}
    return {
        "type": "record",
        "name": "kafka_celonis_message",
        "fields": [{"name": name, "type": part} for name, part in parts.items()],
    }


def _loose(wire: Schema) -> Schema:
    """Return a schema on the wire with other types of the same bytes, for a decoder that does not look at them.

    Bytes are taken for text, and a fixed for doubles of 8 bytes and a float of 4.
    """
    if isinstance(wire, str):
        return _LOOSE.get(wire, wire)
    if isinstance(wire, list):
        return [_loose(s) for s in wire]
    if wire["type"] == "fixed":
        parts = ["double"] * (wire["size"] // 8) + ["float"] * (wire["size"] // 4 % 2)
        fields = [{"name": f"part{n}", "type": part} for n, part in enumerate(parts)]
        return {"type": "record", "name": wire["name"], "fields": fields}
    inner = {"fields": [{**f, "type": _loose(f["type"])} for f in wire["fields"]]} if "fields" in wire else {}
    return {**wire, **inner, **{k: _loose(wire[k]) for k in _CONTENTS if k in wire}}


def _columnar(schema: Schema, named: dict[str, Any], outer: tuple[str, ...]) -> bool:
    """Say whether the vectorised decoder is right: no union of several types, no bytes in arrays and maps.

    `outer`: the kinds of what the schema stands in, outermost first.
    """
    schema = resolved(schema, named)
    if isinstance(schema, list):
        return len(schema) <= 2 and len(branches(schema)) == 1 and all(_columnar(s, named, outer) for s in schema)  # noqa: PLR2004
    kind = kind_of(schema)
    if kind in ("bytes", "fixed") and not set(outer) <= set(_RECORDS):
        return False
    if kind == "fixed" and isinstance(schema, dict):
        return bool(schema["size"] and schema["size"] % 4 == 0)
    return all(_columnar(s, named, (*outer, kind)) for s in _inside(schema))


def _inside(schema: Schema) -> list[Any]:
    """Return the schemas that a resolved schema is made of."""
    if isinstance(schema, list):
        return schema
    if not isinstance(schema, dict):
        return []
    return [f["type"] for f in schema.get("fields", ())] + [schema[k] for k in _CONTENTS if k in schema]


def _recursive(schema: Schema, named: dict[str, Any], outer: tuple[str, ...]) -> bool:
    """Say whether a record may hold its like; `outer` are the names of the records around it."""
    schema = resolved(schema, named)
    name = schema.get("name", "") if isinstance(schema, dict) else ""
    if name and name in outer:
        return True
    return any(_recursive(s, named, (*outer, name)) for s in _inside(schema))


def _weightless_items(schema: Schema, named: dict[str, Any], seen: set[str]) -> bool:
    """Say whether there is an array or a map whose items take no bytes."""
    schema = resolved(schema, named)
    if isinstance(schema, dict) and "name" in schema:
        if schema["name"] in seen:
            return False
        seen.add(schema["name"])
    if isinstance(schema, dict) and "items" in schema and _weightless(schema["items"], named):
        return True
    return any(_weightless_items(s, named, seen) for s in _inside(schema))


def _weightless(schema: Schema, named: dict[str, Any]) -> bool:
    schema = resolved(schema, named)
    if kind_of(schema) in _RECORDS and isinstance(schema, dict):
        return all(_weightless(f["type"], named) for f in schema["fields"])
    return kind_of(schema) == "null" or (isinstance(schema, dict) and schema.get("size") == 0)
