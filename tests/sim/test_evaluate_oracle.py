"""The search on the true simulator: it gets there, and trying things out leaves no trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from planner.confidence import ConfidenceConfig
from sim.env import FrankaEnv
from sim.evaluate.episode import Player
from sim.evaluate.oracle import TrueWorld, goal_states, state
from sim.evaluate.settings import EvaluationConfig, Job, in_this_cell
from tests.planner.failures import ON_GAIN


def test_candidates_are_carried_out_and_taken_back() -> None:
    env = FrankaEnv("grasp", split="test", kind="box", views=(), goal_frames=False)
    env.reset(seed=1)
    before, actions = state(env), torch.zeros(1, 2, 2, 7)
    actions[0, 1, :, 0] = 0.02
    rollout = TrueWorld(env).rollout(torch.zeros(1, 1, 10), torch.zeros(1, 7), actions)
    assert rollout.latents_BSHND.shape == (1, 2, 2, 1, 10)
    moved = rollout.latents_BSHND[0, :, 1, 0, :3].numpy() - before[:3]
    np.testing.assert_allclose(moved[0], 0.0, atol=0.003)
    np.testing.assert_allclose(moved[1], [0.04, 0.0, 0.0], atol=0.004)
    np.testing.assert_array_equal(state(env), before)
    env.close()


def test_goal_states_are_those_of_the_goal_pictures() -> None:
    env = FrankaEnv("pick_and_place", split="test", kind="box", views=(), goal_frames=False)
    env.reset(seed=1)
    before = state(env)
    found = goal_states(env)
    np.testing.assert_allclose([each[:3] for each in found], env.goal.poses[:, :3], atol=1e-6)
    np.testing.assert_allclose(found[-1][3:6], env.goal.object, atol=0.04)
    np.testing.assert_array_equal(state(env), before)
    env.close()


def test_with_a_perfect_model_the_search_reaches() -> None:
    planner = replace(in_this_cell("fast"), confidence=ConfidenceConfig(failure=ON_GAIN))
    player = Player(EvaluationConfig(model="none", planner=planner, max_steps=5))
    record, _ = player.play(Job(driver="oracle", task="reach", kind="box", seed=1))
    player.close()
    assert record["success_end"]
    assert record["hand_error"] < 0.02
    assert {turn["failure_probability"] for turn in record["turns"]} == {None}  # chances are those of another model


def test_with_a_perfect_model_the_search_grasps() -> None:
    player = Player(EvaluationConfig(model="none", planner=in_this_cell("fast"), max_steps=9))
    record, _ = player.play(Job(driver="oracle", task="grasp", kind="box", seed=11000))
    player.close()
    assert record["success_end"]


def test_a_perfect_model_finds_the_keyframes_before_the_one_picture_of_the_end() -> None:
    fast = in_this_cell("fast")
    planner = replace(fast, cost=replace(fast.cost, keyframes=True))
    player = Player(EvaluationConfig(model="none", planner=planner, goals="last", max_steps=9))
    record, _ = player.play(Job(driver="oracle", task="grasp", kind="box", seed=11000))
    player.close()
    assert record["goals"] == (0, 1)
    assert record["success_end"]
    assert player.config.goals_of("grasp") == (1,)
    assert replace(player.config, planner=fast).goals_of("grasp", "oracle") == (1,)
