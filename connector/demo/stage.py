"""Owns the parts of the demo: broker, schema registry, emulator, and the connector as a process of its own.

Never tells the story. Invariant: whatever is started here is ended here, by its process id.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from connector.demo.process import ACTIVITIES, ORDER_SCHEMA, ORDERS
from connector.demo.registry import RegistryServer
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
START_SECONDS = 30.0
STOP_SECONDS = 40.0


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
            Emulator(EmulatorSettings(directory=folder / "emulator", app_keys={key: [POOL]}, pools={POOL: "demo"}))
        )
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 20})
        self.config = folder / "connector.yaml"
        self.config.write_text(yaml.safe_dump(self._settings(folder, registry.url), sort_keys=False))
        self._log = (folder / "connector.log").open("w+")
        self._parts.callback(self._log.close)
        self._connector = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "connector", "run", "--config", str(self.config)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CELONIS_APP_KEY": key},
        )
        self._parts.callback(self._kill)
        self._observed = f"http://127.0.0.1:{self._port}"

    def _settings(self, folder: Path, registry_url: str) -> dict[str, Any]:
        """Return the connector's configuration, as a user would write it."""
        self._port = _free_port()
        return {
            "kafka": {
                "brokers": self.bootstrap,
                "group": "demo",
                "dead_letter_topic": DEAD_LETTERS,
                "properties": {"session.timeout.ms": 3000, "fetch.wait.max.ms": 50},
            },
            "schema_registry": {"url": registry_url},
            "celonis": {"team_url": self.emulator.url, "pool_id": POOL, "auth": {"app_key": "${CELONIS_APP_KEY}"}},
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
            "observe": {"host": "127.0.0.1", "port": self._port, "log_format": "json"},
        }

    def produce(self, told: Told) -> None:
        """Send one message."""
        self._producer.produce(told.topic, told.value, told.key)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has everything."""
        self._producer.flush(30)

    def wait_until_ready(self) -> None:
        """Wait for the connector's readiness; raises RuntimeError with its log when it does not come."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._connector.poll() is None:
            try:
                if httpx.get(f"{self._observed}/readyz", timeout=2).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the connector did not become ready:\n{self.log()}")

    def metrics(self) -> Mapping[str, float]:
        """Return the connector's metrics, summed over their labels; nothing while it does not answer."""
        try:
            text = httpx.get(f"{self._observed}/metrics", timeout=2).text
        except httpx.TransportError:
            return {}
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def rows(self) -> Mapping[str, int]:
        """Return the number of rows of each table that exists."""
        names = [name for (name,) in self.emulator.query("SELECT table_name FROM duckdb_tables() WHERE NOT internal")]
        tables = [table for table in (ORDERS_TABLE, ACTIVITIES_TABLE) if table in names]
        return {t: self.emulator.query(f"SELECT count(*) FROM {t}")[0][0] for t in tables}  # noqa: S608 - constants

    def dead_letters(self) -> int:
        """Return how many messages stand in the dead-letter topic."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "count"})
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, 0), timeout=10)
            return int(high - low)
        finally:
            consumer.close()

    def stop_connector(self) -> int:
        """Send SIGTERM, let it drain, and return its exit code."""
        self._connector.send_signal(signal.SIGTERM)
        return self._connector.wait(STOP_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether the connector still runs."""
        return self._connector.poll() is None

    def log(self, lines: int = 15) -> str:
        """Return the last lines of the connector's log."""
        self._log.flush()
        return "\n".join(Path(self._log.name).read_text().splitlines()[-lines:])

    def _kill(self) -> None:
        if self._connector.poll() is None:
            self._connector.kill()
            self._connector.wait(10)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
