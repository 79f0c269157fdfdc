"""Keyframes: the moments of an episode at which the gripper has come to another closedness and stays there.

Between two keyframes, the hand only goes from one place to another. So however much must happen on the way to a goal,
the next thing to do is to go to one place and set the gripper there: the pose of the next keyframe, or of the goal
itself where no keyframe comes before it. Keyframes are found from an episode's poses alone (keyframe discovery by the
gripper: James and Davison, Q-attention, 2022), so nothing need be labelled.

Legend: R rows of an episode.
"""

from __future__ import annotations

import numpy as np

from vjepa2_ac.data.episodes import Array

CHANGE = 0.1  # [stroke] by which the gripper must have changed
STILL = 0.05  # [stroke] within which it must then stay
LASTING = 1.0  # [s] for which it must stay there
AHEAD = 2  # keyframes that may lie between an observation and its goal: something is taken up and set down


def keyframes_of(closedness_R: Array, rate: float) -> list[int]:
    """The rows, `rate` of them a second, at which the gripper has just come to another closedness and stays there."""
    found, level, lasting = list[int](), closedness_R[0], max(1, round(LASTING * rate))
    for row in range(1, len(closedness_R) - lasting):
        stays = np.abs(closedness_R[row : row + lasting + 1] - closedness_R[row]).max() < STILL
        if stays and abs(closedness_R[row] - level) >= CHANGE:
            found.append(row)
            level = closedness_R[row]
    return found
