"""Owns what topics carry: messages per second by their offsets over time, and the size of the latest messages.

Never joins a group, and never commits, creates or changes anything. Invariant: a topic without an answer is named with
its cause and the next step, and stops no other. Offsets that hold no message (transaction markers, what compaction
took away) count as one, so a rate is rather too high than too low.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from connector.kafka import probe
from connector.kafka.settings import consumer_properties, make, question_properties
from connector.kafka.topics import judged, listed, resolved

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from confluent_kafka.admin import ListOffsetsResultInfo

    from connector.config import Kafka
    from connector.errors import SourceError

_ANSWER_SECONDS = 10.0
_SAMPLE_SECONDS = 5.0
_SAMPLE_MESSAGES = 200
_SHORTEST = 60.0  # seconds of life of a topic that a rate can be told from
_SAMPLING = {"auto.offset.reset": "earliest", "fetch.wait.max.ms": 50}


class TopicRate(NamedTuple):
    """Messages per second of a topic, and the mean bytes of a value; None where no message was seen."""

    topic: str
    rate: float
    message_bytes: float | None


class Measured(NamedTuple):
    """The topics that answered, and by topic or regular expression what went wrong with the others."""

    rates: list[TopicRate]
    troubles: dict[str, SourceError]


class _Span(NamedTuple):
    """A partition: its first offset, the first within the window (-1: none) with its time, and the next to come."""

    first: int
    since: int
    since_ms: int
    end: int


def measure(kafka: Kafka, wanted: Collection[str], window: float) -> Measured:
    """Return what the topics `wanted` (names, or regular expressions that begin with `^`) carried for `window` seconds.

    Raises:
        SourceError: no broker answers, or not to us.
    """
    probe.brokers_answer(kafka)
    consumer = make(Consumer, consumer_properties(kafka) | _SAMPLING)
    admin = make(AdminClient, question_properties(kafka))
    rates: list[TopicRate] = []
    try:
        known = listed(consumer)
        topics, troubles = resolved(known, wanted)
        for topic in topics:
            try:
                rates.append(_rate(consumer, admin, topic, sorted(known[topic].partitions), window))
            except KafkaException as e:
                troubles[topic] = judged(topic, e.args[0])
    finally:
        consumer.close()
    return Measured(rates, troubles)


def _rate(consumer: Consumer, admin: AdminClient, topic: str, partitions: Sequence[int], window: float) -> TopicRate:
    now = time.time()
    spans = _spans(admin, topic, partitions, round((now - window) * 1000))
    counted = sum(span.end - span.since for span in spans.values() if span.since >= 0)
    return TopicRate(topic, counted / _lived(spans.values(), now, window), _message_bytes(consumer, topic, spans))


def _lived(spans: Collection[_Span], now: float, window: float) -> float:
    """Return the seconds that were counted: less than `window` where the topic has nothing older."""
    if any(span.end > span.first and span.since != span.first for span in spans):
        return window
    oldest = min((span.since_ms / 1000 for span in spans if span.since >= 0), default=now - window)
    return min(window, max(_SHORTEST, now - oldest))


def _spans(admin: AdminClient, topic: str, partitions: Sequence[int], since_ms: int) -> dict[int, _Span]:
    first = _offsets(admin, topic, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    since = _offsets(admin, topic, partitions, OffsetSpec.for_timestamp(since_ms))
    end = _offsets(admin, topic, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    return {p: _Span(first[p].offset, since[p].offset, since[p].timestamp, end[p].offset) for p in partitions}


def _offsets(
    admin: AdminClient, topic: str, partitions: Sequence[int], spec: OffsetSpec
) -> dict[int, ListOffsetsResultInfo]:
    asked = {ClientPartition(topic, p): spec for p in partitions}
    futures = admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
    return {tp.partition: future.result() for tp, future in futures.items()}


def _message_bytes(consumer: Consumer, topic: str, spans: Mapping[int, _Span]) -> float | None:
    """Return the mean bytes of the values of the latest messages of each partition."""
    filled = {p: span for p, span in spans.items() if span.end > span.first}
    each = math.ceil(_SAMPLE_MESSAGES / max(1, len(filled)))
    consumer.assign([ClientPartition(topic, p, max(s.first, s.end - each)) for p, s in filled.items()])
    sizes: list[int] = []
    ended: set[int | None] = set()
    deadline = time.monotonic() + _SAMPLE_SECONDS
    while len(ended) < len(filled) and len(sizes) < _SAMPLE_MESSAGES and time.monotonic() < deadline:
        for message in consumer.consume(_SAMPLE_MESSAGES, timeout=0.1):
            error = message.error()
            if error is None:
                sizes.append(len(message.value() or b""))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                ended.add(message.partition())
            else:
                raise KafkaException(error)
    return sum(sizes) / len(sizes) if sizes else None
