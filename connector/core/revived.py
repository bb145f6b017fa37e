"""Owns dead letters that become messages again: where each came from, and which of its headers are its own.

Never decodes, and never says where a dead letter stands now to be anything else: offsets are held and committed on the
dead-letter topic. Invariant: value, key, timestamp and the headers of the user are as they were; only the coordinates
of the row are those of the message that was rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.offsets import OffsetRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.core.messages import Message

    Headers = Sequence[tuple[str, bytes | None]]

PREFIX = "__connect.errors."  # the names that Kafka Connect's dead letter queue uses (KIP-298)
FIELDS = (
    "topic", "partition", "offset", "connector.name", "task.id", "stage", "class.name", "exception.class.name",
    "exception.message", "exception.stacktrace",
)  # fmt: skip
DROPPED = "kafka_celonis.value.dropped.bytes"  # the value was too large for the dead-letter topic
_OURS = {DROPPED, *(PREFIX + field for field in FIELDS)}


class Revived:
    """A dead letter as the message that it was; `topic`, `partition` and `offset` say where it stands now.

    `origin` is the one offset at which it was rejected.
    """

    __slots__ = ("_headers", "_message", "origin")

    def __init__(self, message: Message, origin: OffsetRange) -> None:
        self._message, self.origin = message, origin
        self._headers = own_headers(message.headers() or ())

    def topic(self) -> str | None:
        """Return the dead-letter topic."""
        return self._message.topic()

    def partition(self) -> int | None:
        """Return the partition of the dead-letter topic."""
        return self._message.partition()

    def offset(self) -> int | None:
        """Return the offset in the dead-letter topic."""
        return self._message.offset()

    def key(self) -> bytes | str | None:
        """Return the key as it was."""
        return self._message.key()

    def value(self) -> bytes | str | None:
        """Return the value as it was."""
        return self._message.value()

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return the headers of the user, in order."""
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        """Return (type, milliseconds since the epoch) as they were."""
        return self._message.timestamp()


def origin_of(message: Message) -> OffsetRange | None:
    """Return the one offset at which `message` was rejected, or None where it does not say so."""
    found: dict[str, bytes | None] = dict(message.headers() or ())  # of a name that is there twice the last is ours
    try:
        topic, partition, offset = ((found[PREFIX + name] or b"").decode() for name in FIELDS[:3])
        return OffsetRange(topic, int(partition), int(offset), int(offset) + 1)
    except (KeyError, ValueError):
        return None


def value_dropped(message: Message) -> bool:
    """Return whether the value of the dead letter is not there, so that it is no message any more."""
    return DROPPED in dict(message.headers() or ())


def own_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return `headers` without what being rejected has added at their end: of each name the last."""
    left = set(_OURS)
    kept = []
    for name, value in reversed(headers):
        if name in left:
            left.remove(name)
        else:
            kept.append((name, value))
    return kept[::-1]
