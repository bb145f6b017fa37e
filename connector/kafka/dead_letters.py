"""Owns the producer of the dead-letter topic: rejects go out as they came, with headers that say why.

Never drops a reject without saying so. Invariant: a reject's offset is held until the topic has acknowledged it, in
full or, when it is too large for the topic, without its value.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from connector.core.revived import DROPPED, FIELDS, PREFIX
from connector.kafka.contact import Contact
from connector.kafka.settings import client_properties, make

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from confluent_kafka import Message

    from connector.config import Kafka
    from connector.core.messages import Reject
    from connector.core.offsets import OffsetRange, TopicPartition

log = structlog.get_logger()

MOST_HELD = 10_000  # rejects; with their values at most MOST_BYTES: beyond, consumption waits for the topic
MOST_BYTES = 64 << 20
RETRY_SERVES = 50  # calls of `serve`, about five seconds, between a failed delivery and the next try
_PROPERTIES = {
    "enable.idempotence": True,
    "linger.ms": 20,
    "compression.type": "lz4",
    "message.max.bytes": 64 << 20,  # the topic's own limit decides
    "queue.buffering.max.kbytes": 128 << 10,  # the most that is on the way, in memory
    "batch.size": 16_384,  # a topic refuses a batch as a whole: what is larger goes alone, and is judged alone
}


class KafkaDeadLetters:
    """Sends rejects to the dead-letter topic of `kafka`."""

    def __init__(self, kafka: Kafka) -> None:
        self._topic = kafka.dead_letter_topic or ""
        self._group = kafka.group
        self._contact = Contact(kafka.brokers)
        properties = client_properties(kafka) | _PROPERTIES | {"error_cb": self._contact.on_error}
        self._producer = make(Producer, properties)
        self._waiting: deque[Reject] = deque()
        self._held: Counter[OffsetRange] = Counter()
        self._pause = 0
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether so much waits for the topic that consumption must pause."""
        return len(self._held) >= MOST_HELD or self._bytes >= MOST_BYTES

    @property
    def held(self) -> Iterable[OffsetRange]:
        """The offsets of rejects that are not acknowledged."""
        return self._held.keys()

    def send(self, rejects: Sequence[Reject]) -> None:
        """Hand rejects over; they are held until they are acknowledged."""
        self._waiting.extend(rejects)
        self._held.update(r.range for r in rejects)
        self._bytes += sum(map(_size, rejects))
        self.serve()

    def serve(self) -> None:
        """Take acknowledgements in, and send what waits; raises SourceError when the producer cannot go on."""
        self._serve()
        self._contact.insist()

    def _serve(self) -> None:
        self._producer.poll(0)
        if self._pause:
            self._pause -= 1
            return
        while self._waiting:
            try:
                self._produce(self._waiting[0], with_value=True)
            except BufferError:
                return  # the producer's queue is full; acknowledgements make room
            self._waiting.popleft()

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held of partitions that are no longer ours; whoever reads them rejects them again."""
        self._waiting = deque(r for r in self._waiting if r.tp not in partitions)
        self._bytes = sum(map(_size, self._waiting))  # what is on the way is bounded by the producer
        self._held = Counter({r: n for r, n in self._held.items() if r.tp not in partitions})

    def flush(self, timeout: float) -> bool:
        """Wait until all is acknowledged, `timeout` seconds at most; False when something is still held."""
        deadline = time.monotonic() + timeout
        self._pause = 0
        self._serve()
        while self._held and (left := deadline - time.monotonic()) > 0:
            self._producer.poll(min(left, 0.1))
            self._serve()
        return not self._held

    def _produce(self, reject: Reject, *, with_value: bool) -> None:
        message = reject.message
        headers = [*(message.headers() or ()), *_headers(reject, self._group)]
        value = message.value() if with_value else None
        if not with_value:
            headers.append((DROPPED, str(len(message.value() or b"")).encode()))

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._settle(reject, error, with_value=with_value)

        try:
            self._producer.produce(
                self._topic, value, message.key(), on_delivery=delivered, headers=headers, timestamp=_timestamp(reject)
            )
        except KafkaException as e:  # refused before it was sent
            self._settle(reject, e.args[0], with_value=with_value)

    def _settle(self, reject: Reject, error: KafkaError | None, *, with_value: bool) -> None:
        if error is None:
            self._release(reject)
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE and with_value:
            log.warning("sent reject without its value, which is too large", at=str(reject.range))
            self._produce(reject, with_value=False)
        elif reject.range in self._held:
            self._waiting.append(reject)
            if not self._pause:  # one line for all that fail together
                hint = f"the topic {self._topic} (kafka.dead_letter_topic) must exist and take our writes"
                log.warning("could not send reject, trying again", at=str(reject.range), error=error.str(), hint=hint)
            self._pause = RETRY_SERVES

    def _release(self, reject: Reject) -> None:
        if reject.range not in self._held:
            return  # its partition went away meanwhile
        self._bytes = max(0, self._bytes - _size(reject))
        self._held[reject.range] -= 1
        if not self._held[reject.range]:
            del self._held[reject.range]


def _size(reject: Reject) -> int:
    return len(reject.message.value() or b"")


class DiscardedRejects:
    """Where rejects go when there is no dead-letter topic: they are counted elsewhere, and gone."""

    held: Iterable[OffsetRange] = ()
    full = False

    def send(self, rejects: Sequence[Reject]) -> None:
        """Write one line for the first of them."""
        log.warning("dropped rejects", count=len(rejects), first=str(rejects[0].range), reason=rejects[0].reason)

    def serve(self) -> None:
        """Nothing waits here."""

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing is held here."""

    def flush(self, timeout: float) -> bool:
        """Nothing is held here."""
        return timeout >= 0


def _headers(reject: Reject, group: str) -> list[tuple[str, bytes]]:
    origin = reject.origin
    values = (
        origin.topic, origin.partition, origin.start, group, 0, "VALUE_CONVERTER", "connector.formats",
        reject.reason, reject.detail, "",
    )  # fmt: skip
    fields = zip(FIELDS, values, strict=True)
    return [(PREFIX + name, str(value).encode(errors="replace")) for name, value in fields]


def _timestamp(reject: Reject) -> int:
    kind, at = reject.message.timestamp()
    return at if kind else 0
