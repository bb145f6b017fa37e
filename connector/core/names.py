"""Owns names of columns and tables as the platform can take them.

Never looks at data. Invariant: names that go in together come out distinct when compared without case, the same
input gives the same output in every process, and no name is ever refused.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNSAFE = re.compile(r"[^A-Za-z0-9_]")
_RESERVED = frozenset({"epoch", "_celonis_change_date"})
MAX_NAME = 127  # the length of an identifier in the platform's column store


def safe_name(name: str) -> str:
    """Return `name` with everything outside letters, digits and `_` replaced, and a prefix where it needs one."""
    safe = _UNSAFE.sub("_", name)
    if not safe or safe[0].isdigit():
        safe = f"_{safe}"
    if safe.lower() in _RESERVED:
        safe = f"{safe}_"
    return safe if len(safe) <= MAX_NAME else _suffixed(safe, name)


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Return the safe name of each of `names`, distinct without regard to case.

    Of several names that would fall together, one that is already safe keeps its own; every other gets a suffix made
    from its original spelling, so that its column stays the same whatever else arrives, and in whatever order.
    """
    originals = list(dict.fromkeys(names))
    groups: dict[str, list[str]] = {}
    for name in originals:
        groups.setdefault(safe_name(name).lower(), []).append(name)
    return {name: _distinct(name, groups[safe_name(name).lower()]) for name in originals}


def _distinct(name: str, rivals: list[str]) -> str:
    safe = safe_name(name)
    unchanged = sorted(rival for rival in rivals if rival == safe_name(rival))
    owner = unchanged[0] if unchanged else sorted(rivals)[0]
    return safe if name == owner else _suffixed(safe, name)


def _suffixed(safe: str, original: str) -> str:
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{safe[: MAX_NAME - 7]}_{digest}"
