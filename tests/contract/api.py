"""Owns a plain client of the Data Push API and small files to send; never judges. Invariant: every wait is bounded."""

from __future__ import annotations

import io
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connector.emulator import Emulator

POOL = "11111111-2222-3333-4444-555555555555"
OTHER_POOL = "99999999-2222-3333-4444-555555555555"
CONNECTION = "aaaaaaaa-2222-3333-4444-555555555555"
KEY = "application-key"
WAIT = 60.0

UPSERT, DELETE = "upserted", "deleted"


class Api:
    """One key's view of one pool."""

    def __init__(
        self, emulator: Emulator, *, pool: str = POOL, authorization: str = f"AppKey {KEY}", **options: Any
    ) -> None:
        self.emulator = emulator
        self.root = f"/data-ingestion/api/v1/data-push/{pool}"
        headers = {"authorization": authorization} if authorization else {}
        self.http = httpx.Client(base_url=emulator.url, headers=headers, timeout=WAIT, trust_env=False, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.http.request(method, f"{self.root}{path}", **options)

    def create(self, target: str, **fields: Any) -> httpx.Response:
        return self.request("POST", "/jobs/", json={"targetName": target, "type": "DELTA"} | fields)

    def new(self, target: str, **fields: Any) -> str:
        answer = self.create(target, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def upload(self, job: str, data: bytes, kind: str = UPSERT) -> httpx.Response:
        return self.request("POST", f"/jobs/{job}/chunks/{kind}", files={"file": ("chunk", data)})

    def execute(self, job: str, **parameters: str) -> httpx.Response:
        return self.request("POST", f"/jobs/{job}", params=parameters)

    def get(self, job: str) -> dict[str, Any]:
        answer = self.request("GET", f"/jobs/{job}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def push(
        self,
        target: str,
        *chunks: bytes,
        deletes: Sequence[bytes] = (),
        parameters: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Run a whole job and return how it ended."""
        job = self.new(target, **fields)
        for kind, files in ((UPSERT, chunks), (DELETE, deletes)):
            for data in files:
                answer = self.upload(job, data, kind)
                assert answer.status_code == 200, answer.text
        answer = self.execute(job, **parameters or {})
        assert answer.status_code == 200, answer.text
        assert self.emulator.wait_idle(WAIT)
        return self.get(job)

    def done(self, target: str, *chunks: bytes, **fields: Any) -> None:
        """Run a whole job, which must end DONE."""
        job = self.push(target, *chunks, **fields)
        assert (job["status"], job["logs"]) == ("DONE", [])

    def failed(self, target: str, *chunks: bytes, **fields: Any) -> str:
        """Run a whole job, which must end in ERROR, and return its only log line."""
        job = self.push(target, *chunks, **fields)
        assert job["status"] == "ERROR"
        (line,) = job["logs"]
        return str(line)


def fresh_table() -> str:
    return f"T_{uuid.uuid4().hex[:12]}"


def schema(**columns: Any) -> dict[str, Any]:
    """Return a `tableSchema`: a type by column, or (type, length)."""
    described = []
    for name, kind in columns.items():
        kind_, length = kind if isinstance(kind, tuple) else (kind, None)
        described.append({"columnName": name, "columnType": kind_, "fieldLength": length})
    return {"tableName": "ignored", "columns": described}


def parquet(_options: Mapping[str, Any] | None = None, **columns: Any) -> bytes:
    """Return a Parquet file with these columns: lists, or Arrow arrays."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **_options or {})
    return out.getvalue()


def errors(answer: httpx.Response) -> list[str]:
    """Return the error codes of a 400."""
    assert answer.status_code == 400, answer.text
    return [error["errorCode"] for error in answer.json()["errors"]]
