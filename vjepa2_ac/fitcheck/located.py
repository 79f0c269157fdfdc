"""Where a model's inverse locates the hand in another frame of the same episode, and how closed it finds it there.

That is what planning aims at where a model has an inverse. Any two moments of an episode are as likely as any other
two, so most lie far apart; those less than 6 cm apart, where a grasp is decided, are counted alone too.

Shapes: B glances, 7 numbers of a pose, 4 of what is located.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured, mean
from vjepa2_ac.fitcheck.footage import Footage, Model
from vjepa2_ac.fitcheck.tracks import Track
from vjepa2_ac.models.inverse_model import NUMBERS

NEAR = 0.06  # [m] between two moments
PIECE = 256  # glances at once


class Glance(NamedTuple):
    """Two moments of a track: what is seen now, and a picture of a goal."""

    track: int
    now: int
    goal: int


@dataclass(frozen=True, slots=True)
class Located:
    """Distances from the truth, and how far the hand had been from it."""

    hand: Estimate  # [m]
    hand_nearby: Estimate | NotMeasured  # [m], of moments less than NEAR apart
    closedness: Estimate  # [stroke]
    way: Estimate  # [m] between the two moments: the error of saying that the hand is where it was


def find_glances(tracks: Sequence[Track], count: int, rng: np.random.Generator) -> list[Glance]:
    """So many pairs of different moments, in episodes that are not branches of others."""
    long = [which for which, track in enumerate(tracks) if track.branch is None and len(track) > 1]
    if not long:
        return []
    found = []
    for which in rng.choice(long, count):
        now, goal = rng.choice(len(tracks[which]), 2, replace=False)
        found.append(Glance(int(which), int(now), int(goal)))
    return sorted(found)


def locate(model: Model, footage: Footage, glances: Sequence[Glance]) -> Located | NotMeasured:
    """Errors over all glances; not measured of a model without an inverse."""
    pieces = [glances[start : start + PIECE] for start in range(0, len(glances), PIECE)]
    found = [_located(model, footage, piece) for piece in pieces]
    if any(each is None for each in found):
        return NotMeasured("the model has no inverse")
    located_B4 = np.concatenate([each for each in found if each is not None])
    now_B4, goal_B4 = (
        np.stack([footage.tracks[glance.track].poses_R7[glance[side], list(NUMBERS)] for glance in glances])
        for side in (1, 2)
    )
    off_B = np.linalg.norm((located_B4 - goal_B4)[:, :3], axis=1)
    way_B = np.linalg.norm((now_B4 - goal_B4)[:, :3], axis=1)
    groups = [footage.tracks[glance.track].group for glance in glances]
    near = np.flatnonzero(way_B < NEAR)
    return Located(
        hand=mean(off_B, groups),
        hand_nearby=mean(off_B[near], [groups[index] for index in near])
        if len(near)
        else NotMeasured("no two moments that were drawn are near to each other"),
        closedness=mean(np.abs(located_B4 - goal_B4)[:, 3], groups),
        way=mean(way_B, groups),
    )


def _located(model: Model, footage: Footage, glances: Sequence[Glance]) -> Array | None:
    now_BND, goal_BND = (
        torch.stack([footage.latents_RND[glance.track][glance[side]].float() for glance in glances]) for side in (1, 2)
    )
    poses_B7 = np.stack([footage.tracks[glance.track].poses_R7[glance.now] for glance in glances])
    located_B4 = model.locate(now_BND, torch.from_numpy(poses_B7).float(), goal_BND)
    return None if located_B4 is None else located_B4.double().cpu().numpy()
