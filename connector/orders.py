"""Owns what a partition under an order does: wait until nothing of it is on its way, stand where it is told, answer.

Nothing here is remembered: at every step what is to be done follows from the order, the position, and what Kafka has
committed, so a crash or a new owner in the middle begins again where it matters. Never commits by itself: positions
move, and the ordinary commit follows them. Invariant: a partition under an order does not flow; an order is followed
only while no push of its table is in flight and no intent stands for the partition, and answered only once Kafka has
what follows from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from connector.core.intents import Committed
from connector.core.orders import OrderKind, OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from connector.core.offsets import TopicPartition
    from connector.core.orders import Order
    from connector.ports import Orders, Source
    from connector.recovery import Recovery
    from connector.sink import TableSink

log = structlog.get_logger()

_NOTHING = Committed(-1)


class NoOrders:
    """Nobody asks for anything: what reads a bounded range by itself is not to be told where to stand."""

    def __init__(self) -> None:
        self.found: Mapping[TopicPartition, Order] = {}
        self.unread: Collection[TopicPartition] = ()

    def watch(self, partitions: Collection[TopicPartition]) -> None:
        """Look for nothing."""

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Look for nothing, as before."""

    def answer(self, tp: TopicPartition, order: Order) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Let go of nothing."""


class OrderBook:
    """The orders of the partitions that are ours; `commits` says what is to stand in Kafka as things are."""

    def __init__(
        self,
        orders: Orders,
        *,
        source: Source,
        sinks: Mapping[str, TableSink],
        recovery: Recovery,
        commits: Callable[[], Mapping[TopicPartition, Committed]],
    ) -> None:
        self._orders, self._source, self._sinks, self._recovery = orders, source, sinks, recovery
        self._commits = commits
        self._told: dict[TopicPartition, Order] = {}

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take in that partitions are ours from now on: none flows before its orders are known."""
        self._orders.watch(partitions)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions that are no longer ours: their orders are for whoever has them next."""
        self._orders.forget(partitions)
        for tp in partitions:
            self._told.pop(tp, None)

    @property
    def held(self) -> dict[TopicPartition, str]:
        """The partitions that must not flow, and why; of a table that is held none flows here."""
        topics = {topic for tp in self._open if self._is_held(tp) for s in self._tables(tp) for topic in s.topics}
        of_tables = (tp for tp in self._source.assigned if tp.topic in topics) if topics else ()
        return dict.fromkeys([*self._orders.unread, *self._open, *of_tables], "replay")

    def step(self) -> bool:
        """Follow the orders as far as can be now; return whether one of them waits for a commit."""
        self._tell(self._orders.found)
        under = self._open
        blocking = {tp.topic for tp in under if tp not in self._recovery.refused}
        for sink in self._sinks.values():
            sink.ordered = not sink.topics.isdisjoint(blocking)
        free = [tp for tp in under if not self._is_busy(tp)]
        for tp in under.keys() - free:
            self._withdraw_answer(tp, under[tp])
        if not free:
            return False
        wanted = self._commits()
        waiting = [tp for tp in free if not self._is_settled(tp, wanted)]
        waiting += [tp for tp in free if tp not in waiting and self._follow(tp, under[tp])]
        return bool(waiting)

    @property
    def _open(self) -> dict[TopicPartition, Order]:
        """The orders to follow. What is to be rewound flows until it is known where it stands."""
        positions = self._source.positions
        found = self._orders.found.items()
        return {tp: o for tp, o in found if o.open and (tp in positions or o.kind is not OrderKind.REWIND)}

    def _is_held(self, tp: TopicPartition) -> bool:
        return self._orders.found[tp].state is OrderState.HELD

    def _tables(self, tp: TopicPartition) -> Iterator[TableSink]:
        return (sink for sink in self._sinks.values() if tp.topic in sink.topics)

    def _is_busy(self, tp: TopicPartition) -> bool:
        """Whether a job may be on its way that carries rows of the partition's table, or of the partition."""
        return tp in self._recovery.held or any(sink.push for sink in self._tables(tp))

    def _is_settled(self, tp: TopicPartition, wanted: Mapping[TopicPartition, Committed]) -> bool:
        """Whether Kafka has what is to stand for the partition, and no intent."""
        known = self._source.committed.get(tp, _NOTHING)
        return not known.metadata and wanted.get(tp, known) == known

    def _follow(self, tp: TopicPartition, order: Order) -> bool:
        """Move the partition to where it is to stand, or answer; return whether a commit must follow first."""
        committed = self._source.committed.get(tp, _NOTHING).offset
        start = order.start(committed)
        if start >= 0 and not self._stands(tp, start):
            for sink in self._tables(tp):
                sink.drop({tp})
            self._source.move({tp: start})
            return True
        if order.kind is not OrderKind.HOLD and committed != start:
            return True
        if (answer := order.followed(committed)) != order:
            self._orders.answer(tp, answer)
        return False

    def _stands(self, tp: TopicPartition, start: int) -> bool:
        """Whether the partition stands at `start`, with nothing here that was read before."""
        held = (r.tp for sink in self._tables(tp) for r in sink.held)
        return self._source.positions.get(tp) == start and tp not in held

    def _withdraw_answer(self, tp: TopicPartition, order: Order) -> None:
        """Take back `held`: whoever gave that answer had lost the partition to us, and something is on its way."""
        if order.state is OrderState.HELD:
            self._orders.answer(tp, order._replace(state=OrderState.ASKED))

    def _tell(self, found: Mapping[TopicPartition, Order]) -> None:
        """Write down what has changed about the orders."""
        if found == self._told:
            return
        for tp, order in found.items():
            before = self._told.get(tp)
            if order != before and (order.open or before):
                what = "took order" if before is None or order.state is OrderState.ASKED else "finished order"
                log.info(what, at=str(tp), order=order.kind, state=order.state, replay=order.id, offset=order.offset)
        for tp in sorted(self._told.keys() - found.keys()):
            log.info("left order", at=str(tp), order=self._told[tp].kind, replay=self._told[tp].id)
        self._told = dict(found)
