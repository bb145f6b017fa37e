"""Owns one running connector: the object graph, the loop around `Pipeline.step`, and the way out.

Never decides anything about data. Invariant: whatever ends the loop, the consumer leaves its group, the threads stop
and the spool is released.
"""

from __future__ import annotations

import gc
import socket
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from connector.celonis.client import DataPushClient
from connector.celonis.patience import Pace
from connector.celonis.pusher import JobPusher
from connector.celonis.schemas import PlatformTables
from connector.core.columns import TableSchema
from connector.core.entries import Entry, Kind
from connector.core.flush import FlushPolicy
from connector.core.hours import HOUR, Now, TeamClock
from connector.core.intents import Origin, fingerprint
from connector.core.loads import Target
from connector.core.paced import PacedBudget
from connector.deadlines import Deadlines
from connector.formats import effective_keys, make_decoder
from connector.isolation import Isolation
from connector.kafka.dead_letters import DiscardedRejects, KafkaDeadLetters
from connector.kafka.identity import Identity
from connector.kafka.ledger import KafkaLedger
from connector.kafka.registry import SchemaRegistry
from connector.kafka.source import KafkaSource
from connector.ledger import LedgerBudget
from connector.observe.health import Health
from connector.observe.metrics import Metrics
from connector.observe.server import ObserveServer
from connector.pipeline import Pipeline
from connector.reporting import Reporter
from connector.routing import Routes
from connector.sink import TableSink
from connector.spool.chunks import build_chunks
from connector.spool.spool import DiskSpool

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from connector.config import Settings
    from connector.ports import Budget, DeadLetters

log = structlog.get_logger()

_CLOSE_SECONDS = 5.0


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
        spool = DiskSpool(settings.spool, settings.memory)
        parts.callback(spool.close)
        tables, pusher = _celonis(settings, parts)
        dead_letters = _dead_letters(settings, parts)
        budget = _budget(settings, self._clock, parts)
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
            deadlines=_deadlines(settings, self._clock, routes),
            health=health,
            metrics=metrics,
        )
        source.subscribe(routes.topics, self._pipeline)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Stream until `stopping`, then drain within the deadline.

        Raises:
            ConnectorError: the service cannot go on.
        """
        _calm_the_collector()
        log.info("started", group=self._settings.kafka.group, tables=len(self._settings.tables), port=self.port)
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
        log.info("stopped", left=[s.table for s in self._pipeline.sinks.values() if not (s.empty or s.halted)])

    def _round(self, *, stopping: bool) -> None:
        now = self._read_clocks()
        self._pipeline.step(now)
        self._reporter.look(now, stopping=stopping)


def _calm_the_collector() -> None:
    """Let the garbage collector pass over what is here to stay, and look less often.

    A poll makes 10,000 message objects, each of which counts towards a collection, and none of which is ever in a
    cycle; with the defaults a fifth of the CPU goes into looking through the modules for garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class TableSinks:
    """Makes the tables of a configuration as their topics turn up, one for all topics that share it."""

    def __init__(self, settings: Settings, routes: Routes, spool: DiskSpool, tables: PlatformTables) -> None:
        self._routes, self._spool, self._tables = routes, spool, tables
        self._schemas = SchemaRegistry(settings.schema_registry) if settings.schema_registry else None
        self._sinks: dict[str, TableSink] = {}

    def of_topic(self, topic: str) -> TableSink:
        """Return the table of `topic`.

        Raises:
            ConfigError: no entry of the configuration takes it.
            TablesUnavailable: the platform has not told the table's columns yet.
        """
        table, name = self._routes.route(topic)
        if name not in self._sinks:
            known = self._tables.columns(name).joined((self._spool.remembered(name) or TableSchema()).columns)
            target = Target(name, effective_keys(table), table.order_by)
            policy = FlushPolicy(table.flush.records, table.flush.bytes, table.flush.age)
            decoder = make_decoder(table, known, self._schemas)
            isolation = Isolation(table.job_error_pushes if table.on_job_error == "isolate" else 0)
            self._sinks[name] = TableSink(
                target,
                decoder,
                self._spool.buffer(target),
                policy,
                isolation,
                weight=table.weight,
                max_staleness=table.max_staleness,
            )
        return self._sinks[name]


class Origins:
    """Tells what the intents of a topic are bound to; raises ConfigError where no table takes the topic."""

    def __init__(self, settings: Settings, routes: Routes, identity: Identity) -> None:
        self._celonis, self._routes, self._identity = settings.celonis, routes, identity

    def of_topic(self, topic: str) -> Origin:
        """Return the cluster, the topic's id, and what its jobs depend on in the configuration."""
        table, name = self._routes.route(topic)
        keys = effective_keys(table)
        celonis = self._celonis
        where = (celonis.team_url.rstrip("/"), celonis.pool_id.lower(), celonis.connection_id or "")
        config = fingerprint([*where, name, *keys])
        return Origin(self._identity.cluster(), self._identity.topic(topic), config, keyed=bool(keys))


def _serve(settings: Settings, health: Health, metrics: Metrics, parts: ExitStack) -> int:
    """Serve the probes and the metrics; return the port."""
    server = ObserveServer(settings.observe, health, metrics.registry)
    parts.callback(server.stop)
    server.start()
    return server.port


def _celonis(settings: Settings, parts: ExitStack) -> tuple[PlatformTables, JobPusher]:
    client = parts.enter_context(DataPushClient.of(settings.celonis))
    tables = PlatformTables(client, settings.celonis.connection_id)
    parts.callback(tables.close)
    pusher = _pusher(settings, client)
    parts.callback(pusher.close)
    return tables, pusher


def _dead_letters(settings: Settings, parts: ExitStack) -> DeadLetters:
    made: DeadLetters = KafkaDeadLetters(settings.kafka) if settings.kafka.dead_letter_topic else DiscardedRejects()
    parts.callback(made.flush, _CLOSE_SECONDS)
    return made


def _budget(settings: Settings, clock: TeamClock, parts: ExitStack) -> Budget:
    budget, celonis = settings.budget, settings.celonis
    own, low_water = float(budget.pushes_per_hour), budget.low_water
    paced = PacedBudget(own, clock, replay_share=budget.replay_share, low_water=low_water)
    if budget.mode == "paced":
        return paced
    ledger = KafkaLedger(settings.kafka, budget)
    parts.callback(ledger.close)
    me = Entry(
        Kind.ALIVE,
        group=settings.kafka.group,
        replica=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        pool=celonis.pool_id.lower(),
        rate=own,
        share=0.0,
        in_flight=celonis.executes_in_flight,
        replay_share=budget.replay_share,
    )
    return LedgerBudget(ledger, me, clock, paced, low_water=low_water)


def _pusher(settings: Settings, client: DataPushClient) -> JobPusher:
    celonis = settings.celonis
    return JobPusher(
        client,
        build_chunks,
        workers=celonis.push_workers,
        executing=celonis.executes_in_flight,
        connection_id=celonis.connection_id,
        job_timeout=celonis.job_timeout,
        pace=Pace().at(settings.budget.clock_speed),
    )


def _deadlines(settings: Settings, clock: TeamClock, routes: Routes) -> Deadlines:
    slot = clock.seconds(HOUR / settings.budget.pushes_per_hour)
    return Deadlines(routes, slot=slot, executing=settings.celonis.executes_in_flight)
