"""Owns whether what the service needs beside its brokers is there: Celonis, the schema registry, the spool's disk.

Never holds up whoever looks, and never asks whether keys are accepted: who uses them sees that. Invariant: what has
not answered yet counts as missing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from connector.celonis.reach import Address
from connector.errors import ConfigError, ConnectorError
from connector.kafka.registry import SchemaRegistry
from connector.kafka.threads import in_thread
from connector.spool.spool import check_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from connector import config

ASK_SECONDS, AGAIN_SECONDS = 10.0, 2.0  # between two questions where all is well, and where it is not


class Dependencies:
    """Asks `questions`, by what they are about; each returns where all is well, and raises a ConnectorError else."""

    def __init__(self, questions: Mapping[str, Callable[[], object]]) -> None:
        self._questions = questions
        self._asked: dict[str, Future[object | ConnectorError]] = {}
        self._due = dict.fromkeys(questions, float("-inf"))
        self._missing = dict.fromkeys(questions, "has not answered yet")

    @classmethod
    def of(cls, settings: config.Settings) -> Dependencies:
        """Return those of `settings`."""
        registry = settings.schema_registry
        questions: dict[str, Callable[[], object]] = {
            "Celonis": Address(settings.celonis).reach,
            "spool directory": partial(check_directory, settings.spool),
        }
        if registry and not registry.url.startswith("mock:"):
            questions["schema registry"] = SchemaRegistry(registry).reach
        return cls(questions)

    def missing(self, now: float) -> Mapping[str, str]:
        """Return what is missing at `now` (monotonic seconds), and why; ask, in other threads, what is due."""
        for name, question in self._questions.items():
            if name in self._asked and self._asked[name].done():
                self._take(name, self._asked.pop(name).result(), now)
            if name not in self._asked and self._due[name] <= now:
                self._asked[name] = in_thread(question, f"ask {name}")
        return dict(self._missing)

    def _take(self, name: str, answer: object, now: float) -> None:
        self._missing.pop(name, None)
        if isinstance(answer, ConfigError):
            self._missing[name] = "; ".join(answer.problems)
        elif isinstance(answer, ConnectorError):
            self._missing[name] = str(answer)
        self._due[name] = now + (AGAIN_SECONDS if name in self._missing else ASK_SECONDS)
