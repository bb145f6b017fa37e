"""The short version of the chaos run: three connectors, every kind of fault, and tables that equal the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.driver import Plan, run
from tests.chaos.faults import FAULTS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kafka


@pytest.mark.timeout(420)
@pytest.mark.usefixtures("kafka")  # skips where there is none; the run brings a broker of its own, which it kills
def test_every_message_is_accounted_for_exactly_once_whatever_breaks(tmp_path: Path) -> None:
    report = run(Plan(seed=7, messages=300_000, seconds=30.0), tmp_path / "run")
    assert not report.differences, report.text()
    assert report.faults.keys() >= FAULTS.keys(), report.text()
