"""Owns how an answer goes wrong on purpose; never whether (`faults`), and never what an operation does.

Invariant: a fault is bounded in time, and ends early when the client has gone.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from connector.core.hours import next_hour
from connector.emulator.answers import failure, problem, throttled
from connector.emulator.faults import Fault, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from connector.emulator.settings import EmulatorSettings

_PIECES = 10
_PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


class Connections:
    """The open connections by the client's address, so that one can be cut."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Return uvicorn's protocol, which also notes its connections here."""
        transports = self._transports

        class Noted(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                # asyncio does so only for sockets that name their protocol; without it an answer waits 40 ms for an ACK
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.peer = transport.get_extra_info("peername")[:2]
                transports[self.peer] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self.peer, None)
                super().connection_lost(exc)

        return Noted

    def cut(self, request: Request) -> None:
        """Close the connection of `request` without an answer."""
        if request.client and (transport := self._transports.get((request.client.host, request.client.port))):
            transport.abort()


async def misbehave(
    fault: Fault, answer: Response | None, request: Request, connections: Connections, settings: EmulatorSettings
) -> Response:
    """Return what goes out instead of `answer`, which is None when the operation did not take place."""
    match fault.kind:
        case Kind.CUT:
            connections.cut(request)
        case Kind.TIMEOUT:
            with suppress(TimeoutError):
                await asyncio.wait_for(_gone(request), fault.value)
            connections.cut(request)
        case Kind.HTML:
            return HTMLResponse(_PAGE.format(int(fault.value)), int(fault.value))
        case Kind.EMPTY:
            return Response(status_code=int(fault.value))
        case Kind.STATUS:
            return _status(int(fault.value), settings)
        case Kind.SLOW:
            if answer is not None:
                return _slow(answer, fault.value)
    return Response()


def _status(status: int, settings: EmulatorSettings) -> Response:
    body: dict[str, Any] = failure(f"Injected fault {status}")
    headers: dict[str, str] = {}
    if status == 400:  # noqa: PLR2004 - an HTTP status
        body = {"errors": [problem("job", "Injected fault", "fault")]}
    if status == 429:  # noqa: PLR2004
        now = settings.team_time()
        wait = settings.true_seconds(next_hour(now) - now)
        headers = throttled(settings.per_hour, wait, settings.hints).headers
    return JSONResponse(body, status, headers)


def _slow(answer: Response, seconds: float) -> Response:
    body = bytes(answer.body)

    async def trickle() -> AsyncIterator[bytes]:
        step = max(1, len(body) // _PIECES)
        pieces = [body[i : i + step] for i in range(0, len(body), step)] or [b""]
        for piece in pieces:
            await asyncio.sleep(seconds / len(pieces))
            yield piece

    return StreamingResponse(trickle(), answer.status_code, dict(answer.headers))


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
