"""The questions of a report: drawn once from the episodes and the seed, so that all models answer the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vjepa2_ac.errors import ConfigError
from vjepa2_ac.fitcheck.encoded_tracks import Segment, drawn, segments
from vjepa2_ac.fitcheck.estimates import NotMeasured
from vjepa2_ac.fitcheck.examples import Split, split_frames
from vjepa2_ac.fitcheck.located import LocateQuestion, find_keyframes, find_locate_questions
from vjepa2_ac.fitcheck.pairs import find_pairs
from vjepa2_ac.fitcheck.ranking import Moments, choose_moments, moves_gripper
from vjepa2_ac.fitcheck.tracks import Track

JUDGED_FRAMES = 2000  # that read-outs are judged on, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCheckConfig:
    """How much is measured; the defaults take a few minutes on two CPU cores for a small model."""

    camera: str = "left"
    fps: float = 4.0  # [1/s]
    scenes: int = 50  # episodes, each with its branches
    horizon: int = 8  # steps of the longest rollout
    candidates: int = 64  # beside the true action
    moments: int = 128  # of rollouts and percentiles; half to eight times as many for other questions
    frames: int = 40_000  # that read-outs learn from, at most
    linear_frames: int = 4000  # that the linear read-out learns from, at most: its time grows with their cube
    steps: int = 1500  # of training the attentive read-out and the one by points
    lesson_scenes: int = 1000  # of a folder that only read-outs learn from, at most
    bad_episodes: int = 20  # that may be left out, each named
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("scenes", "horizon", "candidates", "frames", "linear_frames", "steps", "lesson_scenes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.moments < 4 or self.bad_episodes < 0 or self.seed < 0 or not 0 < self.fps < math.inf:
            raise ConfigError("need moments ≥ 4, bad_episodes ≥ 0, seed ≥ 0 and a finite fps > 0")


@dataclass(frozen=True, slots=True)
class Questions:
    """The moments and pairs of tracks each section uses; one with an empty list cannot be measured."""

    rollouts: list[Segment]
    ranking: Moments
    moments: list[Segment]
    transitions: list[Segment]  # steps in which the gripper moves
    pairs: list[tuple[int, int]]
    split: Split | NotMeasured
    unseen_rollouts: list[Segment]  # in scenes the read-outs do not learn from
    located: list[LocateQuestion]
    keyframes: list[LocateQuestion]


def choose(tracks: Sequence[Track], config: FitCheckConfig, *, learn_elsewhere: bool = False) -> Questions:
    """Draw the questions; each kind has random numbers of its own, so that changing one leaves the others as they are.

    With `learn_elsewhere` all scenes are there to judge read-outs on, none to learn from.
    """
    rngs = iter([np.random.default_rng((config.seed, stream)) for stream in range(9)])
    long, steps = segments(tracks, config.horizon), segments(tracks, 1)
    rollouts = drawn(long, config.moments, next(rngs))
    ranking = choose_moments(tracks, steps, config.moments, next(rngs))
    moments = drawn(steps, 2 * config.moments, next(rngs))
    moving = [segment for segment in steps if moves_gripper(tracks, segment)]
    transitions = drawn(moving, 2 * config.moments, next(rngs))
    pairs = find_pairs(tracks, 2 * config.moments, next(rngs))
    split = split_frames(tracks, config.frames, JUDGED_FRAMES, next(rngs), learn_elsewhere=learn_elsewhere)
    unseen = set() if isinstance(split, NotMeasured) else {tracks[which].group for which, _ in split.test}
    unseen_long = [
        Segment(which, start)
        for which, start in long
        if tracks[which].group in unseen and tracks[which].in_reach[start : start + config.horizon + 1].all()
    ]
    unseen_rollouts = drawn(unseen_long, config.moments // 2, next(rngs))
    located = find_locate_questions(tracks, 8 * config.moments, next(rngs))
    keyframes = find_keyframes(tracks, 8 * config.moments, next(rngs))
    return Questions(rollouts, ranking, moments, transitions, pairs, split, unseen_rollouts, located, keyframes)
