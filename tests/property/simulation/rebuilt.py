"""Owns how a process is made with one other part inside its pipeline. Never changes a module.

Invariant: all other parts are the product's own.
"""

from __future__ import annotations

from typing import Any

from connector.orders import OrderBook
from connector.pipeline import Pipeline
from connector.pushes import Pushes
from connector.recovery import Recovery
from tests.property.simulation.replica import Parts


class Rebuilt(Pipeline):
    """A pipeline with another kind of pushes, recovery or orders."""

    pushes_type: type[Pushes] = Pushes
    recovery_type: type[Recovery] = Recovery
    orders_type: type[OrderBook] = OrderBook

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.recovery = self.recovery_type(parts["origin_of"])
        self.orders = self.orders_type(
            parts["orders"],
            source=parts["source"],
            sinks=self.sinks,
            recovery=self.recovery,
            commits=self._commits,
        )
        taken = ("source", "spool", "pusher", "dead_letters", "observer", "budget", "origin_of", "executing")
        self.pushes = self.pushes_type(
            sinks=self.sinks,
            recovery=self.recovery,
            workers=4,
            forget_records=self._stand_before,
            **{name: parts[name] for name in taken},
        )


def with_pushes(kind: type[Pushes]) -> Parts:
    """Return the parts of a process with these pushes."""
    return Parts(pipeline=type(f"With{kind.__name__}", (Rebuilt,), {"pushes_type": kind}))


def with_recovery(kind: type[Recovery]) -> Parts:
    """Return the parts of a process with this recovery."""
    return Parts(pipeline=type(f"With{kind.__name__}", (Rebuilt,), {"recovery_type": kind}))


def with_orders(kind: type[OrderBook]) -> Parts:
    """Return the parts of a process that follows orders so."""
    return Parts(pipeline=type(f"With{kind.__name__}", (Rebuilt,), {"orders_type": kind}))
