"""Who is told when partitions come and go."""

from __future__ import annotations

import inspect

from connector.core.assignments import Assignments
from connector.pipeline import Pipeline


def test_the_pipeline_is_told_of_all_that_happens_to_partitions() -> None:
    for name in ("assigned", "revoked", "lost"):
        told = inspect.signature(getattr(Pipeline, name)).parameters
        assert list(told) == list(inspect.signature(getattr(Assignments, name)).parameters)
