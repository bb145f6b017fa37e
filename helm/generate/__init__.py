"""Owns which files of the chart are made from others, and how; the README's metrics; where the version goes.

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
from helm.generate.version import of_chart, of_image, version

__all__ = ["CHART", "made"]

_README = "../../README.md"
_DOCKERFILE = "../../docker/Dockerfile"

CHART = Path(__file__).parents[1] / "celonis-connector"


def made() -> dict[str, str]:
    """Return the made files by their path from the chart."""
    now = version(_text("../../pyproject.toml"))
    described = of_chart(_text("Chart.yaml"), now)
    schema = with_settings(_text("values.schema.json"))
    return {
        "values.schema.json": schema,
        "README.md": readme(_text("values.yaml"), json.loads(schema), yaml.safe_load(described)),
        "Chart.yaml": described,
        _DOCKERFILE: of_image(_text(_DOCKERFILE), now),
        "files/dashboard.json": dashboard(),
        _README: with_reference(_text(_README)),
    }


def _text(name: str) -> str:
    return (CHART / name).read_text(encoding="utf-8")
