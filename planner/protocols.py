"""How much of a world model a planner needs to know: that it can encode a frame and imagine moves, and
perhaps locate the hand in a goal.

A planner asks for a `World` and never learns whether a network stands behind it. In its tests, a point that goes
where it is pushed does.

Shapes: B requests, S candidates, H steps of the horizon, N tokens, D width of a latent, 7 numbers of a pose, A of an
action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from vjepa2_ac.images import Frames
from vjepa2_ac.models.looks import Located, Looks
from vjepa2_ac.world_model import Cost, History, Rollout


class World(Protocol):
    """Something that turns frames into latents and tells what candidates would lead to."""

    @property
    def device(self) -> torch.device:
        """Where latents, poses and costs live."""

    @property
    def fps(self) -> float:
        """Pictures a second of what it knows, one for each step that it imagines."""

    @property
    def locates(self) -> bool:
        """Whether it can locate the hand in a goal."""

    @property
    def finds_keyframes(self) -> bool:
        """Whether it can locate the hand at the next keyframe before a goal too."""

    def encode(self, frames: Frames) -> Tensor:
        """The latents [B, N, D] of frames [B, H, W, 3] uint8."""

    def rollout(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        """What every candidate of every request leads to, step by step; poses are where its actions add up to."""

    def locate(
        self,
        latents_BND: Tensor,
        pose_B7: Tensor,
        goal_BND: Tensor,
        looks: Sequence[Looks | None] | None = None,
        *,
        keyframe: bool = False,
    ) -> Located | None:
        """The hand in each goal, and how sure that is; None from a world that cannot tell.

        With `keyframe`: the hand where the gripper changes next on the way there. Earlier `looks` at each request's
        scene, where there are any, may help it.
        """

    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        """The costs [B, S] of what the candidates lead to, in bounded memory; `cost` may see them in several parts."""
