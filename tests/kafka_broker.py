"""Owns a real Apache Kafka for the tests: one KRaft node on loopback, its jars by Maven, its data in a given folder.

Never leaves a process behind: it ends with the `with` block, and on Linux with the test run, however that ends.
Invariant: a restart keeps data and ports, so that clients find the same cluster again.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    T = TypeVar("T")

VERSION = os.environ.get("KAFKA_VERSION", "4.4.0")
OLDEST = "3.5.2"  # the first line whose KRaft knows SCRAM users, which this harness makes
USER, PASSWORD = "alice", "alice-secret"  # of the SASL listener, by PLAIN and by SCRAM-SHA-256
START_SECONDS = 60.0
CACHE = Path(__file__).parents[1] / ".kafka"
LOG4J = "2.24.3"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>broker</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{kafka}</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
<version>{log4j}</version></dependency>
</dependencies></project>
"""
SILENT = logging.getLogger("tests.kafka")  # for clients whose broker is broken on purpose
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


class MissingTool(Exception):  # noqa: N818 - a state of the machine
    """The machine cannot run a real Kafka; the text says why."""


def wait_for(what: Callable[[], T], seconds: float = 30.0) -> T:
    """Return the first true answer of `what`, which should take a moment itself; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain, the last answer was {answer!r}"
    return answer


def kafka_jars(version: str = VERSION) -> Path:
    """Return the folder of the broker's jars, fetched once by Maven; raises MissingTool."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise MissingTool(f"a real Kafka needs {tool} on the PATH")
    CACHE.mkdir(exist_ok=True)
    jars = CACHE / version
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be fetching them
        if not jars.exists():
            _fetch(version, jars)
    return jars


def _fetch(version: str, jars: Path) -> None:
    partial = CACHE / f"{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    pom = partial / "pom.xml"
    pom.write_text(_POM.format(kafka=version, log4j=LOG4J))
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    done = subprocess.run(
        ["mvn", "-B", "-q", "-f", str(pom), *goal], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise MissingTool(f"Maven could not fetch Kafka {version}: {done.stdout[-2000:]}{done.stderr[-500:]}")
    partial.rename(jars)


class KafkaBroker:
    """One node, which is broker and controller. `bootstrap` is open to all, `sasl_bootstrap` asks who you are.

    Everybody may do everything until a test sets an ACL; who comes through `bootstrap` is a super user.
    """

    def __init__(self, folder: Path, properties: Mapping[str, object] | None = None, *, version: str = VERSION) -> None:
        self._folder, self.version = folder, version
        jars = kafka_jars(version)
        self._java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
        self._ports = [_free_port() for _ in range(3)]
        self._extra = dict(properties or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap = f"127.0.0.1:{self._ports[0]}"
        self.sasl_bootstrap = f"127.0.0.1:{self._ports[2]}"
        client: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "logger": SILENT}
        self.admin = AdminClient(client)
        self._producer = Producer(client | {"message.max.bytes": 64 << 20})

    def __enter__(self) -> Self:
        self._format()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()

    # --- the process ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the node and wait until it answers."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._configuration)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - a single prctl
            )  # fmt: skip
        try:
            wait_for(self._answers, START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the broker ended: {self.log()}"
        try:
            return bool(self.admin.list_topics(timeout=0.5).brokers)
        except KafkaException:
            return False

    def stop(self) -> None:
        """Shut the node down in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Cut the power, and start again on the same data and ports."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let the node answer nothing, with its connections open, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the node go on."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Return the end of what the node wrote."""
        return (self._folder / "broker.log").read_text(errors="replace")[-3000:]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)

    # --- its configuration ------------------------------------------------------------------------------------

    @property
    def _configuration(self) -> Path:
        return self._folder / "server.properties"

    def _format(self) -> None:
        self._configuration.write_text("".join(f"{k}={v}\n" for k, v in self._properties().items()))
        scram = f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]"
        cluster = ["-t", "4L6g3nShT-eMCtK--X86sw", "-c", str(self._configuration)]
        command = [*self._java, "kafka.tools.StorageTool", "format", *cluster, "--add-scram", scram]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"could not format the broker's storage: {done.stdout}{done.stderr}"

    def _properties(self) -> dict[str, object]:
        client, controller, sasl = (f"127.0.0.1:{port}" for port in self._ports)
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        one = {f"{topic}.replication.factor": 1 for topic in ("offsets.topic", "transaction.state.log")}
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"OPEN://{client},CONTROLLER://{controller},LOGIN://{sasl}",
            "advertised.listeners": f"OPEN://{client},LOGIN://{sasl}",
            "listener.security.protocol.map": "OPEN:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "OPEN",
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            "listener.name.login.plain.sasl.jaas.config": f'{plain} required user_{USER}="{PASSWORD}";',
            "listener.name.login.scram-sha-256.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
            "super.users": "User:ANONYMOUS",
            "log.dirs": self._folder / "data",
            **one,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "broker.session.timeout.ms": 1000,  # a node that lost its power is let back in after this
            "broker.heartbeat.interval.ms": 200,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "group.consumer.min.session.timeout.ms": 1000,
            "group.consumer.min.heartbeat.interval.ms": 200,
            "group.consumer.session.timeout.ms": 4000,  # with KIP-848 it is not the client that says so
            "group.consumer.heartbeat.interval.ms": 500,
            **self._extra,
        }

    # --- what tests do with it --------------------------------------------------------------------------------

    def create_topic(
        self, partitions: int = 1, name: str | None = None, config: Mapping[str, str] | None = None
    ) -> str:
        """Create a topic and return its name, without `name` one that nobody else has."""
        topic = name or f"topic-{uuid.uuid4().hex[:12]}"
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        self.admin.create_topics([new])[topic].result(30)
        wait_for(lambda: len(self.admin.list_topics(topic, timeout=5).topics[topic].partitions) == partitions)
        return topic

    def produce(self, topic: str, *values: bytes | None, partition: int = 0, timestamp: int = 0) -> None:
        """Send messages to one partition, and wait until the broker has them."""
        failed: list[Any] = []
        for value in values:
            self._producer.produce(
                topic,
                value,
                partition=partition,
                timestamp=timestamp,
                on_delivery=lambda e, _: failed.append(e) if e else None,
            )
        assert self._producer.flush(30) == 0
        assert not failed, failed

    def read(self, topic: str, count: int) -> list[Message]:
        """Return the first `count` messages of a topic with one partition."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": uuid.uuid4().hex, "logger": SILENT})
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[Message] = []
        try:
            wait_for(lambda: len(found.__iadd__(consumer.consume(count - len(found), 0.5))) >= count)
        finally:
            consumer.close()
        return found

    def committed(self, group: str, topic: str, partition: int = 0) -> int:
        """Return a group's committed offset; negative when there is none."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "logger": SILENT})
        try:
            return int(consumer.committed([TopicPartition(topic, partition)], timeout=10)[0].offset)
        except KafkaException:  # the group has no coordinator yet
            return -1
        finally:
            consumer.close()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _free_port() -> int:
    """Return a port below the range of outgoing connections: a client that waits for us must not connect to itself."""
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise MissingTool("found no free port on loopback")
