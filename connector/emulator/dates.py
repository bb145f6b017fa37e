"""Owns the translation of date patterns of CSV options (`yyyy-MM-dd`) into those of the database (`%Y-%m-%d`).

Never parses a date. Invariant: a pattern that is not wholly understood is refused, not guessed.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")
_STRPTIME = {
    "yyyy": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d", "d": "%-d",
    "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S", "s": "%-S",
    "SSS": "%g", "SSSSSS": "%f", "a": "%p", "EEE": "%a", "EEEE": "%A", "Z": "%z", "XXX": "%z",
}  # fmt: skip


def strptime_format(pattern: str) -> str:
    """Return the database's pattern for a Java one.

    Raises:
        ValueError: a letter of the pattern has no counterpart.
    """
    parts, at = [], 0
    for match in _TOKEN.finditer(pattern):
        if match.start() != at:
            break
        at = match.end()
        parts.append(_part(match))
    if at != len(pattern):
        raise ValueError(f"the date format '{pattern}' has an open quote")
    return "".join(parts)


def _part(match: re.Match[str]) -> str:
    text = match[0]
    if match[1] is not None:
        return (match[1].replace("''", "'") or "'").replace("%", "%%")
    if match[2] is None:
        return text.replace("%", "%%")
    if text not in _STRPTIME:
        raise ValueError(f"the date format has '{text}', which is not understood")
    return _STRPTIME[text]
