"""Owns whether the group has this consumer for its member, and how the consumer leaves it.

Never joins by itself, and knows no partition. Invariant: who was given up by the group is its member again only after
a newer sign of that: partitions, or answers of the coordinator.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from confluent_kafka import Consumer

log = structlog.get_logger()

CLOSE_SECONDS = 8.0  # the longest a group is left in good order; a broker that hangs would hold us up for minutes
MEMBER_MS = 1000  # that the group's coordinator is known: the first heartbeat joins, and is sent at once
ANSWERS_AGAIN = 2  # one may be to what was asked before the loss; heartbeats wait for each other, and the first joins


class Membership:
    """What is known of being in the group, by `protocol`: `classic`, or `consumer` (KIP-848)."""

    def __init__(self, protocol: str) -> None:
        self._untold = protocol == "consumer"  # nobody tells a member to which the group gives nothing
        self._given_up = False
        self._answers: int | None = None  # of the coordinator, as of the first look after the loss
        self.joined = False

    def taken_in(self) -> None:
        """Take note that the group has given us our part, which may be empty."""
        self.joined, self._given_up, self._answers = True, False, None

    def given_up(self) -> None:
        """Take note that the group goes on without us, until it takes us in again."""
        self.joined, self._given_up, self._answers = False, True, None

    def on_statistics(self, document: str) -> None:
        """Look, where nobody tells, whether heartbeats pass: after a loss by the answers that came since."""
        if self.joined or not self._untold:
            return
        known = json.loads(document)
        group = known.get("cgrp", {})
        passing = group.get("state") == "up" and group.get("stateage", 0) > MEMBER_MS
        answers = known.get("brokers", {}).get("GroupCoordinator", {}).get("rx", 0)
        if not self._given_up:
            self.joined = passing
        elif self._answers is None or not passing:
            self._answers = answers
        elif answers >= self._answers + ANSWERS_AGAIN:
            self.taken_in()


def leave(consumer: Consumer, *, idle: bool) -> bool:
    """Close `consumer` within CLOSE_SECONDS; whether its group let it go. `idle`: it is subscribed and has nothing."""
    if idle:  # just closing, librdkafka 2.16 stays in a group that gave it nothing
        consumer.unsubscribe()
    closer = threading.Thread(target=consumer.close, name="kafka-close", daemon=True)
    closer.start()
    closer.join(CLOSE_SECONDS)
    if closer.is_alive():
        log.warning("left the group without its coordinator, which does not answer", seconds=CLOSE_SECONDS)
    return not closer.is_alive()
