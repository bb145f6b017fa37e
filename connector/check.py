"""Owns `kafka-celonis check`: everything that `run` needs is tried once, one line each.

Never changes anything at Kafka or Celonis. Invariant: a check that fails says the next step and stops no other.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from connector.celonis.client import DataPushClient
from connector.core.orders import group_of_orders
from connector.errors import ConfigError, ConnectorError
from connector.kafka import probe
from connector.kafka.registry import SchemaRegistry
from connector.routing import Routes
from connector.spool.spool import check_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connector import config

_AT_ONCE = 8


class Result(NamedTuple):
    """What one check found; `fix` is the next step where it is not ok."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def run_checks(settings: config.Settings) -> Iterator[Result]:
    """Yield the results in order, as they come; what does not answer is waited for at the same time."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from threads.map(lambda named: _result(*named), _checks(settings))


def _checks(settings: config.Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    kafka = settings.kafka
    yield "Kafka brokers", partial(probe.brokers_answer, kafka)
    for topic in Routes(settings.tables).topics:
        yield f"topic {topic}", partial(probe.topic_exists, kafka, topic)
    for group in (kafka.group, group_of_orders(kafka.group)):
        yield f"group {group}", partial(probe.group_readable, kafka, group)
    if kafka.dead_letter_topic:
        yield f"dead-letter topic {kafka.dead_letter_topic}", partial(probe.dead_letter_topic, kafka)
    if settings.budget.mode == "ledger":
        yield f"ledger {settings.budget.ledger.topic}", partial(probe.ledger_topic, kafka, settings.budget.ledger)
    if settings.schema_registry:
        yield "schema registry", partial(_registry, settings.schema_registry)
    yield "Celonis key and pool", partial(_pool, settings.celonis)
    yield "spool directory", partial(check_directory, settings.spool)


def _result(name: str, check: Callable[[], str]) -> Result:
    try:
        return Result(name, ok=True, detail=check())
    except ConfigError as e:  # each of its problems says the fix
        return Result(name, ok=False, detail="; ".join(e.problems))
    except ConnectorError as e:
        return Result(name, ok=False, detail=str(e.args[0]), fix=e.hint)


def _registry(settings: config.SchemaRegistry) -> str:
    with closing(SchemaRegistry(settings)) as registry:
        return registry.check()


def _pool(settings: config.Celonis) -> str:
    with DataPushClient.of(settings) as client:
        jobs = client.list_jobs()
    return f"accepted by {settings.team_url}, pool {settings.pool_id} has {len(jobs)} jobs"
