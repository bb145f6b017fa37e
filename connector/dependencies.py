"""Owns whether what the service needs beside its brokers is there: Celonis, the schema registry, the spool's disk.

Never holds up whoever looks, and never asks whether keys are accepted: who uses them sees that. Invariant: what has
not answered yet, or is late with its answer, counts as missing, and so does what raised an error, whichever.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

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
LATE_SECONDS = 15.0  # without an answer, whatever the question hangs on; Celonis has 5 s to answer


class Dependencies:
    """Asks `questions`, by what they are about; each returns where all is well, and raises else."""

    def __init__(self, questions: Mapping[str, Callable[[], object]]) -> None:
        self._questions = questions
        self._asked: dict[str, _Asked] = {}
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
            asked = self._asked.get(name)
            if asked and asked.answer.done():
                self._take(name, _reason(asked.answer), now)
            elif asked and now - asked.since >= LATE_SECONDS:
                self._missing[name] = f"has not answered for {now - asked.since:.0f} s"
            if name not in self._asked and self._due[name] <= now:
                self._asked[name] = _Asked(now, in_thread(question, f"ask {name}"))
        return dict(self._missing)

    def _take(self, name: str, reason: str | None, now: float) -> None:
        del self._asked[name]
        self._missing.pop(name, None)
        if reason is not None:
            self._missing[name] = reason
        self._due[name] = now + (AGAIN_SECONDS if name in self._missing else ASK_SECONDS)


class _Asked(NamedTuple):
    """A question, and when it was asked."""

    since: float
    answer: Future[object | ConnectorError]


def _reason(answer: Future[object | ConnectorError]) -> str | None:
    """Return why not all is well; None where it is. An error that nobody foresaw is a reason like any other."""
    error = answer.exception() or answer.result()
    if isinstance(error, ConfigError):
        return "; ".join(error.problems)
    if isinstance(error, ConnectorError):
        return str(error)
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else None
