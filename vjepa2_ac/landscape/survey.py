"""The energies of a cubic grid of moves.

Every move on a regular grid of Δx, Δy, Δz, with rotation and gripper unchanged, is imagined from one observation and
compared with one goal (V-JEPA 2, section 4: the figure of the energy landscape). With a model that understands the
scene there is one valley, and the move that was really made lies in it.

Shapes: S = X · Y · Z moves on the grid, x outermost; H repeats of a move; 7 numbers of a pose, A of an action.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.poses import POSITION, SIZE, pose_difference, vector
from vjepa2_ac.world_model import Rollout, WorldModel, energy

Array = NDArray[np.float64]
Axis = Literal["x", "y", "z"]
AXES: tuple[Axis, ...] = ("x", "y", "z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The moves to try: `points` along each axis, from -`extent` to +`extent`; the defaults are those of the paper."""

    extent: float = 0.075  # [m]
    points: int = 5
    repeats: int = 1  # how many times in a row each move is made

    def __post_init__(self) -> None:
        if not 0 < self.extent < 1:
            raise ConfigError(f"the extent is a length in metres between 0 and 1, got {self.extent}")
        if not 2 <= self.points <= 51:
            raise ConfigError(f"a grid has from 2 to 51 points a side, got {self.points}")
        if self.repeats < 1:
            raise ConfigError(f"a move is made at least once, got {self.repeats} repeats")

    @property
    def offsets(self) -> Array:
        """The points along one axis [m]."""
        return np.linspace(-self.extent, self.extent, self.points, dtype=np.float64)

    def actions(self) -> Tensor:
        """Every move [S, A], x outermost and z innermost."""
        offsets = torch.from_numpy(self.offsets).float()
        actions_SA = torch.zeros(self.points**3, SIZE)
        actions_SA[:, POSITION] = torch.cartesian_prod(offsets, offsets, offsets)
        return actions_SA


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """The energies of a grid of moves, and of the move that was really made, where that is known."""

    grid: Grid
    energies_XYZ: Array
    distance: float  # energy between observation and goal: that of a model that believes nothing ever changes
    true_move: Array | None = None  # the action [7] from the pose of the observation to that of the goal
    true_energy: float | None = None

    @property
    def best_move(self) -> Array:
        """The move Δx, Δy, Δz [m] of the lowest energy."""
        where = np.unravel_index(int(self.energies_XYZ.argmin()), self.energies_XYZ.shape)
        return np.array([self.grid.offsets[index] for index in where])

    @property
    def better_than_true(self) -> float | None:
        """The share of the grid with a lower energy than the true move: 0 is perfect, 0.5 is chance."""
        return None if self.true_energy is None else float((self.energies_XYZ < self.true_energy).mean())

    def over(self, first: Axis, second: Axis) -> Array:
        """Energies over two axes, averaged over the third (the published figure shows their sum)."""
        (third,) = set(AXES) - {first, second}
        flat: Array = self.energies_XYZ.mean(axis=AXES.index(third))
        return flat if AXES.index(first) < AXES.index(second) else flat.T

    def to_json(self) -> str:
        """The landscape as JSON: all energies, the best move, and how the true move compares."""
        low, high = float(self.energies_XYZ.min()), float(self.energies_XYZ.max())
        content: dict[str, Any] = {
            "offsets_m": self.grid.offsets.round(9).tolist(),
            "repeats": self.grid.repeats,
            "energies_xyz": self.energies_XYZ.tolist(),
            "lowest": low,
            "highest": high,
            "observation_to_goal": self.distance,
            "best_move_m": dict(zip(AXES, self.best_move.round(9).tolist(), strict=True)),
            "true_move": None if self.true_move is None else self.true_move.tolist(),
            "true_move_energy": self.true_energy,
            "share_of_grid_better_than_true_move": self.better_than_true,
        }
        return json.dumps(content, indent=1)


def survey(
    model: WorldModel,
    observation_HW3: NDArray[np.uint8],
    goal_HW3: NDArray[np.uint8],
    pose: ArrayLike,
    *,
    goal_pose: ArrayLike | None = None,
    grid: Grid | None = None,
) -> Landscape:
    """The landscape of moves from `pose` [7] and one frame towards another; `goal_pose` [7] gives the true move.

    Raises InputError where energies are not finite.
    """
    grid = grid or Grid()
    pose = vector(pose, "pose")
    true_move = None if goal_pose is None else pose_difference(pose, vector(goal_pose, "goal pose"))
    observed_1ND, goal_1ND = (model.encode(frame) for frame in (observation_HW3, goal_HW3))
    actions_SA = grid.actions()
    if true_move is not None:
        # In `repeats` equal parts, as each move of the grid is made `repeats` times.
        actions_SA = torch.cat((actions_SA, torch.from_numpy(true_move / grid.repeats).float()[None]))

    def cost(rollout: Rollout) -> Tensor:
        return energy(rollout, goal_1ND)

    actions_1SHA = actions_SA[None, :, None].expand(-1, -1, grid.repeats, -1)
    energies_S = model.score(observed_1ND, torch.from_numpy(pose).float()[None], actions_1SHA, cost)[0].double().cpu()
    if unknown := int((~energies_S.isfinite()).sum()):
        raise InputError(
            f"{unknown} of {len(energies_S)} energies are no numbers: the model is of no use for a landscape"
        )
    cells = grid.points**3
    return Landscape(
        grid=grid,
        energies_XYZ=energies_S[:cells].view(grid.points, grid.points, grid.points).numpy(),
        distance=float((observed_1ND - goal_1ND).abs().mean()),
        true_move=true_move,
        true_energy=None if true_move is None else float(energies_S[cells]),
    )
