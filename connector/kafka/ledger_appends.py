"""Owns our own entries on their way through the ledger: sent, acknowledged with an offset, read back.

Never talks to Kafka and never reads a clock. Invariant: the anchor is the last of them that was read back; one that
did not come back in time is trouble until a later one does.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

from connector.core.entries import Anchor

PATIENCE_SECONDS = 5.0  # an entry takes milliseconds; a broker that takes longer is not there
MOST_SKEW_SECONDS = 60.0  # between the broker's clock and ours


class Moment(NamedTuple):
    """One reading of both clocks, in seconds: monotonic, and since the epoch."""

    mono: float
    utc: float


class _Acknowledged(NamedTuple):
    sent: Moment
    mono: float


class _Seen(NamedTuple):
    at: float
    utc: float


class Appends:
    """What is known of the entries that we sent."""

    def __init__(self) -> None:
        self.anchor: Anchor | None = None
        self._numbers = count(1)
        self._waiting: dict[int, Moment] = {}  # not acknowledged yet, by our own number
        self._acknowledged: dict[int, _Acknowledged] = {}  # not read back yet, by offset
        self._seen: dict[int, _Seen] = {}  # read while some of ours had no offset yet, by offset
        self._failure: tuple[float, str] | None = None  # when it was sent (monotonic seconds), and what became of it
        self._skew = 0.0

    def sent(self, now: Moment) -> int:
        """Take in that an entry goes out now, and return the number by which to say what becomes of it."""
        number = next(self._numbers)
        self._waiting[number] = now
        return number

    def refused(self, number: int, reason: str) -> None:
        """Take in that an entry will not be in the ledger, or that nobody can tell."""
        if sent := self._waiting.pop(number, None):
            self._fail(sent, reason)

    def acknowledged(self, number: int, offset: int, mono: float) -> None:
        """Take in that an entry is in the ledger at `offset`; a negative one is not known."""
        sent = self._waiting.pop(number, None)
        if sent is not None and offset >= 0:
            self._acknowledged[offset] = _Acknowledged(sent, mono)
            if seen := self._seen.get(offset):
                self._read_back(offset, seen)
        self._tidy()

    def read(self, offset: int, at: float, utc: float) -> None:
        """Take in that the entry at `offset`, appended at the broker's `at`, was read at our `utc`."""
        seen = _Seen(at, utc)
        if offset in self._acknowledged:
            self._read_back(offset, seen)
        elif self._waiting:
            self._seen[offset] = seen

    def forget(self) -> None:
        """Know nothing more: the ledger is another one."""
        self.abandon("the ledger was made anew")
        self.anchor = None
        self._acknowledged.clear()

    def abandon(self, reason: str) -> None:
        """Wait for nothing that was sent: whoever would acknowledge it is gone."""
        for sent in self._waiting.values():
            self._fail(sent, reason)
        self._waiting.clear()
        self._tidy()

    def trouble(self, mono: float, position: int) -> str | None:
        """Return why the ledger cannot be trusted at `mono` (monotonic seconds), read up to offset `position`."""
        late = mono - PATIENCE_SECONDS
        if self._failure:
            return f"an entry was not taken: {self._failure[1]}"
        if any(sent.mono < late for sent in self._waiting.values()):
            return f"an entry is not acknowledged after {PATIENCE_SECONDS:.0f} s"
        if any(found.mono < late and offset >= position for offset, found in self._acknowledged.items()):
            return f"an entry that was taken cannot be read after {PATIENCE_SECONDS:.0f} s"
        if self._skew:
            return f"the broker's clock is about {round(self._skew, -1):+.0f} s from ours: let both keep the true time"
        return None

    def _read_back(self, offset: int, seen: _Seen) -> None:
        sent = self._acknowledged[offset].sent
        self._acknowledged = {o: found for o, found in self._acknowledged.items() if o > offset}
        if self.anchor and sent.mono < self.anchor.sent:
            return  # acknowledged after a later one
        self.anchor = Anchor(sent.mono, seen.at)
        self._skew = _skew(sent, seen)
        if self._failure and self._failure[0] < sent.mono:
            self._failure = None

    def _fail(self, sent: Moment, reason: str) -> None:
        self._failure = max(self._failure or (sent.mono, reason), (sent.mono, reason))

    def _tidy(self) -> None:
        if not self._waiting:
            self._seen.clear()


def _skew(sent: Moment, seen: _Seen) -> float:
    """Return how far `at` is from the time between sending and reading, where that is too far, else 0."""
    early, late = seen.at - sent.utc, seen.at - seen.utc
    if early < -MOST_SKEW_SECONDS:
        return early
    return late if late > MOST_SKEW_SECONDS else 0.0
