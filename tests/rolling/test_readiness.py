"""Ready is false, with the reason named, while a dependency is away; and true again once it is back."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chart.chart import MISSING
from tests.kafka_broker import wait_for
from tests.rolling.release import Release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rolling.pods import Pod

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(sys.platform != "linux", reason="pods need addresses of their own, as 127.0.0.0/8 has on Linux"),
    pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=str(MISSING)),
]


@pytest.fixture
def release(kafka: object, tmp_path: Path) -> Iterator[Release]:
    del kafka  # skips where there is none; the release brings a broker of its own, which is stopped
    with Release(tmp_path / "run", "Deployment", seed=3) as made:
        yield made


def reasons(pod: Pod) -> set[str]:
    """Return what a pod that is not ready names; nothing while it is ready."""
    answer = pod.get("/readyz")
    if answer.is_success or not answer.text.startswith("{"):
        return set()
    return {reason.partition(":")[0] for reason in answer.json()["reasons"]}


@pytest.mark.timeout(300)
def test_a_pod_is_ready_once_everything_is_there_and_names_what_goes_away_until_it_is_back(release: Release) -> None:
    release.emulator.kill()
    pod = release.add()
    wait_for(lambda: reasons(pod) == {"Celonis"})
    release.emulator.start([])
    wait_for(lambda: pod.ready)
    release.emulator.kill()
    release.registry.failing = (503, {})
    wait_for(lambda: reasons(pod) == {"Celonis", "schema registry"}, 60)
    release.registry.failing = None
    release.emulator.start([])
    wait_for(lambda: pod.ready)
    release.broker.stop()
    wait_for(lambda: "brokers" in reasons(pod), 60)
    assert pod.get("/livez").is_success
    release.broker.start()
    wait_for(lambda: pod.ready, 60)
    pod.terminate()
    pod.wait()
    assert [code for _, code in pod.ends] == [0]


@pytest.mark.timeout(300)
def test_a_pod_that_starts_without_brokers_or_without_a_topic_says_so(release: Release) -> None:
    topics = ["chaos.events", "chaos.late", "^nothing"]
    release.use({"tables": [{"topics": topics, "target": "T", "format": "json"}]})
    release.broker.stop()
    pod = release.add()
    wait_for(lambda: {"the group has not taken it in", "brokers"} <= reasons(pod), 60)
    assert pod.get("/livez").is_success
    release.broker.start()
    wait_for(lambda: reasons(pod) == {"topic chaos.late"}, 60)
    release.broker.create_topic(name="chaos.late")
    wait_for(lambda: pod.ready, 60)
    assert pod.get("/readyz").json()["absent_topics"].keys() == {"^nothing"}
    pod.terminate()
    pod.wait()
    assert [code for _, code in pod.ends] == [0]
