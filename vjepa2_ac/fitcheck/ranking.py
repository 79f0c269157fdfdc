"""Does the model know which action was taken? The percentile of the true action among others, by the planner's cost.

The goal is the frame that followed. The percentile is the share of candidates that cost less than the true action: 0 is
perfect, 50 is chance (candidates of equal cost count half). Candidates for the *move* have the true length in any
direction, and their rotations likewise; the gripper keeps its true action. Candidates for the *gripper* keep the true
move and take any closedness the gripper can reach.

Shapes: B moments, S candidates, A numbers of an action (7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vjepa2_ac import poses
from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck.encoded_tracks import EncodedTracks, Model, Segment, costs_of, drawn
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured, mean
from vjepa2_ac.fitcheck.tracks import Track

LEAST_MOVE = 0.01  # [m]; shorter moves all lead to nearly the same picture
GRIPPER_MOVES = 0.1  # change of closedness in one step from which the gripper counts as moving

Draw = Callable[[Array, Array, int, np.random.Generator], Array]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Percentiles of the true action, 0 … 100."""

    move: Estimate | NotMeasured
    gripper: dict[str, Estimate | NotMeasured]  # by what the gripper does and holds: the keys are GRIPPER_CASES


GRIPPER_CASES = ("hand empty", "object in hand", "gripper moves", "gripper rests")


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments at which actions are ranked; the same for every model."""

    move: list[Segment]
    gripper: list[Segment]


def choose_moments(tracks: Sequence[Track], all_of: Sequence[Segment], count: int, rng: np.random.Generator) -> Moments:
    """Up to `count` moments with a move, and up to `count` for the gripper, half of them where it moves.

    In half of each half there is an object in the hand, as far as there are such moments.
    """
    moving = [segment for segment in all_of if _length(tracks, segment) >= LEAST_MOVE]
    gripper: list[Segment] = []
    for wants in (True, False):
        half = [segment for segment in all_of if moves_gripper(tracks, segment) == wants]
        held = drawn([segment for segment in half if is_held(tracks, segment)], count // 4, rng)
        rest = [segment for segment in half if not is_held(tracks, segment)]
        gripper += held + drawn(rest, count // 2 - len(held), rng)
    return Moments(drawn(moving, count, rng), sorted(gripper))


def rank(model: Model, encoded: EncodedTracks, moments: Moments, candidates: int, seed: int) -> Ranking:
    """The mean percentiles at these moments; candidates are drawn from `seed`, the same for every model."""
    tracks = encoded.tracks
    move_B = percentiles(model, encoded, moments.move, candidates, same_norm, np.random.default_rng((seed, 0)))
    grip_B = percentiles(model, encoded, moments.gripper, candidates, any_gripper, np.random.default_rng((seed, 1)))
    is_moving_B = np.array([moves_gripper(tracks, segment) for segment in moments.gripper], dtype=bool)
    is_held_B = np.array([is_held(tracks, segment) for segment in moments.gripper], dtype=bool)
    is_known_B = np.array([tracks[segment.track].held_R is not None for segment in moments.gripper], dtype=bool)
    no_truth = None if any(track.held_R is not None for track in tracks) else "nobody knows what the hand holds"

    def of(where_B: Array, reason: str | None, otherwise: str) -> Estimate | NotMeasured:
        if reason or not where_B.any():
            return NotMeasured(reason or otherwise)
        return mean(grip_B[where_B], [g for g, is_in in zip(groups, where_B, strict=True) if is_in])

    groups = encoded.groups(moments.gripper)
    return Ranking(
        move=mean(move_B, encoded.groups(moments.move))
        if moments.move
        else NotMeasured(f"no move of {100 * LEAST_MOVE:g} cm or more"),
        gripper={
            "hand empty": of(is_known_B & ~is_held_B, no_truth, "the hand is never empty"),
            "object in hand": of(is_held_B, no_truth, "nothing is ever in the hand"),
            "gripper moves": of(is_moving_B, None, "the gripper never moves"),
            "gripper rests": of(~is_moving_B, None, "the gripper never rests"),
        },
    )


def percentiles(
    model: Model,
    encoded: EncodedTracks,
    moments: Sequence[Segment],
    candidates: int,
    draw: Draw,
    rng: np.random.Generator,
) -> Array:
    """The percentile [B] of the true action at each moment, among candidates from `draw`."""
    found = [np.empty(0)]
    for batch in encoded.batches(moments, horizon=1):
        true_B1A = batch.actions_BHA.double().numpy()
        others_BSA = draw(true_B1A[:, 0], batch.poses_BT7[:, 0, 6].double().numpy(), candidates, rng)
        actions_BSA = torch.from_numpy(np.concatenate((true_B1A, others_BSA), axis=1)).float()
        costs_BS = costs_of(model, batch, actions_BSA)
        found.append(percentile(costs_BS[:, 0], costs_BS[:, 1:]))
    return np.concatenate(found)


def percentile(true_B: Array, others_BS: Array) -> Array:
    """The share [%] of the others that cost less than the true action; equal costs count half."""
    below_BS = (others_BS < true_B[:, None]) + 0.5 * (others_BS == true_B[:, None])
    shares: Array = 100 * below_BS.mean(axis=1)
    return shares


def same_norm(true_BA: Array, closedness_B: Array, candidates: int, rng: np.random.Generator) -> Array:
    """Actions [B, S, A] with the lengths of the true one in random directions; the gripper does what it really did."""
    others_BSA = np.repeat(true_BA[:, None], candidates, axis=1)
    for part in (poses.POSITION, poses.ROTATION):
        direction_BS3 = rng.standard_normal((*others_BSA.shape[:2], 3))
        direction_BS3 /= np.linalg.norm(direction_BS3, axis=-1, keepdims=True)
        others_BSA[..., part] = direction_BS3 * np.linalg.norm(true_BA[:, None, part], axis=-1, keepdims=True)
    return others_BSA


def any_gripper(true_BA: Array, closedness_B: Array, candidates: int, rng: np.random.Generator) -> Array:
    """Actions [B, S, A] with the true move and the gripper going to a random closedness."""
    others_BSA = np.repeat(true_BA[:, None], candidates, axis=1)
    goal_BS = rng.uniform(0.0, 1.0, others_BSA.shape[:2])
    others_BSA[..., 6] = goal_BS - closedness_B[:, None]
    return others_BSA


def moves_gripper(tracks: Sequence[Track], segment: Segment) -> bool:
    """Whether the gripper opens or closes in the first step of a segment."""
    closedness_R = tracks[segment.track].closedness
    return bool(abs(closedness_R[segment.start + 1] - closedness_R[segment.start]) >= GRIPPER_MOVES)


def is_held(tracks: Sequence[Track], segment: Segment) -> bool:
    """Whether the object is in the hand when the step begins; False where the episode does not say."""
    held_R = tracks[segment.track].held_R
    return held_R is not None and bool(held_R[segment.start])


def _length(tracks: Sequence[Track], segment: Segment) -> float:
    here, there = tracks[segment.track].poses_R7[segment.start : segment.start + 2, poses.POSITION]
    return float(np.linalg.norm(there - here))
