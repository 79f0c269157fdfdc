"""The report as pictures: errors over steps, cost along the axes, and all figures at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from vjepa2_ac.fitcheck.axes import AXES
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured
from vjepa2_ac.fitcheck.figures import sections
from vjepa2_ac.fitcheck.report import Column, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown")
LONGEST_NAME = 36  # [characters]


def draw(report: Report) -> dict[str, bytes]:
    """PNGs by name: `drift`, `axes` and `figures`."""
    from matplotlib import rc_context

    figures = {"drift": draw_drift, "axes": draw_axes, "figures": draw_figures}
    with rc_context({"text.parse_math": False}):  # names are paths, in which two $ are no formula
        return {name: _png(drawn(report)) for name, drawn in figures.items()}


def draw_drift(report: Report) -> Figure:
    """Panels over steps: errors relative to copying, open loop and teacher-forced; pairs ranked right; the hand."""
    figure = _figure(15, 4)
    ratio, forced, pairs, hand = figure.subplots(1, 4)
    for colour, column in zip(COLOURS, report.columns, strict=False):
        if not isinstance(column.drift, NotMeasured):
            _curve(ratio, column.drift.open_loop, colour, _name(column))
            _curve(forced, column.drift.teacher_forced, colour, _name(column))
        if not isinstance(column.pairs, NotMeasured):
            _curve(pairs, [each.times(100) for each in column.pairs.ranked_right], colour, _name(column))
        if not isinstance(column.whereabouts, NotMeasured):
            _curve(hand, column.whereabouts.imagined["hand"], colour, _name(column))
            _curve(hand, column.whereabouts.real["hand"], colour, f"{_name(column)}, real frames", style=":")
    for axes in (ratio, forced):
        axes.axhline(1, color="grey", linewidth=1, linestyle="--")
        axes.set_ylim(bottom=0)
    hand.set_ylim(bottom=0)
    _label(ratio, "open loop: error ÷ copying", "steps imagined")
    _label(forced, "one step: error ÷ copying", "frames seen")
    _label(pairs, "pairs ranked right [%]", "steps after parting")
    _label(hand, "hand read from imagined frames [cm off]", "steps imagined")
    return figure


def draw_axes(report: Report) -> Figure:
    """A row per model: imagined and real cost over the offset along each axis."""
    figure = _figure(14, 2.9 * len(report.columns))
    rows = figure.subplots(len(report.columns), len(AXES), squeeze=False, sharex="col")
    for row, colour, column in zip(rows, COLOURS, report.columns, strict=False):
        for axes, (name, axis) in zip(row, column.axes.items(), strict=True):
            unit = "stroke" if name == "gripper" else "cm"
            offsets = axis.offsets * (1 if name == "gripper" else 100)
            for cost, style, label in ((axis.imagined, "o-", "imagined"), (axis.real, "s--", "real frames")):
                if not isinstance(cost, NotMeasured):
                    axes.plot(offsets, cost, style, color=colour if label == "imagined" else "grey", label=label)
            axes.axvline(0, color="lightgrey", linewidth=1, zorder=0)
            _label(axes, f"{_name(column)}: cost over {name}", f"offset [{unit}]")
    return figure


def draw_figures(report: Report) -> Figure:
    """A panel per heading: every figure with its interval, and its goal as a line."""
    headings = sections(report.config.horizon)
    height = sum(1 + 0.33 * len(figures) * len(report.columns) for figures in headings.values()) / 2 + 1
    figure = _figure(15, max(height, 6))
    panels = figure.subplots((len(headings) + 1) // 2, 2, squeeze=False).ravel()
    for panel in panels[len(headings) :]:
        panel.axis("off")
    for panel, (heading, lines) in zip(panels, headings.items(), strict=False):
        for place, line in enumerate(lines):
            for shift, column in enumerate(report.columns):
                _bar(
                    panel, line.of(column), place + 0.8 * (shift + 0.5) / len(report.columns), COLOURS[shift % 5], shift
                )
            if line.goal is not None:
                panel.plot([line.goal.limit] * 2, [place, place + 0.8], color="black", linewidth=2)
        panel.set_yticks([place + 0.4 for place in range(len(lines))], [line.words for line in lines], fontsize=8)
        panel.set_ylim(len(lines), -0.2)
        panel.set_xlim(left=0)
        panel.set_title(heading, fontsize=9)
        panel.tick_params(axis="x", labelsize=8)
    _legend_of_models(figure, report.columns)
    return figure


def _name(column: Column) -> str:
    """The name of a model, cut to its end where it is too long for a picture."""
    return column.name if len(column.name) <= LONGEST_NAME else "…" + column.name[1 - LONGEST_NAME :]


def _bar(panel: Axes, found: Estimate | NotMeasured, at: float, colour: str, shift: int) -> None:
    if isinstance(found, NotMeasured) or not np.isfinite(found.value):
        panel.text(0, at, " not measured", va="center", fontsize=6, color="grey")
        return
    panel.plot([found.value], [at], "o", color=colour, markersize=4)
    if np.isfinite(found.low):
        panel.plot([found.low, found.high], [at, at], color=colour, linewidth=1.5)


def _legend_of_models(figure: Figure, columns: Sequence[Column]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="o", label=_name(column))
        for colour, column in zip(COLOURS, columns, strict=False)
    ]
    goal = Line2D([], [], color="black", linewidth=2, label="goal")
    figure.legend(handles=[*handles, goal], loc="outside upper center", ncols=len(handles) + 1, fontsize=9)


def _curve(axes: Axes, estimates: Sequence[Estimate], colour: str, label: str, style: str = "-") -> None:
    steps = np.arange(1, len(estimates) + 1)
    axes.set_xticks(steps)
    axes.plot(steps, [each.value for each in estimates], "o" + style, color=colour, label=label, markersize=3)
    axes.fill_between(
        steps,
        [each.low for each in estimates],
        [each.high for each in estimates],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )


def _label(axes: Axes, title: str, across: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(across, fontsize=8)
    axes.tick_params(labelsize=8)
    if axes.lines and axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color="grey")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    png = BytesIO()
    figure.savefig(png, format="png", dpi=100, metadata={"Software": None})
    return png.getvalue()
