"""Owns the wire between connectors and emulator: a TCP proxy on loopback that can cut a request in the middle.

Never looks into what passes. Invariant: its port stays the same whatever happens behind it, and it ends with its block.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Self

T = TypeVar("T")

_STOP_SECONDS = 5.0
_PIECE = 1 << 14  # small enough that a cut falls into the middle of a chunk


class CuttingProxy:
    """Passes connections on to `upstream`, a port of loopback; `cuts` counts the requests that were cut."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._cut_after: int | None = None
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.cuts = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._in_loop(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._in_loop(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()

    def cut_request_after(self, size: int | None) -> None:
        """Reset the next connection whose request has sent `size` bytes without an answer; None: let all pass."""
        with self._lock:
            self._cut_after = size

    @property
    def armed(self) -> bool:
        """Whether a cut is still to come."""
        return self._cut_after is not None

    def _in_loop(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(_STOP_SECONDS)

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        passed = _Passed()
        ways = [self._up(reader, up_writer, passed), _down(up_reader, writer, passed)]
        try:
            with suppress(OSError, _Cut):
                await asyncio.gather(*ways)
        finally:
            writer.transport.abort()
            up_writer.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: _Passed) -> None:
        while data := await reader.read(_PIECE):
            passed.unanswered += len(data)
            self._maybe_cut(passed.unanswered)
            writer.write(data)
            await writer.drain()
        raise _Cut

    def _maybe_cut(self, unanswered: int) -> None:
        with self._lock:
            if self._cut_after is not None and unanswered >= self._cut_after:
                self._cut_after = None
                self.cuts += 1
                raise _Cut


class _Cut(Exception):  # noqa: N818 - an end, not an error
    """This connection is over."""


class _Passed:
    """The bytes of a request that has no answer yet."""

    unanswered = 0


async def _down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: _Passed) -> None:
    while data := await reader.read(_PIECE):
        passed.unanswered = 0
        writer.write(data)
        await writer.drain()
    raise _Cut
