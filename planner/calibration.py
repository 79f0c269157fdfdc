"""Estimating the turn of a camera that stands elsewhere than in training, from a few exploratory moves.

The robot makes moves of known direction, with a picture before and after each. The model is asked which move it sees
between the two. Where the camera stands elsewhere than in training, all its answers are turned the same way, and least
squares finds that turn. What the turn leaves unexplained says whether the view is any good.

A model with an inverse answers at once; for any other, a search finds the move that is imagined to lead from the one
picture to the other.

Shapes: M moves, N tokens, D width of a latent, 7 numbers of a pose or an action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from planner.camera import CameraTurn
from planner.costs import CostConfig
from planner.gripper import GripperConfig
from planner.problem import Problem
from planner.protocols import World
from planner.search import search
from planner.search_config import SearchConfig
from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError, PlanningError
from vjepa2_ac.poses import POSITION, Array, euler_angles, pose_difference

LEAST_SHARE = 0.1  # of the motion seen along its main direction, so much must be seen across it
LEAST_MOTION = 0.01  # [m] root mean square that the moves must have along the second of their main directions


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig:
    """How to ask the model for moves, and which turns to consider; `search` is for models without an inverse."""

    yaw_only: bool = True  # the camera keeps its height and tilt; otherwise any turn is considered
    rounds: int = 2  # later rounds ask with poses corrected by the turn found so far
    search: SearchConfig = field(
        default_factory=lambda: SearchConfig(
            samples=64, iterations=6, step_limit=0.1, answer="mean", gripper=GripperConfig(mode="held")
        )
    )

    def __post_init__(self) -> None:
        require(self.rounds >= 1, f"calibration needs at least 1 round, got {self.rounds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """One exploratory move: what was seen, and where the hand was, before and after."""

    before_ND: Tensor
    after_ND: Tensor
    pose_before: ArrayLike
    pose_after: ArrayLike


def exploratory_actions(size: float = 0.04, towards: ArrayLike = (1.0, 1.0, 1.0)) -> Array:
    """Six actions [6, 7] along the axes, there and back, that end where they began; `size` in metres.

    The sign of each number of `towards` [3] says which way along its axis there is room.
    """
    actions = np.zeros((6, 7))
    for axis, sign in enumerate(np.where(np.asarray(towards) < 0, -1.0, 1.0)):
        actions[2 * axis, axis], actions[2 * axis + 1, axis] = sign * size, -sign * size
    return actions


def calibrate(
    world: World,
    explored: Sequence[Exploration],
    config: CalibrationConfig | None = None,
    cost: CostConfig | None = None,
) -> CameraTurn:
    """The camera's turn about where the hand was; a `residual` near 1 says that the view is bad.

    Raises InputError for moves too few, too short, too long or too much alike to tell a turn from, PlanningError where
    the model's answer holds numbers that are not finite.
    """
    config = config or CalibrationConfig()
    true_M3 = true_moves(explored)
    _check_motion(true_M3, yaw_only=config.yaw_only)
    _check_lengths(true_M3, config.search.step_limit)
    turn = CameraTurn(about=_middle(explored))
    for _ in range(config.rounds):
        seen_M3 = seen_moves(world, explored, turn)
        if seen_M3 is None:
            seen_M3 = imagined_moves(world, explored, turn, config, cost or CostConfig())
        turn = replace(best_turn(seen_M3, true_M3, yaw_only=config.yaw_only), about=turn.about)
    return turn


def true_moves(explored: Sequence[Exploration]) -> Array:
    """The translations [M, 3] that the hand really made."""
    moves = [pose_difference(move.pose_before, move.pose_after)[POSITION] for move in explored]
    return np.array(moves, dtype=np.float64).reshape(-1, 3)


def evaluations(moves: int, config: CalibrationConfig | None = None) -> int:
    """The most one-step candidates that a calibration from so many moves imagines; with an inverse it imagines none."""
    config = config or CalibrationConfig()
    return moves * config.rounds * config.search.most_evaluations


def seen_moves(world: World, explored: Sequence[Exploration], turn: CameraTurn) -> Array | None:
    """The translations [M, 3] that the model's inverse sees, in the model's own frame; None without an inverse."""
    poses = np.array([turn.poses_to_model(move.pose_before) for move in explored])
    pose_M7 = torch.from_numpy(poses).float().to(world.device)
    before_MND = torch.stack([move.before_ND for move in explored])
    located = world.locate(before_MND, pose_M7, torch.stack([move.after_ND for move in explored]))
    if located is None:
        return None
    located_M4 = located.hand_B4
    if not located_M4.isfinite().all():
        raise PlanningError("where the model's inverse sees the hand is no number; these pictures tell of no turn")
    moves_M3: Array = (located_M4[:, POSITION] - pose_M7[:, POSITION]).double().cpu().numpy()
    return moves_M3


def imagined_moves(
    world: World, explored: Sequence[Exploration], turn: CameraTurn, config: CalibrationConfig, cost: CostConfig
) -> Array:
    """The translations [M, 3], in the model's own frame, that a search finds to explain best what was seen."""
    problems = [
        Problem(
            latents_ND=move.before_ND,
            pose_7=torch.from_numpy(turn.poses_to_model(move.pose_before)).float(),
            goal_ND=move.after_ND,
            seed=number,
        )
        for number, move in enumerate(explored)
    ]
    found = search(world, problems, config.search, cost)
    return np.array([each.actions_HA[:, POSITION].sum(dim=0).tolist() for each in found])


def best_turn(imagined_M3: Array, true_M3: Array, *, yaw_only: bool = True) -> CameraTurn:
    """The rotation R that makes Σ |true - R · imagined|² smallest (the orthogonal Procrustes problem)."""
    _check_motion(true_M3, yaw_only=yaw_only)
    if not yaw_only:
        _check_seen(imagined_M3)
    moment_33 = true_M3.T @ imagined_M3
    if yaw_only:
        yaw = np.arctan2(moment_33[1, 0] - moment_33[0, 1], moment_33[0, 0] + moment_33[1, 1])
        angles = np.array([0.0, 0.0, yaw])
    else:
        U, _, V = np.linalg.svd(moment_33)
        angles = euler_angles(U @ np.diag([1.0, 1.0, np.linalg.det(U @ V)]) @ V)
    turn = CameraTurn(roll=float(angles[0]), pitch=float(angles[1]), yaw=float(angles[2]))
    unexplained = true_M3 - imagined_M3 @ turn.matrix.T
    residual = float(np.linalg.norm(unexplained) / np.linalg.norm(true_M3))
    return CameraTurn(roll=turn.roll, pitch=turn.pitch, yaw=turn.yaw, residual=residual)


def _check_motion(true_M3: Array, *, yaw_only: bool) -> None:
    if len(true_M3) < 2:
        raise InputError(f"a camera's turn is estimated from at least 2 moves, got {len(true_M3)}")
    spread = _spread(true_M3[:, :2] if yaw_only else true_M3)
    if spread[1] < LEAST_MOTION:
        across = "both horizontal directions" if yaw_only else "at least two directions"
        raise InputError(f"the moves must go {LEAST_MOTION} m and more in {across}; theirs are {np.round(spread, 4)}")


def _check_seen(imagined_M3: Array) -> None:
    """Raise InputError where the model sees motion along one direction alone, which tells nothing of a turn about it.

    Where hardly any motion is seen at all, the residual says so.
    """
    spread = _spread(imagined_M3)
    if spread[1] < LEAST_SHARE * spread[0]:
        raise InputError(
            f"the model sees these moves go in one direction alone ({np.round(spread, 4)} m), which tells nothing of a "
            "turn about it; move farther aside, or ask for the yaw alone"
        )


def _spread(moves_MX: Array) -> Array:
    """The root mean square [m] of the moves along each of their main directions, the largest first."""
    spread: Array = np.linalg.svd(moves_MX, compute_uv=False) / np.sqrt(len(moves_MX))
    return spread


def _check_lengths(true_M3: Array, longest: float) -> None:
    """Raise InputError for a move longer than a step: the model is asked for single steps, so it could not be found."""
    length = float(np.linalg.norm(true_M3, axis=1).max())
    if length > longest:
        raise InputError(f"a move is {length:.3f} m long; the longest that can be recognised is {longest:g} m")


def _middle(explored: Sequence[Exploration]) -> tuple[float, float, float]:
    """The mean position of the hand [m]."""
    poses = np.array([pose for move in explored for pose in (move.pose_before, move.pose_after)], dtype=np.float64)
    x, y, z = poses[:, POSITION].mean(axis=0).tolist()
    return (x, y, z)
