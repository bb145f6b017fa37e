"""Owns the intent: the note on a committed offset that says which job carries its partition up to which offset.

Never talks to Kafka or to the platform. Invariant: what `text` writes, `parse` reads back; everything else that is not
empty is refused with a reason, since acting on half a note would lose or double rows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1
MAX_METADATA = 4095  # characters that a broker keeps with an offset; `offset.metadata.max.bytes` is 4096


class Committed(NamedTuple):
    """What a group has committed of one partition: the next offset, and the text that stands with it."""

    offset: int
    metadata: str = ""


class UnreadableIntent(ValueError):  # noqa: N818
    """The text with an offset is not an intent that this version can act on; the message says why."""


class Origin(NamedTuple):
    """What an intent is bound to, as it is now.

    `cluster` and `topic` are Kafka's ids, which tell a mirrored or re-created topic; `config` is `fingerprint` of the
    table and the pool, which tells that the job may be somewhere else. An empty id is not known, and not compared.
    `keyed`: pushing the topic's rows again is harmless.
    """

    cluster: str
    topic: str
    config: str
    keyed: bool


@dataclass(frozen=True, slots=True)
class Intent:
    """Job `job` carries the partition up to `end` (the next offset after it); the rest as in Origin."""

    job: str
    end: int
    cluster: str
    topic: str
    config: str

    @classmethod
    def of(cls, job: str, end: int, origin: Origin) -> Intent:
        """Return the intent of a partition of a topic with this origin."""
        return cls(job, end, origin.cluster, origin.topic, origin.config)

    def text(self) -> str:
        """Return the metadata of the committed offset."""
        return json.dumps({"v": VERSION, **asdict(self)}, separators=(",", ":"))


def parse(metadata: str) -> Intent | None:
    """Return the intent that stands in `metadata`, or None where it is empty.

    Raises:
        UnreadableIntent: it is not empty, and not an intent of this version.
    """
    if not metadata:
        return None
    try:
        found = json.loads(metadata)
    except ValueError:
        raise UnreadableIntent("the metadata of its committed offset was not written by this product") from None
    if not isinstance(found, dict) or "v" not in found:
        raise UnreadableIntent("the metadata of its committed offset was not written by this product")
    if found.pop("v") != VERSION:
        raise UnreadableIntent("the intent on its committed offset was written by another version of this product")
    kinds = {"job": str, "end": int, "cluster": str, "topic": str, "config": str}
    if {name: type(value) for name, value in found.items()} != kinds or not found["job"] or found["end"] < 0:
        raise UnreadableIntent("the intent on its committed offset is damaged")
    return Intent(**found)


def objection(found: Intent, origin: Origin, offset: int) -> str | None:
    """Return why `found`, which stands at the committed `offset`, must not be acted on, or None."""
    if found.end < offset:
        return f"its intent ends at {found.end}, before the committed offset {offset}"
    for before, now, what in (
        (found.cluster, origin.cluster, "Kafka cluster"),
        (found.topic, origin.topic, "topic of the same name"),
    ):
        if before and now and before != now:
            return f"its intent belongs to another {what} ({before}, not {now})"
    if found.config != origin.config:
        return "its intent was written with another pool, table, keys or connection in the configuration"
    return None


def fingerprint(parts: Iterable[str]) -> str:
    """Return twelve characters that stand for `parts`, in their order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
