"""Owns a pod of the chart as a process: what is rendered is what is run, on a loopback address of its own.

Never adds a setting: command, environment, files, probe and grace period are those of the rendered pod and of the
image. Invariant: only the paths of volumes are moved, into the pod's folder, which a restart finds again.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.chart import chart
from tests.image import dockerfile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BIN = Path(sys.executable).parent
_TMP = "/tmp"  # noqa: S108 - where the chart mounts a volume
_ASK_SECONDS = 5.0
_KILL_SECONDS = 10.0  # what a killed process may take to be gone


class Line(NamedTuple):
    """One line of a log: seconds since the epoch, the event, and the partitions that it names."""

    at: float
    event: str
    partitions: tuple[str, ...]


class Template:
    """What the chart makes of `values`; `secret` is what stands in the Secret that the pods name."""

    def __init__(self, values: Mapping[str, Any], secret: Mapping[str, str]) -> None:
        self.secret = secret
        self.spec, self.container = chart.pod(values)["spec"], chart.container(values)
        self.text = chart.config_text(values)
        self.grace: float = self.spec["terminationGracePeriodSeconds"]
        self.port: int = self.container["ports"][0]["containerPort"]
        self.readiness: str = self.container["readinessProbe"]["httpGet"]["path"]
        self.command = [*json.loads(dockerfile.last("ENTRYPOINT")), *self.container["args"]]


class Pod:
    """One pod, not started; `name` and `address` are what Kubernetes would give it."""

    def __init__(self, template: Template, name: str, address: str, folder: Path) -> None:
        self.template, self.name, self._address, self._folder = template, name, address, folder
        self._volumes = {m["mountPath"]: folder / m["name"] for m in template.container["volumeMounts"]}
        for volume in self._volumes.values():
            volume.mkdir(parents=True, exist_ok=True)
        environment = self._environment()
        Path(environment["KAFKA_CELONIS_CONFIG"]).write_text(template.text, encoding="utf-8")
        self._env = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._grace: threading.Timer | None = None
        self.ends: list[tuple[float, int]] = []  # when each process ended (since the epoch), and its exit code

    def _environment(self) -> dict[str, str]:
        fields = {"metadata.name": self.name, "status.podIP": self._address}
        given = {
            e["name"]: e["value"] if "value" in e else fields[e["valueFrom"]["fieldRef"]["fieldPath"]]
            for e in self.template.container["env"]
        }
        moved = {name: self._moved(value) for name, value in given.items()}
        return {"PATH": f"{_BIN}:/usr/bin:/bin", "TMPDIR": self._moved(_TMP), **self.template.secret, **moved}

    def _moved(self, path: str) -> str:
        for mount, volume in self._volumes.items():
            if path == mount or path.startswith(f"{mount}/"):
                return str(volume) + path.removeprefix(mount)
        return path

    # --- what the kubelet does --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the container, or start it again in the same pod."""
        with self._log.open("ab") as log:
            command = [str(_BIN / self.template.command[0]), *self.template.command[1:]]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._env, cwd=self._folder)

    @property
    def running(self) -> bool:
        """Whether its process has not ended; takes note of the end."""
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process.returncode)
        return self._process is not None

    @property
    def ready(self) -> bool:
        """Whether its readiness probe succeeds."""
        return self.running and self.get(self.template.readiness).is_success

    def get(self, path: str) -> httpx.Response:
        """Return what it answers; 503 while nothing does."""
        try:
            return httpx.get(f"http://{self._address}:{self.template.port}{path}", timeout=_ASK_SECONDS)
        except httpx.TransportError as e:
            return httpx.Response(503, text=str(e))

    def terminate(self) -> None:
        """Send SIGTERM; from now on the grace period runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._grace = threading.Timer(self.template.grace, self._process.kill)  # also where nobody waits
        self._grace.daemon = True
        self._grace.start()

    def wait(self) -> None:
        """Wait for the end of a pod that terminates, which is SIGKILL after the grace period."""
        assert self._process is not None
        assert self._grace is not None
        code = self._process.wait(self.template.grace + _KILL_SECONDS)
        self._grace.cancel()
        self._ended(code)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._ended(self._process.wait())

    def _ended(self, code: int) -> None:
        self._process = None
        self.ends.append((time.time(), code))

    # --- what can be seen of it -------------------------------------------------------------------------------

    def lag(self) -> float | None:
        """Return the messages that it has not read yet; None while it does not tell."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        found = [s.value for f in families for s in f.samples if s.name == "kafka_celonis_lag_messages"]
        return sum(found) if found else None

    @property
    def _log(self) -> Path:
        return self._folder / "pod.log"

    def lines(self) -> Iterator[Line]:
        """Yield what it has logged."""
        for text in self._log.read_text(encoding="utf-8").splitlines():
            if text.startswith("{"):
                line = json.loads(text)
                at, named = datetime.fromisoformat(line["timestamp"]).timestamp(), line.get("at", ())
                yield Line(at, line["event"], tuple(named) if isinstance(named, list) else ())

    def tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self._log.read_text(encoding="utf-8").splitlines()[-8:])
