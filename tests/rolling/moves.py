"""Owns who had which partition when, as the pods' own logs tell it.

Never asks Kafka: between two answers partitions could come and go. Invariant: a partition has one owner or none at any
moment; a pod that ends owns nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.rolling.pods import Pod

_GIVEN, _TAKEN = "was given partitions", {"gave partitions back", "lost partitions to others"}


class Event(NamedTuple):
    """At `at` (seconds since the epoch) a pod was given `partitions`, or they left it."""

    at: float
    pod: str
    given: bool
    partitions: tuple[str, ...]


class Move(NamedTuple):
    """A partition went from the pod that had it last to another one."""

    partition: str
    before: str
    after: str


def events(pods: Iterable[Pod]) -> list[Event]:
    """Return what has happened, in its order."""
    found = [
        Event(line.at, pod.name, line.event == _GIVEN, line.partitions)
        for pod in pods
        for line in pod.lines()
        if line.partitions and (line.event == _GIVEN or line.event in _TAKEN)
    ]
    return sorted(found)


def owners(found: Iterable[Event], at: float) -> dict[str, str]:
    """Return who was given each partition last, by `at`."""
    return {partition: e.pod for e in found if e.given and e.at <= at for partition in e.partitions}


def moves(found: Iterable[Event], begin: float, end: float) -> Iterator[Move]:
    """Yield what went from one pod to another one after `begin`, until `end`."""
    known = list(found)
    owner = owners(known, begin)
    for event in known:
        if event.given and begin < event.at <= end:
            for partition in event.partitions:
                if partition in owner and owner[partition] != event.pod:
                    yield Move(partition, owner[partition], event.pod)
                owner[partition] = event.pod


def disturbed(found: Iterable[Event], begin: float, end: float) -> set[str]:
    """Return the pods that partitions left or came to between `begin` and `end`."""
    return {event.pod for event in found if begin < event.at <= end}
