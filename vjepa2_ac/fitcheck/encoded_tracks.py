"""Tracks encoded by one model, and the segments of them on which it is examined.

A segment is a number of successive moments of a track.

Shapes: B segments, H steps, T = H + 1 moments, R moments of a track, S candidates, N tokens, D latent width, 7 numbers
of a pose, A of an action (7 too).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vjepa2_ac import poses
from vjepa2_ac.data.episodes import Array, BadEpisodes
from vjepa2_ac.errors import EpisodeError, InputError
from vjepa2_ac.fitcheck.tracks import Track
from vjepa2_ac.images import Frames
from vjepa2_ac.models.hand_location import Located, Observations
from vjepa2_ac.terminal import Advance
from vjepa2_ac.world_model import Cost, History, Rollout, energy

PIECE = 8  # segments that are rolled out at once


class Model(Protocol):
    """What fit-check needs of a world model; `WorldModel` is one."""

    device: torch.device
    dtype: torch.dtype

    @property
    def grid(self) -> tuple[int, int]:
        """The rows and columns in which a frame's tokens lie."""

    @property
    def finds_keyframes(self) -> bool:
        """Whether it can be asked for keyframes."""

    def encode(self, frames: Frames) -> Tensor:
        """Latents [R, N, D] of frames."""

    def rollout(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        """The imagined latents after each step of each candidate."""

    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        """The cost [B, S] of each candidate."""

    def locate(
        self,
        latents_BND: Tensor,
        pose_B7: Tensor,
        goal_BND: Tensor,
        earlier: Sequence[Observations | None] | None = None,
        *,
        keyframe: bool = False,
    ) -> Located | None:
        """Where the hand is in each goal, or at the next keyframe before it; None from a model without an inverse."""


class Segment(NamedTuple):
    """Successive moments of a track from `start` on; the question says how many."""

    track: int
    start: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Segments of one length, stacked as input for a model."""

    latents_BTND: Tensor  # float32
    poses_BT7: Tensor
    actions_BHA: Tensor

    @property
    def now(self) -> Tensor:
        """Latents [B, N, D] of the first frame of each segment."""
        return self.latents_BTND[:, 0]

    @property
    def later(self) -> Tensor:
        """Latents [B, H, N, D] of the frames really seen after each action."""
        return self.latents_BTND[:, 1:]


@dataclass(frozen=True, slots=True)
class EncodedTracks:
    """Tracks with their latents from one encoder, in the type in which it computed them (bf16 for a bf16 model)."""

    tracks: Sequence[Track]
    latents_RND: Sequence[Tensor]  # one tensor per track, on the CPU

    def groups(self, segments: Sequence[Segment]) -> list[str]:
        """The scene each segment comes from."""
        return [self.tracks[segment.track].group for segment in segments]

    def poses(self, segments: Sequence[Segment], horizon: int) -> Array:
        """The poses [B, T, 7] at every moment of the segments."""
        return np.stack([self.tracks[t].poses_R7[start : start + horizon + 1] for t, start in segments])

    def batch(self, segments: Sequence[Segment], horizon: int) -> Batch:
        """These segments as one batch, with actions recomputed from differences of poses."""
        poses_BT7 = self.poses(segments, horizon)
        return Batch(
            torch.stack([self.latents_RND[t][start : start + horizon + 1].float() for t, start in segments]),
            torch.from_numpy(poses_BT7).float(),
            torch.from_numpy(poses.pose_differences(poses_BT7)).float(),
        )

    def batches(self, segments: Sequence[Segment], horizon: int) -> Iterator[Batch]:
        """These segments in batches of PIECE."""
        for start in range(0, len(segments), PIECE):
            yield self.batch(segments[start : start + PIECE], horizon)


def see(tracks: Sequence[Track], model: Model, bad: BadEpisodes, advance: Advance | None = None) -> EncodedTracks:
    """The tracks with their frames encoded by a model, each alone; a track that does not decode is left out.

    Those are counted in `bad`. Raises InputError where latents are not finite, and where no track is left.
    """
    seen, latents = [], []
    for track in tracks:
        try:
            frames = track.frames()
        except EpisodeError as error:
            bad.add(error)
        else:
            latents.append(_numbers(model.encode(frames), "latents").to("cpu", model.dtype))
            seen.append(track)
        if advance is not None:
            advance()
    if not seen:
        raise InputError(f"no usable episode{bad.listed}")
    return EncodedTracks(seen, latents)


def segments(tracks: Sequence[Track], horizon: int) -> list[Segment]:
    """All segments of `horizon` steps, in episodes that are not parts of others."""
    return [
        Segment(which, start)
        for which, track in enumerate(tracks)
        if not track.is_part
        for start in range(len(track) - horizon)
    ]


def drawn(all_of: Sequence[Segment], count: int, rng: np.random.Generator) -> list[Segment]:
    """Up to `count` segments, drawn at random, in order."""
    return [all_of[index] for index in sorted(rng.permutation(len(all_of))[:count])]


def costs_of(model: Model, batch: Batch, actions_BSA: Tensor) -> Array:
    """The planner's cost [B, S] of each candidate, with the frame that really followed as the goal.

    Raises InputError for costs that are not finite: NaN is never less than another cost, so every rank would
    look perfect.
    """
    goal_BND = batch.later[:, 0]

    def cost(rollout: Rollout) -> Tensor:
        return energy(rollout, goal_BND.to(rollout.latents_BSHND.device))

    costs_BS = model.score(batch.now, batch.poses_BT7[:, 0], actions_BSA.unsqueeze(2), cost)
    found: Array = _numbers(costs_BS, "costs").double().cpu().numpy()
    return found


def distance(latents_ND: Tensor, other_ND: Tensor) -> Array:
    """The mean |difference| over tokens and channels; leading dimensions stay."""
    found: Array = (latents_ND.cpu() - other_ND.cpu()).abs().mean(dim=(-1, -2)).double().numpy()
    return found


def _numbers(found: Tensor, what: str) -> Tensor:
    if not found.isfinite().all():
        raise InputError(f"the model's {what} are no numbers: nothing can be measured with it")
    return found
