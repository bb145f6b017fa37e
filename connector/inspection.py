"""Owns what a person asks of a service or its group: open intents with their jobs, and what stands still and why.

Never changes anything. Invariant: what cannot be told is said, with the next step, instead of left out.
"""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import URLError

from connector.celonis.client import DataPushClient
from connector.core.intents import UnreadableIntent, parse
from connector.errors import CelonisError, ConnectorError
from connector.kafka.group import committed_offsets
from connector.routing import Routes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connector.config import Observe, Settings
    from connector.core.offsets import TopicPartition

_NOT_FOUND = 404
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine is behind no proxy


class OpenIntent(NamedTuple):
    """A partition with an intent: what is committed, the offset after what the job carries, the job, and its state."""

    at: TopicPartition
    offset: int
    end: int | None
    job: str
    state: str


def open_intents(settings: Settings) -> Iterator[OpenIntent]:
    """Yield the open intents of the group, each job asked for once."""
    states: dict[str, str] = {}
    with DataPushClient.of(settings.celonis) as client:
        for tp, known in committed_offsets(settings.kafka, Routes(settings.tables).topics).items():
            try:
                intent = parse(known.metadata)
            except UnreadableIntent as e:
                yield OpenIntent(tp, known.offset, None, "", str(e))
                continue
            if intent:
                if intent.job not in states:
                    states[intent.job] = _state(client, intent.job)
                yield OpenIntent(tp, known.offset, intent.end, intent.job, states[intent.job])


def _state(client: DataPushClient, job_id: str) -> str:
    try:
        return str(client.get_job(job_id).status)
    except CelonisError as e:
        return "unknown to Celonis" if e.status == _NOT_FOUND else f"no answer: {e}"


def read_status(observe: Observe) -> dict[str, object]:
    """Return what the service on this machine tells at `/status`; raises ConnectorError when none answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(observe.host, observe.host)  # noqa: S104 - where it listens, not we
    url = f"http://{f'[{host}]' if ':' in host else host}:{observe.port}/status"
    try:
        with _DIRECTLY.open(url, timeout=5) as answer:
            return dict(json.load(answer))
    except (URLError, OSError, ValueError) as e:
        hint = "start it with `kafka-celonis run`, or ask where it runs: same host, same observe.port"
        raise ConnectorError(f"no service answers at {url}: {e}", hint=hint) from None
