"""Owns what the tests of the image share: the Dockerfile's steps done once in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.image.dockerfile import Replayed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """The environment that the Dockerfile makes, by its own steps."""
    replayed = Replayed(tmp_path_factory.mktemp("image"))
    replayed.build()
    return replayed


@pytest.fixture
def nothing_is_written(tmp_path: Path) -> Path:
    """A working directory that cannot be written to, except by root, and is empty."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    return folder
