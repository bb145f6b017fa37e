"""Writes what of the chart is made, the README's metrics, and the version wherever it stands.

Usage: python -m helm.generate
"""

from __future__ import annotations

from helm.generate import CHART, made

for name, text in made().items():
    (CHART / name).write_text(text, encoding="utf-8")
