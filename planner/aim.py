"""Problems as one batch for a search: where it starts, and the cost by which candidates are judged.

Shapes: B problems, N tokens, D width of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from planner.costs import CostConfig, GoalCost
from planner.locating import locate
from planner.problem import Problem, stack, surprises
from planner.protocols import World
from vjepa2_ac.models.hand_location import Located
from vjepa2_ac.world_model import History


class Aim(NamedTuple):
    """The starts of a batch, the cost of what candidates lead to, and the located hand to which it counts the way."""

    latents_BND: Tensor
    pose_B7: Tensor
    history: History | None
    cost: GoalCost
    located: Located | None  # None from a world that cannot locate it


def aim(world: World, problems: Sequence[Problem], config: CostConfig) -> Aim:
    """The problems as one batch with its cost; the hand is located once in each goal."""
    latents_BND, pose_B7, goal_BND, history = stack(problems, world.device)
    located = locate(world, problems, latents_BND, pose_B7, goal_BND, keyframe=config.keyframes)
    hand_B4 = located and located.hand_B4
    cost = GoalCost(config, goal_BND, latents_BND, surprises(problems, world.device), hand_B4)
    return Aim(latents_BND, pose_B7, history, cost, located)
