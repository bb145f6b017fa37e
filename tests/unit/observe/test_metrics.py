"""The numbers and the log lines of a scripted run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from connector.core.columns import TableSchema
from connector.core.flush import Trigger
from connector.core.loads import (
    Broken,
    Chunk,
    Done,
    Doubtful,
    Empty,
    JobFailed,
    Load,
    Prepared,
    Segment,
    Target,
    Throttled,
    Unreadable,
)
from connector.core.messages import Decoded, reject
from connector.errors import RegistryUnavailable
from connector.observe.metrics import Metrics
from tests.fakes import message_batch

if TYPE_CHECKING:
    from connector.core.loads import Receipt

SEGMENT = Segment(Path("s"), TableSchema(), 5, 400, ())
LOAD = Load("load-1", Target("T", ()), TableSchema(), (SEGMENT,), (), Trigger.AGE, 100.0)
PREPARED = Prepared(LOAD, "job-1", (Chunk(Path("c"), 5, 400),), 1.0)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"kafka_celonis_{name}", labels)


def decoded(rows: int = 2, **counts: Any) -> Decoded:
    batch = pa.RecordBatch.from_arrays([pa.array(range(rows))], names=["v"])
    return Decoded(batch, np.arange(rows), **counts)


def test_messages_are_counted_as_what_they_became() -> None:
    metrics = Metrics()
    messages = message_batch(b"1", b"x", b"y", None, start=40)
    rejects = [reject(messages, 1, "broken", "no integer"), reject(messages, 2, "broken", "neither")]
    with capture_logs() as lines:
        metrics.decoded("T", messages, decoded(1, rejects=rejects, tombstones=1, nulled_dates=3, cut=4))
        metrics.decoded("T", messages, decoded(2))
    assert value(metrics, "records_decoded_total", table="T") == 3
    assert value(metrics, "rejects_total", table="T", reason="broken") == 2
    assert value(metrics, "tombstones_total", table="T") == 1
    assert value(metrics, "nulled_dates_total", table="T") == 3
    assert value(metrics, "cut_strings_total", table="T") == 4
    assert lines == [
        {
            "event": "rejected messages",
            "log_level": "warning",
            "table": "T",
            "topic": "orders",
            "reason": "broken",
            "count": 2,
            "first": "orders[0]@41..42",
            "detail": "no integer",
        }
    ]


def test_a_flush_is_counted_by_its_trigger_with_the_age_of_its_first_record() -> None:
    metrics = Metrics()
    with capture_logs() as lines:
        metrics.flushed(LOAD, 161.25)
    assert value(metrics, "loads_total", table="T", trigger="age") == 1
    assert value(metrics, "load_age_seconds_sum", table="T") == 61.25
    assert lines[0] == {
        "event": "flushed load",
        "log_level": "info",
        "table": "T",
        "load": "load-1",
        "trigger": "age",
        "rows": 5,
        "bytes": 400,
        "age": 61.2,
    }


@pytest.mark.parametrize(
    ("receipt", "sample", "labels", "event", "level"),
    [
        (PREPARED, None, {}, "uploaded chunks", "info"),
        (Done(LOAD, "job-1", 5, 400, 3.5), "jobs_total", {"status": "DONE"}, "pushed load", "info"),
        (JobFailed(LOAD, "job-1", "ERROR", ("why",)), "jobs_total", {"status": "ERROR"}, "failed job", "warning"),
        (JobFailed(LOAD, "job-1", "CANCELED"), "jobs_total", {"status": "CANCELED"}, "failed job", "warning"),
        (
            Throttled(LOAD, None, 9.0, exhausted=True, detail="429"),
            "push_waits_total",
            {"cause": "throttled"},
            "throttled push",
            "warning",
        ),
        (Doubtful(LOAD, None, 9.0, "504"), "push_waits_total", {"cause": "no_answer"}, "postponed push", "warning"),
        (
            Doubtful(LOAD, PREPARED, 0.0, "late", late=True),
            "push_waits_total",
            {"cause": "late"},
            "postponed push",
            "warning",
        ),
        (Unreadable(LOAD, "gone"), "push_waits_total", {"cause": "disk"}, "lost load to the disk", "warning"),
        (Broken(LOAD, "403", "permit it"), None, {}, "ended push without a job", "info"),
        (Empty(LOAD), None, {}, "ended push without a job", "info"),
    ],
    ids=lambda v: type(v).__name__ if hasattr(v, "load") else "",
)
def test_each_receipt_has_its_number_and_its_line(
    receipt: Receipt, sample: str | None, labels: dict[str, str], event: str, level: str
) -> None:
    metrics = Metrics()
    with capture_logs() as lines:
        metrics.settled(receipt)
    if sample:
        assert value(metrics, sample, table="T", **labels) == 1
    (line,) = lines
    assert (line["event"], line["log_level"], line["table"], line["load"]) == (event, level, "T", "load-1")


def test_what_arrived_is_counted_in_rows_bytes_and_seconds() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.settled(Done(LOAD, "job-1", 5, 400, 3.5, 2))
    assert value(metrics, "pushed_rows_total", table="T") == 10
    assert value(metrics, "deleted_rows_total", table="T") == 4
    assert value(metrics, "pushed_bytes_total", table="T") == 800
    assert value(metrics, "push_seconds_sum", table="T") == 7.0
    assert value(metrics, "push_seconds_bucket", table="T", le="5.0") == 2


def test_the_time_of_a_push_is_told_in_its_parts() -> None:
    metrics = Metrics()
    metrics.settled(PREPARED)
    metrics.settled(Done(LOAD, "job-1", 5, 400, 3.5, 2, 2.5))
    sums = [value(metrics, f"{name}_seconds_sum", table="T") for name in ("prepare", "execute", "push")]
    assert sums == [1.0, 2.5, 3.5]


def test_a_push_of_the_budget_is_counted_where_it_was_spent() -> None:
    metrics = Metrics()
    for receipt in (
        PREPARED,
        Doubtful(LOAD, PREPARED, 0.0, "too late", late=True),
        Throttled(LOAD, PREPARED, 9.0, exhausted=True, detail="429", executed=True),
        JobFailed(LOAD, "job-1", "ERROR"),
        Done(LOAD, "job-2", 5, 400, 3.5),
    ):
        metrics.settled(receipt)
    assert value(metrics, "executes_total", table="T") == 3


def test_a_topic_that_waits_is_counted_each_time_and_told_once_for_each_reason() -> None:
    metrics = Metrics()
    away = RegistryUnavailable("no answer", wait=1.0, hint="check schema_registry.url")
    with capture_logs() as lines:
        for error in (away, away, RegistryUnavailable("refused", wait=1.0), away):
            metrics.stalled("orders", error)
        metrics.decoded("T", message_batch(b"1"), decoded())
        metrics.decoded("T", message_batch(b"1"), decoded())
        metrics.stalled("orders", away)
    assert value(metrics, "stalls_total", topic="orders") == 5
    told = [(line["event"], line.get("error")) for line in lines]
    assert told == [
        ("paused topic", "no answer (check schema_registry.url)"),
        ("paused topic", "refused"),
        ("paused topic", "no answer (check schema_registry.url)"),
        ("resumed topic", None),
        ("paused topic", "no answer (check schema_registry.url)"),
    ]


def test_a_halted_table_is_an_error_for_a_person() -> None:
    with capture_logs() as lines:
        Metrics().halted("T", "403 on create (grant the permission)")
    expected = {
        "event": "halted table",
        "log_level": "error",
        "table": "T",
        "reason": "403 on create (grant the permission)",
    }
    assert lines == [expected]


def test_every_metric_has_a_help_text_the_prefix_and_labels_of_small_sets() -> None:
    families = list(Metrics().registry.collect())
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("kafka_celonis_")
        assert family.documentation.endswith(".")
