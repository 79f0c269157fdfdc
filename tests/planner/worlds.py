"""Small true worlds, in which the best plan is known by arithmetic.

In a `PointWorld` a latent is where the hand is: every token holds position and gripper, so the cost of a future is its
distance from the goal. Its frames have that painted into their first pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vjepa2_ac.geometry import integrate
from vjepa2_ac.images import Frames, as_frames
from vjepa2_ac.models.hand_location import Located, Observations
from vjepa2_ac.models.inverse_model import NUMBERS
from vjepa2_ac.poses import integrate as integrate_numpy
from vjepa2_ac.poses import rotation_matrix
from vjepa2_ac.world_model import Cost, History, Rollout

REACH = 2.0  # [m] and [rad], the largest number a frame can show
SCALE = torch.tensor([10.0, 10.0, 10.0, 1.0, 1.0, 1.0, 1.0])  # so that 10 cm weigh as much as the whole gripper
UNSURE = 0.01  # [m] of the first hand that it locates; twice as much of the second, and so on
HOME = (0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0)


def paint(pose: ArrayLike) -> NDArray[np.uint8]:
    """A frame [8, 8, 3] in which a pose [7] can be seen: each number as two bytes in a pixel of the first row."""
    numbers = np.round((np.asarray(pose, dtype=float) + REACH) / (2 * REACH) * 65535).astype(np.uint16)
    frame = np.full((8, 8, 3), 90, dtype=np.uint8)
    frame[0, :7, 0], frame[0, :7, 1] = numbers >> 8, numbers & 255
    return frame


def read(frames: Frames) -> Tensor:
    """The poses [B, 7] painted into frames."""
    pixels = as_frames(frames)[:, 0, :7].long()
    return ((pixels[..., 0] << 8) + pixels[..., 1]).float() / 65535 * 2 * REACH - REACH


class Clock:
    """A clock that moves only when told to; [s]."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class PointWorld:
    """A hand that goes exactly where actions push it, imagined without any error but those asked for."""

    tokens: int = 16
    yaw: float = 0.0  # [rad] the camera shows the scene turned by this about the base's z
    blind: tuple[int, ...] = ()  # numbers of a pose that pictures do not show
    pieces: int | None = None  # candidates imagined at once
    spoil: Callable[[Tensor], Tensor] | None = None  # costs_BS -> costs_BS
    clock: Clock | None = None  # made to run by each candidate-step
    seconds_each: float = 0.0
    seconds_fixed: float = 0.0
    located_B4: Tensor | None = None  # how it says that the hand is in each goal
    cycle_error: float = 0.0  # [m] by which it contradicts itself, as it says
    keyframe: Callable[[Tensor], Tensor] | None = None  # the next one's hand [B, 4] from poses [B, 7]
    fps: float = 4.0  # pictures a second of what it knows
    told: list[Any] = field(default_factory=list)  # the earlier observations it was given in each call of `locate`
    scored: list[int] = field(default_factory=list)  # candidates imagined in each call, over all requests

    device = torch.device("cpu")

    def encode(self, frames: Frames) -> Tensor:
        return self.latents(read(frames))

    def latents(self, pose_B7: Tensor) -> Tensor:
        """Latents [..., N, 7] of poses [..., 7], as the camera shows them."""
        seen = pose_B7.clone()
        turn = torch.from_numpy(rotation_matrix([0.0, 0.0, self.yaw])).float()
        seen[..., :3] = seen[..., :3] @ turn.T
        seen[..., list(self.blind)] = 0.0
        return (seen * SCALE).unsqueeze(-2).expand(*seen.shape[:-1], self.tokens, 7)

    def rollout(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        self._count(actions_BSHA)
        return self._rolled_out(latents_BND, pose_B7, actions_BSHA)

    def _rolled_out(self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor) -> Rollout:
        """The model believes in a straight camera: what it sees moves as the actions say."""
        seen_B7 = latents_BND[..., 0, :] / SCALE
        S, H = actions_BSHA.shape[1:3]
        pose, seen = (x[:, None].expand(-1, S, -1) for x in (pose_B7.float(), seen_B7))
        poses, latents = [], []
        for h in range(H):
            pose, seen = (integrate(x, actions_BSHA[:, :, h]) for x in (pose, seen))
            shown = seen.clone()
            shown[..., list(self.blind)] = 0.0
            poses.append(pose)
            latents.append((shown * SCALE).unsqueeze(-2).expand(*seen.shape[:-1], self.tokens, 7))
        return Rollout(torch.stack(latents, dim=2), torch.stack(poses, dim=2), actions_BSHA)

    @property
    def locates(self) -> bool:
        return self.located_B4 is not None

    @property
    def finds_keyframes(self) -> bool:
        return self.keyframe is not None

    def locate(
        self,
        latents_BND: Tensor,
        pose_B7: Tensor,
        goal_BND: Tensor,
        earlier: Sequence[Observations | None] | None = None,
        *,
        keyframe: bool = False,
    ) -> Located | None:
        self.told.append(earlier)
        one_B = torch.ones(len(pose_B7))
        if keyframe:
            assert self.keyframe is not None
            return Located(self.keyframe(pose_B7), UNSURE * one_B, self.cycle_error * one_B)
        if self.located_B4 is None:
            return None
        return Located(self.located_B4, UNSURE * one_B.cumsum(0), self.cycle_error * one_B)

    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        self._count(actions_BSHA)
        parts = [
            cost(self._rolled_out(latents_BND, pose_B7, piece))
            for piece in actions_BSHA.split(self.pieces or actions_BSHA.shape[1], dim=1)
        ]
        costs_BS = torch.cat(parts, dim=1)
        return self.spoil(costs_BS) if self.spoil else costs_BS

    def _count(self, actions_BSHA: Tensor) -> None:
        B, S, H = actions_BSHA.shape[:3]
        self.scored.append(B * S)
        if self.clock is not None:
            self.clock.now += self.seconds_fixed + B * S * H * self.seconds_each


@dataclass
class PointRobot:
    """A hand in a `PointWorld`: shows itself, and goes where it is sent."""

    pose: NDArray[np.float64] = field(default_factory=lambda: np.array(HOME))
    stuck: bool = False

    def frame(self) -> NDArray[np.uint8]:
        return paint(self.pose)

    def follow(self, action: ArrayLike) -> None:
        if not self.stuck:
            self.pose = integrate_numpy(self.pose, action)


def moved(*by: float, gripper: float | None = None, start: ArrayLike = HOME) -> NDArray[np.float64]:
    """`start` moved by x, y, z [m], perhaps with another gripper."""
    pose = np.array(start, dtype=float)
    pose[:3] += by
    if gripper is not None:
        pose[6] = gripper
    return pose


def located(*poses: ArrayLike) -> Tensor:
    """What a world answers that finds the hand of each goal in these poses [B, 4]."""
    return torch.from_numpy(np.array(poses, dtype=float)[:, NUMBERS]).float()
