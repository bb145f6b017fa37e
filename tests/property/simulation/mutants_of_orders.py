"""Owns the mutants that lack a rule about partitions under an order.

Never changes a module. Invariant: a mutant differs from the product in its rule only.

Not mutants, since no table tells: an answer before Kafka has gone back, which costs a rewind that a crash forgets; a
flush while an order waits, which costs time, since the order then waits for that push too; and to believe a `held` of
somebody who had lost the partition, which no schedule of thousands came upon (tests/unit/test_orders.py shows it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.orders import OrderBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.core.intents import Committed
    from connector.core.offsets import TopicPartition
    from connector.core.orders import Order


class ActsWhilePushing(OrderBook):
    """An order does not wait for the push in flight, nor for what was found."""

    def _is_busy(self, tp: TopicPartition) -> bool:
        return not tp


class ActsUnderIntents(ActsWhilePushing):
    """Nor for what is to be committed."""

    def _is_settled(self, tp: TopicPartition, wanted: Mapping[TopicPartition, Committed]) -> bool:
        return bool(tp) or not wanted


class KeepsRecords(OrderBook):
    """A partition is moved, and its records stay in the buffer."""

    def _follow(self, tp: TopicPartition, order: Order) -> bool:
        committed = self._source.committed.get(tp)
        start = order.start(committed.offset) if committed else -1
        if start >= 0 and self._source.positions.get(tp) != start:
            self._source.move({tp: start})
            return True
        return super()._follow(tp, order)


class FlowsUnread(OrderBook):
    """A new partition flows before its orders are known."""

    @property
    def held(self) -> dict[TopicPartition, str]:
        return {tp: why for tp, why in super().held.items() if tp not in self._orders.unread}


class FlowsUnderOrders(OrderBook):
    """A partition is read and pushed whatever its orders say."""

    @property
    def held(self) -> dict[TopicPartition, str]:
        return {}
