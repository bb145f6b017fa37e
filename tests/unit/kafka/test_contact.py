"""What the client says of its brokers, and what becomes of it."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from connector.errors import SourceError
from connector.kafka.contact import Contact

DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
REFUSED = KafkaError(KafkaError._TRANSPORT, "b:1: Connection refused")


@pytest.mark.parametrize("errors", [(DOWN, REFUSED), (REFUSED, DOWN)])
def test_an_outage_names_its_cause_whichever_is_told_first(errors: tuple[KafkaError, ...]) -> None:
    contact = Contact("b:1")
    for error in errors:
        contact.on_error(error)
    assert contact.away == "b:1: Connection refused"
    contact.insist()


def test_one_broker_of_several_that_is_gone_is_no_outage() -> None:
    contact = Contact("b:1,b:2")
    contact.on_error(REFUSED)
    assert contact.away is None


def test_an_outage_ends_with_the_first_broker_that_is_connected_again() -> None:
    contact = Contact("b:1")
    contact.on_error(DOWN)
    contact.on_statistics(json.dumps({"brokers": {"b:1": {"state": "CONNECT"}}}))
    assert contact.away
    contact.on_statistics(json.dumps({"brokers": {"b:1": {"state": "DOWN"}, "b:2": {"state": "UP"}}}))
    assert contact.away is None


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "kafka.group"),
        (KafkaError._AUTHENTICATION, "sasl.password"),
        (KafkaError.FENCED_INSTANCE_ID, "kafka.instance_id"),
    ],
)
def test_what_is_final_names_what_to_mend(code: int, hint: str) -> None:
    contact = Contact("b:1")
    contact.on_error(KafkaError(code), "orders")
    with pytest.raises(SourceError, match=hint):
        contact.insist()


@pytest.mark.parametrize("said", ["Static consumer fenced by group.instance.id", "The instance ID is still used"])
def test_an_instance_that_is_taken_is_known_by_the_words_of_either_protocol(said: str) -> None:
    contact = Contact("b:1")
    contact.on_error(KafkaError(KafkaError._FATAL, said))
    with pytest.raises(SourceError, match=r"kafka\.instance_id"):
        contact.insist()


def test_a_topic_that_we_may_not_read_stops_no_other_and_is_told_once() -> None:
    contact = Contact("b:1")
    with capture_logs() as logs:
        for _ in range(2):
            contact.on_error(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "orders")
    contact.insist()
    assert "grant READ and DESCRIBE on the topic" in contact.forbidden["orders"]
    assert [(line["log_level"], line["topic"]) for line in logs] == [("error", "orders")]


def test_a_broken_handshake_is_final_only_before_the_first_contact() -> None:
    contact = Contact("b:1")
    contact.reached()
    contact.on_error(KafkaError(KafkaError._SSL, "handshake failed"))
    contact.insist()
    with pytest.raises(SourceError, match="ssl"):
        _first_handshake_fails().insist()


def _first_handshake_fails() -> Contact:
    contact = Contact("b:1")
    contact.on_error(KafkaError(KafkaError._SSL, "certificate verify failed"))
    return contact


def test_the_section_that_says_how_to_reach_the_brokers_is_named() -> None:
    contact = Contact("b:1", "budget.ledger")
    contact.on_error(KafkaError(KafkaError._AUTHENTICATION, "no"))
    with pytest.raises(SourceError, match=r"in budget\.ledger\.properties"):
        contact.insist()
