"""Owns the threads of the pusher: lanes that do tasks in the order in which they begin, some of them at once.

Never knows what a task does. Invariant: a task that was given is begun once, unless the process ends.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Lane(Protocol):
    """Who does tasks, in the order in which they begin, some of them at once."""

    def do(self, task: Callable[[], None]) -> None:
        """Queue `task`, which must not raise."""
        ...

    def end(self) -> None:
        """Begin nothing after what is queued."""
        ...


class Workers:
    """Daemon threads that do what they are given, one thing after the other."""

    def __init__(self, count: int, name: str) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    def do(self, task: Callable[[], None]) -> None:
        """Queue `task`, which must not raise."""
        self._tasks.put(task)

    def end(self) -> None:
        """Let the threads end after what is queued."""
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        for task in iter(self._tasks.get, None):
            task()
