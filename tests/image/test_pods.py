"""The pods of the chart run by `podman kube play`, as rendered: rows arrive in a table, and SIGTERM drains.

Addresses are those of this machine, whose network the pods share; podman asks no probes. Where podman or Helm's engine
is not there the tests are skipped.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from connector.demo.running import free_port
from connector.emulator.settings import DEFAULT_POOL
from tests.chart.chart import MISSING, at, manifests, merged
from tests.image.engine import IMAGE, MissingEngineError
from tests.image.playing import made_ready, played, secret
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from tests.chart.chart import Values
    from tests.image.engine import Engine
    from tests.kafka_broker import KafkaBroker

pytestmark = [
    pytest.mark.timeout(900),  # where the base of the image is made first
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

ROWS = 500
SPEED = 60  # an hour of the budget in a minute
EMULATOR = at("emulator.enabled", True)
KEY = "of-a-test"


class Trial:
    """The chart's values for this machine, and what they make."""

    def __init__(self, kafka: KafkaBroker) -> None:
        self.name = f"celonis-{uuid.uuid4().hex[:8]}"
        self.topic = kafka.create_topic(2)
        self.celonis, self.probes = free_port(), free_port()
        url = f"http://127.0.0.1:{self.celonis}"
        self._needed = {"KAFKA_BROKERS": kafka.bootstrap, "CELONIS_APP_KEY": KEY}
        self._of_a_team = {"CELONIS_URL": url, "CELONIS_POOL_ID": DEFAULT_POOL}
        repository, _, tag = IMAGE.rpartition(":")
        here = ["--host", "127.0.0.1", "--port", str(self.celonis), "--clock-speed", str(SPEED)]
        self.values: Values = {
            "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
            "fullnameOverride": self.name,
            "existingSecret": self.name,
            "config": {
                "kafka": {"group": self.name, "dead_letter_topic": None},
                "tables": [{"topics": [self.topic], "target": "ORDERS", "format": "json", "keys": ["id"]}],
                "defaults": {"flush": {"age": "500 ms"}},
                "budget": {"clock_speed": SPEED},
                "observe": {"host": "127.0.0.1", "port": self.probes},
            },
            "emulator": {"args": here},
        }

    def rendered(self, values: Values, workload: str) -> str:
        """Return one Deployment with the ConfigMap; the emulator's Service is this machine."""
        every = manifests(merged(self.values, values), self.name)
        kept = [m for m in every if (m["kind"], m["metadata"]["name"]) in {
            ("ConfigMap", self.name), ("Deployment", workload)
        }]  # fmt: skip
        for spec in (m["spec"]["template"]["spec"] for m in kept if m["kind"] == "Deployment"):
            spec["hostNetwork"] = True
            for c in spec["containers"]:
                del c["ports"]  # podman would map them, which it cannot do in the network of this machine
        return yaml.safe_dump_all(kept).replace(f"{self.name}-emulator:9010", f"127.0.0.1:{self.celonis}")

    def secret(self, values: Values) -> dict[str, str]:
        """Return the keys of the Secret: with the emulator, the chart knows where Celonis is."""
        return self._needed if values == EMULATOR else self._needed | self._of_a_team

    def rows(self) -> int:
        answer = _answer(f"http://127.0.0.1:{self.celonis}/emulator/sql", b"SELECT count(*) FROM ORDERS")
        return int(answer.json()["rows"][0][0]) if answer is not None and answer.is_success else 0

    def ready(self) -> bool:
        answer = _answer(f"http://127.0.0.1:{self.probes}/readyz")
        return answer is not None and answer.is_success


def _answer(url: str, query: bytes | None = None) -> httpx.Response | None:
    try:
        return httpx.request("GET" if query is None else "POST", url, content=query, timeout=5, trust_env=False)
    except httpx.TransportError:
        return None


@pytest.fixture(scope="module")
def podman(engine: Engine) -> Engine:
    """podman that can play pods; skipped where it cannot."""
    try:
        made_ready(engine)
    except MissingEngineError as e:
        pytest.skip(str(e))
    return engine


@pytest.mark.parametrize("values", [{}, EMULATOR], ids=["default", "emulator"])
def test_the_rendered_pod_streams_rows_into_a_table_and_drains_when_it_is_asked_to_end(
    podman: Engine, kafka: KafkaBroker, values: Values
) -> None:
    trial = Trial(kafka)
    kafka.produce(trial.topic, *(b'{"id": %d}' % n for n in range(ROWS)), partition=1)
    emulator = f"{trial.name}-emulator"
    with (
        secret(podman, trial.name, trial.secret(values)),
        played(podman, emulator, trial.rendered(EMULATOR, emulator)) as other,
        played(podman, trial.name, trial.rendered(values, trial.name)) as pod,
    ):
        connector = f"{pod}-connector"
        wait_for(lambda: trial.ready() or podman.ended(connector))
        wait_for(lambda: trial.rows() == ROWS or podman.ended(connector), 60)
        grace = _grace(trial, values)
        assert podman.stop(connector, grace) == 0, podman.log(connector)
        assert '"stopped"' in podman.log(connector)
        assert kafka.committed(trial.name, trial.topic, 1) == ROWS
        assert podman.stop(f"{other}-emulator", grace) == 0


def _grace(trial: Trial, values: Values) -> int:
    (deployment,) = (
        m for m in yaml.safe_load_all(trial.rendered(values, trial.name)) if m["kind"] == "Deployment"
    )  # fmt: skip
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return int(spec["terminationGracePeriodSeconds"])
