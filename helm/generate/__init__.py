"""Owns which files of the chart are made from others, and how; and the README's reference of metrics.

Never writes them (`python -m helm.generate` does). Invariant: what is made twice is the same.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from helm.generate.dashboard import dashboard
from helm.generate.readme import readme
from helm.generate.reference import with_reference
from helm.generate.schema import with_settings

__all__ = ["CHART", "made"]

_README = "../../README.md"

CHART = Path(__file__).parents[1] / "celonis-connector"


def made() -> dict[str, str]:
    """Return the made files by their path from the chart."""
    schema = with_settings((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    return {
        "values.schema.json": schema,
        "README.md": readme(values, json.loads(schema), chart),
        "files/dashboard.json": dashboard(),
        _README: with_reference((CHART / _README).read_text(encoding="utf-8")),
    }
