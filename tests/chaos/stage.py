"""Owns everything that takes part: broker, registry, proxy, emulator, producer and three connectors of one group.

Never judges. Invariant: everything is a process or a thread that ends with the `with` block.
"""

from __future__ import annotations

import os
import random
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connector.demo.running import RunningConnector
from tests.chaos.emulator import POOL, draw_faults
from tests.chaos.ground import Ground
from tests.chaos.proxy import CuttingProxy
from tests.chaos.workload import STREAMS
from tests.kafka_broker import SILENT, wait_for

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

CONNECTORS = 3
_SESSIONS: dict[str, dict[str, int]] = {
    "classic": {"session.timeout.ms": 4000, "heartbeat.interval.ms": 500},
    "consumer": {},  # the broker says so
}
_LOOK_SECONDS = 10.0


class Stage(Ground):
    """A context manager; `messages` go to each stream within `seconds`; `protocol` keeps the group."""

    def __init__(self, folder: Path, *, messages: int, seconds: float, seed: int, protocol: str) -> None:
        super().__init__(folder, f"chaos-{seed}")
        self.choose = random.Random(seed)
        self.exits: list[str] = []
        self.resting: set[RunningConnector] = set()  # stopped or stalled on purpose
        self._messages, self._seconds, self._seed, self._protocol = messages, seconds, seed, protocol

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self.lay(parts)
            self.start_emulator()
            self.proxy = parts.enter_context(CuttingProxy(self.emulator.port))
            self.connectors = [self._connector(n, self.registry.url) for n in range(CONNECTORS)]
            for connector in self.connectors:
                parts.enter_context(connector)
            self.produce(parts, messages=self._messages, seconds=self._seconds, seed=self._seed)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def _connector(self, number: int, registry: str) -> RunningConnector:
        folder = self.folder / f"connector-{number}"
        folder.mkdir()
        settings = {
            "kafka": {
                "brokers": self.broker.bootstrap,
                "group": self.group,
                "dead_letter_topic": self.dead_letters,
                "commit_interval": "1 s",
                "group_protocol": self._protocol,
                "properties": {**_SESSIONS[self._protocol], "client.id": client_id(number)},
            },
            "schema_registry": {"url": registry},
            "celonis": {
                "team_url": self.proxy.url,
                "pool_id": POOL,
                "auth": {"app_key": "${CHAOS_APP_KEY}"},
                "request_timeout": "3 s",
                "upload_timeout": "10 s",
            },
            "budget": {"clock_speed": 60},
            "defaults": {"flush": {"age": "1500 ms", "records": 20_000}},
            "tables": [{"topics": [self.topics[s.name]], "target": s.name, **s.table} for s in STREAMS],
            "spool": {"directory": str(folder / "spool")},
            "drain_timeout": "15 s",
        }
        return RunningConnector(folder, settings, {"CHAOS_APP_KEY": self.key})

    def start_emulator(self, *, faulty: bool = True) -> None:
        """Start the emulator with faults of its own, or without."""
        self.emulator.start(draw_faults(self.choose) if faulty else [])

    # --- looking, and what a supervisor does -------------------------------------------------------------------

    def supervise(self) -> None:
        """Start again what ended by itself, as an orchestrator does."""
        for number, connector in enumerate(self.connectors):
            if connector in self.resting:
                continue
            if (code := connector.exit_code) is not None:
                self.exits.append(f"connector {number}: exit {code}")
                connector.start()

    def until_requests(self, operation: str, more: int) -> None:
        """Wait until `more` requests of `operation` have come to the emulator, for some seconds at most."""
        goal = (self.emulator.requests() or {}).get(operation, 0) + more

        def reached() -> bool:
            return (self.emulator.requests() or {}).get(operation, 0) >= goal

        try:
            wait_for(reached, _LOOK_SECONDS)
        except AssertionError:
            self.supervise()  # nothing moves: the hour may be spent

    def has_evicted(self, number: int) -> bool:
        """Return whether the broker says that a connector is no member of the group.

        Each question has a client of its own: librdkafka 2.16 aborts the process when a broker goes away under one
        whose question was not answered in time.
        """
        settings: dict[str, Any] = {"bootstrap.servers": self.broker.bootstrap, "logger": SILENT}
        admin = AdminClient(settings)
        try:
            asked = admin.describe_consumer_groups([self.group], request_timeout=5)
            described = asked[self.group].result(10)
        except (KafkaException, TimeoutError):
            return False
        return client_id(number) not in {member.client_id for member in described.members}


def client_id(number: int) -> str:
    """Return the client id of a connector, by which the broker's view of the group names it."""
    return f"chaos-{number}"


def stall(connector: RunningConnector) -> None:
    """Let a connector stand still, with its connections open."""
    os.kill(connector.pid, signal.SIGSTOP)


def go_on(connector: RunningConnector) -> None:
    """Let it go on."""
    os.kill(connector.pid, signal.SIGCONT)
