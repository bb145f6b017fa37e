"""Owns the few addresses beside Data Push that the official client reads: who am I, which pools, tables and columns.

Never changes anything. Invariant: a caller sees the pools on which its key has a permission, and no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connector.core.columns import ColumnType
from connector.emulator.answers import invalid, refused
from connector.emulator.plan import schema_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from connector.emulator.auth import Authorizer
    from connector.emulator.settings import EmulatorSettings
    from connector.emulator.store import Store, StoredColumn

    Effect = Callable[[Request], Awaitable[Response]]

_TEAM = {"id": "00000000-0000-4000-8000-000000000001", "name": "emulator", "domain": "emulator"}
_USER = {"id": "00000000-0000-4000-8000-000000000002", "name": "emulator", "email": "emulator@localhost"}
_REPORTED = {ColumnType.DATETIME: "DATE", ColumnType.TIME: "DATE", ColumnType.BOOLEAN: "INTEGER"}
_BYTES_PER_CHARACTER = 4  # the platform reports the length of a VARCHAR in bytes


class Platform:
    """The addresses, read only."""

    def __init__(self, settings: EmulatorSettings, store: Store, authorizer: Authorizer) -> None:
        self._settings = settings
        self._store = store
        self._authorizer = authorizer

    def routes(self, guarded: Callable[[Effect], Effect]) -> list[Route]:
        """Return the routes; `guarded` turns refusals into answers."""
        pools = "/integration/api/pools"
        table: list[tuple[str, Effect]] = [
            ("/api/cloud", self._cloud),
            ("/api/team", self._team),
            (pools, self._pools),
            (f"{pools}/{{pool}}", self._pool),
            (f"{pools}/{{pool}}/tables", self._tables),
            (f"{pools}/{{pool}}/columns", self._columns),
            (f"{pools}/{{pool}}/data-sources", self._data_sources),
        ]
        return [Route(path, guarded(effect), methods=["GET"]) for path, effect in table]

    async def _cloud(self, request: Request) -> Response:
        self._authorizer.pools(request.headers.get("authorization"))
        return JSONResponse({**_USER, "teamId": _TEAM["id"], "teamName": _TEAM["name"], "active": True})

    async def _team(self, request: Request) -> Response:
        self._authorizer.pools(request.headers.get("authorization"))
        return JSONResponse(_TEAM)

    async def _pools(self, request: Request) -> Response:
        permitted = self._authorizer.pools(request.headers.get("authorization"))
        return JSONResponse([self._described(pool) for pool in self._settings.pools if pool in permitted])

    async def _pool(self, request: Request) -> Response:
        return JSONResponse(self._described(self._permitted(request)))

    async def _tables(self, request: Request) -> Response:
        tables = await run_in_threadpool(self._store.tables, self._permitted(request))
        return JSONResponse([_table(schema, name) for schema, name in tables])

    async def _columns(self, request: Request) -> Response:
        pool, name = self._permitted(request), request.query_params.get("tableName")
        if not name:
            raise invalid("tableName", "The parameter is missing", "missing")
        _, _, connection = request.query_params.get("schemaName", "").partition("/")
        columns = await run_in_threadpool(self._store.columns, schema_of(pool, connection or None), name)
        if not columns:
            raise refused(404, "The table does not exist")
        return JSONResponse([_column(column) for column in columns])

    async def _data_sources(self, request: Request) -> Response:
        pool = self._permitted(request)
        tables = await run_in_threadpool(self._store.tables, pool)
        connections = sorted({schema.partition("/")[2] for schema, _ in tables} - {""})
        return JSONResponse([{"id": c, "name": c, "poolId": pool, "connected": True} for c in connections])

    def _permitted(self, request: Request) -> str:
        return self._authorizer.pool(request.headers.get("authorization"), request.path_params["pool"])

    def _described(self, pool: str) -> dict[str, Any]:
        return {"id": pool, "name": self._settings.pools[pool]}


def _table(schema: str, name: str) -> dict[str, Any]:
    connection = schema.partition("/")[2] or None
    return {
        "name": name,
        "loaderSource": None,
        "available": True,
        "dataSourceId": connection,
        "dataSourceName": connection,
        "columns": [],
        "type": "TABLE",
        "schemaName": schema,
    }


def _column(column: StoredColumn) -> dict[str, Any]:
    kind = column.type or ColumnType.INTEGER
    return {
        "name": column.name,
        "length": column.length * _BYTES_PER_CHARACTER,
        "type": _REPORTED.get(kind, kind.value),
    }
