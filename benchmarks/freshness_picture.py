"""Owns the picture of `benchmarks/freshness.py`: mean wait by scenario and policy, on a logarithmic axis.

Never measures. Needs the extra `bench`. Invariant: the same numbers give the same file, and its greys and colours are
readable on white and on black, for no background is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Found = Mapping[str, tuple[dict[str, float], float | None]]

GREY = "#7d8590"
STYLES = (  # ours first: marker, colour, size
    ("o", "#2f81f7", 90),
    ("s", "#d29922", 32),
    ("^", "#bc6cc9", 36),
    ("D", "#3fa34d", 64),
    ("v", "#e5534b", 36),
)
TICKS = {15: "15 s", 60: "1 min", 300: "5 min", 900: "15 min", 2700: "45 min"}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, and found by a search
    "svg.hashsalt": "freshness",
    "font.size": 10,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
}


def draw(found: Found, path: Path) -> None:
    """Draw mean waits in seconds, by scenario and policy, and the optimum where there is one."""
    with plt.rc_context(SETTINGS):
        figure, axes = plt.subplots(figsize=(8.6, 5.6), layout="constrained")
        _points(axes, found)
        _frame(axes, list(found))
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


def _points(axes: Any, found: Found) -> None:  # noqa: ANN401, the library has no types
    rows = range(len(found))
    policies = next(iter(found.values()))[0]
    for order, (policy, (marker, colour, size)) in enumerate(zip(policies, STYLES, strict=True)):
        waits = [waits[policy] for waits, _ in found.values()]
        axes.scatter(waits, rows, size, colour, marker, label=policy, zorder=9 - order)
    optima = [(optimum, row) for row, (_, optimum) in enumerate(found.values()) if optimum]
    axes.scatter(*zip(*optima, strict=True), 260, GREY, "|", label="optimum of steady rates", zorder=10)


def _frame(axes: Any, scenarios: list[str]) -> None:  # noqa: ANN401
    axes.set_xscale("log")
    axes.set_xticks(list(TICKS), list(TICKS.values()))
    axes.minorticks_off()
    axes.set_yticks(range(len(scenarios)), scenarios)
    axes.invert_yaxis()
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("mean wait of a record from its arrival to its push, weighted; 240 pushes an hour")
    axes.figure.legend(loc="outside upper left", ncols=3, handletextpad=0.2)
