"""Owns a scripted platform for the client's tests; never judges. Invariant: every request is kept as it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from connector.celonis.auth import KeyAuth
from connector.celonis.client import DataPushClient

if TYPE_CHECKING:
    from collections.abc import Callable

POOL = "11111111-2222-3333-4444-555555555555"
TEAM = "https://team.eu-1.celonis.cloud"
SECRET = "s3cr3t-key"
UNSET = (
    *("connectionId", "keys", "upsertStrategy", "fallbackVarcharLength", "tableSchema", "csvParsingOptions"),
    *("allowDuplicate", "foreignKeys", "postExecutionQuery", "mirrorTargetNames", "changeDate", "targetSchema"),
)


class Wire:
    """Answers with `answers` in turn, the last one for ever; a callable answers for itself."""

    def __init__(self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def client(self, **options: Any) -> DataPushClient:
        auth = options.pop("auth", KeyAuth("AppKey", SECRET))
        return DataPushClient(TEAM, POOL, auth, transport=httpx.MockTransport(self), **options)

    @property
    def request(self) -> httpx.Request:
        """The last request."""
        return self.requests[-1]


def job(**fields: Any) -> dict[str, Any]:
    """Return a job as the official client would see it: every unset field an explicit null."""
    nulls = dict.fromkeys(UNSET)
    known = {"id": "job-1", "targetName": "ORDERS", "dataPoolId": POOL, "type": "DELTA", "fileType": "PARQUET"}
    return nulls | known | {"status": "NEW", "logs": None, "lastModified": None, "lastPing": None} | fields


def answered(body: Any = None, status: int = 200, **headers: str) -> httpx.Response:
    """Return an answer in JSON, or an empty one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named) if body is None else httpx.Response(status, json=body, headers=named)


class EndlessBody(httpx.SyncByteStream):
    """A body of `piece` without end; `on_piece` is called before each."""

    def __init__(self, piece: bytes, on_piece: Callable[[], None]) -> None:
        self._piece, self._on_piece = piece, on_piece
        self.closed = False

    def __iter__(self) -> Any:
        while True:
            self._on_piece()
            yield self._piece

    def close(self) -> None:
        self.closed = True


class Counted:
    """Keeps what is counted."""

    def __init__(self) -> None:
        self.retries: list[tuple[str, str]] = []
        self.tokens = 0

    def retried(self, operation: str, outcome: str) -> None:
        self.retries.append((operation, outcome))

    def refreshed(self) -> None:
        self.tokens += 1
