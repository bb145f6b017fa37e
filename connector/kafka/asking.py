"""Owns one question to the brokers: a client of its own asks, and is gone after the answer.

Never waits in vain: brokers that cannot be reached are told from slow ones. One client a question, since one that
lives on with an unanswered question can bring the process down. Invariant: what was asked ends within PROBE_SECONDS or
so, twice that where a coordinator moves, in the answer, in the broker's refusal, or in Silence that says why.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from connector.errors import SourceError
from connector.kafka.contact import Contact
from connector.kafka.settings import make, question_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from concurrent.futures import Future

    from confluent_kafka.admin import TopicDescription

    from connector.config import Kafka

    K = TypeVar("K")
    T = TypeVar("T")

PROBE_SECONDS = 10.0
_AGAIN_SECONDS = 0.2
AWAY_SECONDS = 3.0  # once the client has said that no broker can be reached


class Silence(SourceError):  # noqa: N818 - a state, which may end by itself
    """No broker has answered."""


def ask(kafka: Kafka, request: Callable[[AdminClient], Mapping[Any, Future[T]]], section: str = "kafka") -> T:
    """Return the one answer to `request`; raises KafkaException as the broker gave it, and SourceError without one.

    A coordinator that is being made (a cluster's first group) or moves is asked again.
    """

    def once() -> T:
        (future,) = ask_all(kafka, request, section).values()
        answer = future.result()
        for p in getattr(answer, "topic_partitions", None) or ():  # offsets of a group: refused one by one
            if p.error and p.error.code() in _COORDINATOR_MOVES:
                raise KafkaException(p.error)
        return answer

    asking = Retrying(
        retry=retry_if_exception(lambda e: isinstance(e, KafkaException) and e.args[0].code() in _COORDINATOR_MOVES),
        wait=wait_fixed(_AGAIN_SECONDS),
        stop=stop_after_delay(PROBE_SECONDS),
        reraise=True,
    )
    return asking(once)


def ask_all(
    kafka: Kafka, request: Callable[[AdminClient], Mapping[K, Future[T]]], section: str = "kafka"
) -> Mapping[K, Future[T]]:
    """Return the answers to `request`, each of them an answer or the broker's refusal; raises SourceError without."""
    contact = Contact(kafka.brokers, section)
    admin = make(AdminClient, question_properties(kafka) | {"error_cb": contact.on_error}, section)
    futures = request(admin)
    started = time.monotonic()
    while not (done := all(f.done() for f in futures.values())) and worth_waiting(contact, started):
        admin.poll(0.05)  # hands over why there is no answer
        contact.insist()
    failures = [f.exception() for f in futures.values()] if done else []
    if not done or any(isinstance(e, KafkaException) and e.args[0].code() in _NO_ANSWER for e in failures):
        raise silent(kafka, contact, section)
    return futures


_COORDINATOR_MOVES = {
    KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR,
}  # fmt: skip
_NO_ANSWER = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001


def describe(kafka: Kafka, topic: str, *needed: AclOperation, section: str = "kafka") -> TopicDescription | None:
    """Return what the broker says of a topic, None where it does not exist.

    Raises:
        SourceError: we may not see it, or lack one of the rights `needed`.
    """
    about = f"topic {topic}"
    try:
        found: TopicDescription = ask(
            kafka,
            lambda admin: admin.describe_topics(
                TopicCollection([topic]), include_authorized_operations=True, request_timeout=PROBE_SECONDS
            ),
            section,
        )
    except KafkaException as e:
        if e.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise judged(e.args[0], about, f"grant {' and '.join(right.name for right in needed)} on {about}") from None
    for right in needed:
        insist_on(right, found.authorized_operations, about)
    return found


def worth_waiting(contact: Contact, started: float) -> bool:
    """Return whether an answer to what was asked at `started` (monotonic seconds) may still come."""
    waited = time.monotonic() - started
    return waited < (AWAY_SECONDS if contact.away else PROBE_SECONDS)


def silent(kafka: Kafka, contact: Contact, section: str = "kafka") -> Silence:
    """Return the error that says why no broker answers."""
    reason = contact.away or f"no word within {PROBE_SECONDS:.0f} s"
    where = f"{section}.brokers must be reachable from here"
    hint = f"{where}, and security.protocol in {section}.properties must fit the listener"
    return Silence(f"no answer from {kafka.brokers}: {reason}", hint=hint)


def judged(error: KafkaError, about: str, hint: str) -> SourceError:
    """Return the error that says what the broker refused."""
    return SourceError(f"{about}: {error.str()}", hint=hint)


def insist_on(right: AclOperation, granted: Collection[object] | None, about: str) -> None:
    """Raise when the broker names our rights (those before 2.3 do not) and `right` is not among them."""
    if granted and right not in granted:
        raise SourceError(f"we lack the right to {right.name} {about}", hint=f"grant {right.name} on {about}")
