"""The version stands in pyproject.toml; chart and image get it from there."""

from __future__ import annotations

import pytest

from helm.generate import made
from helm.generate.version import of_chart, of_image, version

CHART = "name: a\nversion: 0.1.0\nappVersion: 0.1.0\nkubeVersion: x\n"
DOCKERFILE = "FROM a\nARG VERSION=0.1.0\nARG REVISION=unknown\n"


def test_another_version_goes_wherever_one_stands() -> None:
    now = version('[project]\nversion = "1.2.0rc1"\n')
    assert of_chart(CHART, now) == "name: a\nversion: 1.2.0rc1\nappVersion: 1.2.0rc1\nkubeVersion: x\n"
    assert of_image(DOCKERFILE, now) == "FROM a\nARG VERSION=1.2.0rc1\nARG REVISION=unknown\n"


@pytest.mark.parametrize("text", ["name: a\n", CHART + "version: 0.1.0\n"])
def test_no_place_or_two_stop_the_making(text: str) -> None:
    with pytest.raises(ValueError, match="instead of one"):
        of_chart(text, "1.2.0")


def test_chart_and_dockerfile_are_among_what_is_made() -> None:
    assert {"Chart.yaml", "../../docker/Dockerfile"} <= made().keys()
