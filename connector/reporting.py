"""Owns the look at a running service: what health, metrics and the log are told of how it stands, once a second.

Never changes anything of what it looks at. Invariant: the work is by the second, whatever the messages; what waits for
a person is named with the way out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from connector.core.watch import PATIENCE, Watch
from connector.kafka.shares import why_absent
from connector.kafka.starts import DATA_LOSS_HINT
from connector.ledger import LedgerBudget
from connector.observe.gauges import BudgetGauges, Gauges, IntentGauges, TableGauges
from connector.ports import Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connector.core.hours import Now
    from connector.core.intents import Committed
    from connector.core.offsets import TopicPartition
    from connector.core.watch import Stuck
    from connector.deadlines import Deadlines
    from connector.dependencies import Dependencies
    from connector.observe.health import Health
    from connector.observe.metrics import Metrics
    from connector.pipeline import Pipeline
    from connector.ports import Budget, Spool
    from connector.sink import TableSink

log = structlog.get_logger()

_LOOK_SECONDS, _SOON_SECONDS = 1.0, 0.2  # between two looks, and while somebody waits for it to be ready
_KINDS = {  # what is missing, as the gauge calls it
    "budget ledger": "ledger",
    "schema registry": "schema_registry",
    "Celonis": "celonis",
    "spool directory": "spool",
}
_UNKNOWN = {"topics": "not known yet which of them are there"}
STUCK_HINT = (
    "look for the partition's leader (kafka-topics.sh --describe) and for a transaction that hangs "
    "(kafka-transactions.sh find-hanging), or restart: it goes on from what is committed"
)


class Consumer(Source, Protocol):
    """A source that also tells how it stands with its group and its brokers."""

    @property
    def joined(self) -> bool:
        """Whether the group has taken us in."""
        ...

    @property
    def away(self) -> str | None:
        """Why no broker can be reached."""
        ...

    @property
    def forbidden(self) -> Mapping[str, str]:
        """The topics that we may not read, and the way out."""
        ...

    @property
    def absent(self) -> Sequence[str] | None:
        """The topics, and regular expressions, of which Kafka has none; None while that is not known."""
        ...

    @property
    def lost(self) -> Mapping[str, int]:
        """The messages of each topic that were gone before they were read."""
        ...


class Reporter:
    """Looks at one service, and tells `health`, `metrics` and the log.

    `mode` is how the budget is kept, of `pushes_per_hour` by all replicas together.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        source: Consumer,
        spool: Spool,
        budget: Budget,
        mode: str,
        pushes_per_hour: float,
        deadlines: Deadlines,
        dependencies: Dependencies,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._pipeline, self._source, self._spool, self._budget = pipeline, source, spool, budget
        self._mode, self._deadlines, self._health, self._metrics = mode, deadlines, health, metrics
        self._pushes_per_hour = pushes_per_hour
        self._known_jobs: dict[str, float] = {}  # those of open intents, and since when
        self._dependencies = dependencies
        self._watch = Watch()
        self._looked_at: float | None = None
        self._ready = False

    def look(self, now: Now, *, stopping: bool) -> None:
        """Tell how things stand; once a second, sooner until it is ready, and at any time while stopping."""
        elapsed = 0.0 if self._looked_at is None else now.mono - self._looked_at
        pause = _LOOK_SECONDS if self._ready else _SOON_SECONDS
        if self._looked_at is not None and elapsed < pause and not stopping:
            return
        self._looked_at = now.mono
        found = self._found(now, elapsed)
        self._watch_partitions(found, now)
        self._deadlines.judge(self._pipeline.pushes.times.service)
        absent = {topic: why_absent(topic) for topic in self._source.absent or ()}
        names = {f"topic {topic}": reason for topic, reason in absent.items() if not topic.startswith("^")}
        missing = self._missing(now, found.budget)
        self._health.tell(
            joined=self._source.joined,
            stopping=stopping,
            brokers_away=self._source.away,
            missing=missing,
            at_first=_UNKNOWN if self._source.absent is None else names,
            absent=absent,
            halted=tuple(s.table for s in self._pipeline.sinks.values() if s.halted),
            troubles=self._troubles(),
            budget={"mode": self._mode, **_told(found.budget)},
        )
        self._tell_ready()
        kinds = {kind for name, kind in _KINDS.items() if name in missing}
        kinds |= {kind for kind, gone in (("brokers", self._source.away), ("topics", names)) if gone}
        self._metrics.show(found._replace(stuck=self._watch.stuck.keys(), ready=self._ready, missing=kinds))

    def _missing(self, now: Now, budget: BudgetGauges) -> dict[str, str]:
        """Return what the service needs and has not, by its name, with the reason.

        Who paces alone needs no ledger: during an upgrade the ledger may be of another version for an hour.
        """
        return {
            **({"budget ledger": budget.trouble} if budget.trouble and not budget.alone else {}),
            **self._dependencies.missing(now.mono),
        }

    def _tell_ready(self) -> None:
        """Write down when it becomes ready and when it no longer is."""
        ready, details = self._health.ready()
        if ready and not self._ready:
            log.info("became ready")
        elif self._ready and not ready and not details["stopping"]:
            log.warning("is not ready any more", reasons=details["reasons"])
        self._ready = ready

    def _found(self, now: Now, elapsed: float) -> Gauges:
        lag, source = self._source.lag(), self._source
        return Gauges(
            tables=[_table_gauges(s, now.mono) for s in self._pipeline.sinks.values()],
            lag=lag,
            committed_lag=_committed_lag(lag, source.positions, source.committed),
            lost=source.lost,
            paused=self._pipeline.held_back(now),
            stuck=(),
            ready=False,
            missing=(),
            intents=self._intents(now.mono),
            budget=self._budget_gauges(now),
            spool_bytes=self._spool.used,
            memory_bytes=self._spool.memory,
            elapsed=elapsed,
        )

    def _intents(self, now: float) -> IntentGauges:
        """Count them; how old one is, is known from when it was first seen here."""
        found = self._pipeline.pushes.intents
        self._known_jobs = {job: self._known_jobs.get(job, now) for job in found}
        return IntentGauges(sum(found.values()), now - min(self._known_jobs.values(), default=now))

    def _watch_partitions(self, found: Gauges, now: Now) -> None:
        """Tell of partitions that should move and do not; while no broker answers, none of them could."""
        positions = self._source.positions
        changes = self._watch.look(positions, found.lag, positions if self._source.away else found.paused, now.mono)
        for tp, stuck in changes.stuck.items():
            log.warning("stuck partition", **tp._asdict(), **stuck._asdict(), seconds=PATIENCE, hint=STUCK_HINT)
        for tp in changes.healed:
            log.info("healed partition", **tp._asdict())

    def _budget_gauges(self, now: Now) -> BudgetGauges:
        budget = self._budget
        left, next_push = budget.left(now), max(0.0, budget.next_at(now) - now.mono)
        own = self._pushes_per_hour * self._source.share
        if isinstance(budget, LedgerBudget):
            alone = budget.alone(now)
            return BudgetGauges(left, next_push, own if alone else budget.known.rate, budget.trouble, alone)
        return BudgetGauges(left, next_push, own)

    def _troubles(self) -> dict[str, str]:
        """Return what waits for a person, by what it is, with the reason and the way out."""
        pipeline = self._pipeline
        return {
            **{f"partition {tp}": _stuck(found) for tp, found in self._watch.stuck.items()},
            **{f"table {s.table}": s.halted for s in pipeline.sinks.values() if s.halted},
            **{f"topic {topic}": reason for topic, reason in pipeline.unroutable.items()},
            **{f"topic {topic}": reason for topic, reason in self._source.forbidden.items()},
            **{f"partition {tp}": reason for tp, reason in pipeline.recovery.refused.items()},
            **{f"partition {tp}": f"{reason} ({DATA_LOSS_HINT})" for tp, reason in self._source.gone.items()},
        }


def _stuck(found: Stuck) -> str:
    return f"stuck at offset {found.position} with {found.lag} messages to read ({STUCK_HINT})"


def _told(budget: BudgetGauges) -> dict[str, object]:
    """Return the budget as `/status` shows it; JSON knows no infinity."""
    seconds = round(budget.next_push, 1) if budget.next_push < float("inf") else None
    return {
        "pushes_left": budget.pushes_left,
        "next_push_seconds": seconds,
        "alone": budget.alone,
        "ledger_trouble": budget.trouble,
    }


def _table_gauges(sink: TableSink, now: float) -> TableGauges:
    fill = sink.buffer.fill
    opened = [fill.opened_at] if fill.records else []
    in_flight = [sink.push.load.opened_at] if sink.push else []
    return TableGauges(
        sink.table,
        fill.records,
        fill.size,
        age=now - min(opened, default=now),
        staleness=now - min(opened + in_flight, default=now),
        waiting=sink.candidate(None).bid(now) + sink.bid(now),
        halted=sink.halted,
    )


def _committed_lag(
    lag: Mapping[TopicPartition, int],
    positions: Mapping[TopicPartition, int],
    committed: Mapping[TopicPartition, Committed],
) -> dict[TopicPartition, int]:
    """Return the messages between committed offset and end, where both are known."""
    return {tp: n + positions[tp] - committed[tp].offset for tp, n in lag.items() if tp in committed}
