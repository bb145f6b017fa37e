"""Owns a schedule: one seed, one world, one event after the other until faults cease and everything must finish.

Never knows how the connector works. Invariant: after the faults a bounded number of quiet rounds finishes everything,
or a law is broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.hours import Now
from connector.core.intents import Committed
from tests.property.simulation.platform import Broken
from tests.property.simulation.stage import Replica, Stage

if TYPE_CHECKING:
    from connector.core.offsets import TopicPartition

QUIET_ROUNDS = 150


class World(Stage):
    """The world of one seed, from the first event to the last law."""

    def run(self) -> None:
        """Run the whole schedule. Raises Broken."""
        self._write(8)
        for replica in self.replicas:
            self._start(replica)
        if self.nature.warm:
            self._gather()
        names, weights = list(self._events), list(self._events.values())
        for event in self.dice.choices(names, weights, k=self.nature.events):
            self.now += self.dice.random()
            event()
        self._calm()
        self._finish()
        self.judge.end(self.broker.offsets)

    def _gather(self) -> None:
        """Let everybody join before anything goes wrong."""
        self.quiet = True
        for replica in self.replicas * 4:
            if replica.process:
                replica.process.consumer.smooth = True
                self._step_of(replica)
                replica.process.consumer.smooth = False
        self.quiet = False

    def _calm(self) -> None:
        """Let faults cease: everybody lives, nothing is late, nobody moves without a need."""
        self.tells("--- quiet")
        self.quiet, self.broker.restless = True, False
        for replica in self.replicas:
            replica.frozen = False
            if replica.process:
                replica.process.source.reachable()
                self._smoothen(replica.process)
        self._bury()

    def _finish(self) -> None:
        """Go round until nothing is left to do."""
        for _ in range(QUIET_ROUNDS):
            self._settle_late()
            self._round()
            if self._at_rest():
                return
        raise Broken(f"nothing ends: {self._state()}")

    def _round(self) -> None:
        self.person.end_holds()
        for replica in self.replicas:
            if replica.process is None:
                self._start(replica)
            elif replica.process.halted:  # a person looks at it, and starts it again
                self._die(replica)
                self._bury()
                self._start(replica)
        now = Now(self.now, self.now)
        if any(r.process and r.process.source.assigned and not r.process.budget.left(now) for r in self.replicas):
            self._next_hour()
        for replica in self.replicas:
            self.now += 1.0
            self._step_of(replica)
            self._tasks_of(replica)
        while self.wire:
            self._take(self.wire[0])
        for _ in range(2):
            for job in self.platform.in_flight():
                self._move(job)

    def _tasks_of(self, replica: Replica) -> None:
        while replica.process and (tasks := replica.process.tasks()):
            self._go_on(replica, *tasks[0])

    def _settle_late(self) -> None:
        while self.late:
            self._late()

    def _at_rest(self) -> bool:
        ends = {tp: Committed(len(log)) for tp, log in self.broker.logs.items()}
        reached = all(
            self.broker.offsets.get(tp, Committed(0)) == end for tp, end in ends.items() if not self._excused(tp)
        )
        return (
            reached
            and all(self._excused(tp) for tp in self.person.waited_for)
            and not self.platform.in_flight()
            and not self.broker.rebalancing
            and not self._busy()
        )

    def _busy(self) -> bool:
        return any(lane.tasks for r in self.replicas if r.process for lane in r.process.lanes)

    def _excused(self, tp: TopicPartition) -> bool:
        return any(r.process and tp in r.process.pipeline.recovery.refused for r in self.replicas) and (
            tp in self.judge.excused
        )

    def _state(self) -> str:
        jobs = {job.id: str(job.status) for job in self.platform.jobs.values()}
        held = [r.process.pipeline.recovery.held for r in self.replicas if r.process]
        ends = {str(tp): len(log) for tp, log in self.broker.logs.items()}
        orders = {str(tp): order for tp, order in self.person.standing.items()}
        return f"committed {self.broker.offsets}, ends {ends}, jobs {jobs}, held {held}, orders {orders}"
