"""Owns the grammar of faults and the count that decides which request gets one; never touches a socket.

    operation:nth[-mth|+]:what[-before|-after]

    operation   one of OPERATIONS; `status` is another name of `get`
    nth         the requests of that operation it hits, counted from 1: `2`, `1-3`, or `4+` for the fourth and all later
    what        a status            `504`
                timeout[=seconds]   no answer; the connection is closed after that time (30)
                cut                 the connection is closed without an answer
                slow[=seconds]      the true answer, its body trickling over that time (5)
                html[=status]       an HTML page, with status 200 unless given: a server that lies
                empty[=status]      no body
    before      the operation does not take place (the default; a slow answer is always the true one)
    after       it does, but its answer is lost

So `execute:2:504-after` loses the answer of the second execute, which takes effect.

Invariant: the first fault that matches a request is used, and a fault string that cannot be read never gets here.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

OPERATIONS = ("create", "list", "get", "upload", "list-chunks", "execute", "cancel", "delete", "token")
GRAMMAR = "operation:nth[-mth|+]:what[-before|-after], such as execute:2:504-after"

_FAULT = re.compile(
    r"(?P<operation>[a-z-]+):(?P<first>[1-9]\d*)(?:-(?P<last>[1-9]\d*)|(?P<open>\+))?:"
    r"(?P<kind>\d{3}|[a-z]+)(?:=(?P<value>\d+(?:\.\d+)?))?(?:-(?P<when>before|after))?"
)
_DEFAULTS = {"timeout": 30.0, "slow": 5.0, "html": 200.0, "empty": 200.0, "cut": 0.0}


class Kind(StrEnum):
    """What happens to the answer."""

    STATUS = "status"
    TIMEOUT = "timeout"
    CUT = "cut"
    SLOW = "slow"
    HTML = "html"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `value` is a status or seconds, by `kind`; `last` None means every later request too."""

    operation: str
    first: int
    last: int | None
    kind: Kind
    value: float
    after: bool

    def hits(self, operation: str, nth: int) -> bool:
        """Return whether the `nth` request (from 1) of `operation` gets this fault."""
        return self.operation == operation and self.first <= nth and (self.last is None or nth <= self.last)


class Faults:
    """Counts the requests of each operation and hands out their faults."""

    def __init__(self, faults: Iterable[str]) -> None:
        self._faults = parse_faults(faults)
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def next(self, operation: str) -> Fault | None:
        """Count one request of `operation` and return its fault, if any."""
        with self._lock:
            self._seen[operation] += 1
            return next((f for f in self._faults if f.hits(operation, self._seen[operation])), None)

    def seen(self) -> dict[str, int]:
        """Return how many requests of each operation came in."""
        with self._lock:
            return {operation: self._seen[operation] for operation in OPERATIONS}

    def add(self, fault: str) -> None:
        """Add a fault; requests are still counted from the emulator's start.

        Raises:
            ConfigError: the fault cannot be read.
        """
        with self._lock:
            self._faults += parse_faults([fault])


def parse_faults(texts: Iterable[str]) -> list[Fault]:
    """Return the faults in order.

    Raises:
        ConfigError: with every fault that cannot be read.
    """
    faults, problems = [], []
    for text in texts:
        try:
            faults.append(_parse(text))
        except ValueError as e:
            problems.append(f"fault '{text}': {e}")
    if problems:
        raise ConfigError(problems, source="faults")
    return faults


def _parse(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {GRAMMAR}")
    operation = {"status": "get"}.get(match["operation"], match["operation"])
    if operation not in OPERATIONS:
        raise ValueError(f"the operation is none of {', '.join(OPERATIONS)}")
    first = int(match["first"])
    last = None if match["open"] else int(match["last"] or first)
    if last is not None and last < first:
        raise ValueError("the range ends before it begins")
    kind, value = _what(match["kind"], match["value"])
    return Fault(operation, first, last, kind, value, after=match["when"] == "after" or kind is Kind.SLOW)


def _what(kind: str, value: str | None) -> tuple[Kind, float]:
    if kind.isdigit():
        status = int(kind)
        if value is not None or not 200 <= status <= 599:  # noqa: PLR2004 - what HTTP can answer with
            raise ValueError("a status is three digits between 200 and 599")
        return Kind.STATUS, status
    if kind not in _DEFAULTS or (kind == "cut" and value is not None):
        raise ValueError("what happens is a status, timeout[=s], cut, slow[=s], html[=status] or empty[=status]")
    number = float(value) if value is not None else _DEFAULTS[kind]
    if kind in ("html", "empty") and not 200 <= number <= 599:  # noqa: PLR2004 - as above
        raise ValueError("a status is three digits between 200 and 599")
    return Kind(kind), number
