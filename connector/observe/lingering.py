"""Owns the last minute of a process whose credentials were refused: it stays to be seen, and then ends.

Never holds anything but the port: all else is let go of before. Invariant: a refusal is scraped at least once where
Prometheus asks every minute, and whoever asks for the end is not kept waiting.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from connector.errors import CelonisUnauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connector.observe.health import Health
    from connector.observe.metrics import Metrics

log = structlog.get_logger()

LINGER_SECONDS = 65.0  # a scrape a minute, which is Prometheus' default, falls into it
_LOOK_SECONDS = 0.1


class Lingering:
    """Tells `health` and `metrics` of a refusal; `seconds` is how long `close` then waits."""

    def __init__(self, health: Health, metrics: Metrics, seconds: float = LINGER_SECONDS) -> None:
        self._health, self._metrics, self._seconds = health, metrics, seconds
        self._stopping: Callable[[], bool] | None = None

    @contextmanager
    def watching(self, stopping: Callable[[], bool]) -> Iterator[None]:
        """Take note when what is done within ends by a refusal; `stopping` cuts the wait short."""
        try:
            yield
        except CelonisUnauthorized as e:
            log.error("ending, since Celonis refuses the credentials", error=str(e), seconds=self._seconds)
            self._metrics.refused()
            self._health.tell(joined=False, missing={"Celonis": str(e)}, troubles={"credentials": str(e)})
            self._stopping = stopping
            raise

    def close(self) -> None:
        """Wait, after a refusal, until it was surely seen or the end is asked for."""
        if self._stopping is None:
            return
        until = time.monotonic() + self._seconds
        while time.monotonic() < until and not self._stopping():
            time.sleep(_LOOK_SECONDS)
