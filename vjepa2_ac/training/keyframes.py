"""Training pairs for the keyframe network: from two moments, where the hand is at the next keyframe between them.

Recorded episodes can teach the way to a goal by hindsight: whatever followed a moment was, in retrospect, its goal.

Legend: K keyframes of an episode.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac import poses
from vjepa2_ac.data.keyframes import AHEAD, keyframes_of
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import InputError
from vjepa2_ac.training.inversion import Alike, MomentPairs
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.trajectories import Trajectory, window_at


class KeyframePairs(MomentPairs):
    """As `MomentPairs`, but the second pose is that at the next keyframe on the way to the second moment, if any.

    The second moment is the goal. At most two keyframes lie between the first moment and the goal. The goal precedes
    the first moment only where no keyframe lies between them: it could then as well have come after.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        window: WindowConfig,
        layout: Layout,
        seed: int,
        alike: Alike = "pairs",
        event_share: float = 0.0,
        *,
        held_out: bool = False,
    ) -> None:
        super().__init__(trajectories, window, layout, seed, alike)
        self.keyframes = [_keyframes(trajectory) for trajectory in self.trajectories]
        self.event_share = event_share  # of the pairs, drawn so that a keyframe lies between them
        self.eventful = [which for which, keyframes_K in enumerate(self.keyframes) if len(keyframes_K)]
        if event_share and not self.eventful:
            raise InputError(
                "event_share is set, but in no episode does the gripper come to another closedness and stay"
            )
        if not self.eventful and not held_out and layout.rank == 0:
            print(
                "note: in no episode does the gripper come to another closedness and stay, so there is no keyframe to "
                "learn: this network will tell where the hand is in the goal, as an inverse does",
                file=sys.stderr,
            )

    def _pair(self, rng: np.random.Generator) -> dict[str, Any]:
        if not self.event_share or rng.random() >= self.event_share:
            return super()._pair(rng)
        which = self.eventful[rng.integers(len(self.eventful))]
        trajectory, keyframes_K = self.trajectories[which], self.keyframes[which]
        first = int(rng.integers(keyframes_K[-1]))
        hand, *later = [*keyframes_K[keyframes_K > first], len(trajectory)][: AHEAD + 1]
        goal = int(rng.integers(hand, later[-1]))
        return window_at(trajectory, np.array([first, goal]), np.array([first, hand]))

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


def _keyframes(trajectory: Trajectory) -> NDArray[np.int64]:
    closedness_R = trajectory.poses_R7[:, poses.GRIPPER][:, 0]
    return np.array(keyframes_of(closedness_R, trajectory.fps), dtype=np.int64)
