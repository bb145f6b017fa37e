"""Owns the HTTP skin of the Data Push API: paths, bodies, statuses, latencies and faults; never decides on a job.

Invariant: a request passes latency, a fault before its effect, its effect, a fault after it, in this order; every
refusal is an `ApiError`, and anything else becomes a 500 with a reference.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connector.emulator.answers import ApiError, failure, invalid
from connector.emulator.auth import Authorizer
from connector.emulator.misbehave import misbehave
from connector.emulator.platform import Platform
from connector.emulator.state import FAULTED
from connector.emulator.upload import drain, receive
from connector.emulator.wire import ChunkType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from connector.emulator.console import Console
    from connector.emulator.faults import Faults
    from connector.emulator.misbehave import Connections
    from connector.emulator.settings import EmulatorSettings
    from connector.emulator.state import StateMachine
    from connector.emulator.store import Store

    Effect = Callable[[Request], Awaitable[Response]]

PREFIXES = ("/data-ingestion", "/integration")
_SLASHES = re.compile(r"/{2,}")


class DataPush:
    """The operations of the contract."""

    def __init__(
        self,
        settings: EmulatorSettings,
        state: StateMachine,
        authorizer: Authorizer,
        faults: Faults,
        connections: Connections,
    ) -> None:
        self._settings = settings
        self._state = state
        self._authorizer = authorizer
        self._faults = faults
        self._connections = connections

    def routes(self) -> list[Route]:
        """Return the routes under both prefixes."""
        table: list[tuple[str, str, str, Effect]] = [
            ("POST", "", "create", self._create),
            ("GET", "", "list", self._list),
            ("GET", "/{job}", "get", self._get),
            ("POST", "/{job}", "execute", self._execute),
            ("DELETE", "/{job}", "delete", self._delete),
            ("POST", "/{job}/cancel", "cancel", self._cancel),
            ("GET", "/{job}/chunks", "list-chunks", self._chunks),
            ("POST", "/{job}/chunks/upserted", "upload", self._upsert_chunk),
            ("POST", "/{job}/chunks/deleted", "upload", self._delete_chunk),
        ]
        return [
            Route(f"{prefix}/api/v1/data-push/{{pool}}/jobs{path}", self._operation(name, effect), methods=[method])
            for prefix in PREFIXES
            for method, path, name, effect in table
        ] + [Route("/oauth2/token", self._operation("token", self._token), methods=["POST"])]

    def _operation(self, name: str, effect: Effect) -> Effect:
        async def serve(request: Request) -> Response:
            await asyncio.sleep(self._settings.latencies.get(name, 0.0))
            fault = self._faults.next(name)
            if fault is None:
                return await answered(request, effect)
            answer = await (answered(request, effect) if fault.after else self._prevented(request, name))
            return await misbehave(fault, answer, request, self._connections, self._settings)

        return serve

    async def _prevented(self, request: Request, name: str) -> None:
        await drain(request)
        if name == "execute":
            await run_in_threadpool(self._state.count_execute, FAULTED)

    async def _pool(self, request: Request) -> str:
        return self._authorizer.pool(request.headers.get("authorization"), request.path_params["pool"])

    async def _create(self, request: Request) -> Response:
        pool = await self._pool(request)
        job = await run_in_threadpool(self._state.create, pool, await _json(request))
        return JSONResponse(job.wire())

    async def _list(self, request: Request) -> Response:
        jobs = await run_in_threadpool(self._state.jobs, await self._pool(request))
        return JSONResponse([job.wire() for job in jobs])

    async def _get(self, request: Request) -> Response:
        job = await run_in_threadpool(self._state.get, await self._pool(request), request.path_params["job"])
        return JSONResponse(job.wire())

    async def _execute(self, request: Request) -> Response:
        pool = await self._pool(request)
        column = request.query_params.get("duplicateRemovalColumn")
        await run_in_threadpool(self._state.execute, pool, request.path_params["job"], column or None)
        return Response()

    async def _cancel(self, request: Request) -> Response:
        await run_in_threadpool(self._state.cancel, await self._pool(request), request.path_params["job"])
        return Response()

    async def _delete(self, request: Request) -> Response:
        await run_in_threadpool(self._state.delete, await self._pool(request), request.path_params["job"])
        return Response()

    async def _chunks(self, request: Request) -> Response:
        chunks = await run_in_threadpool(self._state.chunks, await self._pool(request), request.path_params["job"])
        return JSONResponse([chunk.wire() for chunk in chunks])

    async def _upsert_chunk(self, request: Request) -> Response:
        return await self._upload(request, ChunkType.UPSERT)

    async def _delete_chunk(self, request: Request) -> Response:
        return await self._upload(request, ChunkType.DELETE)

    async def _upload(self, request: Request, kind: ChunkType) -> Response:
        job_id = request.path_params["job"]
        try:
            pool = await self._pool(request)
            part = await run_in_threadpool(self._state.begin_upload, pool, job_id, kind)
        except ApiError:
            await drain(request)
            raise
        try:
            checksum = await receive(request, part, self._settings.max_chunk_bytes)
            await run_in_threadpool(self._state.end_upload, pool, job_id, kind, part, checksum)
        finally:
            part.unlink(missing_ok=True)
        return Response()

    async def _token(self, request: Request) -> Response:
        async with request.form() as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
        answer = self._authorizer.issue(request.headers.get("authorization"), fields)
        return JSONResponse(answer, headers={"cache-control": "no-store"})


async def answered(request: Request, effect: Effect) -> Response:
    """Return the answer of `effect`, refusals and failures included."""
    try:
        return await effect(request)
    except ApiError as e:
        return JSONResponse(e.body, e.status, e.headers)
    except Exception as e:  # noqa: BLE001 - a server answers 500 whatever happened
        body = failure("Internal server error")
        structlog.get_logger().error("answer request failed", error=type(e).__name__, reference=body["reference"])
        return JSONResponse(body, 500)


def _guarded(effect: Effect) -> Effect:
    async def serve(request: Request) -> Response:
        return await answered(request, effect)

    return serve


async def _json(request: Request) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return await request.json()
    except ValueError:
        raise invalid("job", "The body is not JSON", "bad-json") from None


def make_app(
    *,
    settings: EmulatorSettings,
    store: Store,
    state: StateMachine,
    console: Console,
    faults: Faults,
    connections: Connections,
) -> ASGIApp:
    """Return the whole server: the contract, what the official client reads besides, and the emulator's own console."""
    authorizer = Authorizer(settings)
    data_push = DataPush(settings, state, authorizer, faults, connections)
    platform = Platform(settings, store, authorizer)
    return _tolerant(Starlette(routes=[*data_push.routes(), *platform.routes(_guarded), *console.routes(_guarded)]))


def _tolerant(app: ASGIApp) -> ASGIApp:
    """Accept doubled and trailing slashes: real clients send both."""

    async def tolerant(scope: Scope, receive: Receive, send: Send) -> None:
        path = _SLASHES.sub("/", scope["path"])
        await app({**scope, "path": path.rstrip("/") or "/"}, receive, send)

    return tolerant
