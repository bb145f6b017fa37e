"""Owns sizes and durations as people write them. Never guesses.

Invariant: what is not clear is a ValueError with examples.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(value: object) -> int:
    """Return bytes from a number or from text such as `256 MiB` or `1GB`."""
    return round(_parse(value, _BYTES, "a size such as 256 MiB, 1 GB or a number of bytes"))


def parse_seconds(value: object) -> float:
    """Return seconds from a number or from text such as `500 ms`, `60 s`, `5 min` or `1 h`."""
    return _parse(value, _SECONDS, "a duration such as 500 ms, 60 s, 5 min, 1 h or a number of seconds")


def _parse(value: object, units: Mapping[str, float], expected: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    unit = units.get(match.group(2).lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"expected {expected}")
    return float(match.group(1)) * unit
