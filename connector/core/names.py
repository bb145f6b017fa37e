"""Owns names of columns and tables as the platform can take them.

Never looks at data. Invariant: names that go in together come out distinct when compared without case, the same
input gives the same output in every process, a name once given stays, and none is ever refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    Path = tuple[str, ...]

_UNSAFE = re.compile(r"[^A-Za-z0-9_]")
_RESERVED = frozenset({"epoch", "_celonis_change_date"})
MAX_NAME = 127  # the length of an identifier in the platform's column store
_DIGEST = 6  # hex digits of a suffix; more where that is not enough


def safe_name(name: str) -> str:
    """Return `name` with everything outside letters, digits and `_` replaced, and a prefix where it needs one."""
    safe = _UNSAFE.sub("_", name)
    if not safe or safe[0].isdigit():
        safe = f"_{safe}"
    if safe.lower() in _RESERVED:
        safe = f"{safe}_"
    return safe if len(safe) <= MAX_NAME else _suffixed(safe, name, _DIGEST)


def column_names(
    paths: Iterable[Path], known: Mapping[Path, str], *, columns: Collection[str] = (), reserved: Collection[str] = ()
) -> dict[Path, str]:
    """Return `known` (path in a message → column) extended by `paths`; what is known keeps its name.

    Of new names that fall together without regard to case, one that is already safe goes first, then the order
    given; whoever comes later gets a suffix made from its path. `reserved` names are never given. `columns` are those
    the table has: a path whose name with the suffix is among them got it in an earlier life, and gets it again.
    """
    assigned = dict(known)
    taken = {name.lower() for name in (*assigned.values(), *reserved)}
    standing = {name.lower() for name in columns}
    fresh = [path for path in dict.fromkeys(paths) if path not in assigned]
    for path in sorted(fresh, key=lambda path: path != (safe_name(path[0]),)):
        name = safe_name(".".join(path))
        spelling = json.dumps(path)
        if name.lower() in taken or _suffixed(name, spelling, _DIGEST).lower() in standing:
            name = _distinct(name, spelling, taken)
        assigned[path] = name
        taken.add(name.lower())
    return assigned


def _distinct(name: str, spelling: str, taken: Collection[str]) -> str:
    """Return `name` with a suffix that is not taken; names that fall together in one length part in the next."""
    lengths = range(_DIGEST, 65)
    return next(s for n in lengths if (s := _suffixed(name, spelling, n)).lower() not in taken)


def _suffixed(name: str, spelling: str, digits: int) -> str:
    digest = hashlib.sha256(spelling.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    return f"{name[: MAX_NAME - 1 - digits]}_{digest}"
