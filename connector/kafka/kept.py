"""Owns the memory of a replay: what it is to read, kept as committed offsets of a group beside its own.

The group `<group>.plan` has no members. For each partition it holds the end of the range as the offset, and the rest
as metadata, so that the same command, interrupted or killed, goes on to the same ends. Never touches what the replay
itself has committed, except to forget it: progress without a plan would let the next replay of that name begin in the
middle. Invariant: a plan is read in full, or not at all. Brokers forget it with the offsets of any idle group, a week
after it was written by default (offsets.retention.minutes): a replay that runs longer keeps it again from time to time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.bounds import Range
from connector.core.offsets import TopicPartition
from connector.errors import SourceError
from connector.kafka.alone import others, taken
from connector.kafka.asking import PROBE_SECONDS, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.config import Kafka

VERSION = 1
_FORGET = "if it is not to go on, forget it: kafka-consumer-groups.sh --delete --group"
_GONE = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.UNKNOWN_TOPIC_OR_PART)


class Plan(NamedTuple):
    """What a replay reads; `id` is the caller's, by which it knows whether this is still what was asked for."""

    id: str
    ranges: Mapping[TopicPartition, Range]


def plan_group(group: str) -> str:
    """Return the group that keeps the plan of the replay whose own group is `group`."""
    return f"{group}.plan"


def begin(kafka: Kafka, group: str, plan: Plan) -> None:
    """Keep the plan of a new replay, and forget what an earlier one of the same group has left; raises SourceError."""
    _delete(kafka, group)
    keep(kafka, group, plan)


def keep(kafka: Kafka, group: str, plan: Plan) -> None:
    """Keep, or keep again, the plan of a replay; raises SourceError."""
    name = plan_group(group)
    notes = {tp: _Note(plan.id, r.start, len(plan.ranges)).text() for tp, r in plan.ranges.items()}
    offsets = [ClientPartition(*tp, r.end, metadata=notes[tp]) for tp, r in plan.ranges.items()]
    request = [ConsumerGroupTopicPartitions(name, offsets)]
    try:
        done = ask(kafka, lambda admin: admin.alter_consumer_group_offsets(request, request_timeout=PROBE_SECONDS))
    except KafkaException as e:
        raise _refused(name, e.args[0]) from None
    for p in done.topic_partitions:
        if p.error and p.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise SourceError(f"topic {p.topic}: {p.error.str()}", hint=f"grant READ on topic {p.topic}")
        if p.error:
            raise _refused(name, p.error)


def kept(kafka: Kafka, group: str) -> Plan | None:
    """Return the plan that is kept, or None; raises SourceError, also where it cannot be read in full."""
    name = plan_group(group)
    request = [ConsumerGroupTopicPartitions(name)]
    try:
        found = ask(kafka, lambda admin: admin.list_consumer_group_offsets(request, request_timeout=PROBE_SECONDS))
    except KafkaException as e:
        if e.args[0].code() in _GONE:
            return None
        raise _refused(name, e.args[0]) from None
    offsets = [p for p in found.topic_partitions if p.offset >= 0]
    return _read(name, offsets) if offsets else None


def forget(kafka: Kafka, group: str) -> None:
    """Forget a replay, plan and progress, once it is over and its source is closed; raises SourceError.

    The plan goes first: what is left where this ends in between is progress without a plan, which `begin` clears.
    """
    if members := others(kafka.model_copy(update={"group": group})):
        raise taken(group, members)
    _delete(kafka, plan_group(group))
    _delete(kafka, group)


def _delete(kafka: Kafka, group: str) -> None:
    try:
        ask(kafka, lambda admin: admin.delete_consumer_groups([group], request_timeout=PROBE_SECONDS))
    except KafkaException as e:
        if e.args[0].code() not in _GONE:
            raise _refused(group, e.args[0]) from None


def _refused(group: str, error: KafkaError) -> SourceError:
    if error.code() == KafkaError.NON_EMPTY_GROUP:
        return taken(group, [])
    return SourceError(f"group {group}: {error.str()}", hint=f"grant READ, DESCRIBE and DELETE on group {group}")


class _Note(NamedTuple):
    """What stands with the end of one partition: the plan's id, the start, and how many partitions there are in all."""

    id: str
    start: int
    of: int

    def text(self) -> str:
        return json.dumps({"v": VERSION, **self._asdict()}, separators=(",", ":"))


def _note(group: str, metadata: str) -> _Note:
    try:
        found = json.loads(metadata)
    except ValueError:
        found = None
    kinds = {"v": int, "id": str, "start": int, "of": int}
    if not isinstance(found, dict) or {k: type(v) for k, v in found.items()} != kinds or found.pop("v") != VERSION:
        reason = f"what group {group} keeps was not written by this version of this product"
        raise SourceError(reason, hint=f"{_FORGET} {group}")
    return _Note(**found)


def _read(group: str, offsets: list[ClientPartition]) -> Plan:
    notes = {TopicPartition(p.topic, p.partition): (p.offset, _note(group, p.metadata or "")) for p in offsets}
    ids = {note.id for _, note in notes.values()}
    if len(ids) != 1 or any(note.of != len(notes) for _, note in notes.values()):
        raise SourceError(f"the plan that group {group} keeps is not complete", hint=f"{_FORGET} {group}")
    return Plan(ids.pop(), {tp: Range(note.start, end) for tp, (end, note) in sorted(notes.items())})
