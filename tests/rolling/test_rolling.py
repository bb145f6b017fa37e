"""Pods of the chart on a real Kafka, 1 → 3 → 1 and restarted each way under traffic: nothing lost, doubled or moved."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chart.chart import MISSING
from tests.rolling.course import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(sys.platform != "linux", reason="pods need addresses of their own, as 127.0.0.0/8 has on Linux"),
    pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=str(MISSING)),
]


@pytest.mark.timeout(420)
@pytest.mark.usefixtures("kafka")  # skips where there is none; the run brings a broker of its own
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_restarts_move_only_their_own_partitions_and_every_message_is_accounted_for_exactly_once(
    kind: str, tmp_path: Path
) -> None:
    problems = run(tmp_path / "run", kind, seed=11)
    assert not problems, "\n".join(problems)
