"""Owns how long a start takes until the service is ready, and its end while it is idle, on a real broker.

Never counts a start that has records to push. Invariant: the broker lets a new group wait for more members as long as
brokers do by default; each kind of start is measured, and the slowest one counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from connector.demo.running import RunningConnector
from connector.emulator import Emulator, EmulatorSettings
from tests.kafka_broker import KafkaBroker, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

POOL = "11111111-2222-3333-4444-555555555555"
REBALANCE_MS = 3000  # group.initial.rebalance.delay.ms as brokers have it
READY_BAR, DRAIN_BAR = 5.0, 2.0  # seconds


class Start(NamedTuple):
    """Seconds from the start of a process until `/readyz` is 200, and from SIGTERM until its end, of one `kind`."""

    kind: str
    ready: float
    drain: float


class _Place:
    """A broker, an emulator and one topic of one partition."""

    def __init__(self, parts: ExitStack) -> None:
        self.folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="kafka-celonis-bench-")))
        (self.folder / "kafka").mkdir()
        delay = {"group.initial.rebalance.delay.ms": REBALANCE_MS}
        self.broker = parts.enter_context(KafkaBroker(self.folder / "kafka", delay))
        self.key, self.topic = uuid.uuid4().hex, self.broker.create_topic()
        settings = EmulatorSettings(
            directory=self.folder / "emulator", app_keys={self.key: [POOL]}, pools={POOL: "bench"}
        )
        self.emulator = parts.enter_context(Emulator(settings))

    def connector(self, group: str, ledger: str | None) -> RunningConnector:
        """Return a connector of `group`, in mode `ledger` where that names its topic."""
        folder = self.folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        settings: dict[str, Any] = {
            "kafka": {"brokers": self.broker.bootstrap, "group": group, "dead_letter_topic": None},
            "celonis": {"team_url": self.emulator.url, "pool_id": POOL, "auth": {"app_key": "${CELONIS_APP_KEY}"}},
            "budget": {"mode": "ledger", "ledger": {"topic": ledger}} if ledger else {"mode": "paced"},
            "tables": [{"topics": [self.topic], "target": "T", "format": "json", "flush": {"age": "1 s"}}],
            "spool": {"directory": str(folder / "spool")},
        }
        return RunningConnector(folder, settings, {"CELONIS_APP_KEY": self.key})


def starts() -> Iterator[Start]:
    """Yield one start of each kind."""
    with ExitStack() as parts:
        place = _Place(parts)
        yield _measured("paced, a new group", place.connector("paced", None))
        yield _measured("paced, a group there was", place.connector("paced", None))
        yield _measured("ledger, without its topic", place.connector("ledger", "ledger"))
        yield _measured("ledger, with its topic", place.connector("ledger", "ledger"))
        with place.connector("pushed", None) as first:
            first.wait_until_ready()
            yield _measured("nothing assigned", place.connector("pushed", None))
            place.broker.produce(place.topic, b'{"n":1}')
            wait_for(lambda: first.metrics().get("kafka_celonis_pushed_rows_total", 0) > 0, 60)
            yield _measured("nothing assigned, with the ledger", place.connector("pushed", "ledger"))
            began = time.monotonic()
            if first.stop():
                raise RuntimeError(first.log())
            yield Start("an empty buffer behind a push", 0.0, time.monotonic() - began)


def _measured(kind: str, connector: RunningConnector) -> Start:
    began = time.monotonic()
    with connector:
        connector.wait_until_ready()
        ready, began = time.monotonic() - began, time.monotonic()
        if connector.stop():
            raise RuntimeError(connector.log())
        return Start(kind, ready, time.monotonic() - began)


def slowest() -> tuple[float, float]:
    """Return the seconds of the slowest start and of the slowest end."""
    found = list(starts())
    return max(s.ready for s in found), max(s.drain for s in found)


def main() -> int:
    """Measure and print; return 1 where a bar is missed."""
    missed = 0
    for start in starts():
        missed += start.ready > READY_BAR or start.drain > DRAIN_BAR
        print(f"{start.kind:36} ready after {start.ready:.2f} s, ended within {start.drain:.2f} s", flush=True)
    print(f"the bars are {READY_BAR:g} s and {DRAIN_BAR:g} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
