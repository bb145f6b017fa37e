"""Owns which files of the chart are made from others, and how.

Never writes them (`python -m helm.generate` does). Invariant: what is made twice is the same.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from helm.generate.dashboard import dashboard
from helm.generate.readme import readme
from helm.generate.schema import with_settings

__all__ = ["CHART", "made"]

CHART = Path(__file__).parents[1] / "celonis-connector"


def made() -> dict[str, str]:
    """Return the made files by their path in the chart."""
    schema = with_settings((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    return {
        "values.schema.json": schema,
        "README.md": readme(values, json.loads(schema), chart),
        "files/dashboard.json": dashboard(),
    }
