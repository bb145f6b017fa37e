"""Owns the simulated Kafka client under the real source: fetching, group callbacks, and commits that are on their way.

Never decides anything about data. Invariant: as with librdkafka all callbacks come from inside `consume`, one request
of a client takes effect after the one it sent before, and what is revoked is given up before the next generation.
"""

# ruff: noqa: ARG002 - the client names its arguments

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.config import Kafka
from connector.core.intents import Committed
from connector.core.offsets import TopicPartition
from connector.kafka.commits import Commits
from connector.kafka.contact import Contact
from connector.kafka.membership import Membership
from connector.kafka.source import KafkaSource
from connector.kafka.starts import Starts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from connector.core.messages import MessageBatch
    from tests.property.simulation.broker import Broker

    Partitions = list[ClientPartition]

SETTINGS = Kafka(brokers="simulated:9092")
PER_POLL = 4  # the most messages of one partition that a poll returns


class SimMessage:
    """One message, as the client library shows it."""

    __slots__ = ("_offset", "_partition", "_topic", "_value")

    def __init__(self, topic: str, partition: int, offset: int, value: bytes | None) -> None:
        self._topic, self._partition, self._offset, self._value = topic, partition, offset, value

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def error(self) -> None:
        return None


@dataclass(slots=True, eq=False)
class Request:
    """A commit on its way. `forgotten`: its client has given up waiting for the answer."""

    client: SimConsumer
    member: str
    generation: int
    wanted: dict[TopicPartition, Committed]
    forgotten: bool = False


class SimConsumer:
    """One client of the group. `wire` holds the requests of all clients, in the order in which they were sent."""

    def __init__(self, broker: Broker, dice: Random, wire: list[Request], silent: float) -> None:
        self._broker, self._dice, self._wire = broker, dice, wire
        self.silent = silent  # chance that a question is not answered
        self._answers: deque[tuple[int | None, dict[TopicPartition, Committed]]] = deque()
        self._fetch: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self.owned: set[TopicPartition] = set()
        self.member: str | None = None
        self.generation = -1
        self.away = False  # no broker can be reached
        self.smooth = False  # nothing is late any more
        self.on_commit: Callable[[KafkaError | None, Partitions], None] = lambda _e, _p: None
        self.on: dict[str, Callable[[Any, Partitions], None]] = {}

    @property
    def partitions(self) -> int:
        """How many there are in all."""
        return len(self._broker.logs)

    def _often(self, chance: float) -> bool:
        return self.smooth or self._dice.random() < chance

    # --- what the source calls --------------------------------------------------------------------------------

    def subscribe(self, _topics: list[str], **callbacks: Callable[[Any, Partitions], None]) -> None:
        self.on = callbacks

    def consume(self, _count: int, _timeout: float) -> list[SimMessage]:
        """Serve callbacks, before or after the messages are taken, and return the messages."""
        if self.away:
            return []
        early = [] if self._often(0.8) else self._messages()
        self._serve_answers()
        self._serve_group()
        return early or self._messages()

    def _messages(self) -> list[SimMessage]:
        found: list[SimMessage] = []
        for tp in sorted(self._fetch):
            if tp in self._paused:
                continue
            first = self._fetch[tp]
            values = self._broker.logs[tp][
                first : first + (PER_POLL if self.smooth else self._dice.randint(0, PER_POLL))
            ]
            found += [SimMessage(*tp, first + i, value) for i, value in enumerate(values)]
            self._fetch[tp] = first + len(values)
        return found

    def seek(self, partition: ClientPartition) -> None:
        tp = _plain(partition)
        if tp not in self._fetch or not self._often(0.9):
            raise KafkaException(KafkaError(KafkaError._STATE))
        self._fetch[tp] = partition.offset

    def pause(self, partitions: Partitions) -> None:
        self._paused.update(map(_plain, partitions))

    def resume(self, partitions: Partitions) -> None:
        self._paused.difference_update(map(_plain, partitions))

    def incremental_assign(self, partitions: Partitions) -> None:
        self._fetch.update({_plain(p): max(0, p.offset) for p in partitions})

    def incremental_unassign(self, partitions: Partitions) -> None:
        for tp in map(_plain, partitions):
            self._fetch.pop(tp, None)
            self._paused.discard(tp)

    def committed(self, partitions: Partitions, timeout: float) -> Partitions:
        """Read what stands in Kafka; `timeout` seconds at most."""
        if self.away or not self._often(1.0 - self.silent):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        found = {p: self._broker.offsets.get(_plain(p)) for p in sorted(partitions, key=_plain)}
        return [
            ClientPartition(p.topic, p.partition, c.offset, metadata=c.metadata)
            if c
            else ClientPartition(p.topic, p.partition, -1001)
            for p, c in found.items()
        ]

    def commit(self, *, offsets: Partitions, asynchronous: bool) -> None:
        assert asynchronous
        if self.member is None:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))
        wanted = {_plain(p): Committed(p.offset, p.metadata or "") for p in offsets}
        self._wire.append(Request(self, self.member, self.generation, wanted))

    # --- what the world does ----------------------------------------------------------------------------------

    def answer(self, request: Request, code: int | None) -> None:
        """Let an answer come in; it is told at a later poll."""
        if not request.forgotten:
            request.forgotten = True
            self._answers.append((code, request.wanted))

    def leave(self) -> None:
        """Leave the group in good order."""
        if self.owned:
            self._revoke(set(self.owned))
        if self.member in self._broker.members:
            self._broker.remove(self.member)
        self.member = None

    def _serve_answers(self) -> None:
        while self._answers and self._often(0.7):
            code, wanted = self._answers.popleft()
            told = [ClientPartition(tp.topic, tp.partition, c.offset, metadata=c.metadata) for tp, c in wanted.items()]
            self.on_commit(None if code is None else KafkaError(code), told)

    def _serve_group(self) -> None:
        broker, name = self._broker, self.member
        if name is None:
            if self._often(0.7):
                self.member, self.generation = broker.join(), -1
            return
        member = broker.members.get(name)
        if member is None:
            if self._often(0.4):
                self._lose()
        elif broker.rebalancing:
            if not member.joined and self._often(0.6):
                self._join_again(name)
        elif member.generation != self.generation and self._often(0.8):
            self.generation = member.generation
            self._follow(set(member.target))

    def _join_again(self, name: str) -> None:
        if self._broker.eager and self.owned:
            self._revoke(set(self.owned))
        self._broker.rejoin(name, self.owned)

    def _follow(self, target: set[TopicPartition]) -> None:
        gone, fresh = self.owned - target, target - self.owned
        if gone:
            self._revoke(gone)
        self.owned |= fresh
        self.on["on_assign"](self, [ClientPartition(*tp) for tp in sorted(fresh)])
        if gone:
            self._broker.trigger()

    def _revoke(self, gone: set[TopicPartition]) -> None:
        self.on["on_revoke"](self, [ClientPartition(*tp) for tp in sorted(gone)])
        self.owned -= gone

    def _lose(self) -> None:
        """Hear of the eviction; `on_revoke` may come where `on_lost` is expected."""
        gone = [ClientPartition(*tp) for tp in sorted(self.owned)]
        if gone:
            self.on["on_lost" if self._often(0.8) else "on_revoke"](self, gone)
        self.owned.clear()
        self.member = None


class SimSource(KafkaSource):
    """The real source over a simulated client; only its constructor is another, since it makes the client."""

    def __init__(self, consumer: SimConsumer) -> None:
        self._kafka = SETTINGS
        self._contact = Contact("simulated")
        self._commits, self._starts = self.new_commits(), Starts(SETTINGS)
        self._consumer = self._commits.consumer = self._starts.consumer = cast("Any", consumer)
        self.client = consumer
        consumer.on_commit = self._commits.on_commit
        self._listener = None
        self._unread = set()
        self._seeking = {}
        self._paused = set()
        self.positions = {}
        self.assigned = set()
        self._membership = Membership(SETTINGS.group_protocol)

    def poll(self, timeout: float) -> Sequence[MessageBatch]:
        return sorted(super().poll(timeout), key=lambda batch: batch.topic)

    @property
    def share(self) -> float:
        return len(self.assigned) / self.client.partitions

    def _count_partitions(self, topics: Sequence[str]) -> None:
        """Nothing to ask: the client knows."""

    def new_commits(self) -> Commits:
        """Return what knows the commits."""
        return Commits(self._contact)

    def unreachable(self, *, told: bool) -> None:
        """No broker can be reached; `told`: the client has noticed."""
        self.client.away = True
        if told:
            self._contact.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    def reachable(self) -> None:
        """Brokers are back."""
        self.client.away = False
        self._contact.reached()


def _plain(partition: ClientPartition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)


def sendable(wire: list[Request]) -> list[Request]:
    """Return the requests that may take effect next: the oldest of each client that reaches a broker."""
    first: dict[SimConsumer, Request] = {}
    for request in wire:
        if not request.client.away:
            first.setdefault(request.client, request)
    return list(first.values())
