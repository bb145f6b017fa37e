"""Owns what the tests of the image share: the Dockerfile's steps done once in a folder of its own, and the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.image.dockerfile import Replayed
from tests.image.engine import Engine, MissingEngineError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """The environment that the Dockerfile makes, by its own steps."""
    replayed = Replayed(tmp_path_factory.mktemp("image"))
    replayed.build()
    return replayed


@pytest.fixture(scope="session")
def engine() -> Engine:
    """An engine that has the image; skipped where none can be had, also under CI."""
    try:
        engine = Engine()
        engine.build()
    except MissingEngineError as e:
        pytest.skip(f"no image can be made here, which CI cannot promise either: {e}")
    return engine


@pytest.fixture
def nothing_is_written(tmp_path: Path) -> Path:
    """A working directory that cannot be written to, except by root, and is empty."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    return folder
