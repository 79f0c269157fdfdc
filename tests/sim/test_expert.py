from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.bounds import Trial, play
from sim.env import FrankaEnv
from sim.expert import PATIENCE, STEP_LIMIT, Expert, grasp_height
from sim.splits import SPLITS, Split
from sim.tasks import TASKS, TaskName
from sim.truth import Truth
from sim.variation import KINDS, Kind
from vjepa2_ac.errors import ConfigError


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", TASKS)
def test_solves_every_task(task: TaskName, kind: Kind) -> None:
    trial = Trial(task=task, kind=kind, policy="expert", split="test", seeds=(1000, 1001))
    assert all(outcome.at_end for outcome in play(trial))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_carried_to_its_place_is_not_dragged_through_the_bowl(kind: Kind) -> None:
    seeds = (57, 64, 94, 326)  # where the first place drawn lies behind the bowl, or in it; the last for a box's corner
    trial = Trial(task="reach_with_object", kind=kind, policy="expert", split="test", seeds=seeds)
    assert all(outcome.at_end for outcome in play(trial))


@pytest.mark.parametrize("split", SPLITS)
def test_solves_every_split(split: Split) -> None:
    trial = Trial(task="pick_and_place", kind="cup", policy="expert", split=split, seeds=(7,))
    assert all(outcome.at_end for outcome in play(trial))


@pytest.mark.parametrize("task", ["grasp", "pick_and_place"])
def test_doing_nothing_solves_nothing(task: TaskName) -> None:
    trial = Trial(task=task, kind="box", policy="nothing", split="test", seeds=(0, 1))
    assert not any(outcome.any_time for outcome in play(trial))


def test_stays_within_the_planners_step_limit_and_inside_the_workspace() -> None:
    env = FrankaEnv("pick_and_place", split="test", views=(), goal_frames=False)
    for seed in range(3):
        env.reset(seed=seed)
        expert, stages = env.expert(), []
        while not expert.done:
            action = expert.act(env.truth())
            stages.append(expert.stage)
            assert np.abs(action[:3]).max() <= STEP_LIMIT + 1e-12
            assert not action[3:6].any()
            info = env.step(action)[-1]
            assert not info["clipped_action"]
            assert not info["clipped_workspace"]
        assert list(dict.fromkeys(stages)) == [
            "above",
            "down",
            "close",
            "raise",
            "lift",
            "over",
            "lower",
            "open",
            "up",
            "done",
        ]
        assert not expert.act(env.truth()).any()


HERE = Truth(
    hand=np.array([0.45, 0.0, 0.12]),
    object=np.array([0.5, 0.05, 0.03]),
    object_quaternion=np.array([1.0, 0.0, 0.0, 0.0]),
    object_size=np.array([0.05, 0.05, 0.06]),
    object_speed=0.0,
    object_spin=0.0,
    target=np.array([0.5, -0.05, 0.03]),
    left_force=0.0,
    right_force=0.0,
    is_supported=True,
)
LYING = (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0)


@pytest.mark.parametrize(
    ("place", "move"),
    [
        ((0.55, 0.05, 0.12), (0.05, 0.025, 0.0)),  # straight there, no axis beyond its limit
        ((0.47, -0.01, 0.13), (0.02, -0.01, 0.01)),
        ((0.45, 9.0, 0.12), (0.0, 0.05, 0.0)),
    ],
)
def test_it_heads_straight_for_a_place(place: tuple[float, float, float], move: tuple[float, float, float]) -> None:
    action = Expert("reach", np.array(place)).act(HERE)
    np.testing.assert_allclose(action, (*move, 0.0, 0.0, 0.0, 0.0), atol=1e-12)


def test_what_cannot_be_reached_is_left_after_a_while() -> None:
    expert, made = Expert("reach", np.array([0.5, 0.0, 0.12])), 0
    while expert.act(HERE).any():  # and yet the hand stays where it is
        made += 1
    assert (made, expert.done, expert.stage) == (1 + PATIENCE, True, "done")


@pytest.mark.parametrize(
    ("size_z", "turn", "height"), [(0.06, (1, 0, 0, 0), 0.032), (0.04, (1, 0, 0, 0), 0.03), (0.06, LYING, 0.03)]
)
def test_a_tall_object_is_taken_as_far_below_its_top_as_the_palm_needs(
    size_z: float, turn: tuple[float, ...], height: float
) -> None:
    seen = replace(HERE, object_size=np.array([0.05, 0.05, size_z]), object_quaternion=np.array(turn))
    assert grasp_height(seen) == pytest.approx(height)


def test_reaching_needs_a_place() -> None:
    with pytest.raises(ConfigError, match="place"):
        Expert("reach")
