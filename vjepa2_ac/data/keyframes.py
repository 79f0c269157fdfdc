"""Keyframes: the moments of an episode at which the gripper has changed for good.

Between two of them the hand only goes from one place to another. So on the way from what is seen to a goal, however
much must happen before it, what to do next is a place to go to and what the gripper does there: the next keyframe's
pose, or the goal's own where no keyframe lies before it. Where an episode's gripper changed is known from its poses
alone (keyframe discovery by the gripper: James and Davison, Q-attention, 2022), so nobody labels anything.

Legend: R rows of an episode.
"""

from __future__ import annotations

import numpy as np

from vjepa2_ac.data.episodes import Array

CHANGE = 0.1  # [stroke] by which the gripper has changed
STILL = 0.05  # [stroke] within which it stays from then on
LASTING = 1.0  # [s] for so long, or the change is none
AHEAD = 2  # keyframes that are looked for before a goal: something is taken up and set down


def keyframes_of(closedness_R: Array, rate: float) -> list[int]:
    """The rows, `rate` of them a second, at which the gripper has just come to another closedness and stays there."""
    found, level, lasting = list[int](), closedness_R[0], round(LASTING * rate)
    for row in range(1, len(closedness_R) - lasting):
        stays = np.abs(closedness_R[row : row + lasting + 1] - closedness_R[row]).max() < STILL
        if stays and abs(closedness_R[row] - level) >= CHANGE:
            found.append(row)
            level = closedness_R[row]
    return found
