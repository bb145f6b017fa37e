"""Owns a connector as a process of its own, as a user would run it: start, look, stop, kill.

Never reaches into it: what is known of it comes from its port and its log. Invariant: the process ends with the
`with` block, by its process id.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

START_SECONDS = 30.0
STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05


class RunningConnector:
    """The connector with `settings` (as a YAML document), in `folder`; a context manager that starts and ends it.

    `environment` holds the secrets that the settings name. `module` is what `python -m` runs, with its arguments
    before the configuration file.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        environment: Mapping[str, str],
        module: tuple[str, ...] = ("connector", "run", "--config"),
    ) -> None:
        self.port = free_port()
        self._log = folder / "connector.log"
        self._config = folder / "connector.yaml"
        observe = {"host": "127.0.0.1", "port": self.port, "log_format": "json"}
        self._config.write_text(yaml.safe_dump({**settings, "observe": observe}, sort_keys=False), encoding="utf-8")
        self._environment = {**os.environ, **environment}
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, or start it again."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", *self._module, str(self._config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._running.poll()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the connector was not started")
        return self._process

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Send SIGTERM, let it drain, and return its exit code."""
        self._running.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end and return its exit code."""
        return self._running.wait(seconds)

    def ask(self, *command: str) -> tuple[int, str]:
        """Run another command of ours with the same configuration; return its exit code and output."""
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "connector", *command, "--config", str(self._config)],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=STOP_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def wait_until_ready(self) -> None:
        """Wait for its readiness; raises RuntimeError with its log when it does not come."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.exit_code is None:
            if self.get("/readyz", expect=True):
                return
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(f"the connector did not become ready:\n{self.log()}")

    def get(self, path: str, *, expect: bool = False) -> str:
        """Return what its port answers on `path`; nothing while it does not, or (`expect`) without success."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)
        except httpx.TransportError:
            return ""
        return answer.text if answer.is_success or not expect else ""

    def metrics(self) -> Mapping[str, float]:
        """Return its metrics, summed over their labels; nothing while it does not answer."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(self.get("/metrics")):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def log(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        return "\n".join(self._log.read_text(encoding="utf-8").splitlines()[-lines:])


def free_port() -> int:
    """Return a port of the loopback that nobody uses now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
