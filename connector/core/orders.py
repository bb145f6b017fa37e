"""Owns the order: the note by which a replay asks the running service to do something with one partition.

Orders stand in a group of their own beside the service's, which nobody ever joins: the committed offset of a partition
is the order's offset, and its metadata is the rest. Never talks to Kafka. Invariant: what `text` writes, `parse` reads
back; everything else that is not empty is refused with a reason, and a refused order is none.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import NamedTuple

VERSION = 1


def group_of_orders(group: str) -> str:
    """Return the group in which the orders to the service of `group` stand."""
    return f"{group}.orders"


class UnreadableOrder(ValueError):  # noqa: N818
    """The text of an order is not one that this version can follow; the message says why.

    `id` names the replay that gave it, where that much can be read.
    """

    def __init__(self, why: str, id: str = "") -> None:  # noqa: A002 - as in an order
        super().__init__(why)
        self.id = id


class OrderKind(StrEnum):
    """What is asked for."""

    REWIND = "rewind"  # read again from the order's offset
    HOLD = "hold"  # stand still, with nothing on its way, until another order comes
    RESUME = "resume"  # go on from the order's offset, wherever the partition stands


class OrderState(StrEnum):
    """How far it is."""

    ASKED = "asked"
    HELD = "held"  # of HOLD only: nothing is on its way, and the order's offset is what the service has committed
    DONE = "done"


class Order(NamedTuple):
    """One order for one partition. `id` names the replay that gave it; `offset` is the next one to read."""

    kind: OrderKind
    state: OrderState
    id: str
    offset: int

    def text(self) -> str:
        """Return the metadata of the committed offset."""
        found = {"v": VERSION, "order": self.kind, "state": self.state, "id": self.id}
        return json.dumps(found, separators=(",", ":"))

    @classmethod
    def parse(cls, offset: int, metadata: str) -> Order | None:
        """Return the order that stands in `metadata` with `offset`, or None where it is empty.

        Raises:
            UnreadableOrder: it is not empty, and not an order of this version.
        """
        if not metadata:
            return None
        try:
            found = json.loads(metadata)
        except ValueError:
            raise UnreadableOrder("it was not written by this product") from None
        if not isinstance(found, dict) or "v" not in found:
            raise UnreadableOrder("it was not written by this product")
        if found.pop("v") != VERSION:
            raise UnreadableOrder("it was written by another version of this product", str(found.get("id", "")))
        if {name: type(value) for name, value in found.items()} != {"order": str, "state": str, "id": str}:
            raise UnreadableOrder("it is damaged")
        try:
            order = cls(OrderKind(found["order"]), OrderState(found["state"]), found["id"], offset)
        except ValueError:
            raise UnreadableOrder("it is damaged") from None
        if offset < 0 or not order.id or (order.state is OrderState.HELD and order.kind is not OrderKind.HOLD):
            raise UnreadableOrder("it is damaged")
        return order

    @property
    def open(self) -> bool:
        """Whether the partition is under it: it must not flow."""
        return self.state is not OrderState.DONE

    def followed(self, committed: int) -> Order:
        """Return the answer once it is followed; `committed` is what the service has committed (-1: nothing)."""
        if self.kind is not OrderKind.HOLD:
            return self._replace(state=OrderState.DONE)
        return self._replace(state=OrderState.HELD, offset=committed if committed >= 0 else self.offset)

    def start(self, committed: int) -> int:
        """Return the offset at which the partition is to stand, of which `committed` is committed.

        A rewind never goes forward: what lies between was not read yet.
        """
        if self.kind is OrderKind.RESUME:
            return self.offset
        return min(self.offset, committed) if self.kind is OrderKind.REWIND else committed

    def answers(self, standing: Order | None) -> bool:
        """Return whether this may take the place of what stands: only of the same order, as long as it is open."""
        return standing is not None and standing.open and standing.kind is self.kind and standing.id == self.id
