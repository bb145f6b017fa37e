"""Owns the demo's story on brokers of your own: `python -m connector.demo --brokers … --registry …`.

Never touches a topic or a subject of another name. Invariant: what it makes anew are the two topics of the story and
the one for dead letters, and only while they are missing.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from typing import TYPE_CHECKING

import click
import httpx
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connector.demo.process import ACTIVITIES, ORDER_SCHEMA, ORDERS, Process
from connector.errors import ConnectorError

if TYPE_CHECKING:
    from types import FrameType

DEAD_LETTERS = "kafka-celonis.dead-letters"
PARTITIONS = {ORDERS: 4, ACTIVITIES: 4, DEAD_LETTERS: 1}
_ANSWER_SECONDS = 30.0
_TICK_SECONDS = 0.1


@click.command()
@click.option("--brokers", required=True, metavar="HOST:PORT,…", help="Kafka without authentication.")
@click.option("--registry", required=True, metavar="URL", help="The schema registry, for the orders in Avro.")
@click.option(
    "--rate", type=click.FloatRange(0, 1000, min_open=True), default=20.0, show_default=True, help="Events/s."
)
@click.option("--seconds", type=click.FloatRange(0), help="How long; without it until SIGTERM or Ctrl-C.")
def produce(brokers: str, registry: str, rate: float, seconds: float | None) -> None:
    """Tell a purchase-to-pay process, as the demo does, to brokers of your own."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal hands over
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    make_topics(brokers)
    process = Process(register(registry))
    click.echo(f"telling {rate:g} events/s to {ORDERS} and {ACTIVITIES}")
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20})
    click.echo(f"told {tell(process, producer, rate, seconds, stop):,} events")


def make_topics(brokers: str) -> None:
    """Make the topics that are missing; raises ConnectorError when the brokers do not."""
    admin = AdminClient({"bootstrap.servers": brokers})
    try:
        there = admin.list_topics(timeout=_ANSWER_SECONDS).topics
        missing = [NewTopic(topic, num_partitions=n) for topic, n in PARTITIONS.items() if topic not in there]
        for made in admin.create_topics(missing).values() if missing else ():
            made.result(_ANSWER_SECONDS)
    except KafkaException as e:
        if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another one was faster
            raise ConnectorError(f"{brokers}: {e.args[0].str()}") from None


def register(registry: str) -> int:
    """Return the registry's id of the orders' schema, registered when it is not yet."""
    document = {"schema": json.dumps(ORDER_SCHEMA)}
    try:
        answer = httpx.post(f"{registry}/subjects/{ORDERS}-value/versions", json=document, timeout=_ANSWER_SECONDS)
        return int(answer.raise_for_status().json()["id"])
    except httpx.HTTPError as e:
        raise ConnectorError(f"{registry}: {e}") from None


def tell(process: Process, producer: Producer, rate: float, seconds: float | None, stop: threading.Event) -> int:
    """Produce `rate` events a second until `stop` or the end, and return how many; the past is forgotten as it goes."""
    began, events = time.monotonic(), 0
    while not stop.is_set() and (passed := time.monotonic() - began) < (math.inf if seconds is None else seconds):
        while events < passed * rate:
            for told in process.tell():
                producer.produce(told.topic, told.value, told.key)
            events += 1
        process.orders.clear()  # nobody compares here, and this may run for days
        process.activities.clear()
        producer.poll(0)
        stop.wait(_TICK_SECONDS)
    producer.flush(_ANSWER_SECONDS)
    return events
