"""The flush policy: due, since when, and why."""

from __future__ import annotations

import pytest

from connector.core.flush import Fill, FlushPolicy, Trigger

POLICY = FlushPolicy(records=10, size=1000, age=60.0)


@pytest.mark.parametrize(
    ("fill", "now", "due", "wait"),
    [
        pytest.param(Fill(0, 0, 0.0), 1e9, None, float("inf"), id="an empty buffer is never due"),
        pytest.param(Fill(9, 999, 5.0), 64.0, None, 1.0, id="below all limits it waits for its age"),
        pytest.param(Fill(10, 1, 5.0), 5.0, Trigger.RECORDS, 60.0, id="enough records make it due"),
        pytest.param(Fill(1, 1000, 5.0), 5.0, Trigger.BYTES, 60.0, id="enough bytes make it due"),
        pytest.param(Fill(1, 1, 5.0), 65.0, Trigger.AGE, 0.0, id="the age of its first record makes it due"),
        pytest.param(Fill(1, 1, 5.0), 99.0, Trigger.AGE, 0.0, id="a wait is never negative"),
        pytest.param(Fill(10, 1000, 5.0), 65.0, Trigger.RECORDS, 0.0, id="records are named before bytes and age"),
    ],
)
def test_a_buffer_is_due(fill: Fill, now: float, due: Trigger | None, wait: float) -> None:
    assert POLICY.due(fill, now) is due
    assert POLICY.wait(fill, now) == wait
