"""Owns what can be set about the emulator; never reads a file or the environment.

Invariant: settings that exist are usable: ids are UUIDs, keys name pools that exist, faults and latencies can be read.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from connector.core.hours import TeamClock
from connector.emulator.faults import OPERATIONS, parse_faults
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

DEFAULT_POOL = "11111111-2222-3333-4444-555555555555"
DATA_PUSH_SCOPE = "integration.data-pools:data_push"
MAX_CHUNK_BYTES = 1_000_000_000  # "1 GB at most"; the smaller reading of a gigabyte
MAX_CLOCK_SPEED = 3600  # an hour a second; much faster, the year would soon have five digits
RUN = "run"  # the latency that is a job's own, not a request's


class Hints(StrEnum):
    """What a 429 says about the wait; on the platform each has been seen, and neither too."""

    RATELIMIT = "ratelimit"
    RETRY_AFTER = "retry-after"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """One OAuth client of the team; its tokens reach `pools` when they carry the Data Push scope."""

    secret: str = field(repr=False)
    pools: Sequence[str] = ()
    scopes: Sequence[str] = (DATA_PUSH_SCOPE,)


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """One team: its pools, who may push, its limits, and how the emulator misbehaves.

    `app_keys` and `bearer_keys` map a key to the pools on which it has the Data Push permission. `latencies` are
    seconds by operation (`faults.OPERATIONS`), and `run` is how long a job runs. `clock` returns UTC seconds, and
    the life of tokens follows it; hours, seconds and dates follow the team's time, which passes `clock_speed` times as
    fast. `strict` refuses what nothing public shows to work: other codecs,
    pages, time units and names. Without `seed` the order of chunks and the winner among duplicates differ every time.

    Raises:
        ConfigError: with all problems at once.
    """

    directory: Path
    pools: Mapping[str, str] = field(default_factory=lambda: {DEFAULT_POOL: "emulator"})
    app_keys: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    bearer_keys: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    oauth_clients: Mapping[str, OAuthClient] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    tls: bool = False
    per_second: int = 10
    per_hour: int = 250
    executes_in_flight: int = 1
    hints: Hints = Hints.RATELIMIT
    token_seconds: float = 900
    max_chunk_bytes: int = MAX_CHUNK_BYTES
    strict: bool = True
    latencies: Mapping[str, float] = field(default_factory=dict)
    faults: Sequence[str] = ()
    clock: Callable[[], float] = time.time
    clock_speed: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        problems = [*self._pool_problems(), *self._latency_problems(), *self._clock_problems()]
        try:
            parse_faults(self.faults)
        except ConfigError as e:
            problems += e.problems
        if problems:
            raise ConfigError(problems, source="emulator")

    def team_time(self) -> float:
        """Return the team's time now, in seconds since the epoch."""
        return TeamClock(self.clock_speed).of(self.clock())

    def true_seconds(self, of_team: float) -> float:
        """Return how long a client waits while `of_team` seconds pass for the team."""
        return TeamClock(self.clock_speed).seconds(of_team)

    def _pool_problems(self) -> Iterator[str]:
        yield from (f"pools: '{pool}' is not a UUID" for pool in self.pools if not is_uuid(pool))
        granted = [*self.app_keys.values(), *self.bearer_keys.values(), *(c.pools for c in self.oauth_clients.values())]
        unknown = {pool for pools in granted for pool in pools} - set(self.pools)
        yield from (f"keys: they name the pool '{pool}', which does not exist" for pool in sorted(unknown))

    def _latency_problems(self) -> Iterator[str]:
        known = {*OPERATIONS, RUN}
        for operation, seconds in self.latencies.items():
            if operation not in known:
                yield f"latency: '{operation}' is none of {', '.join(sorted(known))}"
            elif seconds < 0:
                yield f"latency: {operation}={seconds} is negative"

    def _clock_problems(self) -> Iterator[str]:
        if not 0 < self.clock_speed <= MAX_CLOCK_SPEED:
            yield f"clock-speed: {self.clock_speed} is not above 0 and at most {MAX_CLOCK_SPEED}"


def is_uuid(text: str) -> bool:
    """Return whether `text` is a UUID in its usual form, in any case."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
