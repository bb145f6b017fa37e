"""Owns the way of an uploaded file from the socket to the disk; never looks into it.

Invariant: memory stays small whatever the file's size, and a file that does not arrive whole is never accepted.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from connector.emulator.answers import invalid

if TYPE_CHECKING:
    from pathlib import Path

    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request

PART = "file"


async def receive(request: Request, path: Path, max_bytes: int) -> str:
    """Write the part `file` of a multipart request to `path` and return its MD5.

    Raises:
        ApiError: 400 for a request that is not multipart, lacks the part, or carries `max_bytes` or more in it. The
            body has been read to its end then: a client that is still sending would not see the answer.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        await drain(request)
        raise invalid("file", "The request is not multipart/form-data", "not-multipart")
    with path.open("xb") as file:
        parts = _Parts(file, max_bytes)
        await _feed(request, MultipartParser(options[b"boundary"], parts.callbacks()))
    parts.check()
    return parts.digest.hexdigest()


async def drain(request: Request) -> None:
    """Read the rest of the body."""
    async for _ in request.stream():
        pass


async def _feed(request: Request, parser: MultipartParser) -> None:
    broken = False
    async for data in request.stream():
        if broken:
            continue
        try:
            parser.write(data)
        except MultipartParseError:
            broken = True
    if broken:
        raise invalid("file", "The request is not well-formed multipart/form-data", "bad-multipart")


class _Parts:
    """What the parser calls: it takes the bytes of the part `file`, and of no other."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self.digest = hashlib.md5(usedforsecurity=False)
        self._file = file
        self._left = max_bytes
        self._files = 0
        self._wanted = False
        self._ended = False
        self._field = b""
        self._value = b""

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def check(self) -> None:
        """Refuse what did not arrive as it should."""
        if not self._ended:
            raise invalid("file", "The request is not well-formed multipart/form-data", "bad-multipart")
        if self._files != 1:
            raise invalid("file", f"The request has {self._files} parts named 'file' instead of one", "no-file")
        if self._left <= 0:
            raise invalid("file", "The chunk is too large: 1 GB at most", "too-large")

    def _begin(self) -> None:
        self._wanted = False

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._wanted = options.get(b"name") == PART.encode()
            self._files += self._wanted
        self._field = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._wanted:
            return
        self._left -= end - start
        if self._left > 0:
            piece = memoryview(data)[start:end]
            self._file.write(piece)
            self.digest.update(piece)

    def _end(self) -> None:
        self._ended = True
