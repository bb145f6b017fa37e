"""Owns which table a topic goes to.

Never asks Kafka. Invariant: one table of the platform is fed by one entry of the configuration only, and by one topic
only where it is named after topics; exact names come before regular expressions, and of several expressions the first
in the file wins.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from connector.core.names import safe_name
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from connector.config import Table

_TOPIC = "{topic}"  # stands for the topic's name in a target


class Routes:
    """The routes from topics to tables. Raises ConfigError when two entries fill one table."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._exact = {topic: t for t in reversed(tables) for topic in t.topics if not topic.startswith("^")}
        self._patterns = [(re.compile(topic), t) for t in tables for topic in t.topics if topic.startswith("^")]
        self._owners: dict[str, tuple[Table, str]] = {}
        self._first_topics: dict[str, str] = {}  # of tables that are named after a topic
        problems = [
            f"tables[{n}].target: {name} is filled by tables[{tables.index(owner)}] already: put the topics together"
            for n, table in enumerate(tables)
            for name in _names_known_beforehand(table)
            if (owner := self._owners.setdefault(name.lower(), (table, name))[0]) is not table
        ]
        if problems:
            raise ConfigError(problems)

    @property
    def topics(self) -> list[str]:
        """What to subscribe to: names and regular expressions."""
        return [*self._exact, *(pattern.pattern for pattern, _ in self._patterns)]

    @property
    def known(self) -> Iterable[tuple[Table, str]]:
        """The configuration and the name of every table that is known: beforehand, or since its first topic came."""
        return self._owners.values()

    def route(self, topic: str) -> tuple[Table, str]:
        """Return the configuration and the name of the table that `topic` goes to.

        Raises:
            ConfigError: no entry takes the topic, or its table belongs to another entry.
        """
        table = self._exact.get(topic) or next((t for p, t in self._patterns if p.search(topic)), None)
        if table is None:
            raise ConfigError([f"tables: no entry takes topic {topic}: add it to the topics of one"])
        target = _name(table, topic)
        owner, target = self._owners.setdefault(target.lower(), (table, target))
        first = self._first_topics.setdefault(target, topic) if _TOPIC in table.target else topic
        if owner is not table or first != topic:
            other = "another entry" if owner is not table else f"topic {first}"
            problem = f"tables: topic {topic} goes to table {target}, which {other} fills: set another target"
            raise ConfigError([problem])
        return table, target


def _name(table: Table, topic: str) -> str:
    return safe_name(table.target.replace(_TOPIC, topic))


def _names_known_beforehand(table: Table) -> list[str]:
    """Return the tables that an entry fills whatever topics turn up."""
    return list(
        dict.fromkeys(_name(table, t) for t in table.topics if not (t.startswith("^") and _TOPIC in table.target))
    )
