"""Owns the fixtures that all tests share; never a decision about the product."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.kafka_broker import KafkaBroker, MissingTool

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real Apache Kafka; without Java or Maven the test is skipped, except where CI promises them."""
    try:
        broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    except MissingTool as e:
        if os.environ.get("CI"):
            pytest.fail(str(e))
        pytest.skip(str(e))
    with broker:
        yield broker
