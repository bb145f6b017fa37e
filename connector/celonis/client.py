"""Owns the HTTP client of the Data Push API: every operation of the contract, usable as a library.

Never retries or waits (the pusher does) and never holds a chunk in memory. Invariant: each call returns what the
platform surely did, or raises a CelonisError that says what to do next; answers are bounded in time and in size.
"""

from __future__ import annotations

import ssl
import time
import uuid
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

import httpx
import orjson

from connector import __version__
from connector.celonis.auth import TOKEN_SECONDS, auth_of
from connector.celonis.calls import UNCOUNTED
from connector.celonis.failures import Answer, failure_of_answer, failure_of_silence
from connector.celonis.jobs import Job, UploadedChunk
from connector.celonis.outcomes import Operation, reaction
from connector.errors import CelonisError, ConfigError, Reaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from connector.celonis.calls import Calls
    from connector.celonis.jobs import JobSpec
    from connector.config import Celonis

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_LARGEST_ANSWER = 256 << 20  # the list of all jobs of a pool has no pages
_DEADLINE = "deadline"  # the extension of a request that bounds its answer
_CONTENT_TYPES = {"PARQUET": "application/octet-stream", "CSV": "text/csv"}


class DataPushClient:
    """A client of one data pool; threads may share it. A context manager, since it holds connections.

    `team_url` such as `https://team.eu-1.celonis.cloud`, `prefix` `/data-ingestion` or `/integration`; `timeout` and
    `upload_timeout` in seconds bound a whole request and its answer.
    """

    def __init__(
        self,
        team_url: str,
        pool_id: str,
        auth: httpx.Auth,
        *,
        prefix: str = "/data-ingestion",
        timeout: float = 60.0,
        upload_timeout: float = 900.0,
        verify: ssl.SSLContext | bool = True,
        proxy: httpx.Proxy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.pool_id = pool_id
        self.team_url = team_url.rstrip("/")
        self._timeout, self._upload_timeout = timeout, upload_timeout
        self._http = httpx.Client(
            base_url=f"{self.team_url}{prefix}/api/v1/data-push/{pool_id}",
            auth=auth,
            verify=verify,
            proxy=proxy,
            transport=transport,
            timeout=httpx.Timeout(timeout, connect=_CONNECT_SECONDS),
            headers={
                "User-Agent": f"kafka-celonis-connector/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # so that the bound of an answer is one of memory
            },
            event_hooks={"response": [_bound]},
        )

    @classmethod
    def of(cls, settings: Celonis, calls: Calls = UNCOUNTED) -> Self:
        """Return the client that `settings` describes; raises ConfigError when its certificates cannot be used."""
        proxy_auth = settings.proxy_auth
        credentials = (proxy_auth.username, proxy_auth.password.get_secret_value()) if proxy_auth else None
        return cls(
            settings.team_url,
            settings.pool_id,
            auth_of(settings.auth, settings.team_url, calls),
            prefix=settings.api_prefix,
            timeout=settings.request_timeout,
            upload_timeout=settings.upload_timeout,
            verify=_trusting(settings.ca_file) if settings.ca_file else True,
            proxy=httpx.Proxy(settings.proxy, auth=credentials) if settings.proxy else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create_job(self, spec: JobSpec) -> Job:
        """Create a job, which is NEW."""
        body = spec.to_wire(self.pool_id)
        return self._read(Operation.CREATE, Job.from_wire, "POST", "/jobs/", json=body)

    def list_jobs(self) -> list[Job]:
        """Return all jobs of the pool that can be read; one in an unknown state is left out."""
        return self._read(Operation.LIST, _jobs, "GET", "/jobs/")

    def get_job(self, job_id: str) -> Job:
        """Return a job as it is now."""
        return self._read(Operation.GET, Job.from_wire, "GET", f"/jobs/{job_id}", job_id=job_id)

    def add_upserts(self, job_id: str, path: Path, file_type: str = "PARQUET") -> None:
        """Upload the file at `path` as a chunk of rows to insert or update."""
        self._upload(job_id, path, file_type, "upserted")

    def add_deletes(self, job_id: str, path: Path, file_type: str = "PARQUET") -> None:
        """Upload the file at `path` as a chunk of keys to delete; the job must be a DELTA with keys."""
        self._upload(job_id, path, file_type, "deleted")

    def list_chunks(self, job_id: str) -> list[UploadedChunk]:
        """Return the chunks that a job holds."""
        return self._read(Operation.CHUNKS, _chunks, "GET", f"/jobs/{job_id}/chunks", job_id=job_id)

    def execute(self, job_id: str, duplicate_removal_column: str | None = None) -> None:
        """Submit a job, which then runs by itself; of rows with one key the highest `duplicate_removal_column` stays.

        Costs one of the team's pushes, whatever the answer.
        """
        params = {"duplicateRemovalColumn": duplicate_removal_column} if duplicate_removal_column else None
        self._send(Operation.EXECUTE, "POST", f"/jobs/{job_id}", job_id=job_id, params=params)

    def cancel_job(self, job_id: str) -> None:
        """Cancel a job that is not at its end."""
        self._send(Operation.CANCEL, "POST", f"/jobs/{job_id}/cancel", job_id=job_id)

    def delete_job(self, job_id: str) -> None:
        """Delete a job that is NEW or at its end."""
        self._send(Operation.DELETE, "DELETE", f"/jobs/{job_id}", job_id=job_id)

    # --- one request ------------------------------------------------------------------------------------------

    def _upload(self, job_id: str, path: Path, file_type: str, kind: str) -> None:
        deadline = time.monotonic() + self._upload_timeout
        with path.open("rb") as file:
            self._send(
                Operation.UPLOAD,
                "POST",
                f"/jobs/{job_id}/chunks/{kind}",
                job_id=job_id,
                seconds=self._upload_timeout,
                files={"file": (path.name, _Timed(file, deadline), _CONTENT_TYPES[file_type])},
                timeout=httpx.Timeout(self._timeout, connect=_CONNECT_SECONDS, read=self._upload_timeout),
            )

    def _read(
        self,
        operation: Operation,
        parse: Callable[[Any], T],
        method: str,
        path: str,
        job_id: str = "",
        **request: Any,  # noqa: ANN401 - httpx's own
    ) -> T:
        """Send, and parse the body, which must be what the operation promises; else nothing is known."""
        answer = self._send(operation, method, path, job_id=job_id, **request)
        try:
            return parse(orjson.loads(answer.body))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise failure_of_answer(operation, answer._replace(status=0), job_id, f"unusable answer: {e}") from None

    def _send(
        self,
        operation: Operation,
        method: str,
        path: str,
        *,
        job_id: str = "",
        seconds: float = 0,
        **request: Any,  # noqa: ANN401
    ) -> Answer:
        headers = {"X-Request-ID": uuid.uuid4().hex}
        extensions = {_DEADLINE: time.monotonic() + (seconds or self._timeout)}
        try:
            built = self._http.build_request(method, path, headers=headers, extensions=extensions, **request)
            response = self._http.send(built)
        except httpx.HTTPError as e:
            cause = None if isinstance(e, httpx.LocalProtocolError) else e  # which quotes the header with the key
            raise failure_of_silence(operation, e, job_id, headers["X-Request-ID"], self.team_url) from cause
        except CelonisError as e:
            e.job_id = e.job_id or job_id  # the token could not be had
            raise
        answer = Answer(response.status_code, response.headers, response.content)
        if reaction(operation, answer.status) is not Reaction.PROCEED:
            raise failure_of_answer(operation, answer, job_id)
        if answer.is_page:
            raise failure_of_answer(operation, answer._replace(status=0), job_id, f"a web page with {answer.status}")
        return answer


class _Timed:
    """A file whose reading ends in an error after `deadline` (monotonic seconds), so that no upload lasts forever."""

    def __init__(self, file: BinaryIO, deadline: float) -> None:
        self._file, self._deadline = file, deadline

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        if time.monotonic() > self._deadline:
            raise httpx.WriteTimeout("the upload took longer than celonis.upload_timeout")
        return self._file.read(size)

    def seek(self, *args: int) -> int:
        """Move, as files do."""
        return self._file.seek(*args)

    def fileno(self) -> int:
        """Return the file's descriptor: its size is asked of it."""
        return self._file.fileno()


class _Bounded(httpx.SyncByteStream):
    """The body of an answer; it ends in an error past `deadline` (monotonic seconds), or when it is beyond measure."""

    def __init__(self, stream: httpx.SyncByteStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._stream:
            size += len(piece)
            if time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("the answer was not complete in time")
            if size > _LARGEST_ANSWER:
                raise httpx.ReadError("the answer is too large")
            yield piece

    def close(self) -> None:
        """Free the connection."""
        self._stream.close()


def _bound(response: httpx.Response) -> None:
    """Bound every answer, those of the token endpoint too, which know no deadline of their own."""
    deadline = response.request.extensions.get(_DEADLINE) or time.monotonic() + TOKEN_SECONDS
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _Bounded(response.stream, deadline)


def _jobs(wire: object) -> list[Job]:
    jobs = []
    for item in _list(wire):
        try:
            jobs.append(Job.from_wire(item))
        except (ValueError, KeyError, TypeError):
            continue  # another client's job, in a state that the contract does not know
    return jobs


def _chunks(wire: object) -> list[UploadedChunk]:
    return [UploadedChunk.from_wire(item) for item in _list(wire)]


def _list(wire: object) -> list[Any]:
    if not isinstance(wire, list):
        raise TypeError("not an array")
    return wire


def _trusting(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as e:
        raise ConfigError([f"celonis.ca_file: {ca_file} cannot be used: {e}: give certificates in PEM"]) from None
