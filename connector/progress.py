"""Owns how a replay is shown while it runs: one line that changes on a terminal, log lines elsewhere.

Never decides anything. Invariant: what is logged while the line stands gets a line of its own, above it.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

import structlog

from connector.observe.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.core.replays import Size
    from connector.replay import Progress

log = structlog.get_logger()

_LOG_SECONDS = 10.0
_BLOCKS = 10  # of the bar
_CLEAR = "\r\x1b[2K"


def seconds_left(progress: Progress, size: Size) -> float | None:
    """Return the seconds until the end: for what is to be read, or for the turns of its pushes, whatever is longer.

    None while nothing is read, so that nobody knows.
    """
    read = progress.read - progress.before
    if not read or not progress.seconds:
        return None
    reading = (progress.messages - progress.read) * progress.seconds / read
    each = size.seconds / size.pushes if size.pushes else 0.0
    return max(reading, (size.pushes - progress.pushes) * each, 0.0)


def rate(progress: Progress) -> float:
    """Return the rows read in a second, as a mean."""
    return progress.records / progress.seconds if progress.seconds else 0.0


class Line:
    """A line on a terminal, which begins with `waits`: what is waited for before anything is read."""

    def __init__(self, size: Size, waits: str, out: TextIO | None = None) -> None:
        self._size, self._text, self._out = size, waits, out or sys.stderr

    def __enter__(self) -> None:
        configure_logs("text", "warning", _Above(self))
        self._draw()

    def __exit__(self, *_: object) -> None:
        self._out.write("\n")
        self._out.flush()
        configure_logs("text", "warning", self._out)

    def __call__(self, progress: Progress) -> None:
        """Show how far it is."""
        self._text = progress_line(progress, self._size)
        self._draw()

    def above(self, said: str) -> None:
        """Write lines above."""
        self._out.write(f"{_CLEAR}{said}")
        self._draw()

    def _draw(self) -> None:
        self._out.write(_CLEAR + self._text[: shutil.get_terminal_size().columns - 1])
        self._out.flush()


def progress_line(progress: Progress, size: Size) -> str:
    """Return how far it is: bar, messages, rows a second, bytes and pushes that are done, time left."""
    part = progress.read / progress.messages if progress.messages else 1.0
    full = int(part * _BLOCKS)
    left = seconds_left(progress, size)
    return "  ".join(
        (
            f"[{'#' * full}{'-' * (_BLOCKS - full)}] {int(part * 100)} %",
            f"{progress.read:,}/{progress.messages:,}",
            f"{rate(progress):,.0f} rows/s",
            f"{progress.bytes / 1e6:,.1f} MB in {progress.pushes}/{max(size.pushes, progress.pushes)} pushes",
            "" if left is None else f"{_clock(left)} left",
        )
    ).rstrip()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Above(io.StringIO):
    """A stream for log lines, above a line that changes."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line, self._text = line, ""

    def write(self, text: str) -> int:
        """Take in text, and write what are full lines."""
        *lines, self._text = (self._text + text).split("\n")
        if lines:
            self._line.above("".join(f"{line}\n" for line in lines))
        return len(text)


class Lines:
    """A log line now and then."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._next = 0.0

    def __enter__(self) -> None:
        """Nothing is open."""

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def __call__(self, progress: Progress) -> None:
        """Write how far it is."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LOG_SECONDS
            log.info("replaying", **fields(progress, self._size))


def fields(progress: Progress, size: Size) -> Mapping[str, object]:
    """Return how far it is, as the fields of a log line; `seconds_left` is None where nobody knows."""
    left = seconds_left(progress, size)
    return {
        "read": progress.read,
        "messages": progress.messages,
        "records": progress.records,
        "rows_per_second": round(rate(progress)),
        "bytes": progress.bytes,
        "pushes": progress.pushes,
        "seconds_left": None if left is None else round(left),
    }
