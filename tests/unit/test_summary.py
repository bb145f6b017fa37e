"""What a replay says at its end: the JSON document, and the line for a person."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.config import Table
from connector.core.bounds import Bound, Kind, Range
from connector.core.offsets import TopicPartition
from connector.core.replays import Size, Way
from connector.replay import Progress
from connector.replaying import Outline, Part, Request
from connector.summary import Ending, document, line

RANGES = {TopicPartition("orders", 1): Range(5, 15), TopicPartition("orders", 0): Range(10, 20)}
HALF = Progress(messages=20, read=10, records=9, rejects=1, pushes=1, rows=8, bytes=4000)
COUNTED = {"messages": 20, "records": 9, "rejects": 1, "pushes": 1, "rows": 8, "bytes": 4000}
TOLD = {"before": 4, "rolled_forward": 2, "passed_over": {"no_value": 3}, "lost": {"orders": 7}}


def told(way: Way, progress: Progress | None, ending: Ending, error: str = "") -> dict[str, Any]:
    part = Part(Table(topics=["orders"], target="T", format="json"), "T", ("orders",), "OTHER")
    request = Request(("T",), way, "earliest", "latest")
    size = Size(20, 4_000_000, 1, 2, 240.0)
    found = Outline("0a1b2c3d", request, Bound(Kind.EARLIEST), (part,), RANGES, (), False, size, ())
    return dict(json.loads(document(found, RANGES, progress, ending, seconds=1.26, error=error)))


def test_the_document_tells_what_was_read_and_pushed_and_of_what_went_otherwise_only_where_it_did() -> None:
    done = told(Way.INTO, HALF, Ending.DONE)
    assert done == {
        "replay": "0a1b2c3d",
        "way": "into",
        "tables": {"T": "OTHER"},
        "ended": "done",
        "seconds": 1.3,
        "partitions": {"orders[0]": {"from": 10, "to": 20}, "orders[1]": {"from": 5, "to": 15}},
        **COUNTED,
    }
    otherwise = Progress(20, 10, 4, 9, 1, 1, 8, 4000, rolled_forward=2, lost={"orders": 7}, passed_over={"no_value": 3})
    assert told(Way.INTO, otherwise, Ending.DONE) == done | TOLD


@pytest.mark.parametrize("progress", [HALF, None])
def test_what_failed_says_why_and_how_far_it_came(progress: Progress | None) -> None:
    failed = told(Way.REPLACE, progress, Ending.FAILED, "no broker (wait for it)")
    assert (failed["ended"], failed["error"]) == ("failed", "no broker (wait for it)")
    assert "service_follows" not in failed
    assert {name: failed[name] for name in COUNTED if name in failed} == (COUNTED if progress else {})


@pytest.mark.parametrize(
    ("way", "ending", "awaited", "follows"),
    [
        (Way.REWIND, Ending.DONE, False, "now"),
        (Way.REWIND, Ending.ORDERED, True, "at its next start"),
        (Way.REPLACE, Ending.DONE, True, "at its next start"),
        (Way.REPLACE, Ending.INTERRUPTED, False, None),
        (Way.INTO, Ending.DONE, False, None),
    ],
)
def test_where_an_order_was_given_the_document_says_when_the_service_follows_it(
    way: Way,
    ending: Ending,
    awaited: bool,  # noqa: FBT001
    follows: str | None,
) -> None:
    assert told(way, Progress(20, awaited=awaited), ending).get("service_follows") == follows


@pytest.mark.parametrize(
    ("ending", "progress", "said"),
    [
        (Ending.DONE, Progress(1), "done: 1 message, 3 s"),
        (Ending.DONE, HALF, "done: 20 messages, 1 of them rejected, 8 rows in 1 push, 3 s"),
        (
            Ending.DONE,
            Progress(2000, rolled_forward=1, lost={"orders": 7}, passed_over={"other_topic": 5, "no_value": 1}),
            (
                "done: 2,000 messages, 1 passed over (no_value), 5 passed over (other_topic), "
                "7 of orders gone before they were read, 1 push of an earlier run ended, 3 s"
            ),
        ),
        (Ending.INTERRUPTED, None, "interrupted: the same command goes on where it was"),
        (
            Ending.ORDERED,
            Progress(20, awaited=True),
            "no service runs: the order stands, and the service reads the range again at its next start",
        ),
    ],
)
def test_a_person_is_told_in_one_line(ending: Ending, progress: Progress | None, said: str) -> None:
    assert line(ending, progress, 3.2) == said
