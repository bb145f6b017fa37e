"""Owns the question what a replay will read: the two ends it is given, as offsets of every partition.

Never joins a group and never commits. Invariant: no range reaches beyond what can be read now: an open transaction is
outside, since a replay that waited for it would have no end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from connector.core.bounds import Bound, Extent, Placed, Range, place
from connector.core.offsets import TopicPartition
from connector.kafka import probe
from connector.kafka.asking import PROBE_SECONDS, ask_all
from connector.kafka.settings import make, question_properties
from connector.kafka.topics import judged, listed, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from connector.config import Kafka

Offsets = dict[TopicPartition, int]


class Resolved(NamedTuple):
    """What a replay will read of every partition of its topics, sorted."""

    partitions: Mapping[TopicPartition, Placed]

    @property
    def ranges(self) -> dict[TopicPartition, Range]:
        """The offsets to read of each partition; those without any are here, too."""
        return {tp: placed.range for tp, placed in self.partitions.items()}

    @property
    def messages(self) -> int:
        """The most messages that all of it can be."""
        return sum(placed.range.messages for placed in self.partitions.values())

    @property
    def remarks(self) -> list[str]:
        """What a person should know before it begins, with the partition that it is about."""
        return [f"{tp}: {remark}" for tp, placed in self.partitions.items() for remark in placed.remarks]


def resolve(
    kafka: Kafka, wanted: Collection[str], start: Bound, end: Bound, belongs: Callable[[str], bool] = bool
) -> Resolved:
    """Return what lies between `start` and `end` in the topics `wanted` (names, or expressions that begin with `^`).

    Of the topics that are found only those for which `belongs` is true are looked at.

    Raises:
        SourceError: no broker answers, or one of the topics is not there or not ours to read.
    """
    probe.brokers_answer(kafka)
    known = listed(make(AdminClient, question_properties(kafka)))
    topics, troubles = resolved(known, wanted)
    for trouble in troubles.values():
        raise trouble
    tps = [TopicPartition(t, p) for t in sorted(topics) if belongs(t) for p in sorted(known[t].partitions)]
    low = _offsets(kafka, tps, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    high = _offsets(kafka, tps, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    first, last = (_at(kafka, tps, bound) for bound in (start, end))
    return Resolved(
        {tp: place(start, end, Extent(low[tp], max(low[tp], high[tp])), (first.get(tp), last.get(tp))) for tp in tps}
    )


def _at(kafka: Kafka, partitions: Collection[TopicPartition], bound: Bound) -> Offsets:
    """Return the first offsets at or after a time, of the partitions that have one."""
    if bound.milliseconds is None:
        return {}
    found = _offsets(kafka, partitions, OffsetSpec.for_timestamp(bound.milliseconds))
    return {tp: offset for tp, offset in found.items() if offset >= 0}


def _offsets(kafka: Kafka, partitions: Collection[TopicPartition], spec: OffsetSpec) -> Offsets:
    if not partitions:
        return {}
    question = {ClientPartition(*tp): spec for tp in partitions}
    answers = ask_all(
        kafka,
        lambda admin: admin.list_offsets(
            question, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=PROBE_SECONDS
        ),
    )
    offsets: Offsets = {}
    for p, answer in answers.items():
        try:
            offsets[TopicPartition(p.topic, p.partition)] = answer.result().offset
        except KafkaException as e:
            raise judged(p.topic, e.args[0]) from None
    return offsets
