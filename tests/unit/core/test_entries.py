"""Entries of the ledger: what is read back equals what was written, and nothing else gets in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.entries import Entry, Kind, UnreadableEntry

ALIVE = Entry(Kind.ALIVE, "group", "replica-1", "pool", 240.0, 0.5)
CLAIM = replace(ALIVE, kind=Kind.CLAIM, id="load-1", table="orders", bid=12.5, replay=True, holding=("a", "b"))

NUMBERS = st.floats(0, 1e15) | st.integers(0, 10**9)
PARTS = st.floats(0, 1)
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from(Kind),
    group=st.text(),
    replica=st.text(),
    pool=st.text(),
    rate=NUMBERS,
    share=PARTS,
    in_flight=st.integers(1, 99),
    holding=st.lists(st.text(), max_size=3).map(tuple),
    id=st.text(),
    table=st.text(),
    bid=NUMBERS,
    replay=st.booleans(),
    replay_share=PARTS,
    spent=st.booleans(),
    until=st.floats(-1e10, 1e10),
    limit=NUMBERS,
)


def wire(**changes: Any) -> bytes:
    """Return a claim as it is written, with `changes`."""
    return json.dumps(json.loads(CLAIM.to_bytes()) | changes).encode()


@given(ENTRIES)
def test_what_is_read_back_equals_what_was_written(entry: Entry) -> None:
    assert Entry.parse(entry.to_bytes()) == entry


@given(st.binary())
def test_any_bytes_are_an_entry_or_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableEntry):
        Entry.parse(data)


def test_what_has_its_default_is_not_written() -> None:
    said = json.loads(ALIVE.to_bytes())
    assert said.keys() == {"v", "kind", "group", "replica", "pool", "rate", "share"}


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_entry_of_another_version_is_told_from_nonsense(version: object) -> None:
    with pytest.raises(UnreadableEntry, match="version") as e:
        Entry.parse(wire(v=version))
    assert e.value.foreign_version


@pytest.mark.parametrize(
    "data",
    [None, b"", b"{", b"[]", b"7", b'"v"', b"{}", b"\xff\xfe", b"[" * 100_000],
    ids=["nothing", "empty", "half", "a list", "a number", "a string", "no version", "no text", "too deep"],
)
def test_what_is_no_entry_is_unreadable(data: bytes | None) -> None:
    with pytest.raises(UnreadableEntry, match="no entry") as e:
        Entry.parse(data)
    assert not e.value.foreign_version


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "promise"},
        {"kind": None},
        {"other": 1},
        {"group": 7},
        {"id": None},
        {"rate": "240"},
        {"rate": True},
        {"rate": -1},
        {"rate": float("nan")},
        {"bid": float("inf")},
        {"bid": 10**400},
        {"bid": -0.1},
        {"limit": -1},
        {"until": float("-inf")},
        {"share": 1.01},
        {"share": -0.01},
        {"replay_share": 2},
        {"in_flight": 0},
        {"in_flight": 1.5},
        {"in_flight": True},
        {"replay": 1},
        {"spent": "yes"},
        {"holding": "abc"},
        {"holding": [1]},
        {"holding": 5},
    ],
    ids=str,
)
def test_a_damaged_entry_is_unreadable(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEntry, match="damaged") as e:
        Entry.parse(wire(**changes))
    assert not e.value.foreign_version


def test_an_entry_that_lacks_something_is_damaged() -> None:
    said = json.loads(CLAIM.to_bytes())
    del said["kind"]
    with pytest.raises(UnreadableEntry, match="damaged"):
        Entry.parse(json.dumps(said).encode())
