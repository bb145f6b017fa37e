"""The ledger without brokers: trouble, never an exception, and no waiting; and the properties of its clients.

The embedded cluster describes and creates no topics: entries flow on a real Kafka (tests/integration/test_ledger.py).
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from connector.config import Budget, Kafka
from connector.core.entries import Entry, Kind
from connector.errors import ConfigError
from connector.kafka.ledger import KafkaLedger
from connector.kafka.settings import ledger_cluster, ledger_consumer_properties, ledger_producer_properties
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENTRY = Entry(Kind.ALIVE, group="g", replica="r", pool="p", rate=240, share=1)


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address on loopback that is ours and refuses every connection."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def new_ledger() -> Iterator[Callable[[str], KafkaLedger]]:
    made: list[KafkaLedger] = []

    def new(brokers: str) -> KafkaLedger:
        made.append(KafkaLedger(Kafka(brokers=brokers), Budget(mode="ledger")))
        return made[-1]

    yield new
    for ledger in made:
        ledger.close()


def trouble_of(ledger: KafkaLedger, text: str) -> str:
    """Return the trouble that `text` is in, once it is there."""

    def look() -> str:
        ledger.read()
        found = ledger.trouble or ""
        return found if text in found else ""

    return wait_for(look)


def test_brokers_that_are_away_are_trouble_and_nothing_waits_for_them(
    nowhere: str, new_ledger: Callable[[str], KafkaLedger]
) -> None:
    with capture_logs() as logs:
        ledger = new_ledger(nowhere)
        began = time.monotonic()
        ledger.append(ENTRY)
        ledger.read()
        assert time.monotonic() - began < 0.5
        trouble_of(ledger, "away")
        ledger.append(ENTRY)
        for _ in range(10):
            ledger.read()
    assert ledger.anchor is None
    told = [line["reason"] for line in logs if line["event"].startswith("distrust")]
    assert len(told) == len(set(told)), "each trouble is told once"
    began = time.monotonic()
    ledger.close()
    assert time.monotonic() - began < 4


def test_a_property_that_does_not_exist_is_a_problem_of_the_configuration() -> None:
    there: dict[str, Any] = {"brokers": "b:1", "properties": {"ssl.no.such": 1}}
    with pytest.raises(ConfigError, match=r"budget\.ledger\.properties: "):
        KafkaLedger(Kafka(brokers="a:1"), Budget.model_validate({"ledger": there}))


def test_the_ledger_is_beside_the_messages_or_on_brokers_of_its_own() -> None:
    kafka = Kafka(brokers="a:1", properties={"sasl.username": "a"})
    here = ledger_cluster(kafka, Budget().ledger)
    assert (here.kafka, here.section) == (kafka, "kafka")
    ledger = Budget.model_validate({"ledger": {"brokers": "b:1", "properties": {"sasl.username": "b"}}}).ledger
    there = ledger_cluster(kafka, ledger)
    assert there.section == "budget.ledger"
    for properties in (ledger_consumer_properties(there.kafka), ledger_producer_properties(there.kafka)):
        assert (properties["bootstrap.servers"], properties["sasl.username"]) == ("b:1", "b")


def test_what_the_ledger_rests_on_cannot_be_overridden() -> None:
    kafka = Kafka(
        brokers="a:1", properties={"acks": 0, "enable.idempotence": False, "linger.ms": 5, "fetch.min.bytes": 9}
    )
    producer, consumer = ledger_producer_properties(kafka), ledger_consumer_properties(kafka)
    assert (producer["acks"], producer["enable.idempotence"], producer["linger.ms"]) == ("all", True, 0)
    assert "fetch.min.bytes" not in consumer
