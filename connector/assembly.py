"""Owns how the parts of a running pipeline are made from settings; a service and a replay are put together of them.

Never runs anything. Invariant: whatever holds threads, sockets or files is let go of with `parts`.
"""

from __future__ import annotations

import socket
import uuid
from typing import TYPE_CHECKING

from connector.celonis.client import DataPushClient
from connector.celonis.patience import Pace
from connector.celonis.pusher import JobPusher
from connector.celonis.schemas import PlatformTables
from connector.core.columns import TableSchema
from connector.core.entries import Entry, Kind
from connector.core.flush import FlushPolicy
from connector.core.intents import Origin, fingerprint
from connector.core.loads import Target
from connector.core.paced import PacedBudget
from connector.formats import effective_keys, make_decoder
from connector.isolation import Isolation
from connector.kafka.dead_letters import DiscardedRejects, KafkaDeadLetters
from connector.kafka.ledger import KafkaLedger
from connector.kafka.registry import SchemaRegistry
from connector.ledger import LedgerBudget
from connector.sink import TableSink
from connector.spool.chunks import build_chunks

if TYPE_CHECKING:
    from contextlib import ExitStack

    from connector.config import Settings
    from connector.core.hours import TeamClock
    from connector.kafka.identity import Identity
    from connector.ports import Budget, DeadLetters
    from connector.routing import Routes
    from connector.spool.spool import DiskSpool

_CLOSE_SECONDS = 5.0


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


def make_celonis(settings: Settings, parts: ExitStack) -> tuple[PlatformTables, JobPusher]:
    """Return who tells the columns of tables, and who pushes."""
    client = parts.enter_context(DataPushClient.of(settings.celonis))
    tables = PlatformTables(client, settings.celonis.connection_id)
    parts.callback(tables.close)
    pusher = _pusher(settings, client)
    parts.callback(pusher.close)
    return tables, pusher


def make_dead_letters(settings: Settings, parts: ExitStack) -> DeadLetters:
    """Return where rejects go."""
    made: DeadLetters = KafkaDeadLetters(settings.kafka) if settings.kafka.dead_letter_topic else DiscardedRejects()
    parts.callback(made.flush, _CLOSE_SECONDS)
    return made


def make_budget(settings: Settings, clock: TeamClock, parts: ExitStack) -> Budget:
    """Return the budget of this replica."""
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
