"""The rules of the protocol, each left out once: the simulation must notice.

A rule whose absence no schedule notices would not bear any load, or the simulation would be too weak to tell.
"""

from __future__ import annotations

import pytest

from tests.property.simulation.mutants import MUTANTS
from tests.property.simulation.run import Failure, run_seeds

BOUND = 4000  # schedules to search
RARE = {"deletes what was not committed": 16_160}  # where to begin: few schedules tell


@pytest.mark.parametrize("rule", MUTANTS)
def test_the_simulation_notices_that_the_connector(rule: str) -> None:
    with pytest.raises(Failure):
        run_seeds(range(RARE.get(rule, 0), RARE.get(rule, 0) + BOUND), MUTANTS[rule])
