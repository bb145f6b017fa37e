"""Owns a release of the chart on real parts: what Kubernetes would do to its pods, as a Deployment or a StatefulSet.

Never judges. Invariant: a pod is ended by SIGTERM, and by SIGKILL after its grace period, unless a test kills it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import yaml

from connector.config_file import parse
from tests.chaos.emulator import POOL
from tests.chaos.ground import Ground
from tests.chaos.workload import PARTITIONS, STREAMS
from tests.chart import chart
from tests.kafka_broker import wait_for
from tests.rolling.moves import Event, events, owners
from tests.rolling.pods import Pod, Template

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

SPEED = 60  # an hour of the team's clock in a minute
_EMULATOR = ("--clock-speed", str(SPEED), "--executes-in-flight", "8", "--latency", "run=0.2")
_MESSAGES, _SECONDS = 60_000, 600.0  # of each stream, much longer than the course; the rest is hurried
_SETTLE_SECONDS = 120.0
_SESSIONS = {"Deployment": 4, "StatefulSet": 20}  # seconds; longer than the restart of a static member takes
EXAMPLES = {"Deployment": "replicas-ledger", "StatefulSet": "statefulset"}


class Release(Ground):
    """A context manager; `kind` of workload, whose values are an example of the chart and what the ground needs."""

    def __init__(self, folder: Path, kind: str, seed: int) -> None:
        super().__init__(folder, f"rolling-{seed}")
        self.kind, self._seed = kind, seed
        self.pods: list[Pod] = []  # all there ever were
        self.live: list[Pod] = []  # that are to run
        self.kills = 0
        self._more: dict[str, Any] = {}

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self.lay(parts, _EMULATOR)
            self.emulator.start([])
            self.template = Template(self.values(), self._secret())
            parts.callback(self._kill_all)
            self.produce(parts, messages=_MESSAGES, seconds=_SECONDS, seed=self._seed)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def _kill_all(self) -> None:
        for pod in self.pods:
            pod.kill()

    def values(self) -> chart.Values:
        """Return what a person would give to Helm."""
        session = _SESSIONS[self.kind]
        properties = {"session.timeout.ms": session * 1000, "heartbeat.interval.ms": 500, "client.id": "${POD_NAME}"}
        kafka = {"group": self.group, "dead_letter_topic": self.dead_letters, "commit_interval": "1 s"}
        config: dict[str, Any] = {
            "kafka": kafka | {"properties": properties},
            "schema_registry": {"url": "${SCHEMA_REGISTRY_URL}"},
            "budget": {"clock_speed": SPEED},
            "defaults": {"flush": {"age": "500 ms", "records": 5_000}},
            "tables": [{"topics": [self.topics[s.name]], "target": s.name, **s.table} for s in STREAMS],
            "spool": {"directory": "${SPOOL_DIRECTORY}"},
            "observe": {"host": "${POD_IP}", "log_level": "debug"},
            "drain_timeout": "15 s",
        }
        address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        config = chart.merged(config, self._more)
        return chart.merged(chart.example(EXAMPLES[self.kind]), {"config": config, "extraEnv": [address]})

    def use(self, config: dict[str, Any]) -> None:
        """Let pods that are made from now on have this in their configuration, too."""
        self._more = config
        self.template = Template(self.values(), self._secret())

    def _secret(self) -> dict[str, str]:
        return {
            "KAFKA_BROKERS": self.broker.bootstrap,
            "SCHEMA_REGISTRY_URL": self.registry.url,
            "CELONIS_URL": f"http://127.0.0.1:{self.emulator.port}",
            "CELONIS_POOL_ID": POOL,
            "CELONIS_APP_KEY": self.key,
        }

    @property
    def pushes_per_hour(self) -> int:
        """The budget that the pods are told."""
        fields = {"POD_NAME": chart.NAME, "POD_IP": "127.0.0.1", "SPOOL_DIRECTORY": "/spool"}
        return parse(yaml.safe_load(self.template.text), {**self._secret(), **fields}).budget.pushes_per_hour

    # --- pods -------------------------------------------------------------------------------------------------

    def add(self) -> Pod:
        """Start one more pod: a new one, or that of the next number."""
        number = len(self.live) if self.kind == "StatefulSet" else len(self.pods)
        name = f"{chart.NAME}-{number}"
        pod = next((p for p in self.pods if p.name == name), None)
        if pod is None:
            pod = Pod(self.template, name, f"127.0.1.{number + 1}", self.folder / name)
            self.pods.append(pod)
        self.live.append(pod)
        pod.start()
        return pod

    def scale(self, count: int) -> None:
        """Have `count` pods: those of the highest numbers go, all at once."""
        leaving = self.live[count:]
        for pod in leaving:
            self.live.remove(pod)
            pod.terminate()
        while len(self.live) < count:
            self.add()
        for pod in leaving:
            pod.wait()

    def replace(self, pod: Pod) -> None:
        """Do what follows when a pod is deleted: a Deployment makes another one meanwhile, a StatefulSet it again."""
        pod.terminate()
        if self.kind == "StatefulSet":
            pod.wait()
            pod.start()
        else:
            self.live.remove(pod)
            self.add()
            pod.wait()

    def kill(self, pod: Pod) -> None:
        """Let a pod end as it does out of memory: at once, and the kubelet starts it again where it was."""
        self.kills += 1
        pod.kill()
        pod.start()

    def roll(self) -> None:
        """Replace all pods: a Deployment by new ones that are ready before, a StatefulSet one after the other."""
        old = list(self.live)
        for pod in reversed(old):
            if self.kind == "StatefulSet":
                self.replace(pod)
                self._wait_until_ready(pod)
            else:
                new = self.add()
                self._wait_until_ready(new)
                self.live.remove(pod)
                pod.terminate()
        if self.kind == "Deployment":
            for pod in old:
                pod.wait()

    def settle(self) -> float:
        """Wait until all pods are ready and have their part of the partitions; return when that was (epoch)."""
        self._wait_until(self._shared)
        return time.time()

    def _shared(self) -> bool:
        if not all(pod.ready for pod in self.live):
            return False
        parts = list(owners(self.events(), time.time()).values())
        sizes = [parts.count(pod.name) for pod in self.live]
        return sum(sizes) == PARTITIONS * len(STREAMS) and max(sizes) - min(sizes) <= 1

    def _wait_until_ready(self, pod: Pod) -> None:
        self._wait_until(lambda: pod.ready)

    def _wait_until(self, what: Callable[[], bool]) -> None:
        try:
            wait_for(what, _SETTLE_SECONDS)
        except AssertionError:
            told = "\n\n".join(f"{p.name} {p.ends} {p.get('/readyz').text}\n{p.tail()}" for p in self.pods)
            raise AssertionError(told) from None

    # --- looks ------------------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """Return who was given what, and what left whom."""
        return events(self.pods)

    def finish(self) -> None:
        """Write all that is left, and wait until everything is committed and there is no lag."""
        self.producing.hurry()
        assert self.producing.wait(_SETTLE_SECONDS), self.producing.refused[:3]
        self._wait_until(lambda: not self.open_partitions())
        self._wait_until(lambda: sum(pod.lag() or 0 for pod in self.live) == 0 and self.live[0].lag() is not None)

    def executes(self) -> dict[int, dict[str, int]]:
        """Return the executes of each hour of the team's time, by their outcome."""
        rows = self.emulator.sql(
            "SELECT floor(moment / 3600), outcome, count(*) FROM _emulator.executes GROUP BY ALL ORDER BY ALL"
        )
        hours: dict[int, dict[str, int]] = {}
        for hour, outcome, count in rows:
            hours.setdefault(int(hour), {})[outcome] = count
        return hours
