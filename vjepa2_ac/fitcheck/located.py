"""How well a model's inverse locates the hand, and finds its closedness, in another frame of the same episode.

Planning with an inverse aims at that place. Any two moments of an episode are as likely as any other two, so most lie
far apart; those less than 6 cm apart, where a grasp is decided, are also counted separately.

The inverse is asked twice: about the two moments alone, and told of earlier moments, as the loop tells it
(`models.hand_location`). Also measured is by how much its ways there and back contradict each other: by this a planner
recognises a view that is unfamiliar to the model.

A model that finds keyframes is asked in the same way for the next one, with goals behind one or two of them.

Shapes: B questions, 7 numbers of a pose, 4 of what is located.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.data.keyframes import AHEAD, keyframes_of
from vjepa2_ac.fitcheck.encoded_tracks import EncodedTracks, Model
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured, mean
from vjepa2_ac.fitcheck.tracks import Track
from vjepa2_ac.models.hand_location import EARLIER_OBSERVATIONS, FAMILIAR, Observations
from vjepa2_ac.models.inverse_model import NUMBERS

NEAR = 0.06  # [m] between two moments
PIECE = 256  # questions at once


class LocateQuestion(NamedTuple):
    """One question: the present and the goal, two moments of a track, and the moment at which to locate the hand."""

    track: int
    now: int
    goal: int
    hand: int  # the moment at which the hand is to be located
    since: int = 0  # the first moment that may be among the earlier observations


@dataclass(frozen=True, slots=True)
class HandErrors:
    """Mean errors of the located hand."""

    hand: Estimate  # [m]
    hand_nearby: Estimate | NotMeasured  # [m], of moments less than NEAR apart
    closedness: Estimate  # [stroke]


@dataclass(frozen=True, slots=True)
class Locating:
    """How well a model locates the hand, and, for comparison, how far the hand was from there."""

    alone: HandErrors
    told: HandErrors  # told of up to EARLIER_OBSERVATIONS
    cycle: Estimate | NotMeasured  # [m] by which its ways there and back contradict each other
    lost: Estimate | NotMeasured  # share of questions in which that is more than FAMILIAR
    way: Estimate  # [m] between the two moments: the error of saying that the hand is where it was


class _Found(NamedTuple):
    hand_B4: Array
    cycle_error_B: Array | None  # [m]


def find_locate_questions(tracks: Sequence[Track], count: int, rng: np.random.Generator) -> list[LocateQuestion]:
    """`count` random pairs of different moments, in episodes that are not parts of others."""
    long = [which for which, track in enumerate(tracks) if not track.is_part and len(track) > 1]
    if not long:
        return []
    found = []
    for which in rng.choice(long, count):
        now, goal = rng.choice(len(tracks[which]), 2, replace=False)
        found.append(LocateQuestion(int(which), int(now), int(goal), hand=int(goal)))
    return sorted(found)


def find_keyframes(tracks: Sequence[Track], count: int, rng: np.random.Generator) -> list[LocateQuestion]:
    """`count` random moments with goals after the next one or two keyframes, in episodes that are not parts."""
    keyframes = [[] if track.is_part else keyframes_of(track.closedness, track.fps) for track in tracks]
    long = [which for which, rows in enumerate(keyframes) if rows]
    found = []
    for which in rng.choice(long, count) if long else ():
        rows, end = keyframes[which], len(tracks[which])
        now = int(rng.integers(rows[-1]))
        passed = sum(row <= now for row in rows)
        coming = [*rows[passed:], end]
        goal = int(rng.integers(coming[0], coming[min(AHEAD, len(coming) - 1)]))
        found.append(LocateQuestion(int(which), now, goal, hand=coming[0], since=rows[passed - 1] if passed else 0))
    return sorted(found)


def locate(
    model: Model, encoded: EncodedTracks, questions: Sequence[LocateQuestion], *, keyframe: bool = False
) -> Locating | NotMeasured:
    """The errors over all questions; NotMeasured for a model without the network that answers them."""
    if keyframe and not model.finds_keyframes:
        return NotMeasured("the model finds no keyframes")
    found, when_told = (
        _located(model, encoded, questions, earlier, keyframe=keyframe) for earlier in (0, EARLIER_OBSERVATIONS)
    )
    if found is None or when_told is None:
        return NotMeasured("the model has no inverse")
    now_B4 = _hands(encoded, [(question.track, question.now) for question in questions])
    there_B4 = _hands(encoded, [(question.track, question.hand) for question in questions])
    way_B = np.linalg.norm((now_B4 - there_B4)[:, :3], axis=1)
    groups = [encoded.tracks[question.track].group for question in questions]
    alone, told = (_hand_errors(hand_B4 - there_B4, way_B, groups) for hand_B4 in (found.hand_B4, when_told.hand_B4))
    cycle: Estimate | NotMeasured
    lost: Estimate | NotMeasured
    cycle = lost = NotMeasured("the model has no inverse")
    if found.cycle_error_B is not None:
        cycle, lost = mean(found.cycle_error_B, groups), mean(found.cycle_error_B > FAMILIAR, groups)
    return Locating(alone=alone, told=told, cycle=cycle, lost=lost, way=mean(way_B, groups))


def _hands(encoded: EncodedTracks, moments: Sequence[tuple[int, int]]) -> Array:
    return np.stack([encoded.tracks[track].poses_R7[row, list(NUMBERS)] for track, row in moments])


def _hand_errors(off_B4: Array, way_B: Array, groups: Sequence[str]) -> HandErrors:
    off_B, near = np.linalg.norm(off_B4[:, :3], axis=1), np.flatnonzero(way_B < NEAR)
    return HandErrors(
        hand=mean(off_B, groups),
        hand_nearby=mean(off_B[near], [groups[index] for index in near.tolist()])
        if len(near)
        else NotMeasured("no two moments that were drawn are near to each other"),
        closedness=mean(np.abs(off_B4)[:, 3], groups),
    )


def _located(
    model: Model, encoded: EncodedTracks, questions: Sequence[LocateQuestion], earlier: int, *, keyframe: bool
) -> _Found | None:
    hands, errors = [], []
    for start in range(0, len(questions), PIECE):
        piece = questions[start : start + PIECE]
        now_BND, goal_BND = (
            torch.stack([encoded.latents_RND[question.track][question[side]].float() for question in piece])
            for side in (1, 2)
        )
        poses_B7 = np.stack([encoded.tracks[question.track].poses_R7[question.now] for question in piece])
        observations = [_observations_before(encoded, question, earlier) for question in piece]
        located = model.locate(now_BND, torch.from_numpy(poses_B7).float(), goal_BND, observations, keyframe=keyframe)
        if located is None:
            return None
        hands.append(located.hand_B4.double().cpu().numpy())
        if located.cycle_error_B is not None:
            errors.append(located.cycle_error_B.double().cpu().numpy())
    return _Found(np.concatenate(hands), np.concatenate(errors) if errors else None)


def _observations_before(encoded: EncodedTracks, question: LocateQuestion, earlier: int) -> Observations | None:
    """The earlier moments, without the goal: where the hand was then is what is asked."""
    first = max(question.since, question.now - earlier)
    before = [moment for moment in range(first, question.now) if moment != question.goal]
    if not before:
        return None
    poses_T7 = torch.from_numpy(encoded.tracks[question.track].poses_R7[before]).float()
    return Observations(encoded.latents_RND[question.track][before].float(), poses_T7)
