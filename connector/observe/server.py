"""Owns the HTTP port of the probes and the metrics.

Never touches the loop's state: it reads what Health and Metrics were told. Invariant: it starts before Kafka is
asked for anything, and ends with the service.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connector.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.requests import Request

    from connector.config import Observe
    from connector.observe.health import Health

_STOP_SECONDS = 5.0


class ObserveServer:
    """Serves `/livez`, `/readyz`, `/status` and `/metrics`. Raises ConfigError when the address cannot be had."""

    def __init__(self, settings: Observe, health: Health, registry: CollectorRegistry) -> None:
        self._socket = _bound(settings)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(_app(health, registry), log_config=None, access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="observe", daemon=True
        )

    def start(self) -> None:
        """Serve from now on, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and free the port."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._socket.close()


def _bound(settings: Observe) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
        sock.listen()  # who asks before the thread serves waits, and is not refused
    except OSError as e:
        sock.close()
        raise ConfigError([f"observe: cannot listen on {settings.host}:{settings.port}: {e.strerror}"]) from None
    return sock


def _app(health: Health, registry: CollectorRegistry) -> Starlette:
    async def livez(_: Request) -> Response:
        return _probe(*health.alive())

    async def readyz(_: Request) -> Response:
        return _probe(*health.ready())

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def status(_: Request) -> Response:
        return JSONResponse(health.status())

    paths = {"/livez": livez, "/readyz": readyz, "/metrics": metrics, "/status": status}
    return Starlette(routes=[Route(path, answer) for path, answer in paths.items()])


def _probe(ok: bool, details: dict[str, object]) -> Response:  # noqa: FBT001 - handed over from a pair
    return JSONResponse({"ok": ok, **details}, status_code=200 if ok else 503)
