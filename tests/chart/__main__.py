"""Writes the snapshot of the default rendering, for a person to look at what changed.

Usage: python -m tests.chart
"""

from __future__ import annotations

from tests.chart.chart import SNAPSHOT, snapshot

SNAPSHOT.write_text(snapshot(), encoding="utf-8")
