"""Owns the client of the group in which orders stand: what it asks, what it commits, and why it gets no answer.

Never joins the group, and never knows what an order means. Invariant: what a request says is taken as a whole, or
raised.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.orders import group_of_orders
from connector.errors import SourceError
from connector.kafka.settings import client_properties, make, question_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from connector.config import Kafka
    from connector.core.offsets import TopicPartition
    from connector.kafka.settings import Properties

T = TypeVar("T")

COMMAND_SECONDS = 10.0  # the longest that a command waits for an answer, or for a coordinator that moves
_MOVING_SECONDS = 0.2
_MOVING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


def new_client(kafka: Kafka, properties: Callable[[Kafka], Properties] = client_properties) -> Consumer:
    """Return a client of the group of orders to the service of `kafka.group`; raises ConfigError."""
    ours = {"group.id": group_of_orders(kafka.group), "enable.auto.commit": False}
    return make(Consumer, properties(kafka) | ours)


def with_client(kafka: Kafka, do: Callable[[Consumer], T]) -> T:
    """Return what `do` returns, with a client of its own; raises SourceError for what Kafka refuses."""
    consumer = new_client(kafka, question_properties)
    try:
        return _patiently(consumer, do, group_of_orders(kafka.group))
    finally:
        consumer.close()


def _patiently(consumer: Consumer, do: Callable[[Consumer], T], group: str) -> T:
    """Let `do` begin again while the group's coordinator moves; whatever it does may be done twice."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while True:
        try:
            return do(consumer)
        except KafkaException as e:
            why = cause(consumer, e.args[0])
        if why.code() not in _MOVING or time.monotonic() > deadline:
            refused = why.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
            hint = hint_for(group) if refused else "see what `kafka-celonis check` says of the brokers"
            raise SourceError(f"the orders in group {group}: {why.str()}", hint=hint)
        time.sleep(_MOVING_SECONDS)


def committed(consumer: Consumer, partitions: Iterable[TopicPartition], seconds: float) -> list[ClientPartition]:
    """Return what stands for `partitions`, each with its own error; raises KafkaException."""
    return consumer.committed([ClientPartition(*tp) for tp in partitions], timeout=seconds)


def commit(consumer: Consumer, wanted: Mapping[TopicPartition, tuple[int, str]]) -> None:
    """Commit offset and metadata of each partition in one request; raises KafkaException if one was not taken."""
    request = [ClientPartition(*tp, offset, metadata) for tp, (offset, metadata) in wanted.items()]
    for p in consumer.commit(offsets=request, asynchronous=False):
        if p.error is not None:
            raise KafkaException(p.error)


def cause(consumer: Consumer, error: KafkaError) -> KafkaError:
    """Return why there was no answer: where the coordinator is not told to us, the question itself just times out."""
    while event := consumer.poll(0):
        if (said := event.error()) and said.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return said
    return error


def hint_for(group: str) -> str:
    """Return the way out where a right on the group is missing."""
    return f"grant READ on the group {group}"
