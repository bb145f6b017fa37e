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
    ("decimal", "bytes"): ColumnType.FLOAT,
    ("decimal", "fixed"): ColumnType.FLOAT,
}


_STRUCTURE: tuple[str, ...] = ("type", "name", "symbols", "size")
_CONTENTS: tuple[str, ...] = ("items", "values")


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
    """What there is to know about a writer schema. `columnar`: the vectorised decoder is right for it."""

    wire: Schema
    text: str
    leaves: tuple[LeafPlan, ...]
    columnar: bool
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
            parse_schema(json.loads(reference), named_schemas=named)
        schema = parse_schema(json.loads(text), named_schemas=named)
    except Exception as e:
        raise ValueError(f"{type(e).__name__}: {e}") from e
    inner = resolved(schema, named)
    if not isinstance(inner, dict) or inner["type"] not in ("record", "error"):
        raise NotARecord("the values of this schema are no records")
    wire = _on_the_wire(schema, named, set())
    leaves = tuple(_leaves((), inner, named, ()))
    return AvroPlan(wire, json.dumps(wire), leaves, _columnar(schema, named, ()), named)


def resolved(schema: Schema, named: dict[str, Any]) -> Schema:
    """Follow a name to its definition."""
    if isinstance(schema, str) and schema in named:
        return named[schema]  # type: ignore[no-any-return]
    if isinstance(schema, dict) and isinstance(schema["type"], (dict, list)):
        return resolved(schema["type"], named)
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
    if kind_of(schema) in ("record", "error") and isinstance(schema, dict) and schema["name"] not in outer:
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
    if isinstance(kind, (dict, list)):
        return _on_the_wire(kind, named, defined)
    if "name" in schema:
        if schema["name"] in defined:
            return str(schema["name"])
        defined.add(schema["name"])
    result: dict[str, Any] = {k: schema[k] for k in _STRUCTURE if k in schema}
    if kind in ("record", "error"):
        fields = [{"name": f["name"], "type": _on_the_wire(f["type"], named, defined)} for f in schema["fields"]]
        return {**result, "type": "record", "fields": fields}
    for inner in _CONTENTS:
        if inner in schema:
            result[inner] = _on_the_wire(schema[inner], named, defined)
    return result if len(result) > 1 else str(kind)


def _columnar(schema: Schema, named: dict[str, Any], outer: tuple[str, ...]) -> bool:
    """Say whether the vectorised decoder is right: no bytes, no fixed, no recursion, no union of several types."""
    schema = resolved(schema, named)
    if isinstance(schema, list):
        return len(schema) <= 2 and len(branches(schema)) == 1 and all(_columnar(s, named, outer) for s in schema)  # noqa: PLR2004
    kind = kind_of(schema)
    if kind in ("bytes", "fixed") or (kind == "null" and not outer):
        return False
    if not isinstance(schema, dict):
        return True
    if kind in ("record", "error"):
        inner = (*outer, schema["name"])
        return schema["name"] not in outer and all(_columnar(f["type"], named, inner) for f in schema["fields"])
    return all(_columnar(schema[k], named, outer) for k in _CONTENTS if k in schema)
