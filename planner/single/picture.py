"""A plan as a picture: observation and goal, the energies around the plan, how it was found, where it leads.

Maps and paths are seen from above (x up, y to the left, as from behind the robot) and from the side (x to the right, z
up).
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.single.answer import Answer
from planner.single.landscape import AXES, PLANES, Landscape, Map
from vjepa2_ac.client.answers import Plan
from vjepa2_ac.poses import GRIPPER, Array, integrate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CM = 100.0
LEAST_SIDE = 5.0  # [cm] half the side of a drawing of a path
PLANNED, ASKED = "tab:red", "tab:orange"


def draw(answer: Answer) -> bytes:
    """A PNG of eight panels; the maps stay empty where no energies were asked for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 8), layout="constrained")
    FigureCanvasAgg(figure)
    question, plan = answer.question, answer.plan
    (seen, wanted, *maps), (trace, gripper, *paths) = figure.subplots(2, 4)
    _draw_frame(seen, question.observation.picture.frame_HW3, "observation")
    _draw_frame(wanted, question.goal.picture.frame_HW3, _goal_title(answer))
    _draw_trace(trace, plan)
    _draw_gripper(gripper, plan, question.pose)
    for i, (seen_from, across, up) in enumerate(PLANES):
        _draw_map(maps[i], answer.landscape, i, plan)
        _draw_path(paths[i], answer, seen_from, across, up)
    title = f"{plan.model['name']} · seed {plan.seed} · cost {plan.cost:.5f}"
    figure.suptitle(title, fontsize=10, parse_math=False)  # a path in it may hold two $, which mean no formula
    png = BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()


def _goal_title(answer: Answer) -> str:
    goals = len(answer.question.goals)
    return "goal" if goals == 1 else f"goal {answer.question.sub_goal + 1} of {goals}"


def _draw_frame(axes: Axes, frame_HW3: NDArray[np.uint8], title: str) -> None:
    axes.imshow(frame_HW3)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def _draw_trace(axes: Axes, plan: Plan) -> None:
    from matplotlib.ticker import MaxNLocator

    # The trace lacks the first iterations if none of their candidates had a finite cost.
    iterations = plan.iterations - np.arange(len(plan.trace))[::-1]
    axes.plot(iterations, plan.trace, "o-", color=PLANNED, markersize=4, label="best so far")
    if np.isfinite(plan.idle_cost):
        axes.axhline(plan.idle_cost, color="grey", linestyle="--", linewidth=1, label="doing nothing")
    axes.set_title("cost after each iteration", fontsize=10)
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.legend(fontsize=8, frameon=False)


def _draw_gripper(axes: Axes, plan: Plan, pose: Array) -> None:
    closedness = np.concatenate((pose[GRIPPER], plan.targets[:, 6]))
    axes.plot(plan.dt_s * np.arange(len(closedness)), closedness, "o-", color=PLANNED, markersize=5)
    axes.set_title("gripper", fontsize=10)
    axes.set_xlabel("time [s]")
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks((0, 0.5, 1), ("0 open", "0.5", "1 closed"))
    axes.grid(axis="y", linewidth=0.4)
    costs = "\n".join(f"{name} {cost:.5f}" for name, cost in plan.gripper_costs.items())
    if costs:
        axes.text(0.97, 0.5, f"best cost if\n{costs}", ha="right", va="center", fontsize=8, transform=axes.transAxes)


def _draw_map(axes: Axes, landscape: Landscape | None, which: int, plan: Plan) -> None:
    if landscape is None:
        axes.axis("off")
        return
    drawn = landscape.maps[which]
    offsets = CM * landscape.offsets_P
    half = (offsets[1] - offsets[0]) / 2
    low, high = offsets[0] - half, offsets[-1] + half
    lowest = drawn.energies_PP.min()
    image = axes.imshow(
        drawn.energies_PP - lowest, origin="lower", extent=(low, high, low, high), cmap="viridis", aspect="equal"
    )
    up, across = np.unravel_index(int(drawn.energies_PP.argmin()), drawn.energies_PP.shape)
    first = CM * plan.wanted[0]
    for at, marker, colour, name in (
        ((offsets[across], offsets[up]), "X", "white", "lowest"),
        ((0.0, 0.0), "P", "white", "staying"),
        ((first[AXES.index(drawn.across)], first[AXES.index(drawn.up)]), "*", PLANNED, "planned"),
    ):
        axes.plot(*at, marker, color=colour, markeredgecolor="black", markersize=11, label=name)
    axes.set_xlabel(f"Δ{drawn.across} [cm]")
    axes.set_ylabel(f"Δ{drawn.up} [cm]")
    axes.set_xlim(*_turned(drawn.across, low, high))
    axes.set_ylim(low, high)
    axes.set_title(f"energy of the first move, from {_place(drawn)}", fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize=8, frameon=False, markerscale=0.7)
    colours = axes.figure.colorbar(image, ax=axes, shrink=0.8)
    colours.set_label(f"above {lowest:.5f}", fontsize=8)
    colours.ax.tick_params(labelsize=7)
    colours.ax.ticklabel_format(scilimits=(-2, 2), useMathText=True)


def _place(drawn: Map) -> str:
    return "above" if drawn.seen_from == "top" else "the side"


def _draw_path(axes: Axes, answer: Answer, seen_from: str, across: str, up: str) -> None:
    columns = [AXES.index(across), AXES.index(up)]
    start, plan = answer.question.pose, answer.plan
    path = CM * np.vstack((start, plan.targets))[:, columns]
    asked = CM * _asked_path(start, plan)[:, columns]
    if not np.allclose(asked, path, atol=1e-4):
        axes.plot(*asked.T, "o--", color=ASKED, markersize=4, linewidth=1, label="found by the search")
    axes.plot(*path.T, "o-", color=PLANNED, markersize=4, label="plan")
    axes.plot(*path[0], "o", color="black", markersize=8, label="hand now")
    middle = (path.min(axis=0) + path.max(axis=0)) / 2
    every = np.vstack((path, asked))
    side = max(LEAST_SIDE, 1.15 * float(np.abs(every - middle).max()))
    axes.set_xlim(*_turned(across, middle[0] - side, middle[0] + side))
    axes.set_ylim(middle[1] - side, middle[1] + side)
    axes.set_aspect("equal")
    axes.grid(linewidth=0.4)
    axes.set_xlabel(f"{across} [cm]")
    axes.set_ylabel(f"{up} [cm]")
    axes.set_title(f"path from {'above' if seen_from == 'top' else 'the side'}", fontsize=10)
    axes.legend(fontsize=8, frameon=False)


def _asked_path(start: Array, plan: Plan) -> Array:
    """The poses [1 + H, 7] that the search wanted, before anything was clipped."""
    poses = [start]
    for action in plan.wanted:
        poses.append(integrate(poses[-1], action))
    return np.array(poses)


def _turned(across: str, low: float, high: float) -> tuple[float, float]:
    """The limits of an axis, reversed for y: seen from behind the robot, it grows to the left."""
    return (high, low) if across == "y" else (low, high)
