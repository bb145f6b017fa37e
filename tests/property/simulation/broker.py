"""Owns the Kafka of the simulation: logs, one group with members and generations, and the group's committed offsets.

Never checks ownership or direction of a commit, as the real broker does not. Invariant: a commit request is taken as a
whole or refused as a whole, and refused only for a member that is gone or a generation that is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from connector.core.intents import Committed
    from connector.core.offsets import TopicPartition


class Witness(Protocol):
    """Who sees every commit before it stands."""

    def commits(self, before: Mapping[TopicPartition, Committed], after: Mapping[TopicPartition, Committed]) -> None:
        """These offsets are about to be taken."""
        ...


@dataclass(slots=True)
class Member:
    """One member of the group: what it said it owns, and what the current generation gives it."""

    owned: frozenset[TopicPartition] = frozenset()
    joined: bool = True
    generation: int = -1
    target: frozenset[TopicPartition] = frozenset()


@dataclass(slots=True)
class Broker:
    """`eager`: members give everything back before a rebalance; else they keep it (cooperative)."""

    partitions: list[TopicPartition]
    dice: Random
    witness: Witness
    eager: bool = False
    restless: bool = True  # the assignor may move partitions without a need
    logs: dict[TopicPartition, list[bytes | None]] = field(default_factory=dict)
    offsets: dict[TopicPartition, Committed] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    generation: int = 0
    rebalancing: bool = False
    born: int = 0

    def __post_init__(self) -> None:
        self.logs = {tp: [] for tp in self.partitions}

    def join(self) -> str:
        """Take a new member in."""
        self.born += 1
        name = f"m{self.born:03}"
        self.members[name] = Member()
        self.trigger()
        self.rejoin(name, ())
        return name

    def rejoin(self, name: str, owned: Iterable[TopicPartition]) -> None:
        """A member is ready for the next generation, owning `owned` until then."""
        member = self.members[name]
        member.joined, member.owned = True, frozenset(owned)
        self._complete()

    def trigger(self) -> None:
        """Ask all members to join again."""
        self.rebalancing = True
        for member in self.members.values():
            member.joined = False

    def remove(self, name: str) -> None:
        """A member left, or its session timed out."""
        del self.members[name]
        self.trigger()
        self._complete()

    def commit(self, name: str, generation: int, wanted: Mapping[TopicPartition, Committed]) -> int | None:
        """Take a commit request, or return the code of its refusal."""
        if name not in self.members:
            return int(KafkaError.UNKNOWN_MEMBER_ID)
        if generation != self.generation:
            return int(KafkaError.ILLEGAL_GENERATION)
        self.witness.commits(self.offsets, wanted)
        self.offsets.update(wanted)
        return None

    def _complete(self) -> None:
        if not all(member.joined for member in self.members.values()):
            return
        self.rebalancing = False
        self.generation += 1
        wanted = self._wanted()
        owner = {tp: name for name, member in self.members.items() for tp in member.owned}
        for name, member in self.members.items():
            member.generation = self.generation
            member.target = frozenset(tp for tp, to in wanted.items() if to == name and owner.get(tp, name) == name)

    def _wanted(self) -> dict[TopicPartition, str]:
        """Return who is to have which partition in the end; what another still owns is withheld until it is free."""
        names = sorted(self.members)
        if not names:
            return {}
        if self.restless and self.dice.random() < 0.3:
            return {tp: self.dice.choice(names) for tp in self.partitions}
        quota = -(-len(self.partitions) // len(names))
        count = dict.fromkeys(names, 0)
        owner = {tp: name for name in names for tp in self.members[name].owned}
        wanted: dict[TopicPartition, str] = {}
        for tp in self.partitions:
            name = owner.get(tp)
            if name is not None and count[name] < quota:
                wanted[tp] = name
                count[name] += 1
        for tp in self.partitions:
            if tp not in wanted:
                name = wanted[tp] = min(names, key=lambda n: (count[n], n))
                count[name] += 1
        return wanted
