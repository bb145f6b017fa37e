"""Owns the orders of the simulation: a person who gives them, and what each process sees of them, and when.

Never decides what follows from an order. Invariant: an answer takes the place only of the order that it answers, and
what is seen may be old, but is never older than the assignment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.orders import Order, OrderKind, OrderState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from random import Random

    from connector.core.intents import Committed
    from connector.core.offsets import TopicPartition


class Person:
    """Gives orders that change no table for good: rewinds of `keyed` partitions, holds of any, and ends of holds."""

    def __init__(
        self, dice: Random, partitions: list[TopicPartition], keyed: set[TopicPartition], weight: float | None = None
    ) -> None:
        self.dice, self._partitions, self._keyed = dice, partitions, keyed
        self.weight = dice.choice((0.0, 0.0, 0.02, 0.05)) if weight is None else weight
        self.standing: dict[TopicPartition, Order] = {}
        self._given = 0

    def act(self, committed: Mapping[TopicPartition, Committed]) -> str:
        """Give an order to some partition, or end a hold; return what was done."""
        tp = self.dice.choice(self._partitions)
        order = self.standing.get(tp)
        if order and order.open:
            return self._end(tp, order) if order.kind is OrderKind.HOLD else ""
        if tp not in committed:
            return ""  # nothing of it was read
        self._given += 1
        offset = committed[tp].offset
        rewinds = tp in self._keyed and self.dice.random() < 0.7
        kind = OrderKind.REWIND if rewinds else OrderKind.HOLD
        self.standing[tp] = Order(kind, OrderState.ASKED, f"r{self._given}", self.dice.randint(0, offset))
        return f"a person orders {self.standing[tp]} of {tp}"

    def end_holds(self) -> None:
        """Let nothing stand still any more."""
        for tp, order in list(self.standing.items()):
            if order.kind is OrderKind.HOLD and order.open:
                self._end(tp, order)

    def _end(self, tp: TopicPartition, order: Order) -> str:
        """Let a held partition go on from where it is, or withdraw the hold."""
        if order.state is OrderState.HELD and self.dice.random() < 0.7:
            self.standing[tp] = order._replace(kind=OrderKind.RESUME, state=OrderState.ASKED)
        else:
            del self.standing[tp]
        return f"a person ends {order} of {tp}"

    @property
    def waited_for(self) -> list[TopicPartition]:
        """The partitions whose orders are not followed yet."""
        return [tp for tp, order in self.standing.items() if order.open]


class SimOrders:
    """What one process sees of them. Looks come now and then, and carry the answers."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._watched: set[TopicPartition] = set()
        self._answers: dict[TopicPartition, Order] = {}
        self.found: dict[TopicPartition, Order] = {}
        self.unread: set[TopicPartition] = set()
        self.smooth = False

    def watch(self, partitions: Collection[TopicPartition]) -> None:
        self._watched.update(partitions)
        if self._person.weight:
            self.unread.update(partitions)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        self._watched.difference_update(partitions)
        self.unread.difference_update(partitions)
        for tp in partitions:
            self._answers.pop(tp, None)
            self.found.pop(tp, None)

    def answer(self, tp: TopicPartition, order: Order) -> None:
        self._answers[tp] = order

    def look(self) -> None:
        """Look, if it is time."""
        if not self._person.weight or not (self.smooth or self._person.dice.random() < 0.4):
            return
        standing = self._person.standing
        for tp, order in self._answers.items():
            if order.answers(standing.get(tp)):
                standing[tp] = order
        self._answers.clear()
        self.found = {tp: order for tp, order in standing.items() if tp in self._watched}
        self.unread.clear()

    def close(self) -> None:
        return None
