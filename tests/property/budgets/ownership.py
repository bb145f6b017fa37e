"""Owns who has which partitions of a group, as Kafka's group protocol gives them away.

Never tells a replica what it has not seen itself. Invariant: a partition goes to its next owner only once the last one
has stepped without it, or was silent for a session; all that moves at once is given up before anything of it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

PARTITIONS = 12


class Member(Protocol):
    """A process that may own partitions."""

    last_step: float
    alive: bool


class Ownership:
    """The partitions of one group; `session`: seconds of silence after which a member counts as gone."""

    def __init__(self, session: float, dice: random.Random) -> None:
        self._session, self._dice = session, dice
        self._owners: list[Member | None] = [None] * PARTITIONS
        self._targets: list[Member | None] = [None] * PARTITIONS

    def share(self, member: Member) -> float:
        """Return what `member` sees of its part when it steps: what it keeps."""
        kept = zip(self._owners, self._targets, strict=True)
        return sum(owner is member and target is member for owner, target in kept) / PARTITIONS

    def stepped(self, member: Member) -> None:
        """Take in that `member` has stepped, and so given up what is to move."""
        self._release(member, lambda target: target is not member)

    def left(self, member: Member) -> None:
        """Take in that `member` has left the group."""
        self._release(member, lambda _: True)
        self._targets = [None if target is member else target for target in self._targets]

    def rebalance(self, members: Sequence[Member], *, even: bool = True) -> None:
        """Choose who is to have what."""
        several = [m for m in members if m.alive]
        self._dice.shuffle(several)
        if not several:
            self._targets = [None] * PARTITIONS
        else:
            self._targets = [
                several[i % len(several)] if even else self._dice.choice(several) for i in range(PARTITIONS)
            ]

    def settle(self, now: float) -> None:
        """Take partitions from who is silent, and once all that moves is free give it away."""
        for owner in {id(o): o for o in self._owners if o}.values():
            if now - owner.last_step > self._session:
                self._release(owner, lambda _: True)
        if any(o is not None and o is not t for o, t in zip(self._owners, self._targets, strict=True)):
            return
        for i, target in enumerate(self._targets):
            if target and now - target.last_step <= self._session:
                self._owners[i] = target

    def silent(self, members: Sequence[Member], now: float) -> bool:
        """Return whether the partitions should move: someone silent is to have some, or someone new has none."""
        lost = any(t is None or now - t.last_step > self._session or not t.alive for t in self._targets)
        return lost or any(m.alive and now - m.last_step <= self._session and m not in self._targets for m in members)

    def _release(self, member: Member, gone: Callable[[Member | None], bool]) -> None:
        for i, (owner, target) in enumerate(zip(self._owners, self._targets, strict=True)):
            if owner is member and gone(target):
                self._owners[i] = None
