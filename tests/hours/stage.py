"""Owns everything that takes part: broker, emulator, a producer that never rests, and connectors that share a ledger.

Never judges. Invariant: everything is a process or a thread that ends with the `with` block.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Producer

from connector.celonis.auth import KeyAuth
from connector.celonis.client import DataPushClient
from connector.celonis.jobs import JobSpec
from connector.core.hours import HOUR, TeamClock
from connector.demo.running import RunningConnector, free_port
from connector.errors import CelonisThrottled
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from tests.kafka_broker import KafkaBroker

SPEED = 60  # an hour of the team's clock in a minute
TABLES, PARTITIONS = 12, 3
POOL, OTHER_POOL = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
IN_FLIGHT = 8  # executes at once in the pool: at this speed a job takes minutes of the team's time
_PRODUCE_SECONDS = 0.2
_STOP_SECONDS = 20.0


class Stage:
    """A context manager; `connectors` are made and not started."""

    def __init__(self, kafka: KafkaBroker, folder: Path, connectors: int) -> None:
        self._kafka, self._folder, self._count = kafka, folder, connectors
        self._key, self._run = uuid.uuid4().hex, uuid.uuid4().hex[:8]
        self._port = free_port()
        self._stop = threading.Event()
        self._foreign = 0.0
        self._client = httpx.Client(timeout=30)
        self.clock = TeamClock(SPEED)
        self.ledger = f"budget-{self._run}"

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self._folder.mkdir(parents=True, exist_ok=True)
            parts.enter_context(self._client)
            self._start_emulator(parts)
            self.topics = [self._kafka.create_topic(PARTITIONS) for _ in range(TABLES)]
            self._dead_letters = self._kafka.create_topic()
            self.connectors = [self._connector(number) for number in range(self._count)]
            for connector in self.connectors:
                parts.callback(connector.kill)
            for work in (self._produce, self._eat):
                thread = threading.Thread(target=work, name=work.__name__, daemon=True)
                thread.start()
                parts.callback(thread.join, _STOP_SECONDS)
            parts.callback(self._stop.set)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    # --- time -------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the team's time."""
        return self.clock.of(time.time())

    def wait_until(self, at: float) -> None:
        """Wait for a moment of the team's time."""
        wait_for(lambda: self.now() >= at, self.clock.seconds(at - self.now()) + 10)

    # --- parts ------------------------------------------------------------------------------------------------

    def _start_emulator(self, parts: ExitStack) -> None:
        options = [
            "--port",
            str(self._port),
            "--directory",
            str(self._folder / "emulator"),
            "--clock-speed",
            str(SPEED),
        ]
        options += ["--app-key", "${HOURS_APP_KEY}", "--pool", f"{POOL}=ours", "--pool", f"{OTHER_POOL}=theirs"]
        options += ["--executes-in-flight", str(IN_FLIGHT)]
        log = parts.enter_context((self._folder / "emulator.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", "connector.emulator", *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOURS_APP_KEY": self._key},
        )
        parts.callback(process.wait, _STOP_SECONDS)
        parts.callback(process.kill)
        wait_for(self._answers)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _answers(self) -> bool:
        try:
            return self._client.get(f"{self._url}/emulator/requests").is_success
        except httpx.TransportError:
            return False

    def executes(self) -> dict[int, dict[str, int]]:
        """Return the executes of each hour of the team's time, by their outcome."""
        answer = self._client.post(
            f"{self._url}/emulator/sql",
            content=f"SELECT floor(moment / {HOUR}), outcome, count(*) FROM _emulator.executes GROUP BY ALL",
        )
        assert answer.is_success, answer.text
        hours: dict[int, dict[str, int]] = {}
        for hour, outcome, count in answer.json()["rows"]:
            hours.setdefault(int(hour), {})[outcome] = count
        return hours

    def _connector(self, number: int) -> RunningConnector:
        folder = self._folder / f"connector-{number}"
        folder.mkdir()
        settings: dict[str, Any] = {
            "kafka": {
                "brokers": self._kafka.bootstrap,
                "group": f"hours-{self._run}",
                "dead_letter_topic": self._dead_letters,
                "properties": {"session.timeout.ms": 2500, "heartbeat.interval.ms": 400},
            },
            "celonis": {
                "team_url": self._url,
                "pool_id": POOL,
                "auth": {"app_key": "${HOURS_APP_KEY}"},
                "executes_in_flight": IN_FLIGHT,
            },
            "budget": {"mode": "ledger", "clock_speed": SPEED, "ledger": {"topic": self.ledger}},
            "defaults": {"format": "json", "flush": {"age": "500 ms"}},
            "tables": [{"topics": [topic], "target": f"T{n}"} for n, topic in enumerate(self.topics)],
            "spool": {"directory": str(folder / "spool")},
        }
        return RunningConnector(folder, settings, {"HOURS_APP_KEY": self._key})

    def _produce(self) -> None:
        """Let every partition of every topic grow, so that there is always work."""
        producer = Producer({"bootstrap.servers": self._kafka.bootstrap, "linger.ms": 20})
        number = 0
        while not self._stop.wait(_PRODUCE_SECONDS):
            number += 1
            for topic in self.topics:
                for partition in range(PARTITIONS):
                    producer.produce(topic, b'{"n":%d}' % number, partition=partition)
            producer.poll(0)
        producer.flush(_STOP_SECONDS)

    # --- others -----------------------------------------------------------------------------------------------

    def let_others_push(self, per_hour: float) -> None:
        """Let another client of the team execute so many jobs an hour, in another pool, from now on."""
        self._foreign = per_hour

    def _eat(self) -> None:
        chunk = self._folder / "foreign.parquet"
        pq.write_table(pa.table({"n": [1]}), chunk)
        with DataPushClient(self._url, OTHER_POOL, KeyAuth("AppKey", self._key)) as client:
            due = self.now()
            while not self._stop.wait(0.02):
                if not self._foreign or self.now() < due:
                    due = due if self._foreign else self.now()
                    continue
                due += HOUR / self._foreign
                job = client.create_job(JobSpec("FOREIGN"))
                client.add_upserts(job.id, chunk)
                try:
                    client.execute(job.id)
                except CelonisThrottled:
                    due = self.now() + HOUR / self._foreign  # it lives with it, too
