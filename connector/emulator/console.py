"""Owns what the emulator offers beside the contract, for tests and curious people: SQL over the tables, and counters.

Never changes a table: SQL runs in a read-only transaction. Invariant: only loopback is answered, and no web page.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import duckdb
import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from connector.emulator.answers import invalid, refused
from connector.emulator.store import BOOKKEEPING, text
from connector.emulator.store import identifier as q

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from connector.emulator.faults import Faults
    from connector.emulator.settings import EmulatorSettings
    from connector.emulator.store import Store

    Effect = Callable[[Request], Awaitable[Response]]


class Console:
    """`POST /emulator/sql` and `GET /emulator/requests`."""

    def __init__(self, settings: EmulatorSettings, store: Store, faults: Faults) -> None:
        self._settings = settings
        self._store = store
        self._faults = faults

    def routes(self, guarded: Callable[[Effect], Effect]) -> list[Route]:
        """Return the routes; `guarded` turns refusals into answers."""
        return [
            Route("/emulator/sql", guarded(self._sql), methods=["POST"]),
            Route("/emulator/requests", guarded(self._requests), methods=["GET"]),
        ]

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the columns and rows of `sql`; a table's name alone finds it in any pool, the first one first.

        Raises:
            duckdb.Error: what the database says about it.
            ValueError: it is not exactly one statement, and so could end the read-only transaction.
        """
        with self._store.connect() as connection:
            if path := ",".join(q(schema) for schema in self._schemas(connection)):
                connection.execute(f"SET search_path = {text(path)}")
            connection.execute("BEGIN TRANSACTION READ ONLY")
            try:
                statements = connection.extract_statements(sql)
                if len(statements) != 1:
                    raise ValueError("exactly one statement is taken")
                result = connection.execute(statements[0])
                return [c[0] for c in result.description or ()], result.fetchall()
            finally:
                connection.execute("ROLLBACK")

    def _schemas(self, connection: Any) -> list[str]:  # noqa: ANN401 - duckdb has no usable types
        rows = connection.execute("SELECT schema_name FROM duckdb_schemas() WHERE NOT internal").fetchall()
        pools = {pool: i for i, pool in enumerate(self._settings.pools)}
        names = [name for (name,) in rows if name.partition("/")[0] in pools]
        return sorted(names, key=lambda name: ("/" in name, pools[name.partition("/")[0]], name))

    async def _sql(self, request: Request) -> Response:
        _only_loopback(request)
        try:
            columns, rows = await run_in_threadpool(self.query, (await request.body()).decode())
        except (duckdb.Error, ValueError) as e:
            raise invalid("sql", str(e), "sql") from None
        return _json({"columns": columns, "rows": rows})

    async def _requests(self, request: Request) -> Response:
        _only_loopback(request)
        return _json(await run_in_threadpool(self._counters))

    def _counters(self) -> dict[str, Any]:
        executes: dict[str, dict[str, int]] = {}
        sql = f"""SELECT strftime(make_timestamp((moment * 1000000)::BIGINT), '%Y-%m-%dT%H'), outcome, count(*)
                  FROM {BOOKKEEPING}.executes GROUP BY ALL ORDER BY ALL"""
        for hour, outcome, count in self._store.rows(sql):
            executes.setdefault(hour, {"accepted": 0, "refused": 0, "faulted": 0})[outcome] = count
        sql = f"SELECT status, count(*) FROM {BOOKKEEPING}.jobs GROUP BY ALL ORDER BY ALL"
        return {"executes": executes, "jobs": dict(self._store.rows(sql)), "operations": self._faults.seen()}


def _only_loopback(request: Request) -> None:
    host = request.client.host if request.client else ""
    if not ipaddress.ip_address(host).is_loopback or "origin" in request.headers:
        raise refused(403, "Only for programs on this machine")


def _json(content: object) -> Response:
    return Response(orjson.dumps(content, default=str), media_type="application/json")
