"""Owns the warning that a `max_staleness` cannot be kept: at the start by a guess, later by how long pushes take.

Never refuses to start, and never decides whose turn it is. Invariant: the same trouble is told once, and again only
when it has become worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from connector.core.schedule import Verdict, feasibility

if TYPE_CHECKING:
    from connector.routing import Routes

log = structlog.get_logger()

_BY_TROUBLE = list(Verdict)  # the worst is the last


class Deadlines:
    """The `max_staleness` of all tables that are known by now.

    `slot`: seconds between two pushes of the whole group; `executing`: how many jobs may execute at once.
    """

    def __init__(self, routes: Routes, *, slot: float, executing: int) -> None:
        self._routes, self._slot, self._executing = routes, slot, executing
        self._told = Verdict.KEPT

    def judge(self, service: float) -> None:
        """Take in that a push takes `service` seconds, and warn if that is worse than what was told."""
        wanted = {name: t.max_staleness for t, name in self._routes.known if t.max_staleness is not None}
        found = feasibility(wanted, slot=self._slot, service=service, executing=self._executing)
        if _BY_TROUBLE.index(found.verdict) > _BY_TROUBLE.index(self._told):
            self._told = found.verdict
            log.warning(
                "deadlines are in danger", verdict=found.verdict.value, reason=found.explanation, service=round(service)
            )
