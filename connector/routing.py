"""Owns which table a topic goes to.

Never asks Kafka. Invariant: one table of the platform is fed by one entry of the configuration only; exact names come
before regular expressions, and of several expressions the first in the file wins.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from connector.core.names import safe_name
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.config import Table


class Routes:
    """The routes from topics to tables."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._exact = {topic: t for t in reversed(tables) for topic in t.topics if not topic.startswith("^")}
        self._patterns = [(re.compile(topic), t) for t in tables for topic in t.topics if topic.startswith("^")]
        self._owners: dict[str, tuple[Table, str]] = {}

    @property
    def topics(self) -> list[str]:
        """What to subscribe to: names and regular expressions."""
        return [*self._exact, *(pattern.pattern for pattern, _ in self._patterns)]

    def route(self, topic: str) -> tuple[Table, str]:
        """Return the configuration and the name of the table that `topic` goes to.

        Raises:
            ConfigError: no entry takes the topic, or its table belongs to another entry.
        """
        table = self._exact.get(topic) or next((t for p, t in self._patterns if p.search(topic)), None)
        if table is None:
            raise ConfigError([f"tables: no entry takes topic {topic}: add it to the topics of one"])
        target = safe_name(table.target.replace("{topic}", topic))
        owner, target = self._owners.setdefault(target.lower(), (table, target))
        if owner is not table:
            problem = f"tables: topic {topic} goes to table {target}, which another entry fills: set another target"
            raise ConfigError([problem])
        return table, target
