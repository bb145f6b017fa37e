"""Owns a group member spoken by hand: it joins, commits as it is told and never sends a heartbeat by itself.

A client library hides its generation and gives up at once when the broker refuses; this one stays what it was. Never
used by the product. Invariant: one request at a time, each answered within seconds.
"""

from __future__ import annotations

import io
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_COMMIT, _JOIN, _SYNC = 8, 11, 14  # api keys; the versions below are the lowest that a 4.x broker still knows
_ANSWER_SECONDS = 10.0


class GroupMember:
    """A member of `group`; `member` and `generation` are what the broker gave it."""

    def __init__(self, bootstrap: str, group: str, session_ms: int = 1000) -> None:
        host, _, port = bootstrap.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), _ANSWER_SECONDS)
        self._group, self._session_ms = group, session_ms
        self._number = 0
        self.member, self.generation = "", -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()

    def join(self) -> None:
        """Join, or join again; as a leader it gives itself everything."""
        request = _text(self._group) + struct.pack(">ii", self._session_ms, self._session_ms) + _text(self.member)
        answer = self._ask(_JOIN, 2, request + _text("consumer") + struct.pack(">i", 1) + _text("range") + _bytes(b""))
        _, error, self.generation = struct.unpack(">ihi", answer.read(10))
        assert error == 0, f"JoinGroup: error {error}"
        _read(answer)  # the protocol
        _read(answer)  # the leader
        self.member = _read(answer)
        request = _text(self._group) + struct.pack(">i", self.generation) + _text(self.member)
        answer = self._ask(_SYNC, 0, request + struct.pack(">i", 1) + _text(self.member) + _bytes(b""))
        (error,) = struct.unpack(">h", answer.read(2))
        assert error == 0, f"SyncGroup: error {error}"

    def commit(self, topic: str, offset: int, metadata: str = "") -> int:
        """Commit partition 0; return Kafka's error code, 0 when it was taken."""
        request = _text(self._group) + struct.pack(">i", self.generation) + _text(self.member) + struct.pack(">q", -1)
        request += struct.pack(">i", 1) + _text(topic) + struct.pack(">iiq", 1, 0, offset) + _text(metadata)
        answer = self._ask(_COMMIT, 2, request)
        answer.read(4)
        _read(answer)
        return int(struct.unpack(">iih", answer.read(10))[2])

    def _ask(self, key: int, version: int, body: bytes) -> io.BytesIO:
        self._number += 1
        message = struct.pack(">hhi", key, version, self._number) + _text("tests") + body
        self._socket.sendall(struct.pack(">i", len(message)) + message)
        (size,) = struct.unpack(">i", self._receive(4))
        answer = io.BytesIO(self._receive(size))
        assert struct.unpack(">i", answer.read(4))[0] == self._number
        return answer

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            assert piece, "the broker closed the connection"
            data += piece
        return data


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def _bytes(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def _read(answer: io.BytesIO) -> str:
    (size,) = struct.unpack(">h", answer.read(2))
    return answer.read(size).decode()
