"""The landscape as a picture: the observation, the goal, and maps of the energy."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.landscape.survey import AXES, Axis, Landscape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS: tuple[tuple[Axis, Axis], ...] = (("x", "z"), ("x", "y"))


def draw(
    landscape: Landscape, observation_HW3: NDArray[np.uint8], goal_HW3: NDArray[np.uint8], title: str = ""
) -> bytes:
    """A PNG: the two frames, then the energies over Δx and Δz, and over Δx and Δy.

    The cross is the lowest cell of each map; the star is the true move, drawn at the edge when it lies outside.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    observation, goal, *maps = figure.subplots(1, 4, width_ratios=(1, 1, 1.25, 1.25))
    for axes, frame_HW3, name in ((observation, observation_HW3, "observation"), (goal, goal_HW3, "goal")):
        axes.imshow(frame_HW3)
        axes.set_title(name)
        axes.axis("off")
    for axes, (across, up) in zip(maps, MAPS, strict=True):
        _draw_map(axes, landscape, across, up)
    figure.suptitle(title, fontsize=10, parse_math=False)  # the title holds a path, in which two $ are no formula
    png = BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return png.getvalue()


def _draw_map(axes: Axes, landscape: Landscape, across: Axis, up: Axis) -> None:
    energies = landscape.over(across, up)
    offsets = 100 * landscape.grid.offsets  # [cm]
    half_cell = (offsets[1] - offsets[0]) / 2
    low, high = offsets[0] - half_cell, offsets[-1] + half_cell
    lowest = energies.min()
    image = axes.imshow((energies - lowest).T, origin="lower", extent=(low, high, low, high), cmap="viridis")
    best = np.unravel_index(int(energies.argmin()), energies.shape)
    _mark(axes, float(offsets[best[0]]), float(offsets[best[1]]), "X", "white", 10, "lowest energy")
    if landscape.true_move is not None:
        # A cell stands for one of `repeats` equal moves, so the true move is divided into as many.
        move = 100 * landscape.true_move[[AXES.index(across), AXES.index(up)]] / landscape.grid.repeats
        inside = np.clip(move, low, high)
        outside = "" if (move == inside).all() else f", at ({move[0]:+.1f}, {move[1]:+.1f})"
        _mark(axes, float(inside[0]), float(inside[1]), "*", "tab:red", 17, f"true move{outside}")
    axes.set_xlabel(f"Δ{across} [cm]")
    axes.set_ylabel(f"Δ{up} [cm]")
    axes.set_title(f"energy over Δ{across}, Δ{up}", fontsize=10)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, fontsize=8, frameon=False, markerscale=0.6)
    colours = axes.figure.colorbar(image, ax=axes, shrink=0.85)
    colours.set_label(f"above {lowest:.4f}", fontsize=8)
    colours.ax.tick_params(labelsize=7)
    colours.ax.ticklabel_format(scilimits=(-2, 2), useMathText=True)


def _mark(axes: Axes, across: float, up: float, marker: str, colour: str, size: float, label: str) -> None:
    axes.plot(
        [across],
        [up],
        marker=marker,
        color=colour,
        markersize=size,
        markeredgecolor="black",
        linestyle="none",
        clip_on=False,
        label=label,
    )
