"""Owns how the parts of a running pipeline are made from settings; a service and a replay are put together of them.

Never runs anything. Invariant: whatever holds threads, sockets or files is let go of with `parts`.
"""

from __future__ import annotations

import gc
import socket
import uuid
from typing import TYPE_CHECKING

from connector.celonis.calls import UNCOUNTED
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
from connector.core.replays import rate_beside
from connector.errors import ConfigError
from connector.formats import effective_keys, make_decoder
from connector.isolation import Isolation
from connector.kafka.crowd import Lookout, crowd
from connector.kafka.dead_letters import DiscardedRejects, KafkaDeadLetters
from connector.kafka.ledger import KafkaLedger
from connector.kafka.registry import SchemaRegistry
from connector.ledger import LedgerBudget
from connector.sharing import LEAST_RATE, SLACK, SharedPace
from connector.sink import TableSink
from connector.spool.chunks import build_chunks

if TYPE_CHECKING:
    from contextlib import ExitStack

    from connector.celonis.calls import Calls
    from connector.celonis.preparing import BuildChunks
    from connector.config import Settings
    from connector.core.hours import TeamClock
    from connector.kafka.identity import Identity
    from connector.ports import Budget, DeadLetters
    from connector.routing import Routes
    from connector.spool.spool import DiskSpool

CLOSE_SECONDS = 5.0
_LOOK_SECONDS = 5.0  # of the team's clock, between two looks for who else pushes
_LEAST_LOOK_SECONDS = 0.5


class TableSinks:
    """Makes the tables of a configuration as their topics turn up, one for all topics that share it.

    `replay`: live tables go first; `replace`: each is one load, which takes the place of all that the table holds.
    """

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        spool: DiskSpool,
        tables: PlatformTables,
        *,
        replay: bool = False,
        replace: bool = False,
    ) -> None:
        self._routes, self._spool, self._tables = routes, spool, tables
        self._replay, self._replace = replay, replace
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
            target = Target(name, effective_keys(table), table.order_by, replace=self._replace)
            policy = FlushPolicy(table.flush.records, table.flush.bytes, table.flush.age)
            decoder = make_decoder(table, known, self._schemas)
            isolates = table.on_job_error == "isolate" and not self._replace  # half of a table must not replace it
            isolation = Isolation(table.job_error_pushes if isolates else 0)
            self._sinks[name] = TableSink(
                target,
                decoder,
                self._spool.buffer(target),
                policy,
                isolation,
                weight=table.weight,
                max_staleness=None if self._replay else table.max_staleness,
                replay=self._replay,
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


def calm_the_collector() -> None:
    """Let the garbage collector pass over what is here to stay, and look less often.

    A poll makes 10,000 message objects, each of which counts towards a collection, and none of which is ever in a
    cycle; with the defaults a fifth of the CPU goes into looking through the modules for garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def make_celonis(
    settings: Settings, parts: ExitStack, build: BuildChunks = build_chunks, calls: Calls = UNCOUNTED
) -> tuple[PlatformTables, JobPusher]:
    """Return who tells the columns of tables, and who pushes what `build` makes of a load."""
    client = parts.enter_context(DataPushClient.of(settings.celonis, calls))
    tables = PlatformTables(client, settings.celonis.connection_id, calls=calls)
    parts.callback(tables.close)
    pusher = _pusher(settings, client, build, calls)
    parts.callback(pusher.close)
    return tables, pusher


def make_dead_letters(settings: Settings, parts: ExitStack) -> DeadLetters:
    """Return where rejects go."""
    made: DeadLetters = KafkaDeadLetters(settings.kafka) if settings.kafka.dead_letter_topic else DiscardedRejects()
    parts.callback(made.flush, CLOSE_SECONDS)
    return made


def make_budget(settings: Settings, clock: TeamClock, parts: ExitStack) -> Budget:
    """Return the budget of this replica."""
    budget = settings.budget
    own = float(budget.pushes_per_hour)
    if budget.mode == "paced":
        return PacedBudget(own, clock, replay_share=budget.replay_share, low_water=budget.low_water)
    return _over_ledger(
        settings, settings.kafka.group, own, clock, parts, guest=False, replay_share=budget.replay_share
    )


def _over_ledger(
    settings: Settings,
    group: str,
    rate: float,
    clock: TeamClock,
    parts: ExitStack,
    *,
    guest: bool,
    replay_share: float,
) -> LedgerBudget:
    budget, celonis = settings.budget, settings.celonis
    ledger = KafkaLedger(settings.kafka, budget)
    parts.callback(ledger.close)
    me = Entry(
        Kind.ALIVE,
        group=group,
        replica=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        pool=celonis.pool_id.lower(),
        rate=rate,
        share=0.0,
        in_flight=celonis.executes_in_flight,
        replay_share=replay_share,
        guest=guest,
    )
    alone = PacedBudget(rate, clock, replay_share=1.0 if guest else replay_share, low_water=budget.low_water)
    made = LedgerBudget(ledger, me, clock, alone, low_water=budget.low_water)
    parts.callback(made.leave)
    return made


def make_replay_budget(settings: Settings, group: str, share: float, clock: TeamClock, parts: ExitStack) -> Budget:
    """Return the budget of a replay, whose own group is `group`: `share` of the service's pushes, behind live tables.

    Over a ledger it draws on what others bring in, and brings in its part itself only where nobody does. Paced it takes
    its part of what the service leaves of the team's pushes, since nobody could tell the service to take less.

    Raises:
        ConfigError: nothing is left for it.
    """
    budget, rate = settings.budget, replay_rate(settings, share)
    if budget.mode == "ledger":
        return _over_ledger(settings, group, rate, clock, parts, guest=True, replay_share=share)
    lookout = Lookout(settings.kafka, group, max(_LOOK_SECONDS / clock.speed, _LEAST_LOOK_SECONDS))
    parts.callback(lookout.close)
    return SharedPace(share * budget.pushes_per_hour, float(budget.pushes_per_hour), lookout, clock)


def make_single_budget(settings: Settings, group: str, share: float, clock: TeamClock, parts: ExitStack) -> Budget:
    """Return the budget of a single push of a replay that is in no group any more; raises ConfigError."""
    if settings.budget.mode == "ledger":
        return make_replay_budget(settings, group, share, clock, parts)
    return PacedBudget(replay_rate(settings, share), clock, replay_share=1.0, low_water=0, slack=SLACK)


def replay_rate(settings: Settings, share: float) -> float:
    """Return the most pushes in an hour that a replay with this `share` may count on now.

    Raises:
        ConfigError: there is not one.
        SourceError: Kafka does not tell whether a service runs.
    """
    budget = settings.budget
    wanted = share * budget.pushes_per_hour
    if wanted < LEAST_RATE:
        problem = f"budget.replay_share leaves replays {wanted:.2g} pushes an hour, and one is the least"
        raise ConfigError([f"{problem}: raise it, or give --budget-share"])
    if budget.mode == "ledger":
        return wanted
    seen = crowd(settings.kafka)
    rate = rate_beside(wanted, budget.pushes_per_hour, service=seen.service, replays=seen.replays)
    if rate < LEAST_RATE:
        problem = f"{rate:.2g} pushes an hour are left for this replay, and one is the least"
        way_out = "lower budget.pushes_per_hour by what replays may take, or set budget.mode: ledger"
        waiting = ", or wait until other replays have ended" if seen.replays else ""
        raise ConfigError([f"{problem}: {way_out}{waiting}"])
    return rate


def _pusher(settings: Settings, client: DataPushClient, build: BuildChunks, calls: Calls) -> JobPusher:
    celonis = settings.celonis
    return JobPusher(
        client,
        build,
        workers=celonis.push_workers,
        executing=celonis.executes_in_flight,
        connection_id=celonis.connection_id,
        job_timeout=celonis.job_timeout,
        pace=Pace().at(settings.budget.clock_speed),
        calls=calls,
    )
