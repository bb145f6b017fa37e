"""Owns a small schema registry on loopback: what the Confluent client asks when it reads and registers schemas.

Never checks compatibility and keeps nothing. Invariant: an id belongs to one schema for good, as in the real one.
"""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

Answer = tuple[int, Any]

_STOP_SECONDS = 5.0
_NO_SUBJECT = (404, {"error_code": 40401, "message": "Subject not found."})
_NO_VERSION = (404, {"error_code": 40402, "message": "Version not found."})
_NO_SCHEMA = (404, {"error_code": 40403, "message": "Schema not found"})
_NO_ROUTE = (404, {"error_code": 404, "message": "HTTP 404 Not Found"})
_UNAUTHORIZED = (401, {"error_code": 401, "message": "Unauthorized"})


class RegistryServer:
    """A registry at `url`. What tests need: `failing` answers everything, `hanging` seconds pass before an answer.

    `basic_auth` (user, password) or `bearer` is demanded of every request; `requests` are the paths that were asked.
    """

    def __init__(self, basic_auth: tuple[str, str] | None = None, bearer: str | None = None) -> None:
        self.failing: Answer | None = None
        self.hanging = 0.0
        self.requests: list[str] = []
        self._authorization = _authorization(basic_auth, bearer)
        self._schemas: list[dict[str, Any]] = []  # the schema with id n stands at n - 1
        self._versions: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        registry: RegistryServer = self

        class Handler(_Handler):
            asked = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="registry", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_STOP_SECONDS)

    def register(
        self,
        subject: str,
        schema: Mapping[str, Any] | str,
        references: Sequence[Mapping[str, Any]] = (),
        schema_type: str = "AVRO",
    ) -> int:
        """Add a version to `subject` and return the schema's id; references are `{name, subject, version}`."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        entry: dict[str, Any] = {"schema": text}
        if schema_type != "AVRO":
            entry["schemaType"] = schema_type  # the real one leaves the default out, too
        if references:
            entry["references"] = [dict(r) for r in references]
        with self._lock:
            if entry not in self._schemas:
                self._schemas.append(entry)
            schema_id = self._schemas.index(entry) + 1
            versions = self._versions.setdefault(subject, [])
            if schema_id not in versions:
                versions.append(schema_id)
        return schema_id

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        """Return the status and the JSON document for one request."""
        self.requests.append(path)
        self._stopping.wait(self.hanging)
        if self.failing:
            return self.failing
        if self._authorization and authorization != self._authorization:
            return _UNAUTHORIZED
        return self._route(method, [unquote(part) for part in urlsplit(path).path.strip("/").split("/")], body)

    def _route(self, method: str, parts: list[str], body: bytes) -> Answer:
        match method, parts:
            case "GET", ["subjects"]:
                return 200, sorted(self._versions)
            case "GET", ["schemas", "ids", number]:
                return self._by_id(number)
            case "GET", ["subjects", subject, "versions", version]:
                return self._by_version(subject, version)
            case "POST", ["subjects", subject, "versions"]:
                return self._post(subject, body)
        return _NO_ROUTE

    def _by_id(self, number: str) -> Answer:
        if not number.isdecimal() or int(number) >= 1 << 31:
            return _NO_ROUTE  # as the real one does with what is no Java int
        found = 1 <= int(number) <= len(self._schemas)
        return (200, self._schemas[int(number) - 1]) if found else _NO_SCHEMA

    def _by_version(self, subject: str, version: str) -> Answer:
        versions = self._versions.get(subject)
        if not versions:
            return _NO_SUBJECT
        number = len(versions) if version == "latest" else int(version) if version.isdecimal() else 0
        if not 1 <= number <= len(versions):
            return _NO_VERSION
        schema_id = versions[number - 1]
        return 200, {"subject": subject, "version": number, "id": schema_id, **self._schemas[schema_id - 1]}

    def _post(self, subject: str, body: bytes) -> Answer:
        sent = json.loads(body)
        schema_id = self.register(
            subject, sent["schema"], sent.get("references") or (), sent.get("schemaType") or "AVRO"
        )
        return 200, {"id": schema_id}


class _Handler(BaseHTTPRequestHandler):
    """One request a connection (HTTP/1.0), so that the end of the server waits for nobody."""

    asked: RegistryServer
    timeout = 5  # seconds a connection may stay silent

    def do_GET(self) -> None:
        self._reply("GET")

    def do_POST(self) -> None:
        self._reply("POST")

    def _reply(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, document = self.asked.answer(method, self.path, self.headers.get("Authorization", ""), body)
        content = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True  # the client did not wait for the answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Write nothing."""


def _authorization(basic_auth: tuple[str, str] | None, bearer: str | None) -> str:
    if basic_auth:
        return "Basic " + b64encode(":".join(basic_auth).encode()).decode()
    return f"Bearer {bearer}" if bearer else ""
