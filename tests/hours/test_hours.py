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
@pytest.mark.parametrize("foreign", [False, True], ids=["alone", "with another client of the team"])
def test_replicas_that_die_and_come_spend_every_hour_and_never_too_much(
    kafka: KafkaBroker, tmp_path: Path, *, foreign: bool
) -> None:
    report = run(kafka, tmp_path / "run", hours=1 + foreign, foreign=foreign)
    assert not report.problems, report.text()
