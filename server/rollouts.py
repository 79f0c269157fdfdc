"""Rollouts and costs of given action sequences; for the worker's thread only.

Shapes: B requests (here one), N tokens, D width of a latent, S candidates, H steps, 7 numbers of a pose or an action
(A in a rollout).
"""

from __future__ import annotations

import torch
from torch import Tensor

from planner.costs import GoalCost
from planner.protocols import World
from vjepa2_ac.poses import Array
from vjepa2_ac.world_model import Rollout


def energies(world: World, latents_1ND: Tensor, pose_7: Array, actions_SH7: Array, cost: GoalCost) -> list[float]:
    """The cost [S] of where each sequence is imagined to end."""
    energies_S: list[float] = world.score(latents_1ND, _batch(pose_7), _batch(actions_SH7), cost)[0].tolist()
    return energies_S


def rollout(world: World, latents_1ND: Tensor, pose_7: Array, actions_SH7: Array) -> Rollout:
    """The latents and poses that each sequence is imagined to lead to, at every step."""
    return world.rollout(latents_1ND, _batch(pose_7), _batch(actions_SH7))


def energies_by_step(cost: GoalCost, rollout: Rollout) -> list[list[float]]:
    """The cost [S][H] of every imagined step."""
    steps = rollout.latents_BSHND.shape[2]
    upto = [
        Rollout(
            rollout.latents_BSHND[:, :, : h + 1], rollout.poses_BSH7[:, :, : h + 1], rollout.actions_BSHA[:, :, : h + 1]
        )
        for h in range(steps)
    ]
    return torch.stack([cost(part)[0] for part in upto], dim=-1).tolist()


def _batch(numbers: Array) -> Tensor:
    return torch.from_numpy(numbers).float()[None]
