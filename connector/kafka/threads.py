"""Owns what must not hold up the pipeline's thread: a question, or the end of a client, in a thread of its own.

Never waits for one, and none of them keeps the process from ending. Invariant: what the question raised is the answer,
where it is an error of ours, and is raised again where the answer is taken, where it is not.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from connector.errors import ConnectorError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def in_thread(question: Callable[[], T], name: str) -> Future[T | ConnectorError]:
    """Return what `question` will have found, or refused."""
    answer: Future[T | ConnectorError] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except ConnectorError as e:
            answer.set_result(e)
        except BaseException as e:  # noqa: BLE001 - raised where the answer is taken
            answer.set_exception(e)

    begin(ask, name)
    return answer


def begin(task: Callable[[], object], name: str) -> threading.Thread:
    """Run `task` in a thread that nobody has to wait for."""
    thread = threading.Thread(target=task, name=name, daemon=True)
    thread.start()
    return thread
