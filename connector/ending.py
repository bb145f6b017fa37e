"""Owns how the process ends: its exit codes, the signals that ask for it, and the last line of a service's log.

Never ends anything that is in order. Invariant: every error has an exit code, and a second signal always ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from connector.errors import CelonisError, ConfigError, ConnectorError, SourceError
from connector.observe.logs import as_text, configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

log = structlog.get_logger()

EXIT_UNEXPECTED, EXIT_USAGE, EXIT_CHECK, EXIT_KAFKA, EXIT_CELONIS, EXIT_OTHER, EXIT_INTERRUPTED = 1, 2, 3, 4, 5, 6, 7
EXIT_ORDERED = 8
EXIT_STOPPED = 130
EXIT_CODES = {
    0: "done; after SIGTERM: drained, or what was left is read again at the next start",
    EXIT_UNEXPECTED: "an unexpected error, with its stack in the log",
    EXIT_USAGE: "the command line or the configuration cannot be used",
    EXIT_CHECK: "`check` found something that fails, `status` something that stands still, `plan` what cannot be met",
    EXIT_KAFKA: "Kafka refuses for good: no authorization, a fenced instance",
    EXIT_CELONIS: "Celonis refuses for good: credentials, permission",
    EXIT_OTHER: "any other error that stops the service",
    EXIT_INTERRUPTED: "`replay` was interrupted: the same command goes on where it was",
    EXIT_ORDERED: "no service runs that could follow a `replay --rewind`: the order stands until its next start",
    EXIT_STOPPED: "stopped at once by a second signal",
}


def exit_code(error: ConnectorError) -> int:
    """Return the exit code of an error that a person can act on."""
    match error:
        case ConfigError():
            return EXIT_USAGE
        case SourceError():
            return EXIT_KAFKA
        case CelonisError():
            return EXIT_CELONIS
    return EXIT_OTHER


@contextmanager
def last_line(log_format: str) -> Iterator[None]:
    """Let the log of a service say in a line of its own format why it ends; `auto` as long as it knows of no other."""
    try:
        yield
    except ConnectorError as e:
        if as_text(log_format, sys.stderr):
            raise
        configure_logs(log_format, "error", sys.stderr)  # it may end before its settings are known
        log.error("ended", error=str(e), exit_code=exit_code(e))
        sys.exit(exit_code(e))
    except Exception:
        log.exception("ended unexpectedly", exit_code=EXIT_UNEXPECTED)
        sys.exit(EXIT_UNEXPECTED)


class Stop:
    """The first SIGTERM or SIGINT asks for the end, the second one ends at once."""

    def __init__(self) -> None:
        self._signals = 0
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def requested(self) -> bool:
        """Return whether the end was asked for."""
        return self._signals > 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal hands over
        self._signals += 1
        if self._signals > 1:
            os.write(sys.stderr.fileno(), b"stopped at once: what was not committed is read again\n")
            os._exit(EXIT_STOPPED)  # nothing that hangs may hold us, and nothing is lost
