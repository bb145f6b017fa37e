"""Owns the end of a replay that does not come back: its orders are withdrawn, its plan and its progress forgotten.

Never takes anything from a replay that runs, nor a hold from a table whose new rows may have been swapped in: what came
meanwhile would be lost, or doubled. Invariant: what was found and what became of it is told, one line each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.orders import OrderKind
from connector.errors import ConnectorError, SourceError
from connector.kafka import kept
from connector.kafka.alone import replay_settings, wait_until_alone
from connector.kafka.group import committed_offsets
from connector.kafka.orders import read_orders, unreadable_orders, withdraw_orders
from connector.replaying import group_of_replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connector.config import Settings
    from connector.core.offsets import TopicPartition
    from connector.core.orders import Order, UnreadableOrder
    from connector.replaying import Survey

Orders = dict["TopicPartition", "Order"]


def abandon(settings: Settings, found: Survey) -> Iterator[str]:
    """Let go of the tables of `found`, and forget the replays that hold them, and the one of this command.

    Raises:
        ConnectorError: one of them runs, or has gone too far; the hint is the next step.
    """
    unreadable = unreadable_orders(settings.kafka, found.ranges)
    readable = [tp for tp in found.ranges if tp not in unreadable]
    standing = {tp: order for tp, order in read_orders(settings.kafka, readable).items() if order.open}
    told = bool(unreadable)
    yield from _withdraw_unreadable(settings, unreadable)
    for name in sorted({found.name, *(order.id for order in standing.values())}):
        for line in _abandon(settings, name, {tp: o for tp, o in standing.items() if o.id == name}):
            told = True
            yield line
    if not told:
        tables = ", ".join(part.table for part in found.parts)
        yield f"nothing to abandon: no order stands for {tables}, and no plan of replay {found.name} is kept"


def _withdraw_unreadable(settings: Settings, orders: Mapping[TopicPartition, UnreadableOrder]) -> Iterator[str]:
    """Withdraw orders of which only the replay's name can be read, unless that has a plan: then it may hold a table."""
    for name in sorted({why.id for why in orders.values() if why.id}):
        if _has_plan(settings, group_of_replay(settings.kafka.group, name)):
            raise ConnectorError(
                f"an order of another version stands, and the plan of its replay {name} is kept",
                hint="end or abandon that replay with the version that began it",
            )
    if orders:
        withdraw_orders(settings.kafka, orders)
    for tp, why in sorted(orders.items()):
        yield f"{tp}: withdrew an order that was not followed: {why}"


def _has_plan(settings: Settings, group: str) -> bool:
    try:
        return kept.kept(settings.kafka, group) is not None
    except SourceError:  # it is there, and cannot be read either
        return True


def _abandon(settings: Settings, name: str, orders: Orders) -> Iterator[str]:
    group = group_of_replay(settings.kafka.group, name)
    wait_until_alone(replay_settings(settings.kafka, group))
    plan = kept.kept(settings.kafka, group)
    if plan:
        others = read_orders(settings.kafka, plan.ranges).items()
        orders |= {tp: order for tp, order in others if order.open and order.id == name}
    if going := sorted(str(tp) for tp, order in orders.items() if order.kind is OrderKind.RESUME):
        yield f"replay {name} is over, and the service goes on behind it at its next start: {', '.join(going)} stays so"
        return
    if plan and any(order.kind is OrderKind.HOLD for order in orders.values()):
        _refuse_if_executed(settings, name, plan)
    if plan:
        kept.forget(settings.kafka, group)
        yield f"forgot the plan and the progress of replay {name}; what it has pushed stays"
    if orders:
        withdraw_orders(settings.kafka, orders)
    for tp, order in sorted(orders.items()):
        yield f"{tp}: withdrew the order to {order.kind} of replay {name}; the service goes on where it has committed"


def _refuse_if_executed(settings: Settings, name: str, plan: kept.Plan) -> None:
    """Raise where the job that swaps the rows was executed, or may have been."""
    group = group_of_replay(settings.kafka.group, name)
    committed = committed_offsets(
        settings.kafka.model_copy(update={"group": group}), sorted({tp.topic for tp in plan.ranges})
    )
    ends = {tp: r.end for tp, r in plan.ranges.items() if r.messages}
    if any(c.metadata or c.offset >= ends[tp] for tp, c in committed.items() if tp in ends):
        raise ConnectorError(
            f"replay {name} has executed its job, or may have: to let go now could lose rows, or double them",
            hint="give the command of that replay again: it pushes nothing twice, and lets the service go on",
        )
