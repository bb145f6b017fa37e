"""Owns the whole product under test: a real broker, a registry, the emulator, and connectors as their own processes.

Never looks inside the connector. Invariant: every topic, group and table is this world's own, so worlds can share a
broker.
"""

from __future__ import annotations

import io
import json
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import fastavro
from confluent_kafka import Producer

from connector.celonis.auth import KeyAuth
from connector.celonis.client import DataPushClient
from connector.demo.registry import RegistryServer
from connector.demo.running import RunningConnector
from connector.emulator import Emulator, EmulatorSettings
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from confluent_kafka import Message

    from tests.kafka_broker import KafkaBroker

Sent = tuple[int, bytes | None] | tuple[int, bytes | None, bytes | None]
POOL = "11111111-2222-3333-4444-555555555555"
SPEED = 60  # an hour of the budget in a minute: a push each quarter of a second
QUICK = {"records": 50_000, "age": "500 ms"}


class World:
    """A context manager; `emulator` overrides settings of the emulator."""

    def __init__(self, kafka: KafkaBroker, folder: Path, **emulator: Any) -> None:
        self.kafka, self.folder = kafka, folder
        self.key = uuid.uuid4().hex
        self.group = f"group-{uuid.uuid4().hex[:8]}"
        self.dead_letters = kafka.create_topic(config={"max.message.bytes": "1000000"})
        self._produced: dict[tuple[str, int], int] = {}
        defaults: dict[str, Any] = {
            "directory": folder / "emulator",
            "app_keys": {self.key: [POOL]},
            "pools": {POOL: "test"},
        }
        self.registry = RegistryServer()
        self.emulator = Emulator(EmulatorSettings(**(defaults | emulator)))

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            parts.enter_context(self.registry)
            parts.enter_context(self.emulator)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def settings(self, *tables: Mapping[str, Any], **sections: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration for `tables`; `sections` are merged into it by key."""
        settings: dict[str, Any] = {
            "kafka": {
                "brokers": self.kafka.bootstrap,
                "group": self.group,
                "dead_letter_topic": self.dead_letters,
                "properties": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500},
            },
            "schema_registry": {"url": self.registry.url},
            "celonis": {
                "team_url": self.emulator.url,
                "pool_id": POOL,
                "auth": {"app_key": "${CELONIS_APP_KEY}"},
            },
            "budget": {"clock_speed": SPEED},
            "defaults": {"flush": QUICK},
            "tables": list(tables),
            "spool": {"directory": str(self.folder / "spool")},
        }
        for name, section in sections.items():
            settings[name] = {**settings.get(name, {}), **section}
        return settings

    def connector(self, *tables: Mapping[str, Any], **sections: Mapping[str, Any]) -> RunningConnector:
        """Return a connector for `tables`, not started yet."""
        return RunningConnector(self.folder, self.settings(*tables, **sections), {"CELONIS_APP_KEY": self.key})

    def topic(self, partitions: int = 1, **config: str) -> str:
        """Create a topic that takes messages of 32 MB."""
        return self.kafka.create_topic(partitions, config={"max.message.bytes": str(32 << 20), **config})

    def produce(self, topic: str, values: Iterable[Sent]) -> None:
        """Send (partition, value) pairs, or (partition, value, key), and wait until the broker has them."""
        producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "linger.ms": 20,
                "message.max.bytes": 32 << 20,
                "queue.buffering.max.messages": 500_000,
            }
        )
        for number, (partition, value, *key) in enumerate(values):
            while True:
                try:
                    producer.produce(topic, value, key[0] if key else None, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.2)
            if number % 10_000 == 0:
                producer.poll(0)
            self._produced[topic, partition] = self._produced.get((topic, partition), 0) + 1
        assert producer.flush(60) == 0

    def wait_until_committed(self, seconds: float = 60.0) -> None:
        """Wait until the group has committed the end of everything produced."""

        def behind() -> bool:
            return any(self.kafka.committed(self.group, t, p) != n for (t, p), n in self._produced.items())

        wait_for(lambda: not behind(), seconds)

    def lag(self) -> int:
        """Return how many messages of those produced the group has not committed."""
        done = {(t, p): self.kafka.committed(self.group, t, p) for t, p in self._produced}
        return sum(n - max(0, done[at]) for at, n in self._produced.items())

    def wait_for_rows(self, rows: int, *tables: str, seconds: float = 60.0) -> None:
        """Wait until `tables` have at least `rows` rows together."""
        assert self.emulator.wait_until(lambda: self.count(*tables) >= rows, seconds), (
            f"{', '.join(tables)} have {self.count(*tables)} rows instead of {rows} after {seconds} s"
        )

    def count(self, *tables: str) -> int:
        """Return the number of rows of `tables` together; one that does not exist has none."""
        names = [name for (name,) in self.emulator.query("SELECT lower(table_name) FROM duckdb_tables()")]
        there = [t for t in tables if t.lower() in names]
        return sum(self.emulator.query(f"SELECT count(*) FROM {t}")[0][0] for t in there)

    def delete_job(self, job: str) -> None:
        """Delete a job, as somebody else might."""
        with DataPushClient(self.emulator.url, POOL, KeyAuth("AppKey", self.key)) as client:
            client.delete_job(job)

    def rejects(self, count: int) -> list[tuple[str, str, int, bytes | None]]:
        """Return (reason, topic, offset, value) of the first `count` dead letters, sorted."""
        return sorted(_reject(m) for m in self.kafka.read(self.dead_letters, count))


def _reject(message: Message) -> tuple[str, str, int, bytes | None]:
    pairs = cast("list[tuple[str, bytes]]", message.headers())
    headers = dict(pairs)
    value = message.value()
    assert value is None or isinstance(value, bytes)
    reason = headers["__connect.errors.exception.class.name"].decode()
    topic = headers["__connect.errors.topic"].decode()
    return reason, topic, int(headers["__connect.errors.offset"]), value


def avro_writer(schema: dict[str, Any], schema_id: int) -> Any:
    """Return a function that encodes a record with the header of a schema registry."""
    parsed = fastavro.parse_schema(schema)
    header = b"\x00" + schema_id.to_bytes(4, "big")

    def encode(record: Mapping[str, Any]) -> bytes:
        out = io.BytesIO()
        out.write(header)
        fastavro.schemaless_writer(out, parsed, record)
        return out.getvalue()

    return encode


def as_json(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON without spaces."""
    return json.dumps(record, separators=(",", ":")).encode()
