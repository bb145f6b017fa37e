"""Owns what is written into the budget ledger: entries, as values and as text.

Never talks to Kafka and never decides. Invariant: what is read back equals what was written; an entry of another
version is told from one that makes no sense.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from connector.errors import ConnectorError

VERSION = 1
_NUMBERS = {"rate", "share", "bid", "replay_share", "until", "limit"}


class UnreadableEntry(ConnectorError):  # noqa: N818
    """The bytes are no entry of ours; `foreign_version` where another version of the connector wrote them."""

    def __init__(self, reason: str, *, foreign_version: bool = False) -> None:
        super().__init__(reason)
        self.foreign_version = foreign_version


class Kind(StrEnum):
    """What an entry says; every one says too that its writer is alive."""

    ALIVE = "alive"  # nothing more
    CLAIM = "claim"  # `id` wants a push for `table`, and bids `bid`
    END = "end"  # `id` needs no push any more: it was `spent`, or not
    CLOSED = "closed"  # the platform refuses executes before `until`


_TYPES: dict[str, type] = {
    "in_flight": int,
    "replay": bool,
    "spent": bool,
    "guest": bool,
    "holding": tuple,
    "kind": Kind,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the ledger.

    Of its writer: `group`, `replica` (unique), `pool`, the group's pushes an hour (`rate`), the part of them that is
    the writer's by its partitions (`share`, 0 to 1), the executes its pool may have in flight, and which granted ids it
    is `holding` (their jobs are not over). `until`: seconds since the epoch, of the team's clock; `limit`: what all
    together should spend in the hour after this one, 0 where nothing was learnt. `bid`: the waiting
    area, in weighted record-seconds. `replay_share`: the most of the pushes that the writer lets replays take.
    A `guest` (a replay) draws on what others bring in, and brings its rate only where there is nobody else.
    """

    kind: Kind
    group: str
    replica: str
    pool: str
    rate: float
    share: float
    in_flight: int = 1
    holding: tuple[str, ...] = ()
    id: str = ""
    table: str = ""
    bid: float = 0.0
    replay: bool = False
    replay_share: float = 0.25
    spent: bool = False
    until: float = 0.0
    limit: float = 0.0
    guest: bool = False

    def to_bytes(self) -> bytes:
        """Return the entry as JSON; what has its default is left out."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        short = {f.name: given[f.name] for f in fields(self) if f.default != given[f.name]}
        return json.dumps({"v": VERSION, **short}, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes | None) -> Entry:
        """Read an entry back; raises UnreadableEntry."""
        try:
            wire: dict[str, Any] = json.loads(data or b"")
            version = wire.pop("v")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as e:
            raise UnreadableEntry(f"no entry of the budget ledger: {type(e).__name__}") from None
        if version != VERSION:
            raise UnreadableEntry(f"version {version!r} of the budget ledger", foreign_version=True)
        try:
            kind, holding = Kind(wire.pop("kind")), _ids(wire.pop("holding", []))
            return _checked(cls(kind=kind, holding=holding, **wire))
        except (KeyError, ValueError, TypeError, OverflowError) as e:
            raise UnreadableEntry(f"a damaged entry of the budget ledger: {type(e).__name__}") from None


def _ids(wire: object) -> tuple[str, ...]:
    if not isinstance(wire, list) or not all(isinstance(claim_id, str) for claim_id in wire):
        raise TypeError("holding")
    return tuple(wire)


def _checked(entry: Entry) -> Entry:
    for field, value in asdict(entry).items():
        if field not in _NUMBERS:
            if type(value) is not _TYPES.get(field, str):
                raise TypeError(field)
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(field)
        elif not math.isfinite(value):
            raise ValueError(field)
    parts = all(0 <= part <= 1 for part in (entry.share, entry.replay_share))
    if not parts or min(entry.rate, entry.bid, entry.limit, entry.in_flight - 1) < 0:
        raise ValueError("out of range")
    return entry


class Stamped(NamedTuple):
    """An entry as the ledger holds it: `at` is when the broker appended it, seconds since the epoch, its true clock."""

    offset: int
    at: float
    entry: Entry


class Anchor(NamedTuple):
    """An entry of ours that the ledger holds: when we sent it (monotonic seconds), and when the broker appended it.

    It was appended after it was sent, so a moment of the broker's clock `d` seconds after `at` is not before `sent + d`
    on ours.
    """

    sent: float
    at: float
