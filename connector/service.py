"""Owns one running connector: the object graph, the loop around `Pipeline.step`, and the way out.

Never decides anything about data. Invariant: whatever ends the loop, the consumer leaves its group, the threads stop
and the spool is released.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from connector.celonis.client import DataPushClient
from connector.celonis.pusher import JobPusher
from connector.celonis.schemas import remembered_schemas
from connector.core.budget import HourWindow
from connector.core.columns import TableSchema
from connector.core.flush import FlushPolicy
from connector.core.loads import Target
from connector.formats import effective_keys, make_decoder
from connector.kafka.dead_letters import DiscardedRejects, KafkaDeadLetters
from connector.kafka.registry import SchemaRegistry
from connector.kafka.source import KafkaSource
from connector.observe.health import Health
from connector.observe.metrics import Metrics
from connector.observe.server import ObserveServer
from connector.pipeline import Pipeline
from connector.ports import Now
from connector.routing import Routes
from connector.sink import TableSink
from connector.spool.chunks import build_chunks
from connector.spool.spool import DiskSpool

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from connector.config import Settings

log = structlog.get_logger()

SNAPSHOT_SECONDS = 1.0


def read_clocks() -> Now:
    """Return what both clocks say."""
    return Now(time.monotonic(), time.time())


class Service:
    """One connector, from its settings; a context manager, since it holds threads, sockets and a directory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._drain_timeout = settings.drain_timeout
        self._next_snapshot = 0.0
        self._resources = ExitStack()
        with ExitStack() as on_failure:
            on_failure.push(self._resources)
            self._build(settings)
            on_failure.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._resources.close()

    def _build(self, settings: Settings) -> None:
        keep = self._resources.callback
        self._metrics = Metrics()
        self._health = Health(time.monotonic)
        server = ObserveServer(settings.observe, self._health, self._metrics)
        keep(server.stop)
        server.start()
        self._spool = DiskSpool(settings.spool, settings.memory)
        keep(self._spool.close)
        client = DataPushClient.of(settings.celonis)
        keep(client.close)
        pusher = JobPusher(client, build_chunks, workers=settings.celonis.push_workers)
        keep(pusher.close, 5.0)
        self._sinks = _Sinks(settings, self._spool, remembered_schemas(client))
        routes = Routes(settings.tables)
        dead_letters = KafkaDeadLetters(settings.kafka) if settings.kafka.dead_letter_topic else DiscardedRejects()
        keep(dead_letters.flush, 5.0)
        ...
