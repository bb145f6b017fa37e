"""Owns the promise that a replay runs once at a time: its group has no other member.

The members of a group are Kafka's own lock: it counts them, ends those that are silent, and refuses their commits from
then on, which no note with a time of its own could do. Never ends another process. Invariant: who is let in has seen
the group without members; of two that are let in at the same moment BoundedSource finds out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaError, KafkaException

from connector.errors import SourceError
from connector.kafka.asking import PROBE_SECONDS, ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka.admin import ConsumerGroupDescription

    from connector.config import Kafka

log = structlog.get_logger()

SESSION_SECONDS = 10.0  # how long a process that was killed holds its replay up; the client's default is 45
_BROKERS_SESSION_SECONDS = 45.0  # with KIP-848 the broker says how long, and this is its default
_ASK_AGAIN_SECONDS = 0.5


def replay_settings(kafka: Kafka, group: str) -> Kafka:
    """Return the settings of the consumer of a replay: a group of its own, no static name, a short session."""
    properties = dict(kafka.properties)
    if kafka.group_protocol == "classic":  # with the other one the client must not set it
        properties.setdefault("session.timeout.ms", round(SESSION_SECONDS * 1000))
    return kafka.model_copy(update={"group": group, "instance_id": None, "properties": properties})


def others(kafka: Kafka) -> list[str]:
    """Return who is in the group now, each as `client at host`; raises SourceError."""
    try:
        found: ConsumerGroupDescription = ask(
            kafka, lambda admin: admin.describe_consumer_groups([kafka.group], request_timeout=PROBE_SECONDS)
        )
    except KafkaException as e:
        if e.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        hint = f"grant READ and DESCRIBE on group {kafka.group}"
        raise SourceError(f"group {kafka.group}: {e.args[0].str()}", hint=hint) from None
    return sorted(f"{m.client_id} at {m.host.lstrip('/')}" for m in found.members)


def wait_until_alone(kafka: Kafka, wait: Callable[[float], object] = time.sleep) -> None:
    """Return once the group has no member; one that was killed counts until its session has ended.

    `wait` is called with the seconds until the next look.

    Raises:
        SourceError: the others are alive, or Kafka does not tell.
    """
    seconds = _session_seconds(kafka) + 2.0
    deadline = time.monotonic() + seconds
    told = False
    while found := others(kafka):
        if time.monotonic() > deadline:
            raise taken(kafka.group, found)
        if not told:
            log.info("waiting for the former process of this replay to be gone", member=found[0], seconds=seconds)
        told = True
        wait(_ASK_AGAIN_SECONDS)


def _session_seconds(kafka: Kafka) -> float:
    if kafka.group_protocol == "consumer":
        return _BROKERS_SESSION_SECONDS
    return float(kafka.properties.get("session.timeout.ms", SESSION_SECONDS * 1000)) / 1000


def taken(group: str, members: list[str]) -> SourceError:
    """Return the error that says who runs this replay already."""
    who = f" ({', '.join(members)})" if members else ""
    hint = "wait for its end, or stop it: the same command then goes on where it was"
    return SourceError(f"another process{who} runs this replay: it is in group {group}", hint=hint)
