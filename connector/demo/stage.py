"""Owns the parts of the demo: broker, schema registry, emulator, and the connector as a process of its own.

Never tells the story. Invariant: whatever is started here is ended here, by its process id.
"""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, Producer, TopicPartition

from connector.demo.process import ACTIVITIES, ORDER_SCHEMA, ORDERS
from connector.demo.registry import RegistryServer
from connector.demo.running import RunningConnector
from connector.demo.verdict import ACTIVITIES_TABLE, ORDERS_TABLE
from connector.emulator import Emulator, EmulatorSettings
from connector.kafka.embedded import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from connector.demo.process import Told

POOL = "11111111-2222-3333-4444-555555555555"
DEAD_LETTERS = "dead-letters"
PARTITIONS = 4
SPEED = 60  # an hour of the team's budget passes in a minute
_QUIET = logging.getLogger("librdkafka")  # the broker goes first at the end, which the client would report


class Stage:
    """Everything the demo needs, on loopback, in a temporary folder."""

    def __enter__(self) -> Self:
        self._parts = ExitStack()
        try:
            self._start()
        except BaseException:
            self._parts.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def _start(self) -> None:
        folder = Path(self._parts.enter_context(tempfile.TemporaryDirectory(prefix="kafka-celonis-demo-")))
        cluster = self._parts.enter_context(EmbeddedCluster())
        for topic, partitions in ((ORDERS, PARTITIONS), (ACTIVITIES, PARTITIONS), (DEAD_LETTERS, 1)):
            cluster.create_topic(topic, partitions)
        self.bootstrap = cluster.bootstrap
        registry = self._parts.enter_context(RegistryServer())
        self.schema_id = registry.register(f"{ORDERS}-value", ORDER_SCHEMA)
        key = os.urandom(12).hex()
        self.emulator = self._parts.enter_context(
            Emulator(
                EmulatorSettings(
                    directory=folder / "emulator", app_keys={key: [POOL]}, pools={POOL: "demo"}, clock_speed=SPEED
                )
            )
        )
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 20, "logger": _QUIET})
        settings = self._settings(folder, registry.url)
        connector = RunningConnector(folder, settings, {"CELONIS_APP_KEY": key})
        self.connector = self._parts.enter_context(connector)

    def _settings(self, folder: Path, registry_url: str) -> dict[str, Any]:
        """Return the connector's configuration, as a user would write it."""
        return {
            "kafka": {
                "brokers": self.bootstrap,
                "group": "demo",
                "dead_letter_topic": DEAD_LETTERS,
                "properties": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000, "fetch.wait.max.ms": 50},
            },
            "schema_registry": {"url": registry_url},
            "celonis": {"team_url": self.emulator.url, "pool_id": POOL, "auth": {"app_key": "${CELONIS_APP_KEY}"}},
            "budget": {"clock_speed": SPEED},
            "defaults": {"flush": {"age": "3 s"}},
            "tables": [
                {"topics": [ORDERS], "target": ORDERS_TABLE, "format": "avro", "keys": ["order_id"]},
                {
                    "topics": [ACTIVITIES],
                    "target": ACTIVITIES_TABLE,
                    "format": "json",
                    "columns": {"timestamp": {"type": "DATETIME"}, "cost": {"type": "FLOAT"}},
                },
            ],
            "spool": {"directory": str(folder / "spool")},
        }

    def produce(self, told: Told) -> None:
        """Send one message."""
        self._producer.produce(told.topic, told.value, told.key)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has everything."""
        self._producer.flush(30)

    def rows(self) -> Mapping[str, int]:
        """Return the number of rows of each table that exists."""
        names = [name for (name,) in self.emulator.query("SELECT table_name FROM duckdb_tables() WHERE NOT internal")]
        tables = [table for table in (ORDERS_TABLE, ACTIVITIES_TABLE) if table in names]
        return {t: self.emulator.query(f"SELECT count(*) FROM {t}")[0][0] for t in tables}  # noqa: S608 - constants

    def dead_letters(self) -> int:
        """Return how many messages stand in the dead-letter topic."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "count", "logger": _QUIET})
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, 0), timeout=10)
            return int(high - low)
        finally:
            consumer.close()
