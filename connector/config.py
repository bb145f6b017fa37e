"""Owns the settings: frozen models, their defaults, and the reason of every field.

Never reads a file (connector.config_file does) and never shows a secret. Invariant: a Settings that exists is complete
and consistent; an unknown key is a problem, not a surprise.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from connector.config_kafka import (
    MASK,
    OWN_PROPERTIES,
    BasicAuth,
    ClientProperties,
    Kafka,
    SchemaRegistry,
    is_secret_property,
)
from connector.config_tables import TOPIC_IN_TARGET, ColumnSettings, Flush, Table, TableDefaults, merged
from connector.config_types import GIB, Bytes, Key, Model, Seconds
from connector.core.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MASK", "MAX_CHUNK", "OWN_PROPERTIES", "Auth", "BasicAuth", "Budget", "Celonis", "ColumnSettings", "Flush",
    "Kafka", "Ledger", "Memory", "OAuth", "Observe", "SchemaRegistry", "Settings", "Spool", "Table", "TableDefaults",
    "is_secret_property",
]  # fmt: skip

_UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

MAX_CHUNK = 1_000_000_000  # the platform's limit of one chunk, "1 GB at most"; ours is always under it


class OAuth(Model):
    """OAuth client credentials of a Celonis OAuth client."""

    client_id: str
    """Client id."""
    client_secret: SecretStr
    """Client secret."""
    scope: str = "integration.data-pools:data_push"
    """Scope to ask for."""


class Auth(Model):
    """Exactly one way to authenticate."""

    app_key: Key | None = None
    """An application key; sent as `AppKey`."""
    bearer: Key | None = None
    """A user API key or a token; sent as `Bearer`."""
    oauth: OAuth | None = None
    """OAuth client credentials; the token is refreshed ahead of its end."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [n for n in ("app_key", "bearer", "oauth") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"set exactly one of app_key, bearer, oauth (found: {', '.join(given) or 'none'})")
        return self


class Celonis(Model):
    """Where the tables are."""

    team_url: str = Field(pattern=r"^https?://[^/@?#\s]+/?$")
    """`https://<team>.<cluster>.celonis.cloud`."""
    pool_id: str = Field(pattern=_UUID)
    """UUID of the data pool."""
    connection_id: str | None = Field(None, pattern=_UUID)
    """UUID of a data connection; without it tables are global to the pool."""
    auth: Auth
    """Credentials."""
    api_prefix: Literal["/data-ingestion", "/integration"] = "/data-ingestion"
    """Which of the two addresses of the API to use."""
    executes_in_flight: int = Field(1, ge=1, le=10)
    """Jobs executing at once in the pool; more than one has been answered with 409."""
    push_workers: int = Field(4, ge=1, le=32)
    """Loads that are built and uploaded at the same time."""
    finished_jobs: Literal["keep", "delete"] = "delete"
    """What happens to a job that is DONE; the last one of a table stays, since it remembers the columns."""
    request_timeout: Seconds = Field(60.0, gt=0)
    """The longest wait for one answer."""
    upload_timeout: Seconds = Field(900.0, gt=0)
    """The longest time the upload of one chunk may take."""
    job_timeout: Seconds = Field(7200.0, gt=0)
    """The longest time a job may run before the table is halted."""
    proxy: str | None = Field(None, pattern=r"^https?://[^/@\s]+/?$")
    """An HTTP proxy, `http://host:port`; without it HTTPS_PROXY and NO_PROXY of the environment count."""
    proxy_auth: BasicAuth | None = None
    """User name and password of the proxy."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""


class Ledger(Model):
    """The topic through which replicas, and deployments of one team, share the budget."""

    topic: str = Field("kafka-celonis.budget", min_length=1)
    """Its name; every deployment of the team names the same one."""
    brokers: str | None = None
    """Bootstrap servers, where the ledger is on another cluster than `kafka.brokers`."""
    replication_factor: int = Field(-1, ge=-1)
    """Of the topic when it is created; -1 takes the broker's default."""
    properties: ClientProperties = Field({}, repr=False)
    """librdkafka properties of that other cluster; `kafka.properties` counts only where `brokers` is not set."""

    @model_validator(mode="after")
    def _properties_of_its_own_brokers(self) -> Self:
        if self.properties and self.brokers is None:
            raise ValueError("properties are those of brokers: set brokers too, or leave kafka.properties to count")
        return self


class Budget(Model):
    """The pushes of the hour: the whole team has 250."""

    mode: Literal["paced", "ledger"] = "paced"
    """`paced`: each replica spends its part by its partitions; `ledger`: all replicas draw on one, over a topic."""
    pushes_per_hour: int = Field(240, ge=1, le=250)
    """What all replicas of this group may spend in a UTC hour; all groups of the team together have 250."""
    low_water: int = Field(5, ge=0)
    """Consumption pauses when fewer pushes are left than this, long before the hour ends."""
    replay_share: float = Field(0.25, ge=0, le=1)
    """The most of the hour's pushes that replays may take."""
    ledger: Ledger = Ledger()
    """Where `mode: ledger` writes."""
    clock_speed: float = Field(1.0, gt=0, le=3600)
    """How much faster the hours of the platform pass; other than 1 only against the emulator."""


class Spool(Model):
    """Chunks on local disk, on their way to the platform."""

    directory: Path = Path("spool")
    """Where they are; emptied at start, since Kafka holds the truth."""
    bytes: Bytes = Field(10 * GIB, ge=1 << 20)
    """The most bytes on disk; reaching it pauses consumption."""
    chunk_bytes: Bytes = Field(256 << 20, ge=1 << 16, lt=MAX_CHUNK)
    """Size at which a chunk is closed; always under 1 GB."""


class Memory(Model):
    """Records that are not on disk yet."""

    buffer_bytes: Bytes = Field(24 << 20, ge=1 << 20)
    """The most bytes of all buffers in memory; the largest goes to disk first."""


class Observe(Model):
    """Probes, metrics and logs."""

    host: str = "0.0.0.0"  # noqa: S104 - probes and scrapes come from outside the pod
    """Address that `/livez`, `/readyz` and `/metrics` listen on."""
    port: int = Field(8080, ge=0, le=65535)
    """Port of the same; 0 takes a free one."""
    log_format: Literal["auto", "text", "json"] = "auto"
    """`auto`: text on a terminal, JSON otherwise."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe line that is written."""


class Settings(Model):
    """Everything the service needs to know."""

    kafka: Kafka
    """The source."""
    schema_registry: SchemaRegistry | None = None
    """Needed by tables in Avro."""
    celonis: Celonis
    """The target."""
    budget: Budget = Budget()
    """How the pushes of the hour are spent."""
    defaults: TableDefaults = TableDefaults()
    """Settings for all tables that do not set their own."""
    tables: list[Table] = Field(min_length=1)
    """What goes where."""
    spool: Spool = Spool()
    """Local disk."""
    memory: Memory = Memory()
    """Memory."""
    observe: Observe = Observe()
    """Probes, metrics and logs."""
    drain_timeout: Seconds = 30.0
    """The longest time between SIGTERM and the end."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_into_tables(cls, data: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if not (isinstance(data, dict) and isinstance(data.get("tables"), list)):
            return data
        defaults = data.get("defaults")
        if not isinstance(defaults, dict):
            return data
        tables = [merged(defaults, t) if isinstance(t, dict) else t for t in data["tables"]]
        return {**data, "tables": tables}

    @field_validator("budget")
    @classmethod
    def _hours_pass_as_they_do(cls, budget: Budget, info: ValidationInfo) -> Budget:
        celonis = info.data.get("celonis")  # None where it has problems of its own
        host = urlsplit(celonis.team_url).hostname or "" if celonis else ""
        if budget.clock_speed != 1 and host.endswith("celonis.cloud"):
            raise ValueError("budget.clock_speed is for the emulator, the hours of Celonis pass at 1: remove it")
        return budget

    @field_validator("tables")
    @classmethod
    def _tables_fit(cls, tables: list[Table], info: ValidationInfo) -> list[Table]:
        if problems := [*_overlaps(tables), *_dead_letters_taken(tables, info), *_registry_lacking(tables, info)]:
            raise ValueError("\n".join(problems))
        return tables


def _overlaps(tables: list[Table]) -> Iterator[str]:
    topics = [topic for table in tables for topic in table.topics]
    if twice := sorted({topic for topic in topics if topics.count(topic) > 1}):
        yield f"{', '.join(twice)}: a topic goes to one table: remove it from the others"
    targets = [safe_name(t.target).lower() for t in tables if TOPIC_IN_TARGET not in t.target]
    if twice := sorted({target for target in targets if targets.count(target) > 1}):
        yield f"{', '.join(twice)}: one entry fills a table: list all topics there, or set another target"


def _dead_letters_taken(tables: list[Table], info: ValidationInfo) -> Iterator[str]:
    kafka = info.data.get("kafka")  # None where it has problems of its own
    dead = kafka.dead_letter_topic if kafka else None
    topics = [topic for table in tables for topic in table.topics]
    if dead and any(re.search(t, dead) if t.startswith("^") else t == dead for t in topics):
        yield f"{dead} is kafka.dead_letter_topic, its rejects would come back: narrow topics"


def _registry_lacking(tables: list[Table], info: ValidationInfo) -> Iterator[str]:
    if info.data.get("schema_registry", "faulty") is None and any("avro" in (t.format, t.key_format) for t in tables):
        yield "format avro needs a schema registry: add schema_registry.url"
