"""Who runs beside a replay, by the list of groups that the brokers give together."""

from __future__ import annotations

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import ConsumerGroupListing, ListConsumerGroupsResult

from connector.errors import SourceError
from connector.kafka.crowd import Crowd, crowd_in

STATES = {
    "g": ConsumerGroupState.STABLE,
    "g.replay.a": ConsumerGroupState.PREPARING_REBALANCING,
    "g.replay.b": ConsumerGroupState.STABLE,
    "g.replay.b.plan": ConsumerGroupState.EMPTY,
    "g.replay.c": ConsumerGroupState.DEAD,
    "g.orders": ConsumerGroupState.EMPTY,
    "other.replay.d": ConsumerGroupState.STABLE,
}


def listed(*names: str) -> list[ConsumerGroupListing]:
    return [ConsumerGroupListing(name, is_simple_consumer_group=False, state=STATES[name]) for name in names]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("g.replay.a", Crowd(service=True, replays=1, ours=True)),
        ("g.replay.c", Crowd(service=True, replays=2, ours=False)),
        ("", Crowd(service=True, replays=2, ours=False)),
    ],
)
def test_groups_with_members_run(own: str, expected: Crowd) -> None:
    assert crowd_in(ListConsumerGroupsResult(valid=listed(*STATES), errors=[]), "g", own) == expected


def test_where_nobody_runs_nobody_is_seen() -> None:
    assert crowd_in(ListConsumerGroupsResult(), "g", "g.replay.a") == Crowd(service=False, replays=0, ours=False)


def test_an_answer_that_lacks_the_groups_of_a_broker_is_none() -> None:
    error = KafkaException(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, "broker 2 is loading"))
    found = ListConsumerGroupsResult(valid=listed("g.replay.a"), errors=[error])
    with pytest.raises(SourceError, match=r"cannot list all groups: broker 2 is loading .every broker must answer"):
        crowd_in(found, "g", "g.replay.a")
