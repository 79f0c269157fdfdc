"""What the planner needs of a world model: to encode frames, imagine candidates and perhaps locate the hand in a goal.

The planner asks for a `World` and never learns whether a network stands behind it. In the planner's tests, a world is a
point that goes where it is pushed.

Shapes: B requests, S candidates, H steps of the horizon, N tokens, D width of a latent, 7 numbers of a pose, A of an
action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from vjepa2_ac.images import Frames
from vjepa2_ac.models.hand_location import Located, Observations
from vjepa2_ac.world_model import Cost, History, Rollout


class World(Protocol):
    """Something that encodes frames into latents and imagines what candidates would lead to."""

    @property
    def device(self) -> torch.device:
        """Where latents, poses and costs live."""

    @property
    def fps(self) -> float:
        """Frames a second of the video it was trained on; a step that it imagines leads from one frame to the next."""

    @property
    def locates(self) -> bool:
        """Whether it can locate the hand in a goal."""

    @property
    def finds_keyframes(self) -> bool:
        """Whether it can also locate the hand at the next keyframe on the way to a goal."""

    def encode(self, frames: Frames) -> Tensor:
        """The latents [B, N, D] of frames [B, H, W, 3] uint8."""

    def rollout(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        """What every candidate of every request leads to, step by step; its poses are the integrated actions."""

    def locate(
        self,
        latents_BND: Tensor,
        pose_B7: Tensor,
        goal_BND: Tensor,
        earlier: Sequence[Observations | None] | None = None,
        *,
        keyframe: bool = False,
    ) -> Located | None:
        """The hand in each goal, and how sure that is; None from a world that cannot locate it.

        With `keyframe`: the hand where the gripper changes next on the way there. `earlier` observations of each
        request's scene, where there are any, may be used to correct the answer.
        """

    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        """The costs [B, S] of all candidates, in bounded memory: `cost` may be called with some of them at a time."""
