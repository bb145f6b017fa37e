"""Owns the emulator as a process of its own: killed and started again on the same directory and port.

Never shows its key. Invariant: the process ends with the `with` block, by its process id.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx

from connector.demo.running import free_port
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

POOL = "11111111-2222-3333-4444-555555555555"
_STOP_SECONDS = 20.0
_LATENCIES = {"run": 0.3, "execute": 0.05, "upload": 0.1, "create": 0.02, "get": 0.02}
_UNLIMITED = [
    *("--per-hour", "1000000", "--per-second", "1000", "--executes-in-flight", "2"),
    *(part for name, seconds in _LATENCIES.items() for part in ("--latency", f"{name}={seconds}")),
]
_WHAT = {
    "create": ("503", "504-before", "504-after", "cut-after"),
    "upload": ("504-before", "504-after", "cut-after", "500-after", "html-before"),
    "list-chunks": ("503", "504", "html"),
    "execute": ("503", "504-before", "504-after", "cut-after", "409", "500-before", "html-after", "html-before"),
    "get": ("503", "504", "cut", "html", "500"),
    "delete": ("504-after",),
}
_FAULTY_REQUESTS = 0.08  # the share of requests that get a fault
_LIST = 600  # requests of each operation for which faults are drawn


def draw_faults(choose: random.Random) -> list[str]:
    """Return faults for one life of the emulator."""
    return [
        f"{operation}:{nth}:{choose.choice(kinds)}"
        for operation, kinds in _WHAT.items()
        for nth in range(1, _LIST)
        if choose.random() < _FAULTY_REQUESTS
    ]


class EmulatorProcess:
    """`python -m connector.emulator` in `folder`; `faulted` counts the faults that its requests met.

    Without `options` there is nearly no limit, and everything takes its time.
    """

    def __init__(self, folder: Path, key: str, options: Sequence[str] | None = None) -> None:
        self._folder, self._options = folder, _UNLIMITED if options is None else options
        self._environment = {**os.environ, "CHAOS_APP_KEY": key}
        self._process: subprocess.Popen[bytes] | None = None
        self._faults: list[str] = []
        self._client = httpx.Client(timeout=30)
        self.port = free_port()
        self.faulted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end()
        self._client.close()

    def start(self, faults: list[str]) -> None:
        """Start it, or start it again, and wait until it answers."""
        self._faults = faults
        options = ["--port", str(self.port), "--directory", str(self._folder / "emulator"), "--pool", f"{POOL}=chaos"]
        options += ["--app-key", "${CHAOS_APP_KEY}", *self._options]
        options += [part for fault in faults for part in ("--fault", fault)]
        with (self._folder / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "connector.emulator", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        wait_for(lambda: self.requests() is not None)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.count_faults()
        self._end()

    def freeze(self) -> None:
        """Let it answer nothing until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def sql(self, query: str) -> list[list[Any]]:
        """Return the rows of a query."""
        answer = self._client.post(f"http://127.0.0.1:{self.port}/emulator/sql", content=query)
        assert answer.is_success, answer.text
        rows = answer.json()["rows"]
        assert isinstance(rows, list)
        return rows

    def requests(self) -> dict[str, int] | None:
        """Return how many requests of each operation came in since its start; None while it does not answer."""
        try:
            answer = self._client.get(f"http://127.0.0.1:{self.port}/emulator/requests", timeout=2)
        except httpx.TransportError:
            return None
        return dict(answer.json()["operations"]) if answer.is_success else None

    def count_faults(self) -> None:
        """Count the faults of this life whose requests have come."""
        seen = self.requests() or {}
        met = [f for f in self._faults if int(f.split(":")[1]) <= seen.get(f.split(":")[0], 0)]
        self._faults = [f for f in self._faults if f not in met]
        self.faulted += len(met)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(_STOP_SECONDS)
