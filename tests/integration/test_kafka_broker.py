"""The harness itself: what tests lean on when they ask for a real Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka


def test_the_broker_keeps_its_messages_over_a_power_cut(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, b"a", b"b")
    kafka.restart()
    kafka.produce(topic, b"c")
    assert [m.value() for m in kafka.read(topic, 3)] == [b"a", b"b", b"c"]
