"""Owns what `kafka-celonis plan` knows: each table's rate and record size, given or measured, and the plan for them.

Never changes anything at Kafka or Celonis, and asks Kafka only for topics without a given rate. Invariant: every topic
of the configuration is counted in exactly one table, or named with what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from connector.config_tables import TOPIC_IN_TARGET
from connector.core.advice import Finding, findings
from connector.core.capacity import Demand, Limits, plan
from connector.core.flush import FlushPolicy
from connector.core.names import safe_name
from connector.errors import ConfigError
from connector.routing import Routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connector.config import Settings, Table
    from connector.core.capacity import Plan

PARQUET_RATIO = {"json": 0.2, "avro": 0.5}
"""Bytes of a row in Parquet, as a part of the message's value. Measured with this product's decoders and files on the
demo's data and on flat events of ten fields: 0.15 to 0.23 (JSON), 0.43 to 0.56 (Avro)."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the plan is told: `rates` in records per second by topic or table, and `record_bytes` where none are seen.

    `window` and `service` are seconds; `parquet_ratio` stands for PARQUET_RATIO.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    record_bytes: float = 200.0
    window: float = 3600.0
    service: float = 5.0
    parquet_ratio: float | None = None


class Outlook(NamedTuple):
    """The plan, what is to be said of it, and how many topics were measured."""

    plan: Plan
    findings: list[Finding]
    measured: int


def outlook(settings: Settings, assumed: Assumptions) -> Outlook:
    """Return the plan for the tables of `settings`.

    Raises:
        ConfigError: a given rate names no topic or table of `settings`.
        SourceError: rates must be measured, and no broker answers.
    """
    traffic = _Traffic(settings, assumed)
    measured = traffic.measure()
    found = plan(list(traffic.demands()), _limits(settings, assumed))
    troubles = sorted({*traffic.troubles}, key=lambda f: f.text)
    return Outlook(found, sorted([*troubles, *findings(found)], key=lambda f: f.met), measured)


def _limits(settings: Settings, assumed: Assumptions) -> Limits:
    return Limits(
        pushes_per_hour=settings.budget.pushes_per_hour,
        chunk_bytes=settings.spool.chunk_bytes,
        spool_bytes=settings.spool.bytes,
        service=assumed.service,
        in_flight=settings.celonis.executes_in_flight,
        loads=settings.celonis.push_workers,
    )


@dataclass(slots=True)
class _Flow:
    """What comes into one table: records per second, and bytes of values per second."""

    table: Table
    rate: float = 0.0
    bytes: float = 0.0


class _Traffic:
    """The flow of every table. `troubles` are topics that cannot be counted."""

    def __init__(self, settings: Settings, assumed: Assumptions) -> None:
        self._settings, self._assumed = settings, assumed
        self._routes = Routes(settings.tables)
        self._flows: dict[str, _Flow] = {}
        self._given: dict[str, float] = {}  # by the name of a table
        self._answered: set[str] = set()  # topics with a given rate
        self.troubles: list[Finding] = []
        for table, name in self._known():
            self._flows.setdefault(name, _Flow(table))
        for name, rate in assumed.rates.items():
            self._take(name, rate)

    def _known(self) -> Iterator[tuple[Table, str]]:
        """Yield the tables that are there whatever topics turn up."""
        for table in self._settings.tables:
            yield from (self._routes.route(topic) for topic in table.topics if not topic.startswith("^"))
            if TOPIC_IN_TARGET not in table.target:
                yield table, safe_name(table.target)

    def _take(self, name: str, rate: float) -> None:
        """Count a given rate: that of a topic named so, else of a table, else of a topic that an expression takes."""
        tables = {known.lower(): known for known in self._flows}
        if name not in self._routes.topics and name.lower() in tables:
            self._given[tables[name.lower()]] = rate
            return
        try:
            self._count(name, rate, None)
        except ConfigError:
            problem = f"{name}: no topic or table of the configuration has this name"
            raise ConfigError([problem], source="--rate") from None
        self._answered.add(name)

    def _count(self, topic: str, rate: float, message_bytes: float | None) -> None:
        table, name = self._routes.route(topic)
        flow = self._flows.setdefault(name, _Flow(table))
        flow.rate += rate
        flow.bytes += rate * (self._assumed.record_bytes if message_bytes is None else message_bytes)

    def measure(self) -> int:
        """Ask Kafka for what is not given; return how many topics answered."""
        wanted = [topic for topic in self._routes.topics if not self._is_given(topic)]
        if not wanted:
            return 0
        from connector.kafka.rates import measure  # noqa: PLC0415 - given rates need no Kafka client

        rates, troubles = measure(self._settings.kafka, wanted, self._assumed.window)
        self.troubles += [Finding(False, str(e.args[0]), e.hint) for e in troubles.values()]
        fresh = [r for r in rates if r.topic not in self._answered]
        for topic, rate, message_bytes in fresh:
            try:
                self._count(topic, rate, message_bytes)
            except ConfigError as e:  # its table is filled by another entry
                self.troubles.append(Finding(False, e.problems[0]))
        return len(fresh)

    def _is_given(self, topic: str) -> bool:
        """Return whether nothing is to be asked about a topic, or about an expression one of whose topics is given."""
        entry = next(t for t in self._settings.tables if topic in t.topics)
        names = {name for name, flow in self._flows.items() if flow.table is entry}
        if not topic.startswith("^"):
            return topic in self._answered or self._routes.route(topic)[1] in self._given
        taken = [a for a in self._answered if self._routes.route(a)[0] is entry]
        return any(a not in entry.topics for a in taken) or bool(names & self._given.keys())

    def demands(self) -> Iterator[Demand]:
        """Yield what each table asks for, in the order of the configuration."""
        for name, flow in self._flows.items():
            rate = self._given.get(name, flow.rate)
            message_bytes = flow.bytes / flow.rate if flow.rate else self._assumed.record_bytes
            ratio = self._assumed.parquet_ratio or PARQUET_RATIO[flow.table.format]
            flush = flow.table.flush
            yield Demand(
                table=name,
                rate=rate,
                record_bytes=max(1.0, message_bytes * ratio),
                policy=FlushPolicy(flush.records, flush.bytes, flush.age),
                weight=flow.table.weight,
                max_staleness=flow.table.max_staleness,
                copies=2 if flow.table.keys else 1,  # the last record of a key is chosen in a second copy
            )
