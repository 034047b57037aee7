"""The chart that the README shows."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.cases import FAST, FASTAPI, FASTSTREAM, GO, LEAST, MQ_BRIDGE, MQ_BRIDGE_64, NGINX, STARLETTE
from benchmarks.report import Found, median

CHARTED = "browser"
OURS, THEIRS = "#2f6fde", "#8a94a6"
PEERS = frozenset((GO, *LEAST, MQ_BRIDGE, MQ_BRIDGE_64, STARLETTE, FASTAPI, FASTSTREAM, NGINX))


def draw_chart(path: Path, found: Found) -> None:
    """CPU a request of a browser at 64 connections, and the fast lane beside Go in every case that both have."""
    if CHARTED not in found:
        return
    mpl.rcParams.update({"font.size": 9, "font.family": "DejaVu Sans", "svg.hashsalt": "benchmarks"})
    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    figure.patch.set_facecolor("white")
    left, right = figure.subplots(1, 2)
    costs = {name: median(samples, "cpu_us") for name, samples in found[CHARTED].items()}
    costs = dict(sorted(costs.items(), key=lambda item: item[1]))
    _draw_bars(left, costs, title="CPU µs a request, as a browser sends it, 64 connections", label="{:.0f}")
    ratios = {
        case: median(targets[FAST], "cpu_us") / median(targets[GO], "cpu_us")
        for case, targets in found.items()
        if FAST in targets and GO in targets
    }
    _draw_bars(right, ratios, title="CPU a request, fast lane ÷ Go bridge", label="{:.2f}")
    right.axvline(1, color=THEIRS, linewidth=1)
    figure.savefig(path, metadata={"Date": None})


def _draw_bars(axes: Axes, values: Mapping[str, float], *, title: str, label: str) -> None:
    names = list(values)
    colors = [THEIRS if name in PEERS else OURS for name in names]
    bars = axes.barh(names, list(values.values()), color=colors)
    axes.bar_label(bars, [label.format(value) for value in values.values()], padding=3)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9, loc="left")
    axes.margins(x=0.15)
    axes.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
