"""The rules of the protocol, each left out once: the simulation must notice.

A rule whose absence no schedule notices would not bear any load, or the simulation would be too weak to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.property.cores import on_all_cores
from tests.property.simulation.mutants import MUTANTS
from tests.property.simulation.run import Failure, run_seeds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

BOUND = 4000  # schedules to search
BY_HAND = {"deletes what was not committed"}  # too few schedules tell: tests/unit/test_intent_protocol.py does
RULES = sorted(MUTANTS.keys() - BY_HAND)


def is_noticed(rule: str) -> bool:
    """Return whether a schedule breaks a law without `rule`."""
    try:
        run_seeds(range(BOUND), MUTANTS[rule])
    except Failure:
        return True
    return False


@pytest.fixture(scope="module")
def noticed() -> Iterator[dict[str, Future[bool]]]:
    with on_all_cores(is_noticed, RULES) as begun:
        yield begun


@pytest.mark.parametrize("rule", RULES)
def test_the_simulation_notices_that_the_connector(rule: str, noticed: dict[str, Future[bool]]) -> None:
    assert noticed[rule].result()
