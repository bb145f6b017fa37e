"""Owns what can happen: every event of the world, faults included, each of which moves one thing.

Never chooses the next event. Invariant: every choice comes from the seed's dice, and none depends on the order of a
set, so that a seed is a schedule.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from connector.celonis.outcomes import Operation
from connector.core.jobs import Status
from connector.core.offsets import TopicPartition
from connector.errors import ConnectorError
from tests.property.simulation.broker import Broker
from tests.property.simulation.client import Died, Fault
from tests.property.simulation.consumer import Request, sendable
from tests.property.simulation.laws import Judge
from tests.property.simulation.nature import Nature
from tests.property.simulation.orders import Person
from tests.property.simulation.platform import IN_FLIGHT, Broken, Platform, Refusal
from tests.property.simulation.replica import Parts, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connector.core.intents import Committed
    from tests.property.simulation.platform import SimJob

LONG = 30.0  # more than any wait but that for the hour

_ALWAYS = (Fault.UNCONNECTED, Fault.LOST, Fault.UNANSWERED, Fault.NOT_NOW, Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
_FAULTS: Mapping[Operation, tuple[Fault, ...]] = {
    Operation.CREATE: (*_ALWAYS, Fault.TWICE),
    Operation.GET: _ALWAYS,
    Operation.UPLOAD: (*_ALWAYS, Fault.LATE, Fault.TWICE),
    Operation.CHUNKS: _ALWAYS,
    Operation.EXECUTE: (*_ALWAYS, *_ALWAYS, *[Fault.LATE, Fault.ECHO] * 3, Fault.TWICE, Fault.EXHAUSTED, Fault.BUSY),
    Operation.DELETE: (*_ALWAYS, Fault.LATE, Fault.TWICE, Fault.ECHO),
}


class Replica:
    """A place for one process after the other."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.frozen = False


class Stage:
    """The parts of one seed's world, and its events. `trace` collects what happens where it is wanted."""

    def __init__(self, seed: int, parts: Parts | None = None, trace: list[str] | None = None) -> None:
        self.dice = Random(seed)
        self.trace = trace
        self.now = 36_000.0
        self.parts = parts or Parts()
        self.nature = nature = Nature.of(self.dice)
        self.quiet = False
        self.table_of = {"a": "t", "b": "t"} if nature.shared else {"a": "ta", "b": "tb"}
        self.keyed = frozenset({"tb"})
        self.platform = Platform()
        self.judge = Judge(self.platform, self.table_of, self.keyed & set(self.table_of.values()))
        partitions = [TopicPartition(topic, n) for topic in ("a", "b") for n in range(nature.partitions)]
        self.broker = Broker(partitions, self.dice, self, eager=nature.eager)
        keyed = {tp for tp in partitions if self.table_of[tp.topic] in self.keyed}
        self.person = Person(Random(f"orders {seed}"), partitions, keyed)
        self.judge.logs, self.judge.orders = self.broker.logs, self.person.standing
        self.wire: list[Request] = []
        self.late: list[tuple[str, Callable[[], object]]] = []
        self.replicas = [Replica() for _ in range(nature.replicas)]
        self._serial = 0
        self._events = self._weighted()

    def _weighted(self) -> dict[Callable[[], None], float]:
        nature, n = self.nature, self.nature.replicas
        return {
            self._work: 0.9,
            self._late: 0.03,
            self._more: 0.04,
            self._pass: 0.02,
            self._crash: nature.crash,
            self._restart: nature.crash + nature.leave + 0.01,
            self._freeze: nature.freeze * (n > 1),
            self._thaw: nature.freeze / 2,
            self._go_away: nature.away,
            self._come_back: nature.away,
            self._evict: nature.evict,
            self._churn: nature.churn,
            self._leave: nature.leave,
            self._meddle: nature.deletes,
            self._next_hour: 0.01,
            self._order: self.person.weight,
        }

    # --- events -----------------------------------------------------------------------------------------------

    def _living(self) -> list[Replica]:
        return [r for r in self.replicas if r.process and not r.frozen]

    def _any(self, replicas: list[Replica]) -> Replica | None:
        return self.dice.choice(replicas) if replicas else None

    def _work(self) -> None:
        """Let one of those move who can: a loop, a task, a commit on its way, a job."""
        living = self._living()
        able: list[tuple[Callable[..., None], tuple[Any, ...]]] = [(self._step_of, (r,)) for r in living]
        able += [(self._go_on, (r, *pair)) for r in living if r.process for pair in r.process.tasks()]
        able += [(self._take, (request,)) for request in sendable(self.wire)]
        able += [(self._move, (job,)) for job in self.platform.in_flight()]
        if able:
            move, what = self.dice.choice(able)
            move(*what)

    def _step_of(self, replica: Replica) -> None:
        process = replica.process
        if process is None:
            return
        self.tells(f"step {self._name(replica)}")
        try:
            process.step(self.now)
        except Died:
            self._die(replica)
        except ConnectorError as e:
            raise Broken(f"the service ended: {e}") from e

    def _go_on(self, replica: Replica, *pair: object) -> None:
        assert replica.process
        self.tells(f"task {self._name(replica)}")
        try:
            replica.process.go_on(*pair)  # type: ignore[arg-type]
        except Died:
            self._die(replica)

    def _take(self, request: Request) -> None:
        """Let a commit reach Kafka, or not, and its answer reach the client, or not."""
        lost = not self.quiet and self.dice.random() < self.nature.kafka
        fate = self.dice.choice(("request", "answer", "patience")) if lost else ""
        if fate == "patience":  # it is still on its way when the client gives up
            request.client.answer(request, KafkaError._TIMED_OUT)
            return
        self.wire.remove(request)
        code = None if fate == "request" else self.broker.commit(request.member, request.generation, request.wanted)
        self.tells(f"commit {request.member} {fate} {code} {_shown(request.wanted)}")
        request.client.answer(request, KafkaError._TIMED_OUT if fate else code)

    def _move(self, job: SimJob) -> None:
        if job.status is Status.QUEUED:
            self.platform.begin(job.id)
            return
        failed = not self.quiet and self.dice.random() < self.nature.job_error
        self.platform.finish(job.id, Status.ERROR if failed else Status.DONE)
        self.tells(f"{job.id} is {job.status}")
        if not failed:
            self.judge.applied(job.id)

    def _late(self) -> None:
        if not self.late:
            return
        what, effect = self.late.pop(self.dice.randrange(len(self.late)))
        try:
            effect()
        except Refusal as e:
            self.tells(f"late {what}: {e}")
        else:
            self.tells(f"late {what}")

    def _more(self) -> None:
        self._write(self.dice.randint(1, 4))

    def _write(self, count: int) -> None:
        for _ in range(count):
            tp = self.dice.choice(self.broker.partitions)
            self._serial += 1
            kind = self.dice.random()
            good = f"{tp.partition}-{self.dice.randrange(3)}:{self._serial}".encode()
            self.broker.logs[tp].append(None if kind < 0.1 else b"?" if kind < 0.25 else good)

    def _pass(self) -> None:
        self.now += LONG

    def _next_hour(self) -> None:
        self.now += 3600.0

    # --- faults -----------------------------------------------------------------------------------------------

    def _start(self, replica: Replica) -> None:
        replica.process = Process(self, self.parts)
        if self.quiet:
            self._smoothen(replica.process)
        self.tells(f"start {self._name(replica)}")

    def _smoothen(self, process: Process) -> None:
        process.consumer.smooth = process.dead_letters.smooth = process.orders.smooth = True

    def _die(self, replica: Replica) -> None:
        """The process is gone; its requests stay on their way, and its member in the group."""
        self.tells(f"crash {self._name(replica)}")
        replica.process, replica.frozen = None, False

    def _crash(self) -> None:
        if replica := self._any([r for r in self.replicas if r.process]):
            self._die(replica)

    def _restart(self) -> None:
        if replica := self._any([r for r in self.replicas if not r.process]):
            self._start(replica)

    def _freeze(self) -> None:
        if replica := self._any(self._living()):
            self.tells(f"freeze {self._name(replica)}")
            replica.frozen = True
            if self.dice.random() < 0.7:
                self._evict_member(replica)

    def _evict_member(self, replica: Replica) -> None:
        member = replica.process.consumer.member if replica.process else None
        if member in self.broker.members:
            self.tells(f"evict {member} of {self._name(replica)}")
            self.broker.remove(member)

    def _thaw(self) -> None:
        if replica := self._any([r for r in self.replicas if r.frozen]):
            self.tells(f"thaw {self._name(replica)}")
            replica.frozen = False

    def _go_away(self) -> None:
        if replica := self._any(self._living()):
            self.tells(f"away {self._name(replica)}")
            assert replica.process
            replica.process.source.unreachable(told=self.dice.random() < 0.7)

    def _come_back(self) -> None:
        away = [r for r in self._living() if r.process and r.process.consumer.away]
        if (replica := self._any(away)) and replica.process:
            self.tells(f"back {self._name(replica)}")
            replica.process.source.reachable()

    def _evict(self) -> None:
        """Whoever has no process, or does not move, or any other, has been silent for too long."""
        living = {r.process.consumer.member for r in self._living() if r.process and not r.process.consumer.away}
        silent = sorted(name for name in self.broker.members if name not in living)
        name = self.dice.choice(silent or sorted(self.broker.members) or [""])
        if name:
            self.tells(f"evict {name}")
            self.broker.remove(name)

    def _bury(self) -> None:
        """Let the sessions of dead processes time out."""
        living = {r.process.consumer.member for r in self.replicas if r.process}
        for name in sorted(self.broker.members.keys() - living):
            self.broker.remove(name)

    def _churn(self) -> None:
        self.broker.trigger()

    def _leave(self) -> None:
        if (replica := self._any(self._living())) and replica.process and not replica.process.consumer.away:
            self.tells(f"leave {self._name(replica)}")
            replica.process.consumer.leave()
            replica.process = None

    def _meddle(self) -> None:
        """A person deletes a job that is not in flight; what waits for it is excused from being complete."""
        jobs = [job for job in self.platform.jobs.values() if job.status not in IN_FLIGHT]
        if jobs:
            job = self.dice.choice(jobs)
            self.tells(f"a person deletes {job.id}")
            self.platform.delete(job.id)
            self.judge.excused.update(self.broker.partitions)

    def _order(self) -> None:
        self.tells(self.person.act(self.broker.offsets))

    # --- what the parts ask -----------------------------------------------------------------------------------

    def fault(self, operation: Operation) -> Fault | None:
        if self.quiet or self.dice.random() >= self.nature.http:
            return None
        fault = self.dice.choice(_FAULTS[operation])
        if fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER) and not self.nature.crash:
            return None
        return fault

    def breaks_off(self) -> bool:
        return not self.quiet and self.dice.random() < self.nature.breaks

    def later(self, what: str, effect: Callable[[], object]) -> None:
        self.late.append((what, effect))

    def commits(self, before: Mapping[TopicPartition, Committed], after: Mapping[TopicPartition, Committed]) -> None:
        self.judge.commits(before, after)

    def tells(self, what: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:9.1f} {what}")

    def _name(self, replica: Replica) -> str:
        member = replica.process.consumer.member if replica.process else None
        return f"R{self.replicas.index(replica)} ({member})"


def _shown(wanted: Mapping[TopicPartition, Committed]) -> str:
    return ", ".join(f"{tp}={c.offset}{c.metadata[7:22]}" for tp, c in sorted(wanted.items()))
