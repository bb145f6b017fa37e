"""Owns the README's reference of metrics: the catalog as one table, in the place that is marked for it.

Never touches what stands outside of the marks. Invariant: a metric is in the reference if and only if it is in the
catalog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.observe.catalog import METRICS, PROCESS

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN, END = "<!-- metrics: made by make chart -->\n", "<!-- /metrics -->\n"
_HEAD = "| metric | type | by | tells |\n|---|---|---|---|\n"


def with_reference(text: str) -> str:
    """Return the README `text` with the reference as it is now; raises ValueError where the marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the README has no marks for the reference of metrics")
    return f"{before}{BEGIN}{_HEAD}{''.join(_rows())}{END}{after}"


def _rows() -> Iterator[str]:
    for metric in METRICS:
        by = ", ".join(metric.labels)
        told = f"{metric.text} {metric.more}".rstrip()
        yield f"| `{metric.full_name}` | {metric.kind} | {by} | {told} |\n"
    for name, told in PROCESS.items():
        yield f"| `{name}` | {'counter' if name.endswith('_total') else 'gauge'} | | {told} |\n"
