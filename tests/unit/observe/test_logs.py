"""How a log line looks, ours and the libraries'."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from connector.observe.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "s3cr3t-value"


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("httpx", "httpcore", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("librdkafka").filters.clear()


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> None:
    secret = SECRET
    raise ValueError(f"a value of {len(secret)} characters")


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_a_line_is_json_where_nobody_looks(log_format: str) -> None:
    stream = io.StringIO()
    configure_logs(log_format, "info", stream)
    structlog.get_logger().info("flushed load", table="T", rows=3)
    (line,) = lines(stream)
    time = line.pop("timestamp")
    assert line == {"event": "flushed load", "level": "info", "table": "T", "rows": 3}
    assert time.endswith("Z")


def test_a_line_begins_with_what_lines_have_in_common() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", stream)
    with structlog.contextvars.bound_contextvars(job="j", load="l", table="T"):
        structlog.get_logger().info("failed job", logs=["why"])
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "table", "load", "job", "logs"]


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", stream)
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed", said="two\nlines")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_line_of_a_library_looks_the_same() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", stream)
    logging.getLogger("kafka").warning("lost %s of %d", "x", 7, extra={"broker": "b"})
    (line,) = lines(stream)
    line.pop("timestamp")
    assert line == {"event": "lost x of 7", "level": "warning", "broker": "b"}


def test_what_the_kafka_client_repeats_is_told_once_as_a_warning() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", stream)
    client = logging.getLogger("librdkafka")
    for after in range(5):
        client.error("FAIL %s: connect failed (after %dms)", "[thrd:b:9092]", after)
    client.info("another thing")
    told = [(line["level"], line["event"], line["detail"]) for line in lines(stream)]
    assert told == [
        ("warning", "heard from the Kafka client", "FAIL [thrd:b:9092]: connect failed (after 0ms)"),
        ("info", "heard from the Kafka client", "another thing"),
    ]


def test_what_the_kafka_client_said_long_ago_is_told_again_and_no_more_is_remembered_than_is_of_use() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", stream)
    client = logging.getLogger("librdkafka")
    for seconds in (0, 59, 61):
        record = client.makeRecord(client.name, logging.ERROR, "f", 1, "away", (), None)
        record.created = 1e9 + seconds
        client.handle(record)
    assert len(lines(stream)) == 2
    for kind in range(500):
        client.error("x" * kind)
    client.error("x")
    assert len(lines(stream)) == 503, "some of them are told twice then"


@pytest.mark.parametrize(("log_format", "stream"), [("text", io.StringIO()), ("auto", Terminal())])
def test_a_line_is_text_where_somebody_looks(log_format: str, stream: io.StringIO) -> None:
    configure_logs(log_format, "info", stream)
    structlog.get_logger().info("flushed load", table="T")
    (text,) = stream.getvalue().splitlines()
    assert "flushed load" in text
    assert "table" in text
    assert ("\x1b" in text) is stream.isatty(), "colours are for terminals"


def test_lines_below_the_level_are_left_out_and_so_is_the_chatter_of_libraries() -> None:
    stream = io.StringIO()
    configure_logs("json", "warning", stream)
    structlog.get_logger().info("no")
    logging.getLogger("any").info("no")
    structlog.get_logger().warning("yes")
    configure_logs("json", "info", stream)
    for name in ("httpx", "httpcore", "uvicorn", "asyncio"):
        logging.getLogger(f"{name}.part").info("no")
        logging.getLogger(name).warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"] * 5


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_stack_shows_no_local_variable(log_format: str) -> None:
    stream = io.StringIO()
    configure_logs(log_format, "info", stream)
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed")
    assert stream.getvalue().count("ValueError: a value of 12 characters") == 2
    assert "in fail" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_an_error_can_be_logged_after_it_was_handled() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", stream)
    error = ZeroDivisionError("a bug")
    structlog.get_logger().error("failed push unexpectedly", exc_info=error)
    (line,) = lines(stream)
    assert "ZeroDivisionError: a bug" in line["exception"]


def test_a_value_that_json_does_not_know_is_no_trouble() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", stream)
    structlog.get_logger().info("odd", value={1, 2}, error=ValueError("x"))
    assert lines(stream)[0]["event"] == "odd"
    assert sys.stderr is not stream
