"""Intents are written and read back; what is none is refused with the reason."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.intents import MAX_METADATA, Intent, Origin, UnreadableIntent, fingerprint, objection, parse

ORIGIN = Origin("MkU3OEVBNTcwNTJENDM2Qk", "u0TjyrzGRLSEVO-gmLRDNQ", "a" * 12, keyed=True)
INTENT = Intent.of("6fa473a4-4bfb-4ded-bd6d-42b0e2605e70", 1 << 60, ORIGIN)
TEXT = json.loads(INTENT.text())


def test_a_real_intent_takes_a_small_part_of_what_a_broker_keeps() -> None:
    assert len(INTENT.text()) < MAX_METADATA // 10


@given(st.text(min_size=1), st.integers(0, 1 << 62), st.text(), st.text(), st.text())
def test_what_is_written_is_read_back(job: str, end: int, cluster: str, topic: str, config: str) -> None:
    intent = Intent(job, end, cluster, topic, config)
    assert parse(intent.text()) == intent


def test_an_offset_without_metadata_has_no_intent() -> None:
    assert parse("") is None


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("by hand", "not written by this product"),
        ("[1]", "not written by this product"),
        ('{"job": "x"}', "not written by this product"),
        (json.dumps({**TEXT, "v": 2}), "another version"),
        (json.dumps({**TEXT, "end": "7"}), "damaged"),
        (json.dumps({**TEXT, "end": -1}), "damaged"),
        (json.dumps({**TEXT, "end": True}), "damaged"),
        (json.dumps({**TEXT, "job": ""}), "damaged"),
        (json.dumps({**TEXT, "more": 1}), "damaged"),
        (json.dumps({k: v for k, v in TEXT.items() if k != "topic"}), "damaged"),
    ],
)
def test_what_is_no_intent_is_refused_with_the_reason(metadata: str, reason: str) -> None:
    with pytest.raises(UnreadableIntent, match=reason):
        parse(metadata)


@pytest.mark.parametrize(
    ("change", "offset", "expected"),
    [
        ({}, 5, None),
        ({}, 1 << 60, None),
        ({}, (1 << 60) + 1, "before the committed offset"),
        ({"cluster": "other"}, 5, "another Kafka cluster"),
        ({"cluster": ""}, 5, None),
        ({"topic": "other"}, 5, "another topic of the same name"),
        ({"config": "other"}, 5, "another pool, table, keys"),
    ],
)
def test_an_intent_is_acted_on_only_where_it_was_made(
    change: dict[str, str], offset: int, expected: str | None
) -> None:
    found = objection(replace(INTENT, **change), ORIGIN, offset)  # type: ignore[arg-type]
    assert (found is None) is (expected is None)
    assert (expected or "") in (found or "")


def test_a_fingerprint_depends_on_every_part_and_on_their_borders() -> None:
    prints = {fingerprint(parts) for parts in (["a", "b"], ["ab"], ["b", "a"], ["a", "b", ""])}
    assert len(prints) == 4
