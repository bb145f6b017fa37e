"""Owns what keeps a replay alive that holds a table and does not run: its plan, written again before brokers forget it.

Never keeps the plan of a replay that runs, which does so itself and may forget it any moment. Invariant: a plan is
written again as it was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from connector.errors import SourceError
from connector.kafka import kept
from connector.kafka.alone import others
from connector.kafka.crowd import prefix_of_replays

if TYPE_CHECKING:
    from collections.abc import Iterable

    from connector.config import Kafka

log = structlog.get_logger()

KEEP_SECONDS = 3600.0  # often enough for what brokers forget in a week (offsets.retention.minutes)


def keep_plans(kafka: Kafka, names: Iterable[str]) -> None:
    """Keep the plans of the replays `names` that do not run; what fails is tried again the next time."""
    for name in names:
        group = f"{prefix_of_replays(kafka.group)}{name}"
        try:
            if not others(kafka.model_copy(update={"group": group})) and (plan := kept.kept(kafka, group)):
                kept.keep(kafka, group, plan)
        except SourceError as e:  # what was kept stands for days
            log.info("could not keep the plan of a replay again", replay=name, error=str(e))
