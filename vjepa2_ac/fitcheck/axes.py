"""How cost grows with distance along each axis: as the model imagines it, and between real frames.

*Imagined*: the cost of the true action plus an offset along one axis, with the frame that really followed as the goal.
A planner needs a valley at 0; how far off its floor lies is the error the model would steer with. *Real*: the distance
between two frames of one episode whose poses differ along that axis and hardly otherwise (nor does the object, where
its place is known), as far as the episodes hold such frames. It needs no predictor and says what the encoder gives a
planner to work with.

Shapes: B moments, S = axes · O offsets, A numbers of an action (7), K pairs of frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck.encoded_tracks import EncodedTracks, Model, Segment, costs_of, distance
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured, mean
from vjepa2_ac.fitcheck.tracks import Track

AXES = {"x": 0, "y": 1, "z": 2, "gripper": 6}  # with their index in a pose
EXTENT = {"x": 0.075, "y": 0.075, "z": 0.075, "gripper": 1.0}  # [m] the planner's largest move; [stroke]
POINTS = 11  # offsets along each axis
# What differs by no more hardly differs: [m], [rad], [stroke], [m].
SAME_TOLERANCE = {"position": 0.01, "angle": 0.1, "gripper": 0.1, "object": 0.01}
LEAST_PAIRS, MOST_PAIRS = 5, 64  # pairs averaged at an offset; fewer say nothing, more would only take time


@dataclass(frozen=True, slots=True)
class Axis:
    """Costs over the offsets of one axis; NaN where there is nothing to average."""

    offsets: Array  # [m], of the gripper [stroke]
    imagined: Array | NotMeasured
    real: Array | NotMeasured
    real_pairs: list[int]  # how many pairs of frames are behind each real cost
    lowest_off_by: Estimate | NotMeasured  # |offset| of the lowest imagined cost, averaged [m] or [stroke]


def along_axes(model: Model | None, encoded: EncodedTracks, moments: Sequence[Segment], seed: int) -> dict[str, Axis]:
    """The costs along every axis, by its name; without a model (an encoder alone), only the real ones."""
    costs = None if model is None or not moments else _imagined(model, encoded, moments)
    groups = encoded.groups(moments)
    answers = {}
    for place, axis in enumerate(AXES):
        offsets = offsets_of(axis)
        real, counts = _real(encoded, axis, np.random.default_rng((seed, place)))
        imagined: Array | NotMeasured = NotMeasured("no predictor" if model is None else "no moments")
        off_by: Estimate | NotMeasured = NotMeasured("no predictor" if model is None else "no moments")
        if costs is not None:
            known_BO = np.isfinite(costs[axis])
            with np.errstate(invalid="ignore"):  # 0 / 0 where at no moment the gripper could go that far
                imagined = np.where(known_BO, costs[axis], 0.0).sum(axis=0) / known_BO.sum(axis=0)
            off_by = mean(np.abs(offsets[np.nanargmin(costs[axis], axis=1)]), groups)
        answers[axis] = Axis(offsets, imagined, real, counts, off_by)
    return answers


def offsets_of(axis: str) -> Array:
    """The offsets along an axis [m], or [stroke] for the gripper: from -extent to +extent, 0 among them."""
    return np.linspace(-EXTENT[axis], EXTENT[axis], POINTS)


def _imagined(model: Model, encoded: EncodedTracks, moments: Sequence[Segment]) -> dict[str, Array]:
    """The costs [B, O] by axis; NaN where the gripper would have to open or close beyond its limits."""
    shift_SA = np.zeros((len(AXES) * POINTS, 7))
    for place, (axis, number) in enumerate(AXES.items()):
        shift_SA[place * POINTS : (place + 1) * POINTS, number] = offsets_of(axis)
    costs, ends = [], []
    for batch in encoded.batches(moments, horizon=1):
        actions_BSA = batch.actions_BHA + torch.from_numpy(shift_SA).float()
        costs.append(costs_of(model, batch, actions_BSA))
        ends.append(batch.poses_BT7[:, 1, 6].double().numpy())
    costs_BS = np.concatenate(costs)
    by_axis = {axis: costs_BS[:, place * POINTS : (place + 1) * POINTS] for place, axis in enumerate(AXES)}
    gripper_BO = np.concatenate(ends)[:, None] + offsets_of("gripper")
    is_reachable = (gripper_BO > -1e-6) & (gripper_BO < 1 + 1e-6)
    is_reachable[:, POINTS // 2] = True  # what really happened was possible
    by_axis["gripper"] = np.where(is_reachable, by_axis["gripper"], math.nan)
    return by_axis


def _real(encoded: EncodedTracks, axis: str, rng: np.random.Generator) -> tuple[Array | NotMeasured, list[int]]:
    """For each offset, the mean distance of frames that lie so far apart, and how many pairs that is."""
    offsets = offsets_of(axis)
    found: list[list[tuple[int, int, int]]] = [[] for _ in offsets]
    for which, track in enumerate(encoded.tracks):
        for place, first, second in _apart(track, axis, offsets):
            found[place].append((which, first, second))
    costs = np.full(len(offsets), math.nan)
    counts = []
    for place, candidates in enumerate(found):
        chosen = [candidates[k] for k in sorted(rng.permutation(len(candidates))[:MOST_PAIRS])]
        counts.append(len(chosen))
        if len(chosen) >= LEAST_PAIRS:
            frames = encoded.latents_RND
            costs[place] = np.mean([distance(frames[t][a].float(), frames[t][b].float()) for t, a, b in chosen])
    if np.isfinite(costs).sum() < 2:
        return NotMeasured("no frames that differ along this axis alone"), counts
    return costs, counts


def _apart(track: Track, axis: str, offsets: Array) -> list[tuple[int, int, int]]:
    """All pairs of moments of a track that differ along one axis alone: (index of the offset, first, second)."""
    difference_RR7 = track.poses_R7[None] - track.poses_R7[:, None]
    difference_RR7[..., 3:6] = (difference_RR7[..., 3:6] + math.pi) % (2 * math.pi) - math.pi
    limits_7 = np.array([SAME_TOLERANCE["position"]] * 3 + [SAME_TOLERANCE["angle"]] * 3 + [SAME_TOLERANCE["gripper"]])
    limits_7[AXES[axis]] = math.inf
    is_alone_RR = (np.abs(difference_RR7) <= limits_7).all(axis=-1)
    is_alone_RR &= ~np.eye(len(track), dtype=bool)
    if track.objects_R3 is not None:
        moved_RR = np.linalg.norm(track.objects_R3[None] - track.objects_R3[:, None], axis=-1)
        is_alone_RR &= moved_RR <= SAME_TOLERANCE["object"]
    along_RR = difference_RR7[..., AXES[axis]]
    step = offsets[1] - offsets[0]
    place_RR = np.round((along_RR - offsets[0]) / step).astype(int)
    is_alone_RR &= (place_RR >= 0) & (place_RR < len(offsets))
    is_alone_RR &= (place_RR != len(offsets) // 2) | np.triu(is_alone_RR)  # at offset 0 a pair and its reverse are one
    return [(int(place_RR[a, b]), int(a), int(b)) for a, b in np.argwhere(is_alone_RR)]
