"""Owns the course of a release while messages flow, 1 → 3 → 1 pods and every kind of restart, and what must hold.

Never forgives a partition that moves without need. Invariant: messages are written during the whole course.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.chaos.compare import compare
from tests.rolling.moves import disturbed, moves
from tests.rolling.release import Release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rolling.pods import Pod


def run(folder: Path, kind: str, *, seed: int, rounds: int = 1, say: Callable[[str], object] = str) -> list[str]:
    """Return what was not as it must be, with `rounds` of restarts of a workload of `kind`."""
    problems: list[str] = []
    with Release(folder, kind, seed) as release:
        _scale(release, 1, say)
        _scale(release, 3, say)
        for number in range(rounds):
            say("rolling restart")
            begun = time.time()
            release.roll()
            release.settle()
            if kind == "StatefulSet":
                problems += [f"rolling restart: {m}" for m in moves(release.events(), begun, time.time())]
            pod = release.live[number % 3]
            with _alone(release, pod, f"restart of {pod.name}", problems, say):
                release.replace(pod)
            pod = release.live[(number + 1) % 3]
            with _alone(release, pod, f"kill -9 of {pod.name}", problems, say):
                release.kill(pod)
        if release.producing.done:
            problems.append("the messages came to their end before the course did")
        _scale(release, 1, say)
        say("finishing")
        release.finish()
        (last,) = release.live
        last.terminate()
        last.wait()
        problems += [f"{c.name}: {d}" for c in compare(release) for d in c.differences]
        problems += [*_exits(release), *_budget(release, say)]
    return problems


def _scale(release: Release, count: int, say: Callable[[str], object]) -> None:
    say(f"scale to {count}")
    release.scale(count)
    release.settle()


@contextmanager
def _alone(release: Release, pod: Pod, what: str, problems: list[str], say: Callable[[str], object]) -> Iterator[None]:
    """Let what is done within move nothing but the partitions of `pod`; of a static member not even those."""
    say(what)
    stay = {p.name for p in release.live if p is not pod}
    begun = time.time()
    yield
    release.settle()
    found = release.events()
    if release.kind == "StatefulSet":
        problems += [f"{what}: {name} was disturbed" for name in disturbed(found, begun, time.time()) & stay]
    problems += [f"{what}: {m}" for m in moves(found, begun, time.time()) if {m.before, m.after} <= stay]


def _exits(release: Release) -> Iterator[str]:
    """Yield how pods ended that were not killed and did not end well."""
    killed = -9
    for pod in release.pods:
        bad = [code for _, code in pod.ends if code not in (0, killed)]
        if bad:
            yield f"{pod.name}: exit codes {bad}\n{pod.tail()}"
    kills = sum(code == killed for pod in release.pods for _, code in pod.ends)
    if kills != release.kills:
        yield f"{kills - release.kills} pods outlived their grace period"


def _budget(release: Release, say: Callable[[str], object]) -> Iterator[str]:
    """Yield the hours in which more was pushed than the budget has, or was refused."""
    limit = release.pushes_per_hour
    for hour, found in release.executes().items():
        say(f"hour {hour}: {found}")
        if found.get("refused") or found.get("accepted", 0) > limit:
            yield f"hour {hour}: {found} of {limit} pushes"
