"""Owns that part of values.schema.json which says what `config` may hold: the connector's own schema.

Never touches what stands there about the chart's other values, which people write. Invariant: Helm refuses a setting
that the connector does not know, before anything is installed.
"""

from __future__ import annotations

import json
from typing import Any

from connector.config_file import json_schema

_SAID_ELSEWHERE = ("title", "description", "default", "writeOnly")  # of no use to a judge, and half of the size


def with_settings(text: str) -> str:
    """Return the text of a values.schema.json with the connector's settings as they are now."""
    schema = json.loads(text)
    told = json_schema()
    parts = told.pop("$defs")
    told.pop("$schema")
    definitions = {name: _lean(part) for name, part in sorted({**parts, "Settings": told}.items())}
    moved = json.dumps({**schema, "definitions": definitions}, indent=2, ensure_ascii=False)
    return moved.replace("#/$defs/", "#/definitions/") + "\n"  # where draft 7 has them, which all versions of Helm read


def _lean(node: Any) -> Any:  # noqa: ANN401 - whatever a schema holds
    """Return a schema without what only people read; the names of properties are no keywords."""
    if isinstance(node, list):
        return [_lean(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _lean(part) for name, part in value.items()} if key == "properties" else _lean(value)
        for key, value in node.items()
        if key not in _SAID_ELSEWHERE
    }
