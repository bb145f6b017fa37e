"""Owns the settings of what messages come from: brokers, their client's properties, and the schema registry.

Never reads a file and never shows a secret. Invariant: no property here undoes what the promises rest on.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer, SecretStr, field_validator

from connector.config_types import Key, Model, Seconds

MASK = "**********"
_SECRET_PROPERTY = re.compile(
    r"password|secret|token(?!\.endpoint)|\.pem$|jaas|oauthbearer\.config|assertion\.private\.key"
)


def is_secret_property(name: str) -> bool:
    """Return whether the value of a librdkafka property must not be shown."""
    return _SECRET_PROPERTY.search(name) is not None and not name.endswith(("certificate.pem", "ca.pem"))


OWN_PROPERTIES = frozenset({
    "bootstrap.servers", "group.id", "group.instance.id", "enable.auto.commit", "enable.auto.offset.store",
    "enable.partition.eof", "isolation.level", "partition.assignment.strategy", "auto.offset.reset",
    "group.protocol", "on_commit", "error_cb", "stats_cb", "logger", "oauth_cb",
})  # fmt: skip
"""librdkafka properties whose value the promises rest on."""


def _masked(value: dict[str, Any]) -> dict[str, Any]:
    return {k: MASK if is_secret_property(k) else v for k, v in value.items()}


def _not_ours(value: dict[str, Any]) -> dict[str, Any]:
    if ours := sorted(OWN_PROPERTIES & value.keys()):
        raise ValueError(f"{', '.join(ours)}: set by the connector itself, remove it here")
    return value


ClientProperties = Annotated[dict[str, str | int | float | bool], AfterValidator(_not_ours), PlainSerializer(_masked)]


class Kafka(Model):
    """Where the messages come from."""

    brokers: str = Field(min_length=1)
    """Bootstrap servers, `host:port` separated by commas."""
    group: str = Field("kafka-celonis", min_length=1)
    """Consumer group; its committed offsets are the only memory of what is done."""
    group_protocol: Literal["classic", "consumer"] = "classic"
    """`consumer`: the protocol of KIP-848, for brokers from 4.0 on, which then set the session's timeouts."""
    start: str = "earliest"
    """Where a partition without committed offset begins: `earliest`, `latest`, or a time such as 2026-01-31T00:00Z."""
    on_data_loss: Literal["halt", "earliest", "latest"] = "halt"
    """When the messages to read are gone (retention, a topic made anew): hold the partition, or go on from there."""
    instance_id: str | None = None
    """Static membership: a name that is stable over restarts and unique in the group."""
    dead_letter_topic: str | None = "kafka-celonis.dead-letters"
    """Where rejected messages go; null counts and drops them."""
    poll_messages: int = Field(10_000, ge=1, le=100_000)
    """The most messages taken from the client at once."""
    commit_interval: Seconds = 5.0
    """How often offsets that moved without a push (rejects, gaps) are committed."""
    properties: ClientProperties = Field({}, repr=False)
    """Any librdkafka property: SASL, TLS, timeouts. What the connector itself relies on is refused."""

    @field_validator("start", mode="before")
    @classmethod
    def _start_is_known(cls, value: object) -> str:
        if isinstance(value, date):  # YAML reads a bare 2026-01-31 as one
            return value.isoformat()
        if not isinstance(value, str):
            raise ValueError("expected earliest, latest, or a time such as 2026-01-31T00:00Z")  # noqa: TRY004 - pydantic's
        if value not in ("earliest", "latest"):
            try:
                datetime.fromisoformat(value)
            except ValueError:
                raise ValueError("expected earliest, latest, or a time such as 2026-01-31T00:00Z") from None
        return value

    @property
    def start_milliseconds(self) -> int | None:
        """The time of `start` in milliseconds since the epoch (UTC where it names no zone), or None."""
        if self.start in ("earliest", "latest"):
            return None
        at = datetime.fromisoformat(self.start)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


class BasicAuth(Model):
    """User name and password (an API key and its secret)."""

    username: str
    """User name or API key."""
    password: SecretStr
    """Password or API secret."""


class SchemaRegistry(Model):
    """A Confluent-compatible schema registry."""

    url: str = Field(pattern=r"^(https?|mock)://[^@\s]*$")
    """Base URL; several separated by commas."""
    basic_auth: BasicAuth | None = None
    """HTTP basic authentication."""
    bearer_token: Key | None = None
    """A static bearer token."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    timeout: Seconds = Field(10.0, gt=0)
    """The longest wait for one answer."""
