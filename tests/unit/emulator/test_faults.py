"""The grammar of faults."""

from __future__ import annotations

import pytest

from connector.emulator.faults import Fault, Faults, Kind, parse_faults
from connector.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("execute:2:504-after", Fault("execute", 2, 2, Kind.STATUS, 504, after=True)),
        ("execute:2:504-before", Fault("execute", 2, 2, Kind.STATUS, 504, after=False)),
        ("execute:1-3:429", Fault("execute", 1, 3, Kind.STATUS, 429, after=False)),
        ("upload:1:cut", Fault("upload", 1, 1, Kind.CUT, 0, after=False)),
        ("get:3+:slow=1.5", Fault("get", 3, None, Kind.SLOW, 1.5, after=True)),
        ("status:3:slow", Fault("get", 3, 3, Kind.SLOW, 5, after=True)),
        ("create:1:html", Fault("create", 1, 1, Kind.HTML, 200, after=False)),
        ("create:1:html=502-after", Fault("create", 1, 1, Kind.HTML, 502, after=True)),
        ("list-chunks:1:empty", Fault("list-chunks", 1, 1, Kind.EMPTY, 200, after=False)),
        ("token:1:timeout=0.5-after", Fault("token", 1, 1, Kind.TIMEOUT, 0.5, after=True)),
        ("delete:10:timeout", Fault("delete", 10, 10, Kind.TIMEOUT, 30, after=False)),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse_faults([text]) == [fault]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected operation:nth"),
        ("execute", "expected operation:nth"),
        ("execute:0:504", "expected operation:nth"),
        ("execute:1:504-later", "expected operation:nth"),
        ("execute:1:504-after ", "expected operation:nth"),
        ("push:1:504", "the operation is none of create, list"),
        ("execute:3-2:504", "the range ends before it begins"),
        ("execute:1:199", "a status is three digits"),
        ("execute:1:600", "a status is three digits"),
        ("execute:1:504=1", "a status is three digits"),
        ("execute:1:html=1", "a status is three digits"),
        ("execute:1:explode", "what happens is a status, timeout"),
        ("execute:1:cut=3", "what happens is a status, timeout"),
    ],
)
def test_a_fault_that_cannot_be_read_says_why(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_faults([text])
    assert f"fault '{text}'" in caught.value.problems[0]


def test_all_bad_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_faults(["a", "get:1:500", "b"])
    assert len(caught.value.problems) == 2


def test_requests_are_counted_by_operation_and_the_first_fault_wins() -> None:
    faults = Faults(["get:2-3:500", "get:3+:502", "list:1:503"])
    values = [fault.value if (fault := faults.next("get")) else None for _ in range(5)]
    assert values == [None, 500, 500, 502, 502]
    first = faults.next("list")
    assert first
    assert first.value == 503
    assert (faults.seen()["get"], faults.seen()["list"], faults.seen()["create"]) == (5, 1, 0)


def test_a_fault_can_be_added_later() -> None:
    faults = Faults([])
    faults.next("get")
    faults.add("get:2:500")
    assert faults.next("get")
