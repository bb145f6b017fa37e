"""Owns that tests of the chart are skipped where Helm's engine cannot be had, and fail where CI promises it."""

from __future__ import annotations

import os

import pytest

from tests.chart.chart import MISSING


@pytest.fixture(autouse=True, scope="session")
def helm() -> None:
    if MISSING and os.environ.get("CI"):
        pytest.fail(MISSING)
    if MISSING:
        pytest.skip(MISSING)
