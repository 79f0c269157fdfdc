from __future__ import annotations

import numpy as np
import pytest

from sim.bounds import Trial, play
from sim.env import FrankaEnv
from sim.expert import STEP_LIMIT, Expert
from sim.splits import SPLITS, Split
from sim.tasks import TASKS, TaskName
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


def test_reaching_needs_a_place() -> None:
    with pytest.raises(ConfigError, match="place"):
        Expert("reach")
