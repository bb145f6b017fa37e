"""Owns `kafka-celonis check`: everything that `run` needs is tried once, one line each.

Never changes anything at Kafka or Celonis. Invariant: a check that fails says the next step and stops no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from connector.celonis.client import DataPushClient
from connector.errors import ConfigError, ConnectorError
from connector.kafka import probe
from connector.kafka.registry import SchemaRegistry
from connector.routing import Routes
from connector.spool.spool import check_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connector.config import Settings


class Result(NamedTuple):
    """What one check found; `fix` is the next step where it is not ok."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def run_checks(settings: Settings) -> Iterator[Result]:
    """Yield the results one by one, as they come."""
    kafka = settings.kafka
    yield _result("Kafka brokers", lambda: probe.brokers_answer(kafka))
    for topic in Routes(settings.tables).topics:
        yield _result(f"topic {topic}", lambda topic=topic: probe.topic_exists(kafka, topic))  # type: ignore[misc]
    yield _result(f"group {kafka.group}", lambda: probe.group_readable(kafka))
    if kafka.dead_letter_topic:
        yield _result(f"dead-letter topic {kafka.dead_letter_topic}", lambda: probe.dead_letter_topic(kafka))
    if settings.schema_registry:
        yield _result("schema registry", SchemaRegistry(settings.schema_registry).check)
    yield _result("Celonis key and pool", lambda: _pool(settings))
    yield _result("spool directory", lambda: check_directory(settings.spool))


def _result(name: str, check: Callable[[], str]) -> Result:
    try:
        return Result(name, ok=True, detail=check())
    except ConnectorError as e:
        problems = "; ".join(e.problems) if isinstance(e, ConfigError) else str(e.args[0])
        return Result(name, ok=False, detail=problems, fix=e.hint)


def _pool(settings: Settings) -> str:
    with DataPushClient.of(settings.celonis) as client:
        jobs = client.list_jobs()
    return f"accepted by {settings.celonis.team_url}, pool {settings.celonis.pool_id} has {len(jobs)} jobs"
