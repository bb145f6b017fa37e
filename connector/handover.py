"""Owns what a replay asks of the running service, and waits for: a rewind, a hold, and to go on behind it.

Never touches the service's group itself where that has members: orders do. Invariant: what is asked stands until it is
done, also for a service that is started later, or until it is taken back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from connector.core.orders import Order, OrderKind, OrderState
from connector.errors import ConnectorError
from connector.kafka.alone import others
from connector.kafka.orders import give_orders, read_orders, withdraw_orders

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from connector.config import Kafka
    from connector.core.offsets import TopicPartition

log = structlog.get_logger()

PATIENCE = 180.0  # seconds: a push on its way must end before a table stands still
_LOOK_SECONDS = 0.5
_STANDS = "the order stands: look at `kafka-celonis status` where it runs, or take it back with --abandon"


class Interrupted(ConnectorError):  # noqa: N818
    """A person wants it to end; the same command goes on."""


class Handover:
    """The orders of the replay `name` to the service of `kafka.group`; `stopping` ends a wait."""

    def __init__(self, kafka: Kafka, name: str, stopping: Callable[[], bool], patience: float = PATIENCE) -> None:
        self._kafka, self._name, self._stopping, self._patience = kafka, name, stopping, patience

    def rewind(self, starts: Mapping[TopicPartition, int]) -> bool:
        """Let partitions be read again from `starts`; False where nobody runs who could: it is done at the next start.

        Raises:
            SourceError: Kafka does not take the order.
            ConnectorError: the service does not do it in time.
        """
        self._give(OrderKind.REWIND, starts)
        return self._wait(starts, OrderState.DONE, _STANDS)

    def hold(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Let the tables of `partitions` stand still, and return what is committed of those that a service has held.

        Raises:
            SourceError: Kafka does not take the order.
            ConnectorError: the service does not do it in time.
        """
        known = read_orders(self._kafka, partitions)
        if any(self._ours(order, OrderKind.RESUME) and order.open for order in known.values()):
            hint = "start the service: it takes that in at once; then give the same command again"
            raise ConnectorError("the service does not know yet that this table was built anew before", hint=hint)
        fresh = [tp for tp in partitions if not self._ours(known.get(tp), OrderKind.HOLD)]
        if fresh:
            self._give(OrderKind.HOLD, dict.fromkeys(fresh, 0))
        self._wait(partitions, OrderState.HELD, "see that all replicas run this version, then give the command again")
        found = read_orders(self._kafka, partitions)
        return {tp: order.offset for tp, order in found.items() if order.state is OrderState.HELD}

    def resuming(self, partitions: Collection[TopicPartition]) -> set[TopicPartition]:
        """Return those with which this replay has told the service to go on: what it guarded is over."""
        found = read_orders(self._kafka, partitions).items()
        return {tp for tp, order in found if self._ours(order, OrderKind.RESUME)}

    def resume(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Let partitions go on from `ends`; False where nobody runs who could: it is done at the next start.

        What was told to go on before is not told again: it may have gone on, and must not go back.

        Raises:
            SourceError: Kafka does not take the order.
            ConnectorError: the service does not do it in time.
        """
        known = read_orders(self._kafka, ends)
        fresh = {tp: end for tp, end in ends.items() if not self._ours(known.get(tp), OrderKind.RESUME)}
        if fresh:
            self._give(OrderKind.RESUME, fresh)
        return self._wait(ends, OrderState.DONE, _STANDS)

    def release(self, partitions: Collection[TopicPartition]) -> None:
        """Take back what this replay holds of `partitions`; no other order, and nobody else's."""
        withdraw_orders(self._kafka, partitions, (OrderKind.HOLD, self._name))

    def _give(self, kind: OrderKind, offsets: Mapping[TopicPartition, int]) -> None:
        orders = {tp: Order(kind, OrderState.ASKED, self._name, offset) for tp, offset in offsets.items()}
        give_orders(self._kafka, orders)
        log.info("gave orders", order=kind.value, replay=self._name, partitions=len(offsets))

    def _ours(self, order: Order | None, kind: OrderKind) -> bool:
        return order is not None and order.id == self._name and order.kind is kind

    def _wait(self, partitions: Collection[TopicPartition], state: OrderState, hint: str) -> bool:
        deadline = time.monotonic() + self._patience
        while True:
            found = read_orders(self._kafka, partitions)
            missing = sorted(str(tp) for tp in partitions if tp not in found or found[tp].state is not state)
            if not missing:
                return True
            if not others(self._kafka):
                return False
            if self._stopping():
                raise Interrupted("stopped while waiting for the service", hint=hint)
            if time.monotonic() > deadline:
                named = f"{missing[0]} and {len(missing) - 1} more" if missing[1:] else missing[0]
                raise ConnectorError(f"the service has not followed the order for {named} in time", hint=hint)
            time.sleep(_LOOK_SECONDS)
