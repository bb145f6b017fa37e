"""Writes what of the chart is made: README.md, values.schema.json, files/dashboard.json; and the README's metrics.

Usage: python -m helm.generate
"""

from __future__ import annotations

from helm.generate import CHART, made

for name, text in made().items():
    (CHART / name).write_text(text, encoding="utf-8")
