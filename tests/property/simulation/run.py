"""Runs many schedules, or one with its trace: `python -m tests.property.simulation.run --seeds 1000 --from 0`.

Never goes on after a failure without saying the seed. Invariant: the seed that it prints is all that is needed.
"""

from __future__ import annotations

import hashlib
import sys
import time
from argparse import ArgumentParser
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from tests.property.simulation.mutants import MUTANTS
from tests.property.simulation.platform import Broken
from tests.property.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, MutableMapping

    from tests.property.simulation.replica import Parts


class Failure(AssertionError):  # noqa: N818
    """A schedule failed; the message names the seed."""

    def __init__(self, seed: int, error: BaseException) -> None:
        super().__init__(f"seed {seed}: {type(error).__name__}: {error}\n  see it: SEED={seed} make sim")
        self.seed = seed


@contextmanager
def silence() -> Iterator[None]:
    """Let the product log nothing meanwhile: its lines would cost a third of the time."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), processors=[])
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def written_to(trace: list[str]) -> Iterator[None]:
    """Put the product's log lines into the trace."""

    def keep(_: Any, level: str, event: MutableMapping[str, Any]) -> str:
        trace.append(" " * 12 + f"[{level}] " + " ".join(f"{k}={v}" for k, v in event.items()))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.BoundLogger, processors=[keep])
    try:
        yield
    finally:
        structlog.configure(**before)


def run_seeds(seeds: Iterable[int], parts: Parts | None = None) -> int:
    """Run the schedules of `seeds`, and return how many. Raises Failure at the first that breaks a law."""
    count = 0
    with silence():
        for seed in seeds:
            try:
                World(seed, parts).run()
            except (Exception, Broken) as e:
                raise Failure(seed, e) from e
            count += 1
    return count


def trace_of(seed: int, parts: Parts | None = None) -> tuple[list[str], BaseException | None]:
    """Run one schedule; return what happened, and what broke."""
    trace: list[str] = []
    world = World(seed, parts, trace)
    trace.append(str(world.nature))
    with written_to(trace):
        try:
            world.run()
        except (Exception, Broken) as e:  # noqa: BLE001 - whatever it is, it is told
            return trace, e
    return trace, None


def main() -> int:
    """Run what the command line asks for."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--digests", action="store_true", help="one line a seed that stands for its trace")
    parser.add_argument("--mutant", help="leave out a rule, by its name in mutants.py")
    arguments = parser.parse_args()
    parts = MUTANTS[arguments.mutant] if arguments.mutant else None
    if arguments.seed is not None:
        trace, error = trace_of(arguments.seed, parts)
        print(*trace, f"=> {type(error).__name__}: {error}" if error else "=> all laws hold", sep="\n")
        return int(error is not None)
    if arguments.digests:
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            trace, _ = trace_of(seed, parts)
            print(seed, hashlib.sha256("\n".join(trace).encode()).hexdigest()[:16])
        return 0
    began = time.monotonic()
    try:
        for first in range(arguments.first, arguments.first + arguments.seeds, 1000):
            last = min(first + 1000, arguments.first + arguments.seeds)
            run_seeds(range(first, last), parts)
            rate = (last - arguments.first) / (time.monotonic() - began)
            print(f"seeds {arguments.first} to {last - 1}: all laws hold, {rate:.0f} schedules a second", flush=True)
    except Failure as e:
        print(e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
