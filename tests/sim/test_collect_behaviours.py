"""What is played at a seed belongs to an edition: collections are gone on with only where they hold the same one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim import workspace
from sim.collect_behaviours import EDITION, Behaviour, Sight, disturbed, play, solve, wander
from sim.truth import Truth

# Of 200 actions: the sum of their seven numbers, each weighted by when it came. Where one of them is no longer so,
# EDITION has to be one more, or a collection begun before would be gone on with by other moves.
PLAYED = {
    "expert": (0.009264, -0.040404, -0.064764, 0.0, 0.0, 0.0, -3.645000),
    "noisy": (0.152128, -0.463163, -0.200995, 0.0, 0.0, 0.0, -4.720000),
    "near": (-0.011241, -0.001820, -0.078240, 0.0, 0.0, 0.202923, 41.099462),
    "random": (-0.101108, -0.168583, 0.036381, 0.0, 0.0, 0.045218, 24.734072),
}


class ToyCell:
    """A hand that goes where it is told, and an object that goes along while the fingers are closed on it."""

    def __init__(self) -> None:
        self.pose_7 = np.array([0.49, -0.02, 0.14, 0.0, 0.0, 0.0, 0.0])
        self.truth = Truth(
            hand=self.pose_7[:3], object=np.array([0.47, 0.06, 0.03]), object_quaternion=np.array([0.98, 0, 0, 0.2]),
            object_size=np.array([0.04, 0.05, 0.06]), object_speed=0.0, object_spin=0.0,
            target=np.array([0.5, -0.06, 0.0335]), left_force=0.0, right_force=0.0, is_supported=True,
        )  # fmt: skip

    def sight(self) -> Sight:
        return Sight(pose_7=self.pose_7, truth=self.truth)

    def step(self, action_7: np.ndarray) -> Sight:
        before_3, self.pose_7 = self.pose_7[:3], self.pose_7 + action_7
        self.pose_7[:3] = np.clip(self.pose_7[:3], workspace.LOW, workspace.HIGH)
        self.pose_7[6] = np.clip(self.pose_7[6], 0.0, 1.0)
        object_3 = self.truth.object
        is_gripped = self.pose_7[6] > 0.4 and np.linalg.norm(object_3 - before_3) < 0.03
        if is_gripped:
            self.pose_7[6], object_3 = 0.45, object_3 + self.pose_7[:3] - before_3
        else:
            object_3 = np.array([*object_3[:2], 0.03])
        force = 5.0 * is_gripped
        self.truth = replace(
            self.truth, hand=self.pose_7[:3], object=object_3, left_force=force, right_force=force,
            is_supported=object_3[2] < 0.035,
        )  # fmt: skip
        return self.sight()


def behaviour(kind: str, rng: np.random.Generator, sight: Sight) -> Behaviour:
    if kind == "near":
        return play(rng, sight)
    if kind == "random":
        return wander(rng, sight)
    expert = solve(rng, sight, "pick_and_place", np.array([0.45, 0.05, 0.1]))
    return expert if kind == "expert" else disturbed(rng, sight, expert)


@pytest.mark.parametrize("kind", PLAYED)
def test_an_edition_plays_the_same_at_a_seed(kind: str) -> None:
    cell = ToyCell()
    moves = behaviour(kind, np.random.default_rng(7), cell.sight())
    actions = [next(moves)]
    for _ in range(199):
        actions.append(moves.send(cell.step(actions[-1])))
    np.testing.assert_allclose(np.arange(1, 201) @ np.stack(actions) / 100, PLAYED[kind], atol=1e-6)
    assert EDITION == 2
