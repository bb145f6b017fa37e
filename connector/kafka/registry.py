"""Owns the conversation with the schema registry: writer schemas by id, with all that they refer to.

Never sleeps and never parses a schema. One call may block for the configured timeout per address of the registry; while
it is away, further calls fail at once until the wait is over. Invariant: only the registry's own "there is no such
schema" makes an id unknown; every other failure leaves the messages where they are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError

from connector.errors import ConfigError, RegistryUnavailable, UnknownSchema

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from confluent_kafka.schema_registry import Schema, SchemaReference

    from connector.config import SchemaRegistry as Settings

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds; doubled at every failure in a row
UNKNOWN_SECONDS = 30.0  # an unknown id is not asked again for so long; whoever registers it late waits for that
_UNKNOWN_KEPT = 10_000  # ids; broken messages can name any number
_LARGEST_ID = (1 << 31) - 1  # a Java int: for more the registry answers "no such path", which must not hold a topic
_FAULT = 500  # and above: the registry's own
_NOT_FOUND = range(40400, 40500)  # error codes: no such subject, version, schema
_ELSEWHERE = "schema_registry.url must be the base address of the registry, with its path where it has one"
_UNREADABLE = "the answer is not that of a schema registry"

Found = tuple[str, tuple[str, ...]]


class SchemaRegistry:
    """The schemas of one registry, each asked for once."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._secrets = _secrets(settings)
        self._client = _client(settings)
        self._found: dict[int, Found] = {}
        self._unknown: dict[int, tuple[float, str]] = {}  # until when, and why
        self._failures = 0
        self._again_at = 0.0
        self._away = ""
        self._hint = ""

    def get(self, schema_id: int) -> Found:
        """Return a schema and the schemas it refers to (those that others build on first), as JSON text.

        Raises:
            UnknownSchema: the registry has no such schema, or not in Avro.
            RegistryUnavailable: it gave no answer that can be trusted; `wait` grows with every failure.
        """
        if schema_id not in self._found:
            self._refuse_known_to_fail(schema_id)
            self._found[schema_id] = self._ask(schema_id)
        return self._found[schema_id]

    def check(self) -> str:
        """Return one line that says the registry answers and accepts us; raises RegistryUnavailable."""
        self._call("GET /subjects", lambda: self._client.get_subjects(limit=1))
        return f"{self._settings.url} answers and accepts us"

    def reach(self) -> None:
        """Return once the registry has answered, whatever it says of us; raises RegistryUnavailable."""
        about = "GET /subjects"
        try:
            self._client.get_subjects(limit=1)
        except SchemaRegistryError as e:
            if e.http_status_code >= _FAULT:
                self._judge(about, e)
        except Exception as e:  # noqa: BLE001 - whatever its HTTP library raises
            self._silent(about, e)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _refuse_known_to_fail(self, schema_id: int) -> None:
        now = self._clock()
        until, reason = self._unknown.get(schema_id, (now, ""))
        if until > now:
            raise UnknownSchema(reason)
        if self._again_at > now:
            raise RegistryUnavailable(self._away, wait=self._again_at - now, hint=self._hint)

    def _ask(self, schema_id: int) -> Found:
        try:
            return self._fetch(schema_id)
        except UnknownSchema as e:
            if len(self._unknown) >= _UNKNOWN_KEPT:
                self._unknown.clear()
            self._unknown[schema_id] = (self._clock() + UNKNOWN_SECONDS, str(e))
            raise

    def _fetch(self, schema_id: int) -> Found:
        about = f"schema {schema_id}"
        if schema_id > _LARGEST_ID:
            raise UnknownSchema(f"{about} cannot exist: ids end at {_LARGEST_ID}")
        schema = self._call(about, lambda: self._client.get_schema(schema_id))
        texts: dict[tuple[str, int], str] = {}
        for reference in schema.references or ():
            self._collect(reference, texts, about)
        return self._text(schema, about), tuple(dict.fromkeys(texts.values()))

    def _collect(self, reference: SchemaReference, texts: dict[tuple[str, int], str], above: str) -> None:
        """Add what `reference` means to `texts`, after everything that it refers to itself."""
        key = (reference.subject or "", reference.version or 0)
        about = f"{above} → {key[0]} version {key[1]}"
        if key in texts:
            return
        # a schema that was deleted softly still explains the messages written with it
        registered = self._call(about, lambda: self._client.get_version(*key, deleted=True))
        for deeper in registered.schema.references or ():
            self._collect(deeper, texts, about)
        texts[key] = self._text(registered.schema, about)

    def _text(self, schema: Schema, about: str) -> str:
        if schema.schema_type != "AVRO":
            raise UnknownSchema(f"{about} is of type {schema.schema_type}, not AVRO")
        if not isinstance(schema.schema_str, str):
            self._client.clear_caches()  # type: ignore[no-untyped-call]  # it keeps what it is given
            self._fail(f"{about}: {_UNREADABLE}", _ELSEWHERE)
        return schema.schema_str

    def _call(self, about: str, request: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the client gives it
        """Return the client's answer to `request`, or raise what its failure means for messages."""
        try:
            answer = request()
        except SchemaRegistryError as e:
            self._judge(about, e)
        except Exception as e:  # noqa: BLE001 - the client lets through whatever its HTTP library raises
            self._silent(about, e)
        self._failures = 0
        return answer

    def _silent(self, about: str, error: Exception) -> NoReturn:
        text = self._masked(f"{type(error).__name__}: {error}")
        distrust = "CERTIFICATE_VERIFY_FAILED" in text
        hint = "schema_registry.ca_file must hold its CA" if distrust else "schema_registry.url must be reachable"
        self._fail(f"{about}: no answer from {self._settings.url}: {text}", hint)

    def _judge(self, about: str, error: SchemaRegistryError) -> NoReturn:
        status, code = error.http_status_code, error.error_code
        text = f"{about}: {self._settings.url} answered {status}: {self._masked(str(error.error_message))[:200]}"
        if status == 404 and code in _NOT_FOUND:  # noqa: PLR2004 - HTTP
            self._failures = 0
            raise UnknownSchema(f"{about}: the schema registry has none")
        if status in (401, 403):
            self._fail(text, f"check {self._credentials}")
        if status == 404:  # noqa: PLR2004 - HTTP
            self._fail(text, _ELSEWHERE)
        self._fail(text, "")

    def _fail(self, message: str, hint: str) -> NoReturn:
        wait = min(FIRST_WAIT * 2**self._failures, LONGEST_WAIT)
        self._failures = min(self._failures + 1, 10)
        self._again_at = self._clock() + wait
        self._away, self._hint = message, hint
        raise RegistryUnavailable(message, wait=wait, hint=hint)

    @property
    def _credentials(self) -> str:
        if self._settings.bearer_token:
            return "schema_registry.bearer_token, and that it may read all subjects"
        if self._settings.basic_auth:
            return "schema_registry.basic_auth, and that it may read all subjects"
        return "whether schema_registry.basic_auth or schema_registry.bearer_token must be set"

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _client(settings: Settings) -> SchemaRegistryClient:
    """Return the client without retries of its own, since it would sleep between them on the pipeline's thread."""
    properties: dict[str, Any] = {"url": settings.url, "timeout": settings.timeout, "max.retries": 0}
    if settings.basic_auth:
        user, password = settings.basic_auth.username, settings.basic_auth.password.get_secret_value()
        properties["basic.auth.user.info"] = f"{user}:{password}"
    if settings.bearer_token:
        token = settings.bearer_token.get_secret_value()
        properties |= {
            "bearer.auth.credentials.source": "CUSTOM",  # STATIC_TOKEN would demand a Confluent Cloud cluster id
            "bearer.auth.custom.provider.function": lambda _: _bearer(token),
            "bearer.auth.custom.provider.config": {},
        }
    if settings.ca_file:
        properties["ssl.ca.location"] = str(settings.ca_file)
    try:
        return SchemaRegistryClient.new_client(properties)
    except OSError as e:
        problem = (
            f"schema_registry.ca_file: cannot use {settings.ca_file} ({type(e).__name__}): mount it or fix the path"
        )
        raise ConfigError([problem]) from None
    except ValueError:
        raise ConfigError(["schema_registry.url: every address must begin with http:// or https://"]) from None


def _bearer(token: str) -> dict[str, str]:
    return {"bearer.auth.token": token, "bearer.auth.logical.cluster": ""}


def _secrets(settings: Settings) -> list[str]:
    given = [settings.bearer_token, settings.basic_auth.password if settings.basic_auth else None]
    return [secret.get_secret_value() for secret in given if secret]
