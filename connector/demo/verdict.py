"""Owns the end of the demo: what a process miner would ask, and whether the tables hold exactly what was told.

Never changes a table. Invariant: "stored" counts rows that are equal in every column, not rows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.demo.process import Process

    Query = Callable[[str], list[tuple[Any, ...]]]

ORDERS_TABLE, ACTIVITIES_TABLE = "PURCHASE_ORDERS", "ACTIVITIES"

_ORDER_COLUMNS = "order_id, vendor_id, vendor_country, status, amount, items, approved_by, created_at, changed_at"
_ACTIVITY_COLUMNS = '"case_id", activity, "timestamp", user_name, user_department, cost'


class Answer(NamedTuple):
    """One question, the SQL that answers it, and its rows."""

    question: str
    columns: tuple[str, ...]
    sql: str


ANSWERS = (
    Answer(
        "How many cases are there, and how many are finished?",
        ("cases", "activities", "paid"),
        f"""SELECT count(DISTINCT case_id), count(*), count(*) FILTER (activity = 'Clear Invoice')
            FROM {ACTIVITIES_TABLE}""",  # noqa: S608 - constants
    ),
    Answer(
        "Which variants are the most frequent?",
        ("variant", "cases"),
        f"""WITH v AS (SELECT case_id, string_agg(activity, ' > ' ORDER BY "timestamp") AS variant,
                              bool_or(activity = 'Clear Invoice') AS paid FROM {ACTIVITIES_TABLE} GROUP BY case_id)
            SELECT variant, count(*) FROM v WHERE paid GROUP BY variant ORDER BY count(*) DESC, variant LIMIT 3""",  # noqa: S608
    ),
    Answer(
        "How long does a paid case take, by the vendor's country?",
        ("country", "paid cases", "median days"),
        f"""SELECT vendor_country, count(*), round(median(epoch(changed_at) - epoch(created_at)) / 86400, 1)
            FROM {ORDERS_TABLE} WHERE status = 'Clear Invoice' GROUP BY 1 ORDER BY 1""",  # noqa: S608
    ),
)


class Verdict(NamedTuple):
    """What was told, what is stored as told, and what differs in words."""

    produced: int
    stored: int
    rejected: int
    differences: tuple[str, ...]

    def line(self) -> str:
        """Return the last line of the demo."""
        if self.differences:
            return f"demo failed: {'; '.join(self.differences)}"
        return f"demo ok: produced {self.produced:,}, stored {self.stored:,}, rejected {self.rejected:,}"


def judge(process: Process, query: Query, rejected: int) -> Verdict:
    """Compare the tables, row by row and column by column, with what `process` has told."""
    stored, differences = 0, []
    for table, columns, told in (
        (ORDERS_TABLE, _ORDER_COLUMNS, process.orders.values()),
        (ACTIVITIES_TABLE, _ACTIVITY_COLUMNS, process.activities),
    ):
        expected = Counter(told)
        found = Counter(query(f"SELECT {columns} FROM {table}"))  # noqa: S608 - constants
        stored += (expected & found).total()
        if missing := (expected - found).total():
            differences.append(f"{missing} rows are missing from {table}, such as {next(iter(expected - found))}")
        if extra := (found - expected).total():
            differences.append(f"{extra} rows of {table} were never told, such as {next(iter(found - expected))}")
    if rejected != process.broken:
        differences.append(f"{process.broken} broken messages were told, {rejected} are dead letters")
    return Verdict(len(process.orders) + len(process.activities), stored, rejected, tuple(differences))
