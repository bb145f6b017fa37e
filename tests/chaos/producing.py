"""Owns the producer: a thread that writes the messages of all streams over a given time, whatever the broker does.

Never writes a message twice: the producer is idempotent. Invariant: once `done`, Kafka has acknowledged every message
that the expectations count.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from tests.chaos.workload import STREAMS, Expected, Stream, encoder, messages
from tests.kafka_broker import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from connector.demo.registry import RegistryServer

_SLICE, _SLICES = 500, 4  # messages between two looks at the clock, at most; looks a second, at least
_FLUSH_SECONDS = 120.0

Item = tuple[str, int, bytes, bytes | None]


class Producing:
    """Writes `count` messages a stream within `seconds`, as evenly as the broker lets it."""

    def __init__(
        self,
        brokers: str,
        topics: Mapping[str, str],
        registry: RegistryServer,
        *,
        count: int,
        seconds: float,
        seed: int,
    ) -> None:
        self.expected = {stream.name: Expected() for stream in STREAMS}
        self.refused: list[str] = []
        self._topics, self._count, self._seconds = topics, count, seconds
        self._slice = max(1, min(_SLICE, int(count / seconds / _SLICES)))
        self._sources = [self._items(stream, encoder(stream, registry), seed) for stream in STREAMS]
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "linger.ms": 20,
                "logger": SILENT,
                "message.timeout.ms": 600_000,
                "queue.buffering.max.messages": 500_000,
                "on_delivery": self._delivered,
            }
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(_FLUSH_SECONDS)

    def hurry(self) -> None:
        """Write what is left at once."""
        self._seconds = 0.0

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False when it takes longer, or Kafka refused something."""
        self._thread.join(seconds)
        return not self._thread.is_alive() and not self.refused

    @property
    def done(self) -> bool:
        """Whether all is written."""
        return not self._thread.is_alive()

    def _items(self, stream: Stream, encode: Callable[[dict[str, Any]], bytes], seed: int) -> Iterator[Item]:
        topic = self._topics[stream.name]
        found = messages(stream, encode, self._count, seed, self.expected[stream.name])
        return ((topic, partition, key, value) for partition, key, value in found)

    def _delivered(self, error: object, _: object) -> None:
        if error is not None:
            self.refused.append(str(error))

    def _run(self) -> None:
        begun = time.monotonic()
        for start in range(0, self._count, self._slice):
            count = min(self._slice, self._count - start)
            for source in self._sources:
                self._write(source, count)
            ahead = begun + self._seconds * (start + count) / self._count - time.monotonic()
            if self._stopping.wait(max(0.0, ahead)):
                return
        if self._producer.flush(_FLUSH_SECONDS):
            self.refused.append("messages were not acknowledged")

    def _write(self, source: Iterator[Item], count: int) -> None:
        for _ in range(count):
            topic, partition, key, value = next(source)
            while True:
                try:
                    self._producer.produce(topic, value, key, partition)
                    break
                except BufferError:
                    self._producer.poll(0.2)
        self._producer.poll(0)
