"""Owns the question whether a replace has all that its tables consist of: partitions and topics are added at any time.

Never holds a table and never lets go of one. Invariant: what stands as the ranges of a table is all of it at the moment
of asking, or an error says what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.bounds import Bound, Kind
from connector.errors import ConnectorError
from connector.kafka.group import committed_offsets
from connector.kafka.ranges import resolve
from connector.replaying import takes
from connector.routing import Routes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from connector.config import Settings
    from connector.core.bounds import Range
    from connector.core.intents import Committed
    from connector.core.offsets import TopicPartition
    from connector.replaying import Outline, Part


class Grown(ConnectorError):  # noqa: N818 - a state, not a failure
    """A table has partitions that its replay does not read; their rows would be gone with the old table."""


def whole(settings: Settings, found: Outline, held: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, Range]:
    """Return the ranges up to now: what the service pushed before it stood still, where it is `held`, is among it.

    Raises:
        ConnectorError: a push may still be on its way, or partitions were added; the hint is the next step.
    """
    committed = committed_offsets(settings.kafka, sorted({tp.topic for tp in found.ranges}))
    if any(c.metadata for tp, c in committed.items() if tp not in held):
        raise ConnectorError(
            "a push of the service is not over, and no service runs that could end it",
            hint="start the service until `kafka-celonis intents` shows none, then give the same command again",
        )
    fresh = _now(settings, found, found.parts)
    if fresh.keys() != found.ranges.keys():
        raise ConnectorError("partitions were added meanwhile", hint="give the same command again")
    ends = {tp: max(r.end, held.get(tp, 0), offset_of(committed, tp)) for tp, r in fresh.items()}
    return {tp: r._replace(end=ends[tp]) for tp, r in fresh.items()}


def refuse_grown(
    settings: Settings, found: Outline, known: Collection[TopicPartition], topics: Collection[str]
) -> None:
    """Refuse to replace the tables of `topics` where they have partitions that are not `known`.

    Raises:
        Grown: they have; the table is named.
        SourceError: Kafka does not tell.
    """
    parts = [part for part in found.parts if not set(part.topics).isdisjoint(topics)]
    if added := sorted(_now(settings, found, parts).keys() - set(known)):
        tables, more = ", ".join(part.target for part in parts), f" and {len(added) - 1} more" if added[1:] else ""
        raise Grown(
            f"{added[0]}{more} came to {tables} since this replay began: its rows would be missing",
            hint="give the same command again: it begins anew, with them",
        )


def offset_of(committed: Mapping[TopicPartition, Committed], tp: TopicPartition) -> int:
    """Return the offset that is committed of a partition; 0 where none is."""
    return committed[tp].offset if tp in committed else 0


def _now(settings: Settings, found: Outline, parts: Iterable[Part]) -> Mapping[TopicPartition, Range]:
    routes, tables = Routes(settings.tables), {part.table.lower() for part in parts}
    latest = Bound(Kind.LATEST)
    return resolve(
        settings.kafka, routes.topics, found.start, latest, lambda topic: takes(routes, topic, tables)
    ).ranges
