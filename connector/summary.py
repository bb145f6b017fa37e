"""Owns what a replay says at its end: one JSON document, and one line for a person.

Never decides how it ended. Invariant: a number that says what went otherwise than wanted (lost, passed over, done by
earlier runs) stands in the document only where it is not zero.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from connector.core.replays import Way
from connector.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.core.bounds import Range
    from connector.core.offsets import TopicPartition
    from connector.replay import Progress
    from connector.replaying import Outline


class Ending(StrEnum):
    """How the command ended, as the summary says."""

    DONE = "done"
    INTERRUPTED = "interrupted"  # goes on with the same command
    ORDERED = "ordered"  # the service is to do it, and none runs: it does at its next start
    FAILED = "failed"


_OF_ALL = ("messages", "records", "rejects", "pushes", "rows", "bytes")
_WHERE_ANY = ("before", "rolled_forward", "passed_over", "lost")


def document(
    found: Outline,
    ranges: Mapping[TopicPartition, Range],
    progress: Progress | None,
    ending: Ending,
    *,
    seconds: float,
    error: str = "",
) -> str:
    """Return the JSON document of a replay of `ranges` that took `seconds`; `progress` None: it did not come to read.

    `error` is why it failed.
    """
    told: dict[str, Any] = {
        "replay": found.name,
        "way": found.request.way.value,
        "tables": {part.table: part.target for part in found.parts},
        "ended": ending.value,
        "seconds": round(seconds, 1),
        "partitions": {str(tp): {"from": r.start, "to": r.end} for tp, r in sorted(ranges.items())},
    }
    if error:
        told["error"] = error
    if progress:
        if found.request.way in (Way.REWIND, Way.REPLACE) and ending in (Ending.DONE, Ending.ORDERED):
            told["service_follows"] = "at its next start" if progress.awaited else "now"
        told |= {name: getattr(progress, name) for name in _OF_ALL}
        told |= {name: value for name in _WHERE_ANY if (value := getattr(progress, name))}
    return json.dumps(told)


def line(ending: Ending, progress: Progress | None, seconds: float) -> str:
    """Return how it ended, for a person."""
    if ending is Ending.INTERRUPTED or progress is None:
        return "interrupted: the same command goes on where it was"
    if ending is Ending.ORDERED:
        return "no service runs: the order stands, and the service reads the range again at its next start"
    parts = [counted(progress.messages, "message")]
    if progress.rejects:
        parts.append(f"{progress.rejects:,} of them rejected")
    parts += [f"{n:,} passed over ({reason})" for reason, n in sorted(progress.passed_over.items())]
    parts += [f"{n:,} of {topic} gone before they were read" for topic, n in sorted(progress.lost.items())]
    if progress.pushes:
        parts.append(f"{counted(progress.rows, 'row')} in {counted(progress.pushes, 'push')}")
    if progress.rolled_forward:
        parts.append(f"{counted(progress.rolled_forward, 'push')} of an earlier run ended")
    return f"done: {', '.join(parts)}, {seconds:,.0f} s"
