"""Owns how the version gets from pyproject.toml, its only place, to the chart and the image.

Never invents one. Invariant: a file that has no place for the version, or two, stops the making.
"""

from __future__ import annotations

import re
import tomllib


def version(pyproject: str) -> str:
    """Return the version of the project."""
    return str(tomllib.loads(pyproject)["project"]["version"])


def of_chart(text: str, version: str) -> str:
    """Return Chart.yaml for a version: of the chart, and of the image that it takes."""
    for name in ("version", "appVersion"):
        text = _put(text, rf"^({name}: ).+$", version)
    return text


def of_image(text: str, version: str) -> str:
    """Return the Dockerfile, whose label takes this version where none is given."""
    return _put(text, r"^(ARG VERSION=).+$", version)


def _put(text: str, place: str, version: str) -> str:
    changed, count = re.subn(place, rf"\g<1>{version}", text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{count} places instead of one for the version: {place}")
    return changed
