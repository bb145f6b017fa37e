"""Owns one running connector: the object graph, the loop around `Pipeline.step`, and the way out.

Never decides anything about data. Invariant: whatever ends the loop, the consumer leaves its group, the threads stop
and the spool is released.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from connector.assembly import Origins, TableSinks, calm_the_collector, make_budget, make_celonis, make_dead_letters
from connector.core.hours import HOUR, Now, TeamClock
from connector.deadlines import Deadlines
from connector.dependencies import Dependencies
from connector.kafka.identity import Identity
from connector.kafka.orders import OrderDesk
from connector.kafka.source import KafkaSource
from connector.observe.health import Health
from connector.observe.lingering import Lingering
from connector.observe.metrics import Metrics
from connector.observe.server import ObserveServer
from connector.pipeline import Pipeline
from connector.reporting import Reporter
from connector.routing import Routes
from connector.spool.spool import DiskSpool

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from connector.config import Settings

log = structlog.get_logger()


class Service:
    """One connector, from its settings; a context manager, since it holds threads, sockets and a directory.

    Raises:
        ConfigError: the spool directory or the port cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = TeamClock(settings.budget.clock_speed)
        with ExitStack() as parts:
            self._build(settings, parts)
            self._parts = parts.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def _build(self, settings: Settings, parts: ExitStack) -> None:
        """Make the parts, those that others need first; they are closed the other way round."""
        metrics, health = Metrics(), Health(time.monotonic)
        self.port = _serve(settings, health, metrics, parts)
        self._lingering = Lingering(health, metrics)
        parts.callback(self._lingering.close)  # behind all but the port
        metrics.limited(settings.spool.bytes)
        spool = DiskSpool(settings.spool, settings.memory)
        parts.callback(spool.close)
        tables, pusher = make_celonis(settings, parts, calls=metrics)
        dead_letters = make_dead_letters(settings, parts)
        budget = make_budget(settings, self._clock, parts)
        orders = OrderDesk(settings.kafka)
        parts.callback(orders.close)
        source = KafkaSource(settings.kafka)
        parts.callback(source.close)
        routes = Routes(settings.tables)
        self._pipeline = Pipeline(
            source=source,
            origin_of=Origins(settings, routes, Identity(settings.kafka)).of_topic,
            sink_of=TableSinks(settings, routes, spool, tables).of_topic,
            spool=spool,
            pusher=pusher,
            dead_letters=dead_letters,
            orders=orders,
            observer=metrics,
            budget=budget,
            executing=settings.celonis.executes_in_flight,
            workers=settings.celonis.push_workers,
            commit_interval=settings.kafka.commit_interval,
            delete_finished_jobs=settings.celonis.finished_jobs == "delete",
        )
        self._reporter = Reporter(
            pipeline=self._pipeline,
            source=source,
            spool=spool,
            budget=budget,
            mode=settings.budget.mode,
            pushes_per_hour=settings.budget.pushes_per_hour,
            deadlines=_deadlines(settings, self._clock, routes),
            dependencies=Dependencies.of(settings),
            health=health,
            metrics=metrics,
        )
        source.subscribe(routes.topics, self._pipeline)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Stream until `stopping`, then drain within the deadline.

        Raises:
            ConnectorError: the service cannot go on.
        """
        calm_the_collector()
        log.info("started", group=self._settings.kafka.group, tables=len(self._settings.tables), port=self.port)
        with self._lingering.watching(stopping):
            while not stopping():
                self._round(stopping=False)
            self._drain()

    def _read_clocks(self) -> Now:
        return Now(time.monotonic(), self._clock.of(time.time()))

    def _drain(self) -> None:
        self._pipeline.drain()
        deadline = time.monotonic() + self._settings.drain_timeout
        log.info("draining", seconds=self._settings.drain_timeout)
        self._round(stopping=True)
        while not self._pipeline.drained(self._read_clocks(), deadline) and time.monotonic() < deadline:
            self._round(stopping=True)
        log.info("stopped", left=[s.table for s in self._pipeline.sinks.values() if not s.at_rest])

    def _round(self, *, stopping: bool) -> None:
        now = self._read_clocks()
        self._pipeline.step(now)
        self._reporter.look(now, stopping=stopping)


def _serve(settings: Settings, health: Health, metrics: Metrics, parts: ExitStack) -> int:
    """Serve the probes and the metrics; return the port."""
    server = ObserveServer(settings.observe, health, metrics.registry)
    parts.callback(server.stop)
    server.start()
    return server.port


def _deadlines(settings: Settings, clock: TeamClock, routes: Routes) -> Deadlines:
    slot = clock.seconds(HOUR / settings.budget.pushes_per_hour)
    return Deadlines(routes, slot=slot, executing=settings.celonis.executes_in_flight)
