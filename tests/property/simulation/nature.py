"""Owns what kind of schedule a seed makes: how many replicas, which settings, and how often which fault comes.

Never decides while a schedule runs. Invariant: faults are switched on and off by the seed as a whole (a swarm), since
schedules with all faults at once hide what few faults alone would show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_RARE_OR_NOT = (0.0, 0.0, 0.03, 0.1)


@dataclass(frozen=True, slots=True)
class Nature:
    """The weights and chances of one schedule."""

    replicas: int
    eager: bool
    shared: bool  # both topics in one table
    partitions: int  # of each topic
    events: int
    warm: bool  # the group stands before anything goes wrong
    records: int  # a flush holds so many
    commit_interval: float
    executing: int
    slot: float  # seconds between two pushes of the whole group
    delete: bool
    patient: bool  # the pusher repeats by itself instead of giving back
    hasty: bool  # the pusher gives up on a job that is not at its end
    breaks: float  # chance that others come between two requests of a task
    http: float  # chance of a fault of a request
    kafka: float  # chance that a commit or its answer is lost
    job_error: float
    crash: float
    freeze: float
    away: float
    evict: float
    churn: float
    leave: float
    deletes: float  # a person deletes jobs

    @classmethod
    def of(cls, dice: Random) -> Nature:
        """Draw one."""
        pick = dice.choice
        return cls(
            replicas=pick((1, 2, 2, 2, 3)),
            eager=dice.random() < 0.3,
            shared=dice.random() < 0.2,
            partitions=pick((1, 2, 2)),
            events=pick((100, 150, 240)),
            warm=dice.random() < 0.7,
            records=pick((1, 3, 5)),
            commit_interval=pick((0.0, 2.0, 6.0)),
            executing=pick((1, 1, 2)),
            slot=pick((0.2, 0.2, 1.0, 4.0)),
            delete=dice.random() < 0.5,
            patient=dice.random() < 0.5,
            hasty=dice.random() < 0.05,
            breaks=pick((0.1, 0.4, 0.8)),
            http=pick((0.0, 0.03, 0.1, 0.3)),
            kafka=pick((0.0, 0.05, 0.2, 0.5)),
            job_error=pick((0.0, 0.0, 0.1, 0.3)),
            crash=pick(_RARE_OR_NOT),
            freeze=pick(_RARE_OR_NOT),
            away=pick(_RARE_OR_NOT),
            evict=pick((0.0, 0.0, 0.02, 0.06)),
            churn=pick(_RARE_OR_NOT),
            leave=pick((0.0, 0.0, 0.02)),
            deletes=0.05 if dice.random() < 0.06 else 0.0,
        )
