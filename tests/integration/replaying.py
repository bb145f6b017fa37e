"""Owns a process that replays a partition from its beginning: it commits some of it and then stays, to be killed.

Never ends by itself. Invariant: the line that it prints says up to where it has surely committed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from connector.config import Kafka
from connector.core.bounds import Range
from connector.core.intents import Committed
from connector.core.offsets import TopicPartition
from connector.observe.logs import configure_logs
from tests.unit.kafka.reader import BoundedReader

if TYPE_CHECKING:
    from collections.abc import Mapping


def replay_and_die(kafka: Kafka, ranges: Mapping[TopicPartition, Range]) -> int:
    """Kill a process in the midst of its replay, and return the offset that it has committed of the one partition."""
    task = {"kafka": kafka.model_dump(mode="json"), "ranges": [[*tp, *r] for tp, r in ranges.items()]}
    command = [sys.executable, "-m", "tests.integration.replaying", json.dumps(task)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    return int(line)


def _stay(task: Mapping[str, object]) -> None:
    kafka = Kafka.model_validate(task["kafka"])
    ranges = {TopicPartition(*r[:2]): Range(*r[2:]) for r in task["ranges"]}  # type: ignore[attr-defined]
    reader = BoundedReader(kafka, ranges)
    reader.until(lambda: reader.values)
    done = {tp: Committed(position) for tp, position in reader.source.positions.items()}
    reader.until(lambda: reader.source.commit(done))
    print(*(c.offset for c in done.values()), flush=True)
    while True:
        reader.poll()


if __name__ == "__main__":
    configure_logs("json", "warning", sys.stderr)  # stdout is for the one line
    _stay(json.loads(sys.argv[1]))
