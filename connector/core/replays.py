"""Owns what a replay is: its ways, its name, what it may not do and why, and how large it will be.

Never asks Kafka or Celonis. Invariant: a replay that could overwrite a newer row with an older one, or store a row
twice, is refused with the way that does not.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from connector.core.budget import TEAM_LIMIT
from connector.core.hours import HOUR

if TYPE_CHECKING:
    from collections.abc import Collection


class Way(StrEnum):
    """How a past range gets into the platform again."""

    BESIDE = "beside"  # into the same table, beside the running service
    INTO = "into"  # into another table
    REPLACE = "replace"  # the table is built anew and swapped
    REWIND = "rewind"  # the running service reads again
    LETTERS = "dead-letters"  # what was refused, as the messages that they were, beside the running service


class Subject(NamedTuple):
    """The table that is replayed: whether it appends, and whether keys of its own make its rows (not the coordinates).

    `target` takes the rows; `live` says that the configuration fills it. `from_start`, `to_end`: whether the range is
    all that the topics have.
    """

    table: str
    target: str
    live: bool
    append: bool
    keyed: bool
    from_start: bool
    to_end: bool


_INTO = "--into OTHER_TABLE pushes the range into a table of its own"
_REWIND = "--rewind lets the running service read the range again, in order"
_REPLACE = "--replace builds the table anew and swaps it"


def objection(way: Way, subject: Subject) -> str | None:
    """Return why this must not be done, with what can be; None where it is safe."""
    table = subject.table
    if way is Way.INTO and subject.live:
        return f"--into {subject.target}: the service fills that table: name one that it does not"
    if way in (Way.BESIDE, Way.REWIND) and subject.append:
        return f"{table} appends: its rows would be there twice. {_REPLACE}; {_INTO}"
    if way is Way.BESIDE and subject.keyed:
        return f"old rows of {table} would overwrite newer ones with the same keys. {_REWIND}; {_REPLACE}; {_INTO}"
    if way is Way.LETTERS and subject.keyed:
        return f"a dead letter of {table} may be older than the row that its key has now. {_REWIND}"
    if way is Way.LETTERS and subject.append:
        return f"{table} appends: a dead letter that is a row already would be there twice. {_REPLACE}; {_INTO}"
    return None if subject.to_end else _cut_short(way, table)


def _cut_short(way: Way, table: str) -> str | None:
    """Return why a range that ends before now must not be taken; None where it may."""
    if way is Way.REWIND:
        return f"a rewind of {table} goes on to the end, since only all of the log in order makes it right: drop --to"
    if way is Way.REPLACE:
        return f"what came to {table} after the end of the range would be gone: drop --to, or use --into OTHER_TABLE"
    return None


def effect(way: Way, subject: Subject) -> str:
    """Return what happens to the target, in one sentence."""
    target = subject.target
    match way:
        case Way.BESIDE:
            return f"rows of {target} are upserted by their Kafka coordinates: what is there stays, what is not comes"
        case Way.INTO:
            how = "appends" if subject.append else "takes"
            return f"{target} {how} the range; {subject.table} and its service go on untouched"
        case Way.LETTERS:
            return f"dead letters of {target} become its rows; what is refused again is a dead letter again"
        case Way.REPLACE:
            gone = "" if subject.from_start else "; rows from before the range are gone then"
            return f"all rows of {target} are replaced at once; its pushes are held until then{gone}"
    return f"rows of {target} go back to what they were at the start of the range, and forward again to now"


def name_of(way: Way, tables: tuple[str, ...], start: str, end: str, target: str) -> str:
    """Return the short name of a replay: the same command has the same one, and so goes on where it was."""
    text = "\0".join([way, *sorted(tables), start, end, target])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def rate_beside(wanted: float, per_hour: float, *, service: bool, replays: int) -> float:
    """Return the pushes an hour that a replay may take beside a `service` that takes `per_hour`, and other `replays`.

    Without a service they divide what that would take.
    """
    return max(0.0, min(wanted, (TEAM_LIMIT - per_hour if service else per_hour) / (1 + replays)))


class Part(NamedTuple):
    """What one table of a replay has to read, and the bytes that this is thought to be in Parquet."""

    messages: int
    bytes: float


class Size(NamedTuple):
    """How large a replay is thought to be; bytes are those of Parquet."""

    messages: int
    bytes: int
    chunks: int
    pushes: int
    seconds: float


class Load(NamedTuple):
    """The rows and bytes at which a load of a replay is closed."""

    rows: int
    bytes: int

    def needed(self, part: Part) -> int:
        """Return how many loads `part` takes."""
        return max(ceil(part.messages / self.rows), ceil(part.bytes / self.bytes))


def size_of(tables: Collection[Part], *, chunk_bytes: int, load: Load | None, per_hour: float) -> Size:
    """Foretell a replay: `per_hour` pushes are its part of the budget. Without `load` a table is one load."""
    chunks = sum(ceil(t.bytes / chunk_bytes) for t in tables)
    pushes = sum(min(t.messages, load.needed(t) if load else 1) for t in tables)
    messages, size = sum(t.messages for t in tables), round(sum(t.bytes for t in tables))
    return Size(messages, size, chunks, pushes, pushes * HOUR / per_hour if pushes else 0.0)
