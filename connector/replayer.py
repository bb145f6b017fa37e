"""Owns the steps of each way of a replay.

Never decides what may be replayed, and never shows anything. Invariant: the steps are in an order in which a death
between any two of them loses nothing: the same command goes on.

    rewind      order → the service has followed it
    beside,into plan kept → pushed → forgotten
    replace     hold → plan kept → pushed in one job → told to go on behind it → forgotten

As long as no plan is kept, whatever fails lets go of the table. From then on a replace never does, since its job may
have been executed, unless the table has grown before. Once the service is told to go on, nothing is pushed and nobody
is held. Where rows are appended, the plan of what is over stays, since to do that again would double them: a person
abandons it, or Kafka forgets it in time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from connector.assembly import make_replay_budget, make_single_budget
from connector.config_tables import Flush
from connector.core.bounds import Kind
from connector.core.replays import Way
from connector.emptying import empty
from connector.errors import ConnectorError, SourceError
from connector.handover import PATIENCE, Handover, Interrupted
from connector.kafka import kept
from connector.kafka.alone import replay_settings, wait_until_alone
from connector.kafka.bounded import BoundedSource, WholeSource
from connector.kafka.dead_letter_source import DeadLetterSource
from connector.kafka.group import committed_offsets
from connector.replay import Progress, Replay
from connector.replaying import group_of_replay, load_of, share_of, takes
from connector.routing import Routes
from connector.wholeness import Grown, offset_of, refuse_grown, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from contextlib import ExitStack

    from connector.config import Kafka, Settings
    from connector.core.bounds import Range
    from connector.core.hours import TeamClock
    from connector.core.intents import Committed
    from connector.core.offsets import TopicPartition
    from connector.ports import Budget
    from connector.replaying import Outline, Part

log = structlog.get_logger()

_NEVER = 10**12  # records, seconds: never reached
_KEEP_SECONDS = 3600.0  # often enough for what brokers forget in a week
_STANDS = "`kafka-celonis replay TABLE --abandon` takes it back"
_HELD = "the table is held until then; `kafka-celonis replay TABLE --abandon` lets it go"


class Replayer:
    """Runs what an outline says; `stopping` ends it early, `show` is told how far it is.

    The service has `patience` seconds to follow an order. `ranges` are what is read: those of a table that is built
    anew are only known once that stands still.
    """

    def __init__(
        self,
        settings: Settings,
        found: Outline,
        stopping: Callable[[], bool],
        show: Callable[[Progress], None],
        patience: float = PATIENCE,
    ) -> None:
        self._settings, self._found, self._stopping, self._show = settings, found, stopping, show
        self._derived = derived(settings, found)
        self._group = self._derived.kafka.group
        self._handover = Handover(settings.kafka, found.name, stopping, patience)
        self._keep_at = _KEEP_SECONDS
        self.ranges = found.ranges

    def run(self) -> Progress | None:
        """Run to the end; None where it was stopped before, and goes on with the same command.

        Raises:
            ConnectorError: it cannot go on; the hint is the next step.
        """
        try:
            match self._found.request.way:
                case Way.REWIND:
                    return self._rewind()
                case Way.REPLACE:
                    return self._replace()
                case _:
                    return self._add()
        except Interrupted as e:
            log.warning("interrupted", reason=str(e))
            return None

    # --- rewind, beside, into ---------------------------------------------------------------------------------

    def _rewind(self) -> Progress:
        starts = {tp: r.start for tp, r in self.ranges.items()}
        followed = self._handover.rewind(starts)
        if not followed:
            log.warning("no service runs: the order stands, and is followed at the next start", hint=_STANDS)
        return Progress(sum(r.messages for r in self.ranges.values()), awaited=not followed)

    def _add(self) -> Progress | None:
        self._keep()
        done = self._push(self.ranges)
        if done is not None and not any(part.entry.append for part in self._found.parts):
            self._forget()
        return done

    # --- replace ----------------------------------------------------------------------------------------------

    def _replace(self) -> Progress | None:
        resumed = self._found.resumed
        if resumed and (going := self._handover.resuming(self.ranges)):
            spared = [p for p in self._found.parts if going.isdisjoint(self._partitions([p]))]
            return self._go_on(self._done_before(), spared)
        if not resumed:
            self._begin_anew()
        try:
            self._handover.hold(self.ranges)  # whoever has let go of it meanwhile
            done = self._replace_held()
        except Grown:
            self._let_go()
            raise
        except ConnectorError:
            log.warning("held table", hint=_HELD)
            raise
        if done is not None:
            self._refuse_grown(self._topics)  # while the rows were swapped
        return done

    def _begin_anew(self) -> None:
        """Hold the table, and keep the plan of it; if that fails, let go of it, unless another process has begun."""
        asked = self._found.ranges
        try:
            self.ranges = whole(self._settings, self._found, self._handover.hold(asked))
            self._refuse_empty(part for part in self._found.parts if not self._messages(part))
            self._keep()
        except ConnectorError:
            if kept.kept(self._settings.kafka, self._group) is None:
                self._handover.release(asked)
            raise

    def _replace_held(self) -> Progress | None:
        done = self._push(self._unpushed())
        if done is None:
            log.warning("held table", hint=_HELD)
            return None
        committed = committed_offsets(self._derived.kafka, self._topics)
        empties = [part for part in self._found.parts if not self._is_over(part, committed)]
        if self._found.request.allow_empty:
            for part in empties:
                self._refuse_grown(part.topics)
                empty(self._derived, part.entry, part.target, self._budget(make_single_budget), self._stopping)
            empties = []
        if empties:
            self._handover.release(self._partitions(empties))
        return self._go_on(done, empties)

    def _unpushed(self) -> Mapping[TopicPartition, Range]:
        """Return what is to be read: a table whose job an earlier run has ended must not be replaced by what is left.

        Its partitions of which no row came stay uncommitted, and are no reason to read it again.
        """
        committed = committed_offsets(self._derived.kafka, self._topics)
        over = [part for part in self._found.parts if self._is_over(part, committed)]
        return {tp: r for tp, r in self.ranges.items() if tp not in self._partitions(over)}

    def _is_over(self, part: Part, committed: Mapping[TopicPartition, Committed]) -> bool:
        """Whether the job of a table has ended: no other end is committed of what it is replaced by."""
        partitions = [tp for tp in self._partitions([part]) if self.ranges[tp].messages]
        found = [committed[tp] for tp in partitions if tp in committed]
        if any(c.metadata for c in found):
            return False
        return any(offset_of(committed, tp) >= self.ranges[tp].end for tp in partitions)

    def _go_on(self, done: Progress, spared: Collection[Part]) -> Progress:
        """Let the service go on behind what was pushed; the tables `spared` were let go, since no row came of them."""
        ends = {tp: r.end for tp, r in self.ranges.items() if tp not in self._partitions(spared)}
        done.awaited = not self._handover.resume(ends)
        if done.awaited:
            log.warning("no service runs: it goes on behind the range at its next start")
        self._forget()
        self._refuse_empty(spared)
        return done

    def _refuse_grown(self, topics: Collection[str]) -> None:
        refuse_grown(self._settings, self._found, self.ranges, topics)

    def _let_go(self) -> None:
        """End what was begun, of tables that have grown since: a job that was executed stays, and nothing is held."""
        committed = committed_offsets(self._derived.kafka, self._topics)
        if any(c.metadata for tp, c in committed.items() if tp in self.ranges):
            log.warning("held table", hint=_HELD)  # a job may be under way: the same command ends it first
            return
        over = [part for part in self._found.parts if self._is_over(part, committed)]
        self._handover.release([tp for tp in self.ranges if tp not in self._partitions(over)])
        if over:
            self._handover.resume({tp: self.ranges[tp].end for tp in self._partitions(over)})
        self._forget()

    def _refuse_empty(self, parts: Iterable[Part]) -> None:
        """Refuse to leave tables without rows, unless that is allowed."""
        names = ", ".join(part.target for part in parts)
        if names and not self._found.request.allow_empty:
            problem = f"no row comes of the range, so {names} would be empty: left as before"
            raise ConnectorError(problem, hint="if it should be empty, --allow-empty")

    def _messages(self, part: Part) -> int:
        return sum(self.ranges[tp].messages for tp in self._partitions([part]))

    # --- what the ways share ----------------------------------------------------------------------------------

    def _partitions(self, parts: Collection[Part]) -> list[TopicPartition]:
        topics = {topic for part in parts for topic in part.topics}
        return [tp for tp in self.ranges if tp.topic in topics]

    @property
    def _topics(self) -> list[str]:
        return sorted({tp.topic for tp in self._found.ranges})

    @property
    def _plan(self) -> kept.Plan:
        return kept.Plan(self._found.name, self.ranges)

    def _keep(self) -> None:
        """Keep the plan of what begins here; who has begun it at the same moment goes first."""
        if self._found.resumed:
            return
        wait_until_alone(self._derived.kafka)
        if kept.kept(self._settings.kafka, self._group) is not None:
            hint = "give the same command again: it goes on, or tells who is at it"
            raise SourceError("another process has begun this replay in the meantime", hint=hint)
        kept.begin(self._settings.kafka, self._group, self._plan)

    def _forget(self) -> None:
        kept.forget(self._settings.kafka, self._group)

    def _budget(
        self, make: Callable[[Settings, str, float, TeamClock, ExitStack], Budget]
    ) -> Callable[[TeamClock, ExitStack], Budget]:
        return partial(make, self._settings, self._group, share_of(self._settings, self._found.request))

    def _push(self, ranges: Mapping[TopicPartition, Range]) -> Progress | None:
        wait_until_alone(self._derived.kafka)
        if not ranges:
            return self._done_before()
        replace = self._found.request.way is Way.REPLACE
        budget = self._budget(make_replay_budget)
        with Replay(self._derived, ranges, budget, replace=replace, source=self._source) as replay:
            ended = replay.run(self._stopping, self._shown)
        return replay.progress if ended else None

    def _done_before(self) -> Progress:
        """Return what earlier runs did, where they left nothing to be read."""
        messages = sum(r.messages for r in self.ranges.values())
        return Progress(messages, read=messages, before=messages)

    def _source(self, kafka: Kafka, ranges: Mapping[TopicPartition, Range]) -> BoundedSource:
        earliest = self._found.start.kind is Kind.EARLIEST
        match self._found.request.way:
            case Way.LETTERS:
                routes, table = Routes(self._settings.tables), self._found.parts[0].table.lower()
                return DeadLetterSource(
                    kafka, ranges, lambda topic: takes(routes, topic, {table}), from_earliest=earliest
                )
            case Way.REPLACE:
                return WholeSource(kafka, ranges, from_earliest=earliest, look=self._refuse_grown)
        return BoundedSource(kafka, ranges, from_earliest=earliest)

    def _shown(self, progress: Progress) -> None:
        self._show(progress)
        if progress.seconds < self._keep_at:
            return
        self._keep_at = progress.seconds + _KEEP_SECONDS
        try:
            kept.keep(self._settings.kafka, self._group, self._plan)
        except SourceError as e:  # what was kept stands for days
            log.warning("could not keep the plan again", error=str(e))


def derived(settings: Settings, found: Outline) -> Settings:
    """Return the settings of the replay: its own group and directory, its tables, and loads that are closed by size."""
    whole = found.request.way is Way.REPLACE
    rows, size = (_NEVER, _NEVER * 1000) if whole else load_of(settings)
    flush = Flush.model_construct(records=rows, bytes=size, age=float(_NEVER))
    tables = [
        p.entry.model_copy(update={"topics": list(p.topics), "target": p.target, "flush": flush}) for p in found.parts
    ]
    kafka = replay_settings(settings.kafka, group_of_replay(settings.kafka.group, found.name))
    spool = settings.spool.model_copy(update={"directory": settings.spool.directory / f"replay-{found.name}"})
    return settings.model_copy(update={"kafka": kafka, "tables": tables, "spool": spool})
