"""Owns the exception tree; never decides what to do about an error.

Invariant: an error names the setting, topic, partition, offset, table or job it is about, and carries what its
handler needs: the wait, the hint, the ids.

    ConnectorError                      .hint: the next step for a person
    ├── ConfigError                     .problems: everything wrong with the configuration
    ├── SourceError                     Kafka says no for good: exit, and let the orchestrator restart us
    ├── Unavailable                     .wait: what decoding needs is not known yet; nothing is rejected
    │   ├── RegistryUnavailable         the schema registry may answer later
    │   ├── TablesUnavailable           the columns of the platform's tables are not known yet
    │   └── SpoolUnavailable            the disk has no place for a table yet
    ├── UnknownSchema                   the schema registry has no schema with this id
    ├── SpoolFull                       the disk is full: pause, push, go on
    │   └── SpoolDamaged                the disk lost what it had taken: read it again from Kafka
    └── CelonisError                    .reaction .status .request_id .operation .job_id
        ├── CelonisUnreachable          no trustworthy answer: timeout, cut connection, 5xx, not JSON
        ├── CelonisThrottled            .wait: 429, 409 or 503: a state that heals by itself
        ├── CelonisUnauthorized         401 after a refresh of the token
        └── CelonisRefused              any other 4xx: retrying cannot help
"""

from __future__ import annotations

from enum import StrEnum


class ConnectorError(Exception):
    """Base of all errors that this product raises on purpose."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(ConnectorError):
    """The configuration cannot be used. `problems` are lines of `path: what is wrong, and the fix`."""

    def __init__(self, problems: list[str], *, source: str = "configuration") -> None:
        self.problems = problems
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} problem(s) in {source}:{lines}")


class SourceError(ConnectorError):
    """Kafka refuses for good: a fenced instance, a fatal client error, no authorization."""


class Unavailable(ConnectorError):  # noqa: N818
    """Something that decoding needs gave no answer; come again after `wait` seconds."""

    def __init__(self, message: str, *, wait: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.wait = wait


class RegistryUnavailable(Unavailable):
    """The schema registry gave no answer."""


class SpoolUnavailable(Unavailable):
    """The disk did not take a table's directory: it is full, read-only or gone."""


class TablesUnavailable(Unavailable):
    """The platform has not told yet which columns its tables have."""


class UnknownSchema(ConnectorError):  # noqa: N818
    """The schema registry says that no schema has this id."""


class SpoolFull(ConnectorError):  # noqa: N818
    """A chunk could not be written to the spool directory."""


class SpoolDamaged(SpoolFull):
    """What was written to the spool directory cannot be read back."""


class Reaction(StrEnum):
    """What an answer of the Data Push API asks for (architecture.md, "Errors")."""

    PROCEED = "proceed"
    LATER = "later"  # nothing happened: the same request, after the server's hint
    REAUTHORIZE = "reauthorize"  # a fresh token was tried already: stop the service
    STOP = "stop"  # stop the table: retrying cannot help
    REMAKE = "remake"  # make another job: one that is not executed changes nothing
    COMPARE = "compare"  # list the job's chunks; not surely there once: make another job
    ASK = "ask"  # ask the job's status; execute again only if it is still NEW
    AGAIN = "again"  # a repetition is harmless


class CelonisError(ConnectorError):
    """The Data Push API did not do what was asked.

    `status` is the HTTP status (0 where no answer came), `operation` the contract's name of the operation.
    """

    def __init__(
        self,
        message: str,
        *,
        reaction: Reaction = Reaction.STOP,
        operation: str = "",
        status: int = 0,
        request_id: str = "",
        job_id: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.reaction = reaction
        self.operation = operation
        self.status = status
        self.request_id = request_id
        self.job_id = job_id


class CelonisUnreachable(CelonisError):  # noqa: N818
    """No trustworthy answer: whether the operation took effect is unknown."""


class CelonisThrottled(CelonisError):  # noqa: N818
    """Not now. `wait` is the server's hint in seconds, or None where it gave none."""

    wait: float | None = None


class CelonisUnauthorized(CelonisError):  # noqa: N818
    """The credentials are not accepted, and a fresh token did not help."""


class CelonisRefused(CelonisError):  # noqa: N818
    """The request itself is wrong or forbidden: 400, 403, 404 and the like."""
