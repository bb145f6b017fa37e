"""The budget ledger on a real Kafka: one order for all, what is wrong is named, and what breaks heals."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)
from structlog.testing import capture_logs

from connector.config import Budget, Kafka
from connector.core.entries import Entry, Kind
from connector.errors import SourceError
from connector.kafka import probe
from connector.kafka.ledger import KafkaLedger
from tests.kafka_broker import PASSWORD, USER, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connector.core.entries import Stamped
    from connector.ports import Ledger
    from tests.kafka_broker import KafkaBroker

    NewBook = Callable[..., "Book"]

pytestmark = pytest.mark.kafka

RIGHT = {"message.timestamp.type": "LogAppendTime", "retention.ms": "86400000", "cleanup.policy": "delete"}
BEAT_SECONDS = 0.2


class Book:
    """A ledger that is called as the pipeline does; `entries` of the present generation, as they came."""

    def __init__(self, kafka: Kafka, topic: str, **options: Any) -> None:
        budget = Budget.model_validate({"mode": "ledger", "ledger": {"topic": topic}} | options.pop("budget", {}))
        self.replica = uuid.uuid4().hex
        self.kafka_ledger = KafkaLedger(kafka, budget, **options)
        self.ledger: Ledger = self.kafka_ledger
        self.entries: list[Stamped] = []
        self.slowest = 0.0
        self._generation, self._beaten = 1, 0.0

    def entry(self, table: str = "") -> Entry:
        return Entry(Kind.ALIVE, group="g", replica=self.replica, pool="p", rate=240, share=1, table=table)

    def read(self) -> Book:
        began = time.monotonic()
        found = self.ledger.read()
        self.slowest = max(self.slowest, time.monotonic() - began)
        if self.ledger.generation != self._generation:
            self._generation, self.entries = self.ledger.generation, []
        self.entries += found
        return self

    def beat(self) -> Book:
        """Read, and append as often as a replica says that it is alive."""
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            self.ledger.append(self.entry())
        return self.read()

    def ready(self) -> Book:
        wait_for(lambda: self.read().ledger.trouble is None, 60)
        return self

    def until_healed(self) -> Book:
        wait_for(lambda: self.beat().ledger.trouble is None, 60)
        return self

    def until_troubled(self, text: str) -> str:
        return wait_for(lambda: found if text in (found := self.read().ledger.trouble or "") else "", 60)

    @property
    def offsets(self) -> list[int]:
        return [stamped.offset for stamped in self.entries]


@pytest.fixture
def topic() -> str:
    return f"ledger-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def new_book(kafka: KafkaBroker, topic: str) -> Iterator[NewBook]:
    books: list[Book] = []

    def new(settings: Kafka | None = None, **options: Any) -> Book:
        books.append(Book(settings or Kafka(brokers=kafka.bootstrap), topic, **options))
        return books[-1]

    yield new
    for book in books:
        book.ledger.close()


def settings_of(kafka: KafkaBroker, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = kafka.admin.describe_configs([resource])[resource].result(30)
    return {name: str(entry.value) for name, entry in entries.items()}


def change(kafka: KafkaBroker, topic: str, **settings: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    kafka.admin.incremental_alter_configs([resource])[resource].result(30)


def delete(kafka: KafkaBroker, topic: str) -> None:
    kafka.admin.delete_topics([topic])[topic].result(30)
    wait_for(lambda: topic not in kafka.admin.list_topics(timeout=5).topics)


def logged_in(kafka: KafkaBroker) -> Kafka:
    properties = {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": USER, "sasl.password": PASSWORD,
    }  # fmt: skip
    return Kafka.model_validate({"brokers": kafka.sasl_bootstrap, "properties": properties})


def allow_only(kafka: KafkaBroker, topic: str, *operations: AclOperation) -> None:
    for operation in operations:
        acl = AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation,
            AclPermissionType.ALLOW,
        )  # fmt: skip
        kafka.admin.create_acls([acl])[acl].result(30)


# --- the topic --------------------------------------------------------------------------------------------------


def test_a_missing_topic_is_created_as_the_ledger_needs_it(kafka: KafkaBroker, topic: str, new_book: NewBook) -> None:
    asked = Kafka(brokers=kafka.bootstrap), Budget.model_validate({"ledger": {"topic": topic}}).ledger
    assert probe.ledger_topic(*asked) == "does not exist yet; the service creates it at its start"
    new_book().ready()
    found = settings_of(kafka, topic)
    assert found["message.timestamp.type"] == "LogAppendTime"
    assert found["retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert found["cleanup.policy"] == "delete"
    assert len(kafka.admin.list_topics(topic, timeout=5).topics[topic].partitions) == 1
    assert probe.ledger_topic(*asked) == "1 partition, settings fit"


def test_two_that_find_it_missing_share_the_one_that_is_created(new_book: NewBook) -> None:
    books = new_book(), new_book()
    wait_for(lambda: all(book.beat().ledger.anchor for book in books))
    wait_for(
        lambda: all({s.entry.replica for s in book.beat().entries} >= {b.replica for b in books} for book in books)
    )


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"message.timestamp.type": "CreateTime"}, "message.timestamp.type is CreateTime, it must be LogAppendTime"),
        ({"retention.ms": "3600000"}, "retention.ms is 3600000, it must be 86400000 (a day) or more"),
        ({"cleanup.policy": "compact"}, "cleanup.policy is compact, it must be delete"),
        ({"cleanup.policy": "compact,delete"}, "cleanup.policy is compact,delete, it must be delete"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_the_command_that_mends_it(
    kafka: KafkaBroker, topic: str, new_book: NewBook, wrong: dict[str, str], problem: str
) -> None:
    kafka.create_topic(1, topic, RIGHT | wrong)
    trouble = new_book().until_troubled(problem)
    (name,) = wrong
    assert trouble.startswith(f"topic {topic}: ")
    assert f"--entity-name {topic} --add-config {name}=" in trouble
    with pytest.raises(SourceError, match=name):
        probe.ledger_topic(Kafka(brokers=kafka.bootstrap), Budget.model_validate({"ledger": {"topic": topic}}).ledger)


def test_more_than_one_partition_has_no_order(kafka: KafkaBroker, topic: str, new_book: NewBook) -> None:
    kafka.create_topic(2, topic, RIGHT)
    assert "budget.ledger.topic" in new_book().until_troubled("has 2 partitions, the ledger needs exactly 1")


def test_retention_without_end_fits(kafka: KafkaBroker, topic: str, new_book: NewBook) -> None:
    kafka.create_topic(1, topic, RIGHT | {"retention.ms": "-1"})
    new_book().ready()


def test_a_setting_that_was_mended_is_seen(kafka: KafkaBroker, topic: str, new_book: NewBook) -> None:
    kafka.create_topic(1, topic, RIGHT | {"retention.ms": "3600000"})
    hours = [0.0]
    book = new_book(clock=lambda: time.monotonic() + hours[0])
    book.ledger.append(book.entry())
    book.until_troubled("retention.ms")
    change(kafka, topic, retention_ms="86400000")
    hours[0] = 3600
    book.until_healed()


# --- rights -----------------------------------------------------------------------------------------------------


def test_settings_that_we_may_not_see_are_judged_by_the_records(
    kafka: KafkaBroker, topic: str, new_book: NewBook
) -> None:
    kafka.create_topic(1, topic, RIGHT)
    allow_only(kafka, topic, AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)
    book = new_book(logged_in(kafka))
    book.until_troubled("grant DESCRIBE_CONFIGS")
    book.until_healed()
    asked = logged_in(kafka), Budget.model_validate({"ledger": {"topic": topic}}).ledger
    assert probe.ledger_topic(*asked) == "1 partition; its settings are hidden: grant DESCRIBE_CONFIGS"


@pytest.mark.parametrize(
    ("granted", "missing"),
    [([AclOperation.READ], "WRITE"), ([AclOperation.WRITE], "READ"), ([AclOperation.CREATE], "")],
)
def test_a_right_that_is_missing_is_trouble_until_it_is_granted(
    kafka: KafkaBroker, topic: str, new_book: NewBook, granted: list[AclOperation], missing: str
) -> None:
    kafka.create_topic(1, topic, RIGHT)
    allow_only(kafka, topic, *granted)
    hours = [0.0]
    book = new_book(logged_in(kafka), clock=lambda: time.monotonic() + hours[0])
    book.until_troubled(f"grant {missing}")
    allow_only(kafka, topic, AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE_CONFIGS)
    hours[0] = 3600
    book.until_healed()


def test_a_group_of_which_we_have_no_right_is_no_trouble(kafka: KafkaBroker, new_book: NewBook) -> None:
    group = uuid.uuid4().hex
    acl = AclBinding(
        ResourceType.GROUP, group, ResourcePatternType.LITERAL, "User:other", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )  # fmt: skip
    kafka.admin.create_acls([acl])[acl].result(30)
    book = new_book(logged_in(kafka).model_copy(update={"group": group}))
    book.until_healed()
    before = len(book.entries)
    wait_for(lambda: len(book.beat().entries) > before + 5 and book.ledger.trouble is None)


# --- reading ----------------------------------------------------------------------------------------------------


def test_all_see_the_entries_of_all_in_the_same_order(new_book: NewBook) -> None:
    first, second = new_book().ready(), new_book().ready()
    for number in range(50):
        for book in (first, second):
            book.ledger.append(book.entry(table=str(number)))
    wait_for(lambda: all(len(book.read().entries) == 100 for book in (first, second)))
    assert first.entries == second.entries
    assert first.offsets == list(range(100))
    times = [stamped.at for stamped in first.entries]
    assert times == sorted(times)
    assert abs(times[0] - time.time()) < 60
    for book in (first, second):
        own = [s.entry.table for s in book.entries if s.entry.replica == book.replica]
        assert own == [str(number) for number in range(50)]


def test_the_last_entry_from_before_the_topic_was_known_goes_out_with_it(new_book: NewBook) -> None:
    book = new_book()
    for table in ("first", "last"):
        book.ledger.append(book.entry(table))
    wait_for(lambda: book.read().ledger.anchor)
    assert [s.entry.table for s in book.entries] == ["last"]
    assert book.ledger.trouble is None


def test_who_comes_later_reads_to_the_end_before_there_is_no_trouble(new_book: NewBook) -> None:
    first = new_book().ready()
    for _ in range(3000):
        first.ledger.append(first.entry())
    wait_for(lambda: len(first.read().entries) == 3000)
    second = new_book()
    assert second.ledger.trouble
    assert second.ready().entries == first.entries


def test_what_is_older_than_the_budgets_memory_is_not_read(new_book: NewBook) -> None:
    first = new_book().ready()
    first.ledger.append(first.entry(table="old"))
    wait_for(lambda: first.read().entries)
    at = first.entries[0].at
    fast = {"clock_speed": 3600}  # an hour is a second
    late = new_book(budget=fast, utc=lambda: at + 66).ready()
    early = new_book(budget=fast, utc=lambda: at + 64).ready()
    assert late.entries == []
    assert early.entries == first.entries


def test_the_anchor_is_the_last_own_entry_that_was_read_back(new_book: NewBook) -> None:
    first, second = new_book().ready(), new_book().ready()
    assert first.ledger.anchor is None
    before = time.monotonic()
    first.ledger.append(first.entry())
    sent = time.monotonic()
    anchor = wait_for(lambda: first.read().ledger.anchor)
    assert anchor
    assert before <= anchor.sent <= sent
    assert anchor.at == first.entries[0].at
    wait_for(lambda: second.read().entries)
    assert second.ledger.anchor is None
    second.ledger.append(second.entry())
    wait_for(lambda: len(first.read().entries) == 2)
    assert first.ledger.anchor == anchor


def test_what_is_no_entry_is_skipped_and_told_once(kafka: KafkaBroker, topic: str, new_book: NewBook) -> None:
    kafka.create_topic(1, topic, RIGHT)
    kafka.produce(topic, b"garbage", None, b"{}")
    with capture_logs() as logs:
        book = new_book().ready()
        book.ledger.append(book.entry())
        wait_for(lambda: book.read().entries)
    assert book.offsets == [3]
    skipped = [(line["offset"], line["log_level"]) for line in logs if line["event"] == "skipped record of the ledger"]
    assert skipped == [(0, "warning"), (1, "warning"), (2, "warning")]


def test_another_version_of_the_connector_is_trouble_for_an_hour(
    kafka: KafkaBroker, topic: str, new_book: NewBook
) -> None:
    kafka.create_topic(1, topic, RIGHT)
    kafka.produce(topic, json.dumps({"v": 2, "kind": "alive"}).encode())
    hours = [0.0]
    book = new_book(utc=lambda: time.time() + hours[0])
    trouble = book.until_troubled("written by another version of the connector")
    assert "version 2" in trouble
    hours[0] = 3000
    assert book.read().ledger.trouble == trouble
    hours[0] = 3700
    book.ready()


def test_times_of_writers_are_trouble_for_an_hour(kafka: KafkaBroker, topic: str, new_book: NewBook) -> None:
    kafka.create_topic(1, topic, RIGHT | {"message.timestamp.type": "CreateTime"})
    kafka.produce(topic, Entry(Kind.ALIVE, "g", "r", "p", 1, 1).to_bytes())
    change(kafka, topic, message_timestamp_type="LogAppendTime")
    book = new_book()
    book.until_troubled("message.timestamp.type")
    assert book.entries == []


def test_a_clock_that_is_far_from_the_brokers_is_trouble_until_it_is_right(new_book: NewBook) -> None:
    fast = [100.0]
    book = new_book(utc=lambda: time.time() + fast[0]).ready()
    book.ledger.append(book.entry())
    assert "keep the true time" in book.until_troubled("clock is about -100 s from ours")
    fast[0] = 0
    book.until_healed()


# --- what breaks, and heals -------------------------------------------------------------------------------------


def test_a_broker_that_hangs_is_trouble_within_seconds_and_holds_nothing_up(
    kafka: KafkaBroker, new_book: NewBook
) -> None:
    book = new_book().ready()
    kafka.freeze()
    try:
        began = time.monotonic()
        book.ledger.append(book.entry())
        book.until_troubled("an entry ")  # is not acknowledged, and a moment later has timed out
        assert 4.5 < time.monotonic() - began < 15
        assert book.slowest < 2  # a hanging broker would hold a waiting call for 10 or more
        other = new_book()
        other.read()
        began = time.monotonic()
        other.ledger.close()
        assert time.monotonic() - began < 8
    finally:
        kafka.thaw()
    book.until_healed()
    assert book.offsets == sorted(set(book.offsets))
    assert book.ledger.generation == 1


def test_a_broker_that_loses_power_is_trouble_and_heals_without_reading_anew(
    kafka: KafkaBroker, new_book: NewBook
) -> None:
    book = new_book().until_healed()
    kafka.kill()
    with capture_logs() as logs:
        wait_for(lambda: "are away" in (book.beat().ledger.trouble or ""))
        kafka.start()
        book.until_healed()
    assert book.ledger.generation == 1
    assert book.offsets == list(range(len(book.offsets)))
    assert [line["event"] for line in logs].count("trust ledger") == 1


def test_a_topic_made_anew_is_another_generation(kafka: KafkaBroker, topic: str, new_book: NewBook) -> None:
    book = new_book().ready()
    wait_for(lambda: len(book.beat().entries) >= 10)
    delete(kafka, topic)
    kafka.create_topic(1, topic, RIGHT)
    kafka.produce(topic, book.entry(table="new").to_bytes())
    wait_for(lambda: book.beat().ledger.generation > 1)
    book.until_healed()
    assert book.offsets == list(range(len(book.offsets)))
    assert [s.entry.table for s in book.entries].count("new") == 1


def test_a_topic_made_anew_is_noticed_in_a_minute_where_its_offsets_do_not_tell(
    kafka: KafkaBroker, topic: str, new_book: NewBook
) -> None:
    minutes = [0.0]
    book = new_book(clock=lambda: time.monotonic() + minutes[0]).ready()
    wait_for(lambda: len(book.beat().entries) >= 10)
    delete(kafka, topic)
    kafka.create_topic(1, topic, RIGHT)
    kafka.produce(topic, *[book.entry(table="new").to_bytes()] * 50)
    minutes[0] = 60
    wait_for(lambda: book.beat().ledger.generation > 1)
    book.until_healed()
    assert book.offsets == list(range(len(book.offsets)))
    assert [s.entry.table for s in book.entries].count("new") == 50


def test_a_topic_that_was_deleted_is_created_again(kafka: KafkaBroker, topic: str, new_book: NewBook) -> None:
    book = new_book().until_healed()
    delete(kafka, topic)
    wait_for(lambda: book.beat().ledger.generation > 1 and book.ledger.trouble is None, 90)
    assert settings_of(kafka, topic)["message.timestamp.type"] == "LogAppendTime"
    assert book.offsets == list(range(len(book.offsets)))
