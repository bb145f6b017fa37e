"""Owns a small world for what looks at a connector from outside: embedded brokers, the emulator, a real process.

Never looks inside the connector. Invariant: it meets messages and answers of every kind that leaves a number behind,
but for lost messages, which embedded brokers cannot have.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from connector.demo.running import RunningConnector
from connector.emulator import Emulator, EmulatorSettings
from connector.kafka.embedded import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY, POOL = "a-key-for-tests", "11111111-2222-3333-4444-555555555555"
FAULTS = ("list:1-2:503", "create:1:504", "upload:1:503", "execute:2:504")
KEYED, APPENDED = "orders", "events"
_LONG = b"x" * 70_000
MESSAGES = {
    KEYED: (
        (b'{"id": "1"}', b'{"id": "1", "n": 1, "at": "1066-10-14"}'),
        (b'{"id": "2"}', b'{"id": "2", "n": 2, "text": "' + _LONG + b'"}'),
        (b'{"id": "3"}', b"no json"),
        (b'{"id": "4"}', None),
    ),
    APPENDED: ((None, b'{"n": 1}'), (None, None)),
}


@contextmanager
def running(folder: Path, *, key: str = KEY, faults: tuple[str, ...] = FAULTS) -> Iterator[RunningConnector]:
    """Yield a connector that has started to stream `MESSAGES`; with another `key` Celonis refuses it."""
    settings = EmulatorSettings(
        directory=folder / "emulator", app_keys={KEY: [POOL]}, pools={POOL: "test"}, clock_speed=60, faults=list(faults)
    )
    with EmbeddedCluster() as cluster, Emulator(settings) as emulator:
        for topic in (KEYED, APPENDED, "dead-letters"):
            cluster.create_topic(topic, 1)
        told = _settings(folder, cluster.bootstrap, emulator.url)
        with RunningConnector(folder, told, {"CELONIS_APP_KEY": key}) as connector:
            _produce(cluster.bootstrap)
            yield connector


def _settings(folder: Path, brokers: str, url: str) -> dict[str, Any]:
    return {
        "kafka": {
            "brokers": brokers,
            "group": "metrics",
            "dead_letter_topic": "dead-letters",
            "properties": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000},
        },
        "celonis": {"team_url": url, "pool_id": POOL, "auth": {"app_key": "${CELONIS_APP_KEY}"}},
        "budget": {"clock_speed": 60},
        "defaults": {"flush": {"age": "1 s"}},
        "tables": [
            {
                "topics": [KEYED],
                "target": "ORDERS",
                "format": "json",
                "keys": ["id"],
                "long_strings": "truncate",
                "columns": {"at": {"type": "DATE"}},
            },
            {"topics": [APPENDED], "target": "EVENTS", "format": "json"},
        ],
        "spool": {"directory": str(folder / "spool")},
    }


def _produce(brokers: str) -> None:
    producer = Producer({"bootstrap.servers": brokers})
    for topic, messages in MESSAGES.items():
        for key, value in messages:
            producer.produce(topic, value, key)
    assert producer.flush(30) == 0
