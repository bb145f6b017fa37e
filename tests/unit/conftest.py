"""Owns the benches of the unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.bench import A0, A1, B0, Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Return a maker of a bench, whose spool is closed at the end."""
    made: list[Bench] = []

    def make_bench(*args: Any, **settings: Any) -> Bench:
        made.append(Bench(tmp_path, *args, **settings))
        return made[-1]

    yield make_bench
    for bench in made:
        bench.spool.close()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    return make({A0: [b"1"] * 5, A1: [b"2"] * 3, B0: [b"3"] * 4})
