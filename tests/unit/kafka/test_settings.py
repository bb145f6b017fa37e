"""The properties of the clients: what users set arrives, what the promises rest on stays, and no secret is told."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from connector.config import Kafka
from connector.errors import ConfigError
from connector.kafka.settings import client_properties, consumer_properties, make


def test_what_the_user_sets_comes_before_the_defaults() -> None:
    kafka = Kafka(brokers="b:1", properties={"reconnect.backoff.ms": 7, "queued.min.messages": 8})
    assert consumer_properties(kafka)["reconnect.backoff.ms"] == 7
    assert consumer_properties(kafka)["queued.min.messages"] == 8


@pytest.mark.parametrize(
    "name", ["sasl.username", "ssl.ca.location", "enable.ssl.certificate.verification", "security.protocol"]
)
def test_security_holds_for_every_client(name: str) -> None:
    kafka = Kafka(brokers="b:1", properties={name: "x"})
    assert client_properties(kafka)[name] == "x"


def test_what_only_a_consumer_knows_is_kept_from_the_other_clients() -> None:
    kafka = Kafka(brokers="b:1", properties={"fetch.wait.max.ms": 5, "session.timeout.ms": 6000})
    assert not {"fetch.wait.max.ms", "session.timeout.ms"} & client_properties(kafka).keys()


def test_nothing_is_committed_that_we_do_not_commit() -> None:
    properties = consumer_properties(Kafka(brokers="b:1"))
    assert properties["enable.auto.commit"] is False
    assert properties["enable.auto.offset.store"] is False


def test_with_the_new_protocol_the_broker_assigns_and_keeps_the_sessions() -> None:
    properties = consumer_properties(Kafka(brokers="b:1", group_protocol="consumer", instance_id="pod-0"))
    assert properties["group.protocol"] == "consumer"
    assert properties["group.instance.id"] == "pod-0"
    assert not {"partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"} & properties.keys()
    make(Consumer, properties).close()


def test_a_session_of_our_own_under_the_new_protocol_is_a_problem_of_the_configuration() -> None:
    kafka = Kafka(brokers="b:1", group_protocol="consumer", properties={"session.timeout.ms": 6000})
    with pytest.raises(ConfigError, match=r"kafka\.properties: .*session\.timeout\.ms"):
        make(Consumer, consumer_properties(kafka))


def test_a_property_that_librdkafka_does_not_know_is_a_problem_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r'kafka\.properties: .*"no.such.thing"'):
        make(Consumer, consumer_properties(Kafka(brokers="b:1", properties={"no.such.thing": 1})))


def test_a_key_that_cannot_be_read_is_not_shown() -> None:
    properties = {"security.protocol": "ssl", "ssl.key.pem": "top-secret", "sasl.mechanism": "top-secret"}
    with pytest.raises(ConfigError) as caught:
        make(Consumer, consumer_properties(Kafka(brokers="b:1", properties=properties)))
    assert "top-secret" not in str(caught.value)
