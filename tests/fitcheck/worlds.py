"""A world in which a latent is a pose, so that every figure is known by arithmetic; and small episodes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vjepa2_ac.fitcheck.encoded_tracks import EncodedTracks
from vjepa2_ac.fitcheck.tracks import Track
from vjepa2_ac.geometry import integrate
from vjepa2_ac.models.hand_location import Located
from vjepa2_ac.models.inverse_model import NUMBERS
from vjepa2_ac.world_model import Cost, History, Rollout

ROWS = 14


class PoseWorld:
    """Latents [B, 1, 7] are poses; `believes` changes the actions before they are imagined."""

    device, dtype = torch.device("cpu"), torch.float32
    grid = (1, 1)
    finds_keyframes = True

    def __init__(self, believes: Any = lambda actions: actions) -> None:
        self.believes = believes
        self.told: list[Any] = []  # earlier observations, what is seen, and the goal

    def encode(self, frames: Any) -> Tensor:
        raise AssertionError("tracks come with their latents")

    def rollout(self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: Any = None) -> Rollout:
        assert history is None or isinstance(history, History)
        pose = latents_BND[:, 0, None].expand(-1, actions_BSHA.shape[1], -1).double()
        poses = []
        for action in self.believes(actions_BSHA).unbind(2):
            pose = integrate(pose, action.double())
            poses.append(pose)
        poses_BSH7 = torch.stack(poses, dim=2).float()
        return Rollout(poses_BSH7.unsqueeze(-2), poses_BSH7, actions_BSHA)

    def score(self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: Any = None) -> Any:
        return cost(self.rollout(latents_BND, pose_B7, actions_BSHA, history))

    def locate(
        self, latents_BND: Tensor, pose_B7: Tensor, goal_BND: Tensor, earlier: Any = None, *, keyframe: bool = False
    ) -> Located | None:
        """What it believes of the move; half as wrong when told of earlier observations, which tell the truth here."""
        moved_B7 = self.believes(goal_BND[:, 0] - latents_BND[:, 0])
        located_B4 = (pose_B7 + moved_B7)[:, NUMBERS]
        for b, observations in enumerate(earlier):
            if observations is not None:
                assert torch.equal(observations.latents_TND[:, 0], observations.poses_T7)
                self.told.append((observations, latents_BND[b, 0], goal_BND[b, 0]))
                located_B4[b] = (located_B4[b] + goal_BND[b, 0, NUMBERS]) / 2
        back_B7 = self.believes(latents_BND[:, 0] - goal_BND[:, 0])
        cycle_error_B = (moved_B7 + back_B7)[:, :3].norm(dim=1)
        return Located(located_B4, torch.zeros(len(located_B4)), cycle_error_B)


PERFECT = PoseWorld()
IGNORES_ACTIONS = PoseWorld(torch.zeros_like)
IGNORES_GRIPPER = PoseWorld(lambda actions: actions * torch.tensor([1.0] * 6 + [0.0]))


def walk(number: int, rows: int = ROWS, **changes: Any) -> Track:
    """A hand that wanders, with a gripper that closes half-way, holds, and opens at the end."""
    rng = np.random.default_rng(number)
    poses_R7 = np.zeros((rows, 7))
    poses_R7[:, :3] = np.cumsum(rng.uniform(-0.04, 0.04, (rows, 3)), axis=0)
    middle = rows // 2
    poses_R7[middle:, 6] = 0.6
    poses_R7[-2:, 6] = 0.1
    held_R = poses_R7[:, 6] == 0.6
    values: dict[str, Any] = {
        "name": f"episode {number}",
        "group": f"episode {number}",
        "branch": None,
        "is_part": False,
        "fps": 4.0,
        "poses_R7": poses_R7,
        "objects_R3": None,
        "held_R": held_R,
        "frames": lambda: np.zeros((rows, 8, 8, 3), dtype=np.uint8),
    }
    return Track(**(values | changes))


def branches(number: int) -> list[Track]:
    """The same state left once opening and once closing."""
    tracks = []
    for side, sign in (("open", -1), ("close", 1)):
        poses_R7 = np.zeros((5, 7))
        poses_R7[:, 6] = 0.5 + sign * np.array([0, 0.25, 0.5, 0.5, 0.5])
        facts = {"name": f"{number} {side}", "group": f"episode {number}", "branch": f"{number}-0", "is_part": True}
        tracks.append(walk(number, poses_R7=poses_R7, held_R=np.zeros(5, dtype=bool), **facts))
    return tracks


def encoded(tracks: Sequence[Track]) -> EncodedTracks:
    return EncodedTracks(tracks, [torch.from_numpy(track.poses_R7).float().unsqueeze(1) for track in tracks])
