"""Owns the producer of the dead-letter topic: rejects go out as they came, with headers that say why.

Never drops a reject without saying so. Invariant: a reject's offset is held until the topic has acknowledged it, in
full or, when it is too large for the topic, without its value.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from connector.kafka.settings import client_properties

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from confluent_kafka import Message

    from connector.config import Kafka
    from connector.core.messages import Reject
    from connector.core.offsets import OffsetRange, TopicPartition

log = structlog.get_logger()

RETRY_SERVES = 50  # calls of `serve`, about five seconds, between a failed delivery and the next try
_PREFIX = "__connect.errors."  # the names that Kafka Connect's dead letter queue uses (KIP-298)


class KafkaDeadLetters:
    """Sends rejects to the dead-letter topic of `kafka`."""

    def __init__(self, kafka: Kafka) -> None:
        self._topic = kafka.dead_letter_topic or ""
        self._group = kafka.group
        self._producer = Producer(
            client_properties(kafka)
            | {"enable.idempotence": True, "linger.ms": 20, "message.max.bytes": 64 << 20, "compression.type": "lz4"}
        )
        self._waiting: deque[Reject] = deque()
        self._held: Counter[OffsetRange] = Counter()
        self._pause = 0

    @property
    def held(self) -> Iterable[OffsetRange]:
        """The offsets of rejects that are not acknowledged."""
        return self._held.keys()

    def send(self, rejects: Sequence[Reject]) -> None:
        """Hand rejects over; they are held until they are acknowledged."""
        self._waiting.extend(rejects)
        self._held.update(r.range for r in rejects)
        self.serve()

    def serve(self) -> None:
        """Take acknowledgements in, and send what waits."""
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
        self._held = Counter({r: n for r, n in self._held.items() if r.tp not in partitions})

    def flush(self, timeout: float) -> bool:
        """Wait until all is acknowledged, `timeout` seconds at most; False when something is still held."""
        self._pause = 0
        self.serve()
        self._producer.flush(timeout)
        return not self._held

    def _produce(self, reject: Reject, *, with_value: bool) -> None:
        message = reject.message
        headers = [*(message.headers() or ()), *_headers(reject, self._group)]
        value = message.value() if with_value else None
        if not with_value:
            headers.append(("kafka_celonis.value.dropped.bytes", str(len(message.value() or b"")).encode()))

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._settle(reject, error, with_value=with_value)

        try:
            self._producer.produce(
                self._topic, value, message.key(), on_delivery=delivered, headers=headers, timestamp=_timestamp(reject)
            )
        except KafkaException as e:
            delivered(e.args[0], None)  # type: ignore[arg-type] - refused before it was sent

    def _settle(self, reject: Reject, error: KafkaError | None, *, with_value: bool) -> None:
        if error is None:
            self._held -= Counter((reject.range,))
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE and with_value:
            log.warning("sent reject without its value, which is too large", at=str(reject.range))
            self._produce(reject, with_value=False)
        else:
            hint = f"the topic {self._topic} must exist and take our writes"
            log.warning("could not send reject, trying again", at=str(reject.range), error=error.str(), hint=hint)
            if reject.range in self._held:
                self._waiting.append(reject)
                self._pause = RETRY_SERVES


class DiscardedRejects:
    """Where rejects go when there is no dead-letter topic: they are counted elsewhere, and gone."""

    held: Iterable[OffsetRange] = ()

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
    fields = {
        "topic": reject.tp.topic,
        "partition": reject.tp.partition,
        "offset": reject.offset,
        "connector.name": group,
        "task.id": 0,
        "stage": "VALUE_CONVERTER",
        "class.name": "connector.formats",
        "exception.class.name": reject.reason,
        "exception.message": reject.detail,
        "exception.stacktrace": "",
    }
    return [(_PREFIX + name, str(value).encode(errors="replace")) for name, value in fields.items()]


def _timestamp(reject: Reject) -> int:
    kind, at = reject.message.timestamp()
    return at if kind else 0
