"""Owns how log lines look: text on a terminal, JSON otherwise; one line per event, the libraries' lines included.

Never decides what is logged, and never shows a local variable. Invariant: every line has a time in UTC, a level, and
an event of a few words.
"""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

_CLIENT, _CLIENT_SECONDS = "librdkafka", 60.0  # between two lines of the Kafka client that say the same
_MOST_KINDS = 200  # of lines of the Kafka client that are remembered
_FIRST = ("timestamp", "level", "event", "table", "load", "job")
_CHATTY = ("httpx", "httpcore", "httpx2", "httpcore2", "uvicorn", "asyncio")  # a line for each request helps nobody


def as_text(log_format: str, stream: TextIO) -> bool:
    """Return whether lines to `stream` are text, for a person who looks."""
    return log_format == "text" or (log_format == "auto" and stream.isatty())


def configure_logs(log_format: str, level: str, stream: TextIO) -> None:
    """Send all lines of `level` and above to `stream`; `log_format` is `auto`, `text` or `json`."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    plain = structlog.dev.plain_traceback  # the default shows local variables, where secrets and records stand
    final: list[Any] = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]
    if not as_text(log_format, stream):
        final = [structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_CLIENT).filters[:] = [_ClientLines()]


class _ClientLines(logging.Filter):
    """Lets the Kafka client say a thing once a minute, and as a warning: it tries again, and says so each time.

    What is final, or an outage, the log tells in a line of ours (`connector.kafka.contact`).
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        kind = re.sub(r"\d+", "", said)
        if record.created - self._said.get(kind, -math.inf) < _CLIENT_SECONDS:
            return False
        if len(self._said) >= _MOST_KINDS:
            self._said.clear()
        self._said[kind] = record.created
        record.levelno = min(record.levelno, logging.WARNING)
        record.levelname = logging.getLevelName(record.levelno)
        record.msg, record.args = "heard from the Kafka client", ()
        record.__dict__["detail"] = said
        return True


def _in_order(_: object, __: str, line: EventDict) -> EventDict:
    """Put what every line has, and what belongs together has in common, where the eye looks first."""
    return {name: line[name] for name in _FIRST if name in line} | dict(line)
