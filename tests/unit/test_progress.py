"""How a replay is shown while it runs."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from connector.core.replays import Size
from connector.progress import Line, fields, progress_line, seconds_left
from connector.replay import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = Size(messages=1000, bytes=5_000_000, chunks=1, pushes=4, seconds=400.0)
HALF = Progress(messages=1000, read=500, records=480, pushes=1, bytes=1_250_000, seconds=10.0)


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("progress", "left"),
    [
        (Progress(messages=1000, seconds=3.0), None),  # nothing is read yet
        (HALF, 300.0),  # three pushes wait for their turns, longer than the rest is read
        (Progress(messages=1000, read=100, pushes=4, seconds=10.0), 90.0),  # nine times as much is to be read
        (Progress(messages=1000, read=600, before=500, pushes=4, seconds=10.0), 40.0),  # what it did itself counts
        (Progress(messages=1000, read=1000, pushes=9, seconds=10.0), 0.0),
    ],
)
def test_what_is_left_is_reading_or_waiting_for_turns_whatever_is_longer(progress: Progress, left: float) -> None:
    assert seconds_left(progress, SIZE) == left


def test_the_line_tells_messages_rows_bytes_pushes_and_what_is_left() -> None:
    assert progress_line(HALF, SIZE) == ("[#####-----] 50 %  500/1,000  48 rows/s  1.2 MB in 1/4 pushes  5:00 left")
    nothing = Size(0, 0, 0, 0, 0.0)
    assert progress_line(Progress(0), nothing) == ("[##########] 100 %  0/0  0 rows/s  0.0 MB in 0/0 pushes")
    slow = Progress(messages=1000, read=1, seconds=10.0)
    assert progress_line(slow, SIZE).endswith("2:46:30 left")


def test_a_log_line_tells_the_same() -> None:
    assert fields(HALF, SIZE) == {
        "read": 500,
        "messages": 1000,
        "records": 480,
        "rows_per_second": 48,
        "bytes": 1_250_000,
        "pushes": 1,
        "seconds_left": 300,
    }


def test_what_is_logged_meanwhile_stands_above_the_line() -> None:
    out = io.StringIO()
    line = Line(SIZE, "waiting for the service", out)
    with line:
        structlog.get_logger().info("not for a person who looks")
        structlog.get_logger().warning("look here")
        line(HALF)
    *_, above, last = (text for text in out.getvalue().replace("\r\x1b[2K", "\n").split("\n") if text)
    assert out.getvalue().startswith("\r\x1b[2Kwaiting for the service")
    assert "not for a person" not in out.getvalue()
    assert "look here" in out.getvalue()
    assert above.startswith("waiting")
    assert last.startswith("[####")
    assert out.getvalue().endswith("\n")
