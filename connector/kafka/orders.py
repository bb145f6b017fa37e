"""Owns the orders at the edge of Kafka: they stand in a group beside the service's, which nobody ever joins.

Never holds up the pipeline: a thread with a client of its own looks and answers. Never joins a group. Invariant: an
answer takes the place only of the order that it answers, and a partition counts as read only by a look that began
after it was watched.
"""

from __future__ import annotations

import threading
import time
from itertools import count
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaError, KafkaException

from connector.core.offsets import TopicPartition
from connector.core.orders import Order, OrderKind, UnreadableOrder, group_of_orders
from connector.errors import SourceError
from connector.kafka.keeping import KEEP_SECONDS, keep_plans
from connector.kafka.order_group import COMMAND_SECONDS, cause, commit, committed, hint_for, new_client, with_client
from connector.kafka.threads import begin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from confluent_kafka import Consumer
    from confluent_kafka import TopicPartition as ClientPartition

    from connector.config import Kafka

log = structlog.get_logger()

LOOK_SECONDS = 1.0  # between two looks
OPEN_SECONDS = 0.5  # while an order stands: a person waits for it, or a table stands still
AGAIN_SECONDS = 1.0  # after one without an answer
OFF_SECONDS = 60.0  # after one that was refused
ANSWER_SECONDS = 3.0  # the longest that one look waits
CLOSE_SECONDS = 2.0
_WITHDRAWALS = 5
_CROSSED_SECONDS = 0.5  # an answer that was on its way meanwhile has come by then
_NO_ORDERS = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}  # the source tells of them


class OrderDesk:
    """The orders to the service of `kafka.group`; those that stand are kept alive every `keep` seconds.

    Raises:
        ConfigError: `kafka.properties` holds what the client does not take.
    """

    def __init__(self, kafka: Kafka, keep: float = KEEP_SECONDS) -> None:
        self._kafka, self._keep, self._keep_at = kafka, keep, time.monotonic() + keep
        self._group = group_of_orders(kafka.group)
        self._consumer = new_client(kafka)
        self._lock = threading.Lock()  # around what both threads write
        self._numbers = count(1)
        self._watched: dict[TopicPartition, int] = {}  # by a number of its own each time it is watched
        self._answers: dict[TopicPartition, Order] = {}
        self._unreadable: dict[TopicPartition, str] = {}  # what was told of
        self._off = self._stopped = self._seen = False  # off: we may not see orders, so there are none
        self._told: bool | None = None  # that there is no answer, or (True) that there is a right missing
        self._wake = threading.Event()
        self.unread: frozenset[TopicPartition] = frozenset()
        self.found: Mapping[TopicPartition, Order] = {}
        self._thread = begin(self._run, "kafka-orders")

    # --- what the pipeline calls ------------------------------------------------------------------------------

    def watch(self, partitions: Collection[TopicPartition]) -> None:
        """Look for orders of these partitions too, at once and from then on."""
        with self._lock:
            self._watched.update((tp, next(self._numbers)) for tp in partitions)
            self.unread = self.unread if self._off else self.unread | frozenset(partitions)
        self._wake.set()

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Look no more for orders of these partitions, and give no answer to them."""
        with self._lock:
            for tp in partitions:
                self._watched.pop(tp, None)
                self._answers.pop(tp, None)
            self.unread -= frozenset(partitions)
            self.found = {tp: order for tp, order in self.found.items() if tp not in partitions}

    def answer(self, tp: TopicPartition, order: Order) -> None:
        """Let `order` stand in the place of the one that it answers; it does once it is found."""
        with self._lock:
            if tp not in self._watched or self._answers.get(tp) == order:
                return
            self._answers[tp] = order
        self._wake.set()

    def close(self) -> None:
        """Let go of the client, within CLOSE_SECONDS."""
        self._stopped = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    # --- what the thread does ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(self._look())
            self._wake.clear()
        self._consumer.close()

    def _look(self) -> float:
        """Ask what stands, and give the answers that still fit; return the seconds until the next look."""
        with self._lock:
            asked, answers = dict(self._watched), dict(self._answers)
        if not asked:
            return LOOK_SECONDS
        self._keep_plans()
        try:
            standing = self._read(asked)
            self._seen = True
            given = {tp: order for tp, order in answers.items() if order.answers(standing.get(tp))}
            given |= self._kept(standing, given)
            if given:
                commit(self._consumer, {tp: (order.offset, order.text()) for tp, order in given.items()})
        except KafkaException as e:
            return self._refused(cause(self._consumer, e.args[0]))
        self._consumer.poll(0)  # lets the client write its log
        self._take(asked, standing | given, answers)
        if any(order.open for order in self.found.values()):
            return OPEN_SECONDS
        return AGAIN_SECONDS if self.unread else LOOK_SECONDS

    def _kept(
        self, standing: Mapping[TopicPartition, Order | None], given: Mapping[TopicPartition, Order]
    ) -> dict[TopicPartition, Order]:
        """Return what is to be written again as it stands: brokers forget what is committed, and no table may flow."""
        if time.monotonic() < self._keep_at:
            return {}
        self._keep_at = time.monotonic() + self._keep
        return {tp: order for tp, order in standing.items() if order and order.open and tp not in given}

    def _keep_plans(self) -> None:
        """Keep the plans of held tables, before orders are read: these are written again right after."""
        if time.monotonic() >= self._keep_at:
            held = {order.id for order in self.found.values() if order.open and order.kind is OrderKind.HOLD}
            keep_plans(self._kafka, sorted(held))

    def _read(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Order | None]:
        """Return what stands for each partition; those of which Kafka does not tell are not in the answer."""
        standing: dict[TopicPartition, Order | None] = {}
        for p in committed(self._consumer, partitions, ANSWER_SECONDS):
            tp = TopicPartition(p.topic, p.partition)
            if p.error is None:
                standing[tp] = self._understood(tp, p)
            elif p.error.code() in _NO_ORDERS:
                standing[tp] = None
        return standing

    def _understood(self, tp: TopicPartition, found: ClientPartition) -> Order | None:
        try:
            order = Order.parse(found.offset, found.metadata or "")
        except UnreadableOrder as e:
            if self._unreadable.get(tp) != found.metadata:
                hint = "let replays be run by the version that runs here"
                log.error("ignored order", at=str(tp), group=self._group, reason=str(e), hint=hint)
            self._unreadable[tp] = found.metadata or ""
            return None
        self._unreadable.pop(tp, None)
        return order

    def _take(
        self,
        asked: Mapping[TopicPartition, int],
        standing: Mapping[TopicPartition, Order | None],
        answers: Mapping[TopicPartition, Order],
    ) -> None:
        """Publish what was read of partitions that are still watched since before it was asked."""
        with self._lock:
            fresh = {tp: o for tp, o in standing.items() if self._watched.get(tp) == asked.get(tp)}
            kept = {tp: order for tp, order in self.found.items() if tp not in fresh}
            self.found = kept | {tp: order for tp, order in fresh.items() if order}
            self.unread -= fresh.keys()
            for tp, order in answers.items():
                if tp in fresh and self._answers.get(tp) == order:
                    del self._answers[tp]
            self._off = False
        if self._told is not None:
            self._told = None
            log.info("read orders again", group=self._group)

    def _refused(self, error: KafkaError) -> float:
        """Go on without orders where we never could see them; else ask again, with what was seen last."""
        forbidden = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED or self._off
        if self._told is not forbidden:
            self._told = forbidden
            tell, hint = (log.warning, hint_for(self._group)) if forbidden else (log.info, "")
            tell("could not see or answer orders of replays", group=self._group, error=error.str(), hint=hint)
        if not forbidden or self._seen:
            return AGAIN_SECONDS
        with self._lock:
            self._off, self.unread = True, frozenset()
        return OFF_SECONDS


# --- what a command does ------------------------------------------------------------------------------------------


def read_orders(kafka: Kafka, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Order]:
    """Return the orders that stand for `partitions`.

    Raises:
        SourceError: Kafka does not answer, or not to us, or an order cannot be read.
    """
    return with_client(kafka, lambda consumer: _standing(consumer, partitions, kafka.group))


def unreadable_orders(kafka: Kafka, partitions: Collection[TopicPartition]) -> dict[TopicPartition, UnreadableOrder]:
    """Return of which partitions the order cannot be read, and why; a service of this version goes on as without it.

    Raises:
        SourceError: Kafka does not answer, or not to us.
    """

    def find(consumer: Consumer) -> dict[TopicPartition, UnreadableOrder]:
        found: dict[TopicPartition, UnreadableOrder] = {}
        for p in committed(consumer, partitions, COMMAND_SECONDS):
            if p.error is not None:
                raise KafkaException(p.error)
            try:
                Order.parse(p.offset, p.metadata or "")
            except UnreadableOrder as e:
                found[TopicPartition(p.topic, p.partition)] = e
        return found

    return with_client(kafka, find)


def give_orders(kafka: Kafka, orders: Mapping[TopicPartition, Order]) -> None:
    """Let these orders stand, in one request.

    Raises:
        SourceError: Kafka does not take them, or an order of another replay is open on one of the partitions.
    """

    def give(consumer: Consumer) -> None:
        for tp, standing in _standing(consumer, orders, kafka.group).items():
            if standing.open and standing.id != orders[tp].id:
                hint = "wait for it, give its command again, or let go: `kafka-celonis replay TABLE --abandon`"
                raise SourceError(f"replay {standing.id} has a {standing.kind} open on {tp}", hint=hint)
        commit(consumer, {tp: (order.offset, order.text()) for tp, order in orders.items()})

    with_client(kafka, give)


def withdraw_orders(
    kafka: Kafka, partitions: Collection[TopicPartition], only: tuple[OrderKind, str] | None = None
) -> None:
    """Let no order stand for `partitions`, whoever gave them and whether or not they can be read: they flow.

    `only`: orders of this kind that the replay of this name gave; whatever else stands there stays.

    Raises:
        SourceError: Kafka does not take it.
    """

    def withdraw(consumer: Consumer) -> None:
        standing = list(partitions)
        for _ in range(_WITHDRAWALS):
            found = [p for p in committed(consumer, standing, COMMAND_SECONDS) if p.metadata]
            standing = [TopicPartition(p.topic, p.partition) for p in found if only is None or _is_of(p, *only)]
            if not standing:
                return
            commit(consumer, dict.fromkeys(standing, (0, "")))
            time.sleep(_CROSSED_SECONDS)

    with_client(kafka, withdraw)


def _is_of(found: ClientPartition, kind: OrderKind, name: str) -> bool:
    try:
        order = Order.parse(found.offset, found.metadata or "")
    except UnreadableOrder:
        return False
    return order is not None and (order.kind, order.id) == (kind, name)


def _standing(consumer: Consumer, partitions: Collection[TopicPartition], group: str) -> dict[TopicPartition, Order]:
    found: dict[TopicPartition, Order] = {}
    for p in committed(consumer, partitions, COMMAND_SECONDS):
        if p.error is not None:
            raise KafkaException(p.error)
        tp = TopicPartition(p.topic, p.partition)
        try:
            order = Order.parse(p.offset, p.metadata or "")
        except UnreadableOrder as e:
            hint = "run replays by one version of the product, or withdraw it: `kafka-celonis replay TABLE --abandon`"
            raise SourceError(f"the order on {tp} in group {group_of_orders(group)}: {e}", hint=hint) from None
        if order:
            found[tp] = order
    return found
