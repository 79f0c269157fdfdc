"""The energies around a plan: its first move exchanged for others, in two planes through it.

Whatever follows the first move stays as planned, so the plan itself lies on both maps. In this process, energies are
costs as the search counted them, for a gripper that does all that it is told. A service returns the published energy,
whatever else the costs of its presets count.

Shapes: P moves along each side of a map, S candidates, H steps, 7 numbers of an action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vjepa2_ac.errors import InputError, PlanningError
from vjepa2_ac.poses import Array

AXES = "xyz"
PLANES = (("top", "y", "x"), ("side", "x", "z"))  # seen from, across, up
REACH = 0.075  # [m] along each axis, as in the published landscape; further where the plan goes further
MOST_POINTS = 51
Score = Callable[[Array], Array]
"""The energies [S] of action sequences [S, H, 7]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """Energies over two numbers of the first move; the others are the plan's."""

    seen_from: str
    across: str
    up: str
    energies_PP: Array  # rows are moves along `up`, columns along `across`

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "seen_from": self.seen_from,
            "across": self.across,
            "up": self.up,
            "energies": self.energies_PP.tolist(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """Both maps, and what the plan and doing nothing cost by the same measure."""

    offsets_P: Array  # [m] the moves along each side of a map
    maps: tuple[Map, ...]
    plan_energy: float
    idle_energy: float

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "offsets_m": self.offsets_P.round(9).tolist(),
            "maps": [each.plain() for each in self.maps],
            "plan_energy": self.plan_energy,
            "idle_energy": self.idle_energy,
        }


def check_points(points: int) -> int:
    """The number of moves along each side of a map (0: no map), or an InputError where there cannot be so many."""
    if points and not 2 <= points <= MOST_POINTS:
        raise InputError(f"a map has from 2 to {MOST_POINTS} moves a side (or 0: no map), got {points}")
    return points


def around(plan_H7: Array, points: int, score: Score) -> Landscape | None:
    """The landscape around a plan, with `points` moves along each side; None for 0 points."""
    if points == 0:
        return None
    reach = max(REACH, float(np.abs(plan_H7[0, :3]).max()))
    offsets_P = np.linspace(-reach, reach, points)
    moves = [_exchanged(plan_H7, offsets_P, across, up) for _, across, up in PLANES]
    energies_S = score(np.concatenate([*moves, plan_H7[None], np.zeros_like(plan_H7)[None]]))
    if not np.isfinite(energies_S).all():
        raise PlanningError("some energies around the plan are no numbers, so there is no map; --grid 0 asks for none")
    *planes, last = np.split(energies_S, [points**2 * (i + 1) for i in range(len(PLANES))])
    maps = tuple(
        Map(seen_from=seen_from, across=across, up=up, energies_PP=plane.reshape(points, points))
        for (seen_from, across, up), plane in zip(PLANES, planes, strict=True)
    )
    return Landscape(offsets_P=offsets_P, maps=maps, plan_energy=float(last[0]), idle_energy=float(last[1]))


def _exchanged(plan_H7: Array, offsets_P: Array, across: str, up: str) -> Array:
    """Copies of the plan [P · P, H, 7], each with another first move of the plane, row by row."""
    rise, way = np.meshgrid(offsets_P, offsets_P, indexing="ij")
    moves_SH7 = np.repeat(plan_H7[None], rise.size, axis=0)
    moves_SH7[:, 0, AXES.index(up)], moves_SH7[:, 0, AXES.index(across)] = rise.ravel(), way.ravel()
    return moves_SH7
