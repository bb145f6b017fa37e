"""Owns one replica: the real pipeline, pusher and source of one process after the other, over simulated clients.

Never chooses what happens. Invariant: a process that died takes nothing along but what it has sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector.celonis.patience import Pace
from connector.celonis.pusher import JobPusher
from connector.core.budget import Grant
from connector.core.flush import FlushPolicy
from connector.core.hours import HOUR, Now, TeamClock
from connector.core.intents import Origin
from connector.core.loads import Target
from connector.core.paced import PacedBudget
from connector.pipeline import Pipeline
from connector.sink import TableSink
from tests.property.simulation.client import Lane, SimClient, Task
from tests.property.simulation.consumer import SimConsumer, SimSource
from tests.property.simulation.orders import SimOrders
from tests.property.simulation.platform import Broken
from tests.property.simulation.tables import SimBuffer, SimDeadLetters, SimDecoder, SimObserver, SimSpool

if TYPE_CHECKING:
    from connector.core.budget import Claim, Wait
    from tests.property.simulation.stage import Stage

FOREVER = 1e9


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of which a process is made; a mutant changes one of them."""

    pipeline: type[Pipeline] = Pipeline
    source: type[SimSource] = SimSource
    pusher: type[JobPusher] = JobPusher
    dead_letters: type[SimDeadLetters] = SimDeadLetters


class CountedBudget(PacedBudget):
    """The real budget, which counts what it grants."""

    def __init__(self, slot: float) -> None:
        super().__init__(HOUR / slot, TeamClock())
        self.seen: set[Grant] = set()

    def acquire(self, claim: Claim, now: Now) -> Grant | Wait:
        """Acquire, and count."""
        found = super().acquire(claim, now)
        if isinstance(found, Grant):
            self.seen.add(found)
        return found


class Process:
    """One life of a replica."""

    def __init__(self, world: Stage, parts: Parts) -> None:
        nature = world.nature
        self._world = world
        self.executes = 0
        self.lanes: list[Lane] = []
        self.spool = SimSpool()
        self.consumer = SimConsumer(world.broker, world.dice, world.wire, nature.kafka)
        self.source = parts.source(self.consumer)
        self.client = SimClient(world.platform, self.spool, world, self._executes, lambda: world.now)
        self.dead_letters = parts.dead_letters(world.dice, world.judge.dead_letters)
        self.pusher = parts.pusher(
            self.client,
            self.spool.build,
            workers=2,
            executing=nature.executing,
            job_timeout=0.0 if nature.hasty else FOREVER,
            pace=Pace(0.0, 0.0, 0.0, 0.0, give_back=FOREVER if nature.patient else 0.0, again=1.0, started=0.0),
            lanes=self._lane,
            clock=self.client.clock,
        )
        self.budget = CountedBudget(nature.slot)
        self.orders = SimOrders(world.person)
        self._sinks: dict[str, TableSink] = {}
        self.pipeline = parts.pipeline(
            source=self.source,
            sink_of=self._sink_of,
            origin_of=self._origin_of,
            spool=self.spool,
            pusher=self.pusher,
            dead_letters=self.dead_letters,
            orders=self.orders,
            observer=SimObserver(),
            budget=self.budget,
            executing=nature.executing,
            commit_interval=nature.commit_interval,
            delete_finished_jobs=nature.delete,
        )
        self.source.subscribe(sorted(world.table_of), self.pipeline)

    @property
    def halted(self) -> bool:
        return any(sink.halted for sink in self._sinks.values())

    def step(self, now: float) -> None:
        if not self.consumer.away:
            self.orders.look()
        self.pipeline.step(Now(now, now))

    def tasks(self) -> list[tuple[Lane, Task]]:
        """Return the tasks that are begun and worth going on with."""
        jobs = self._world.platform.jobs
        begun = [(lane, task) for lane in self.lanes for task in lane.tasks[: lane.count]]
        return [(lane, t) for lane, t in begun if not t.waits or _status(jobs.get(t.waits[0])) != t.waits[1]]

    def go_on(self, lane: Lane, task: Task) -> None:
        """Go on with a task. Raises Died."""
        if self.client.run(task):
            lane.tasks.remove(task)

    def _lane(self, count: int, name: str) -> Lane:
        self.lanes.append(Lane(count, name))
        return self.lanes[-1]

    def _executes(self, job_id: str) -> None:
        self.executes += 1
        if self.executes > len(self.budget.seen):
            granted = len(self.budget.seen)
            raise Broken(f"{job_id} is execute number {self.executes} of a process whose budget granted {granted}")

    def _sink_of(self, topic: str) -> TableSink:
        table = self._world.table_of[topic]
        if table not in self._sinks:
            target = Target(table, ("key",) if table in self._world.keyed else ())
            policy = FlushPolicy(self._world.nature.records, 1 << 30, 4.0)
            self._sinks[table] = TableSink(target, SimDecoder(), SimBuffer(target, self.spool), policy)
        return self._sinks[table]

    def _origin_of(self, topic: str) -> Origin:
        table = self._world.table_of[topic]
        return Origin("cluster", topic, table, keyed=table in self._world.keyed)


def _status(job: object) -> object:
    return getattr(job, "status", None)
