"""Keyframes: the moments of an episode at which the gripper has changed for good, and what is learned about them.

Between two of them the hand only goes from one place to another. So on the way from what is seen to a goal, however
much must happen before it, what to do next is a place to go to and what the gripper does there: the next keyframe's
pose, or the goal's own where no keyframe lies before it. Where an episode's gripper changed is known from its poses
alone (keyframe discovery by the gripper: James and Davison, Q-attention, 2022), so nobody labels anything; that a model
learns to tell it from two pictures is hindsight: whatever followed a moment was, afterwards, its goal.

Legend: R rows of an episode · T the two moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac import poses
from vjepa2_ac.data.episodes import Array
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.training.inversion import Alike, MomentPairs
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.trajectories import Trajectory, window_at

CHANGE = 0.1  # [stroke] by which the gripper has changed
STILL = 0.05  # [stroke] within which it stays from then on
LASTING = 1.0  # [s] for so long, or the change is none
AHEAD = 2  # keyframes that may lie between a moment and its goal: something is taken up and set down


def keyframes_of(closedness_R: Array, lasting: int) -> list[int]:
    """The rows at which the gripper has just come to another closedness and stays there for `lasting` rows."""
    found, level = list[int](), closedness_R[0]
    for row in range(1, len(closedness_R) - lasting):
        stays = np.abs(closedness_R[row : row + lasting + 1] - closedness_R[row]).max() < STILL
        if stays and abs(closedness_R[row] - level) >= CHANGE:
            found.append(row)
            level = closedness_R[row]
    return found


class KeyframePairs(MomentPairs):
    """As `MomentPairs`, but the second pose is the hand's at the next keyframe before the second moment, if one is.

    The second moment is the goal. At most two keyframes lie before it; it comes before the first moment only where the
    gripper did not change between them, so that it could as well come after.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        window: WindowConfig,
        layout: Layout,
        seed: int,
        alike: Alike = "pairs",
    ) -> None:
        super().__init__(trajectories, window, layout, seed, alike)
        self.keyframes = [_keyframes(trajectory, window) for trajectory in self.trajectories]

    def _moments(self, which: int, rng: np.random.Generator) -> dict[str, Any]:
        trajectory, keyframes_K = self.trajectories[which], self.keyframes[which]
        first = int(rng.integers(len(trajectory)))
        passed = int(np.searchsorted(keyframes_K, first, side="right"))
        begin = keyframes_K[passed - 1] if passed else 0
        coming_K = keyframes_K[passed:]
        end = coming_K[AHEAD] if len(coming_K) > AHEAD else len(trajectory)
        goal = begin + int(rng.integers(end - begin - 1))
        goal += goal >= first  # any but the first moment itself
        hand = min([goal, *coming_K[:1]])
        return window_at(trajectory, np.array([first, goal]), np.array([first, hand]))


def _keyframes(trajectory: Trajectory, window: WindowConfig) -> NDArray[np.int64]:
    lasting = round(LASTING * window.fps) * trajectory.stride
    return np.array(keyframes_of(trajectory.poses_R7[:, poses.GRIPPER][:, 0], lasting), dtype=np.int64)
