"""Owns a believable purchase-to-pay process: orders that change, an activity log, and a few broken messages.

Never talks to Kafka. Invariant: the same seed tells the same story, and `orders` and `activities` are at every moment
what the tables must hold once everything told so far has been pushed.
"""

from __future__ import annotations

import heapq
import io
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import fastavro
import orjson

ORDERS, ACTIVITIES = "purchase-orders", "p2p.activities"

_COUNTRIES = ["DE", "FR", "US", "JP"]
ORDER_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "PurchaseOrder",
    "namespace": "demo.p2p",
    "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "vendor", "type": {"type": "record", "name": "Vendor", "fields": [
            {"name": "id", "type": "int"},
            {"name": "country", "type": {"type": "enum", "name": "Country", "symbols": _COUNTRIES}},
        ]}},
        {"name": "status", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "items", "type": "int"},
        {"name": "approved_by", "type": ["null", "string"], "default": None},
        {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "changed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}  # fmt: skip

_PARSED = fastavro.parse_schema(ORDER_SCHEMA)
_START = datetime(2026, 1, 5, 8, tzinfo=UTC)
_HAPPY = (
    "Create Purchase Requisition", "Approve Requisition", "Create Purchase Order", "Send Purchase Order",
    "Receive Goods", "Receive Invoice", "Clear Invoice",
)  # fmt: skip
_DETOURS = {  # what may come after an activity, and how often
    "Create Purchase Order": (("Change Price", 0.12), ("Change Quantity", 0.08)),
    "Receive Goods": (("Return Goods", 0.03),),
    "Receive Invoice": (("Block Invoice", 0.10), ("Remind Vendor", 0.05)),
    "Block Invoice": (("Release Invoice", 1.0),),
}
_USERS = (("A. Weber", "Procurement"), ("B. Rossi", "Procurement"), ("C. Dubois", "Warehouse"), ("batch", "IT"))
_BROKEN = (b"not avro at all", b"\x00\x00\x00\x00\x63unknown schema", b"\x00")
_BROKEN_JSON = (b'{"case_id": "PO-1", "activity":', b"[1, 2, 3]", b"\xff\xfe")
BROKEN_SHARE = 0.0005


class Told(NamedTuple):
    """One message to produce. `broken`: it must end up in the dead-letter topic."""

    topic: str
    key: bytes
    value: bytes
    broken: bool = False


@dataclass(slots=True)
class _Case:
    order: dict[str, Any]
    activities: list[str] = field(default_factory=list)


class Process:
    """The story. `schema_id` is what the registry calls ORDER_SCHEMA."""

    def __init__(self, schema_id: int, seed: int = 7) -> None:
        self.orders: dict[str, tuple[Any, ...]] = {}
        self.activities: list[tuple[Any, ...]] = []
        self.broken = 0
        self._prefix = b"\x00" + schema_id.to_bytes(4, "big")
        self._random = random.Random(seed)  # noqa: S311 - a story, not a secret
        self._cases = 0
        self._due: list[tuple[datetime, int, _Case]] = []
        self._next_case_at = _START

    def tell(self) -> list[Told]:
        """Return the messages of the next event: the order as it is now, its activity, at times a broken one."""
        if not self._due or self._next_case_at <= self._due[0][0]:
            self._open_case()
        at, number, case = heapq.heappop(self._due)
        activity = self._next_activity(case)
        case.activities.append(activity)
        told = [self._order(case, activity, at), self._activity(case, activity, at)]
        if activity != _HAPPY[-1]:
            pause = timedelta(hours=self._random.lognormvariate(3.0, 0.8))
            heapq.heappush(self._due, (at + pause, number, case))
        if self._random.random() < BROKEN_SHARE:
            told.append(self._break(case))
        return told

    def summary(self) -> str:
        """Return in one sentence what was told."""
        events, orders = len(self.activities), len(self.orders)
        return (
            f"Told were {events:,} states of {orders:,} orders, of which the last of each must be stored, "
            f"{events:,} activities, and {self.broken:,} broken messages."
        )

    def _open_case(self) -> None:
        at = self._next_case_at
        self._cases += 1
        order = {
            "order_id": f"PO-{self._cases:07d}",
            "vendor": {"id": self._random.randrange(1, 200), "country": self._random.choice(_COUNTRIES)},
            "amount": round(self._random.lognormvariate(7, 1), 2),
            "items": self._random.randrange(1, 30),
            "approved_by": None,
            "created_at": at,
        }
        heapq.heappush(self._due, (at, self._cases, _Case(order)))
        self._next_case_at = at + timedelta(minutes=self._random.expovariate(1 / 20))

    def _next_activity(self, case: _Case) -> str:
        if not case.activities:
            return _HAPPY[0]
        for detour, share in _DETOURS.get(case.activities[-1], ()):
            if self._random.random() < share:
                return detour
        return next(a for a in _HAPPY if a not in case.activities)

    def _order(self, case: _Case, activity: str, at: datetime) -> Told:
        order = case.order
        if activity == "Approve Requisition":
            order["approved_by"] = self._random.choice(_USERS)[0]
        elif activity == "Change Price":
            order["amount"] = round(order["amount"] * self._random.uniform(0.8, 1.2), 2)
        order |= {"status": activity, "changed_at": _milliseconds(at)}
        key = order["order_id"]
        self.orders[key] = (
            key, order["vendor"]["id"], order["vendor"]["country"], activity, order["amount"], order["items"],
            order["approved_by"], _naive(_milliseconds(order["created_at"])), _naive(order["changed_at"]),
        )  # fmt: skip
        out = io.BytesIO(self._prefix)
        out.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(out, _PARSED, order)
        return Told(ORDERS, key.encode(), out.getvalue())

    def _activity(self, case: _Case, activity: str, at: datetime) -> Told:
        user, department = self._random.choice(_USERS)
        key = case.order["order_id"]
        event = {
            "case_id": key,
            "activity": activity,
            "timestamp": _milliseconds(at).isoformat(timespec="milliseconds"),
            "user": {"name": user, "department": department},
            "cost": round(self._random.uniform(0.5, 40), 2),
        }
        self.activities.append((key, activity, _naive(_milliseconds(at)), user, department, event["cost"]))
        return Told(ACTIVITIES, key.encode(), orjson.dumps(event))

    def _break(self, case: _Case) -> Told:
        self.broken += 1
        topic, values = self._random.choice(((ORDERS, _BROKEN), (ACTIVITIES, _BROKEN_JSON)))
        return Told(topic, case.order["order_id"].encode(), self._random.choice(values), broken=True)


def _milliseconds(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)
