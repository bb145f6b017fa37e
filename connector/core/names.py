"""Owns names of columns and tables as the platform can take them.

Never looks at data. Invariant: names that go in together come out distinct when compared without case, the same
input gives the same output in every process, a name once given stays, and none is ever refused.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def safe_names(names: Iterable[str], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return `known` (original → safe) extended by `names`; what is known keeps its name.

    Of new names that fall together without regard to case, one that is already safe goes first, then the order
    given; whoever comes later gets a suffix made from its original spelling.
    """
    assigned = dict(known or {})
    taken = {safe.lower() for safe in assigned.values()}
    fresh = [name for name in dict.fromkeys(names) if name not in assigned]
    for name in sorted(fresh, key=lambda name: name != safe_name(name)):
        safe = safe_name(name)
        if safe.lower() in taken:
            safe = _suffixed(safe, name)
        assigned[name] = safe
        taken.add(safe.lower())
    return assigned


def _suffixed(safe: str, original: str) -> str:
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{safe[: MAX_NAME - 7]}_{digest}"
