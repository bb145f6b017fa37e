"""The short version of the hours: three replicas on one ledger spend what there is, and never more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hours.driver import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka


@pytest.mark.timeout(300)
def test_replicas_that_die_and_come_spend_every_hour_alone_or_with_others_and_never_too_much(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    report = run(kafka, tmp_path / "run", hours=2, foreign_from=2)
    assert not report.problems, report.text()
