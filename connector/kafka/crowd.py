"""Owns the question who else pushes while a replay runs: the service, and other replays of it, looked for in a thread.

Never joins a group, and never decides what that means. Invariant: what is told is no older than a few looks, and every
broker has said it; else nothing is told.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import structlog
from confluent_kafka import ConsumerGroupState, KafkaException

from connector.errors import SourceError
from connector.kafka.asking import PROBE_SECONDS, ask
from connector.kafka.threads import begin

if TYPE_CHECKING:
    from confluent_kafka.admin import ListConsumerGroupsResult

    from connector.config import Kafka

log = structlog.get_logger()

_OLD_LOOKS = 3.0  # without an answer, until nothing is told any more
_IDLE = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)


class Crowd(NamedTuple):
    """Whether a `service` runs, how many `replays` of it do beside ours, and whether ours is seen by them."""

    service: bool
    replays: int
    ours: bool


def prefix_of_replays(group: str) -> str:
    """Return how the groups of all replays beside the service of `group` begin."""
    return f"{group}.replay."


def crowd(kafka: Kafka, own: str = "") -> Crowd:
    """Return who runs now beside the replay whose group is `own`; raises SourceError."""
    try:
        found: ListConsumerGroupsResult = ask(
            kafka, lambda admin: {0: admin.list_consumer_groups(request_timeout=PROBE_SECONDS)}
        )
    except KafkaException as e:
        raise SourceError(f"cannot list groups: {e.args[0].str()}", hint="grant DESCRIBE on the groups") from None
    return crowd_in(found, kafka.group, own)


def crowd_in(found: ListConsumerGroupsResult, group: str, own: str) -> Crowd:
    """Return who runs by the groups `found`, beside the service of `group`; raises SourceError where some are missing.

    Each broker answers for the groups that it leads.
    """
    for error in found.errors or ():
        why = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        raise SourceError(f"cannot list all groups: {why}", hint="every broker must answer: try again once they do")
    running = {g.group_id for g in found.valid or () if g.state not in _IDLE}
    replays = {g for g in running if g.startswith(prefix_of_replays(group))}  # plans have no members, and so are idle
    return Crowd(group in running, len(replays - {own}), own in replays)


class Lookout:
    """Looks every `seconds` who else runs beside the replay whose group is `own`."""

    def __init__(self, kafka: Kafka, own: str, seconds: float) -> None:
        self._kafka, self.own, self.seconds = kafka, own, seconds
        self._seen: tuple[Crowd, float] | None = None
        self._stop = threading.Event()
        begin(self._run, "kafka-crowd")

    def seen(self) -> Crowd | None:
        """Return what was seen last, or None where that is too long ago."""
        found = self._seen
        return found[0] if found and time.monotonic() - found[1] < _OLD_LOOKS * self.seconds + PROBE_SECONDS else None

    def close(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._seen = crowd(self._kafka, self.own), began
            except SourceError as e:
                log.info("could not look for other replays", error=str(e))
            self._stop.wait(self.seconds)
