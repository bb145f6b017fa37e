"""Owns the emulator as a whole: its database, its worker, and an HTTP server in a thread of its own.

Never outlives its block. Invariant: inside the block the server answers at `url`; starting and stopping are bounded,
and whatever way it ends, the same directory can be started again.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import uvicorn

from connector.emulator.certificate import certificates
from connector.emulator.console import Console
from connector.emulator.faults import Faults
from connector.emulator.http import make_app
from connector.emulator.misbehave import Connections
from connector.emulator.state import StateMachine
from connector.emulator.store import Store
from connector.emulator.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from starlette.types import ASGIApp

    from connector.emulator.settings import EmulatorSettings

START_SECONDS, STOP_SECONDS = 20.0, 10.0
_GRACE_SECONDS = 1  # what requests that still run may take at the end


class Emulator:
    """A context manager: one team of the platform, on a port of its own.

    Raises:
        RuntimeError: the server did not come up.
        OSError: the address is taken.
    """

    def __init__(self, settings: EmulatorSettings) -> None:
        self.settings = settings
        self.url = ""
        self.ca_file: Path | None = None

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            store = Store(self.settings.directory)
            parts.callback(store.close)
            self._state = StateMachine(self.settings, store)
            self._faults = Faults(self.settings.faults)
            self._console = Console(self.settings, store, self._faults)
            worker = Worker(self.settings, store, self._state)
            worker.start()
            parts.callback(worker.stop)
            connections = Connections()
            app = make_app(
                settings=self.settings,
                store=store,
                state=self._state,
                console=self._console,
                faults=self._faults,
                connections=connections,
            )
            parts.callback(self._serve(app, connections).stop)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of `sql`, which cannot change anything; tables of all pools are found by their name alone."""
        return self._console.query(sql)[1]

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no job is queued or running; returns False when that takes more than `timeout` seconds."""
        with self._state.changed:
            return self._state.changed.wait_for(self._state.idle, timeout)

    def wait_until(self, holds: Callable[[], bool], timeout: float) -> bool:
        """Wait until `holds`, which is asked whenever a job changed; returns False after `timeout` seconds."""
        with self._state.changed:
            return self._state.changed.wait_for(holds, timeout)

    def add_fault(self, fault: str) -> None:
        """Add a fault while the emulator runs; requests are counted from its start.

        Raises:
            ConfigError: the fault cannot be read.
        """
        self._faults.add(fault)

    def _serve(self, app: ASGIApp, connections: Connections) -> _Server:
        settings = self.settings
        listener = _listen(settings.host, settings.port)
        scheme, tls = "http", None
        if settings.tls:
            scheme, tls = "https", certificates(settings.directory / "tls", settings.host)
            self.ca_file = tls.ca
        self.url = f"{scheme}://{_url_host(settings.host)}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=connections.protocol(),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ssl_certfile=tls and tls.server,
            ssl_keyfile=tls and tls.key,
        )
        server = _Server(config, listener)
        server.start()
        return server


class _Server(uvicorn.Server):
    """uvicorn in a thread, with a bounded start and stop."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._in_thread, name="emulator-http", daemon=True)

    def start(self) -> None:
        self._thread.start()
        if not self._up.wait(START_SECONDS) or not self.started:
            self.stop()
            raise RuntimeError("the emulator's HTTP server did not start")

    def stop(self) -> None:
        self.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._listener.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._up.set()

    def _in_thread(self) -> None:
        try:
            asyncio.run(self.serve([self._listener]))
        finally:
            self._up.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
