"""Owns work on all cores: a process for each of them, and the tasks handed out in their order.

Never shares anything between tasks but what importing makes. Invariant: when the block ends, no process is left.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def on_all_cores(work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[dict[T, Future[R]]]:
    """Begin `work`, a function of a module, on every task; what has not begun at the end of the block is let go."""
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"))  # a fork would take over half of other tests' threads
    try:
        yield {task: pool.submit(work, task) for task in tasks}
    finally:
        pool.shutdown(cancel_futures=True)
