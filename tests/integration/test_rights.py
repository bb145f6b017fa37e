"""The rights at Kafka that the README names: with them everything works on a broker that forbids the rest, and each is
needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from connector.demo.running import RunningConnector
from tests.integration.world import World, as_json
from tests.kafka_broker import PASSWORD, USER, KafkaBroker, kafka_jars, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kafka

_README = Path(__file__).parents[2] / "README.md"
_ROW = re.compile(r"^\| (topic|group)s? `([^`]+?)(\*?)`[^|]* \| ([A-Z_, ]+) \| (.+) \|$", re.MULTILINE)
ORDERS, DEAD_LETTERS, GROUP = "orders", "kafka-celonis.dead-letters", "kafka-celonis"
LEDGER, REPLAYS = "kafka-celonis.budget", "kafka-celonis.replay."
ROWS = 500
_REPLAY = "replay", "ORDERS", "--from", "earliest", "--yes", "--quiet"
COMMANDS = {  # that need a right which `check` does not ask for
    (DEAD_LETTERS, "READ"): (*_REPLAY, "--dead-letters"),
    (REPLAYS, "READ"): (*_REPLAY, "--into", "COPY"),
    (REPLAYS, "DELETE"): (*_REPLAY, "--into", "COPY"),
}


class Right(NamedTuple):
    """One row of the README's table: a resource, whether it is a prefix, an operation, and what it is for."""

    kind: str
    name: str
    prefix: bool
    operation: str
    purpose: str

    @property
    def acl(self) -> AclBinding:
        return AclBinding(
            ResourceType[self.kind.upper()],
            self.name,
            ResourcePatternType.PREFIXED if self.prefix else ResourcePatternType.LITERAL,
            f"User:{USER}",
            "*",
            AclOperation[self.operation],
            AclPermissionType.ALLOW,
        )


def told() -> list[Right]:
    """Return the rights that the README names."""
    rows = _ROW.findall(_README.read_text(encoding="utf-8"))
    return [
        Right(kind, name, bool(star), operation, purpose)
        for kind, name, star, operations, purpose in rows
        for operation in operations.split(", ")
    ]


@pytest.fixture(scope="module")
def closed(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker of its own that forbids what no ACL allows; `kafka` tells whether there can be one."""
    assert kafka_jars(kafka.version)
    forbidding = {"allow.everyone.if.no.acl.found": "false", "auto.create.topics.enable": "false"}
    with KafkaBroker(tmp_path_factory.mktemp("closed"), forbidding) as broker:
        broker.create_topic(2, ORDERS)
        broker.create_topic(1, DEAD_LETTERS)
        yield broker


@pytest.fixture
def world(closed: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(closed, tmp_path) as made:
        made.group, made.dead_letters = GROUP, DEAD_LETTERS
        yield made


def allow(broker: KafkaBroker, *rights: Right) -> None:
    for made in broker.admin.create_acls([right.acl for right in rights]).values():
        made.result(30)


def forbid(broker: KafkaBroker, right: Right) -> None:
    acl = right.acl
    found = AclBindingFilter(
        acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation, acl.permission_type
    )
    assert len(broker.admin.delete_acls([found])[found].result(30)) == 1


def forget(broker: KafkaBroker, topic: str) -> None:
    if topic in broker.admin.list_topics(timeout=5).topics:
        broker.admin.delete_topics([topic])[topic].result(30)
        wait_for(lambda: topic not in broker.admin.list_topics(timeout=5).topics)


def complaints(text: str) -> list[str]:
    """Return what a command said of what it lacks: failed checks with their next steps, errors, and remarks."""
    parts = re.split(r"^(?=pass  |FAIL  |kafka-celonis: )", text, flags=re.MULTILINE)
    return [part for part in parts if not part.startswith("pass") or "hidden" in part]


def connector(world: World) -> RunningConnector:
    login = {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": USER, "sasl.password": "${KAFKA_PASSWORD}", "session.timeout.ms": 6000,
    }  # fmt: skip
    table = {"topics": [ORDERS], "target": "ORDERS", "format": "json"}
    kafka = {"brokers": world.kafka.sasl_bootstrap, "dead_letter_topic": DEAD_LETTERS, "properties": login}
    settings = world.settings(table, kafka=kafka, budget={"mode": "ledger"})
    return RunningConnector(world.folder, settings, {"CELONIS_APP_KEY": world.key, "KAFKA_PASSWORD": PASSWORD})


def test_what_the_readme_names_is_enough(world: World) -> None:
    allow(world.kafka, *told())
    world.produce(ORDERS, [(n % 2, as_json({"id": n})) for n in range(ROWS)])
    world.produce(ORDERS, [(0, b"not JSON")])
    with connector(world) as service:
        service.wait_until_ready()
        world.wait_until_committed()
        assert world.count("ORDERS") == ROWS
        for command in (("check",), ("status",), ("budget",), ("intents",), ("plan",)):
            code, text = service.ask(*command)
            assert code == 0, text
        for way in (("--into", "COPY"), ("--replace",), ("--dead-letters",), ("--abandon",)):
            ends = () if way == ("--abandon",) else ("--from", "earliest")
            code, text = service.ask("replay", "ORDERS", *ends, *way, "--yes", "--quiet")
            assert code == 0, f"{way}: {text}"
        assert world.count("ORDERS", "COPY") == 2 * ROWS
        assert service.metrics()["kafka_celonis_ledger_trouble"] == 0
        assert service.stop() == 0


def test_each_is_needed_and_asked_for_by_its_name(world: World) -> None:
    forget(world.kafka, LEDGER)
    process = connector(world)
    for right in sorted(told(), key=lambda right: right.operation):  # CREATE first: the ledger is made with it alone
        allow(world.kafka, *told())
        forbid(world.kafka, right)
        code, text = process.ask(*COMMANDS.get((right.name, right.operation), ("check",)))
        asked = [said for said in complaints(text) if right.name in said and right.operation in said]
        assert asked, f"{right}: {text}"
        assert (code != 0) != (right.operation == "DESCRIBE_CONFIGS"), text  # without it the settings stay unseen
        if right.operation == "CREATE":
            world.kafka.create_topic(1, LEDGER, {"message.timestamp.type": "LogAppendTime"})
