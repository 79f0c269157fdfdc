"""The camera's turn is found from moves whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor

from planner import calibration
from planner.calibration import CalibrationConfig, Exploration, best_turn, calibrate, evaluations, exploratory_actions
from planner.costs import CostConfig
from tests.planner.worlds import HOME, SCALE, PointWorld, paint
from vjepa2_ac.errors import ConfigError, InputError, PlanningError
from vjepa2_ac.models.hand_location import Located
from vjepa2_ac.models.inverse_model import NUMBERS
from vjepa2_ac.poses import integrate, rotation_matrix

MOVES_M3 = exploratory_actions()[:, :3]


def explore(world: PointWorld) -> list[Exploration]:
    poses = [np.array(HOME)]
    for action in exploratory_actions():
        poses.append(integrate(poses[-1], action))
    seen = [world.encode(paint(pose))[0] for pose in poses]
    return [
        Exploration(before_ND=seen[m], after_ND=seen[m + 1], pose_before=poses[m], pose_after=poses[m + 1])
        for m in range(len(MOVES_M3))
    ]


@pytest.mark.parametrize("degrees", [-40, -20, 0, 20, 40, 120])
def test_the_yaw_of_a_camera_is_found(degrees: float) -> None:
    world = PointWorld(yaw=math.radians(degrees))
    turn = calibrate(world, explore(world))
    assert math.degrees(turn.yaw) == pytest.approx(-degrees, abs=2)
    assert turn.residual < 0.05


class Inverse(PointWorld):
    """Sees in two pictures how the hand has moved, as the camera shows it."""

    def locate(self, latents_BND: Tensor, pose_B7: Tensor, goal_BND: Tensor, earlier: Any = None, **_: Any) -> Located:
        return Located((pose_B7 + (goal_BND - latents_BND)[:, 0] / SCALE)[:, NUMBERS], *torch.zeros(2, len(pose_B7)))


@pytest.mark.parametrize("degrees", [-40, 0, 20, 120])
def test_a_model_with_an_inverse_tells_the_yaw_without_imagining_anything(degrees: float) -> None:
    world = Inverse(yaw=math.radians(degrees))
    turn = calibrate(world, explore(world))
    assert math.degrees(turn.yaw) == pytest.approx(-degrees, abs=0.1)
    assert turn.residual < 0.01
    assert world.scored == []


def test_an_inverse_that_sees_no_number_tells_of_no_turn() -> None:
    world = Inverse()
    explored = explore(world)
    spoiled = replace(explored[2], after_ND=torch.full_like(explored[2].after_ND, torch.nan))
    with pytest.raises(PlanningError, match="no number"):
        calibrate(world, [*explored[:2], spoiled, *explored[3:]])


def test_any_turn_is_found_when_asked_for() -> None:
    R = rotation_matrix([0.2, -0.4, 0.9])
    turn = best_turn(MOVES_M3 @ R, MOVES_M3, yaw_only=False)
    np.testing.assert_allclose(turn.matrix, R, atol=1e-9)
    assert turn.residual < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_moves_in_one_plane_tell_a_turn_and_never_a_mirror_image(seed: int) -> None:
    R = rotation_matrix(np.random.default_rng(seed).uniform(-1, 1, 3))
    flat_M3 = MOVES_M3[:4]
    np.testing.assert_allclose(best_turn(flat_M3 @ R, flat_M3, yaw_only=False).matrix, R, atol=1e-9)


def test_noise_averages_out_and_stays_in_the_residual() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, MOVES_M3.shape)
    turn = best_turn(MOVES_M3 @ rotation_matrix([0, 0, 0.5]) + noise, MOVES_M3)
    assert turn.yaw == pytest.approx(0.5, abs=0.2)
    assert 0.2 < turn.residual < 0.7
    assert (turn.roll, turn.pitch) == (0.0, 0.0)  # for a camera that keeps its height and tilt
    seen_M3 = MOVES_M3 @ rotation_matrix([0, 0, 0.5]) + noise
    for yaw in np.linspace(-np.pi, np.pi, 63):
        missed = np.linalg.norm(MOVES_M3 - seen_M3 @ rotation_matrix([0, 0, yaw]).T)
        assert turn.residual <= missed / np.linalg.norm(MOVES_M3)


def test_a_view_that_shows_nothing_leaves_everything_unexplained() -> None:
    world = PointWorld(blind=(0, 1, 2))
    assert calibrate(world, explore(world), CalibrationConfig(rounds=1)).residual > 0.5


def test_moves_along_one_line_are_not_enough() -> None:
    with pytest.raises(InputError, match="both horizontal directions"):
        best_turn(MOVES_M3[:2], MOVES_M3[:2])
    with pytest.raises(InputError, match="at least two directions"):
        best_turn(MOVES_M3[:2], MOVES_M3[:2], yaw_only=False)
    with pytest.raises(InputError, match="at least 2 moves"):
        best_turn(MOVES_M3[:1], MOVES_M3[:1])
    upright_M3 = MOVES_M3[[0, 1, 4, 5]]
    with pytest.raises(InputError, match="both horizontal directions"):
        best_turn(upright_M3, upright_M3)
    assert best_turn(upright_M3, upright_M3, yaw_only=False).residual == pytest.approx(0.0)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_moves_that_are_not_enough_are_refused_before_the_model_is_asked(count: int) -> None:
    world = PointWorld()
    with pytest.raises(InputError, match=f"got {count}" if count < 2 else "both horizontal directions"):
        calibrate(world, explore(world)[:count])
    assert world.scored == []


def test_how_to_ask_is_as_it_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    world, cost = PointWorld(yaw=0.5), CostConfig(distance="l2")
    asked = Mock(wraps=calibration.search)
    monkeypatch.setattr(calibration, "search", asked)
    upright = [explore(world)[m] for m in (0, 1, 4, 5)]
    config = CalibrationConfig(rounds=3, yaw_only=False, search=replace(CalibrationConfig().search, samples=32))
    calibrate(world, upright, config, cost)
    assert [call.args[2:] for call in asked.call_args_list] == 3 * [(config.search, cost)]


def test_moves_that_hardly_go_aside_are_not_enough_however_many() -> None:
    true_M3 = np.array(8 * [[0.04, 0.0, 0.0], [-0.04, 0.0, 0.0], [0.0, 0.008, 0.0], [0.0, -0.008, 0.0]])
    with pytest.raises(InputError, match=r"theirs are \[0\.0283 0\.0057\]"):
        best_turn(true_M3, true_M3)


def test_a_whole_turn_needs_moves_that_the_model_sees_go_both_ways() -> None:
    true_M3 = np.array([[0.08, 0.0, 0.0], [-0.08, 0.0, 0.0], [0.0, 0.02, 0.0], [0.0, -0.02, 0.0]])
    blind = true_M3 * (1.0, 0.0, 1.0) + np.random.default_rng(0).normal(0, 1e-3, true_M3.shape)
    with pytest.raises(InputError, match="in one direction alone"):
        best_turn(blind, true_M3, yaw_only=False)
    assert best_turn(blind, true_M3).residual < 0.5
    assert best_turn(0.1 * true_M3, true_M3, yaw_only=False).residual == pytest.approx(0.9)  # a bad view says so itself


def test_a_move_that_no_single_step_of_the_model_could_be_is_refused() -> None:
    world = PointWorld()
    explored = explore(world)
    far = replace(explored[0], pose_after=integrate(explored[0].pose_before, [0.12, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(InputError, match=r"0\.120 m long; the longest that can be recognised is 0\.1 m"):
        calibrate(world, [*explored, far])


def test_the_turn_is_about_where_the_hand_was() -> None:
    world = PointWorld(yaw=0.5)
    np.testing.assert_allclose(calibrate(world, explore(world)).about, HOME[:3], atol=0.02)


def test_what_is_looked_at_before_and_after_counts_alike_for_where_the_hand_was() -> None:
    world = Inverse()
    about = calibrate(world, [explore(world)[m] for m in (0, 2)]).about  # 4 cm along x, 4 cm along y
    np.testing.assert_allclose(about, np.add(HOME[:3], [0.01, 0.01, 0.0]), atol=1e-3)


def test_the_inverse_is_asked_with_poses_in_the_frame_of_the_model() -> None:
    asked: list[Tensor] = []

    class Asked(Inverse):
        def locate(self, latents_BND: Tensor, pose_B7: Tensor, *more: Any, **others: Any) -> Located:
            asked.append(pose_B7)
            return super().locate(latents_BND, pose_B7, *more, **others)

    world = Asked(yaw=0.5)
    explored = explore(world)
    turn = calibrate(world, explored)
    poses = np.array([move.pose_before for move in explored])
    np.testing.assert_allclose(asked[0], poses, atol=1e-6)  # nothing is known yet
    np.testing.assert_allclose(asked[1], turn.poses_to_model(poses), atol=1e-3)


def test_every_round_imagines_as_many_candidates() -> None:
    assert evaluations(6, CalibrationConfig(rounds=3)) == 3 * evaluations(6, CalibrationConfig(rounds=1)) > 0
    config = CalibrationConfig()
    assert evaluations(6) == 2 * evaluations(3) == 6 * config.rounds * config.search.most_evaluations
    with pytest.raises(ConfigError, match="at least 1 round"):
        CalibrationConfig(rounds=0)


def test_exploratory_moves_go_where_there_is_room() -> None:
    assert [row[row != 0].item() for row in exploratory_actions(0.02, (-0.1, 0.3, 0.0))] == [
        -0.02, 0.02, 0.02, -0.02, 0.02, -0.02
    ]  # fmt: skip


def test_exploratory_moves_end_where_they_began() -> None:
    assert not exploratory_actions().sum(axis=0).any()
    assert torch.from_numpy(exploratory_actions(0.03)).abs().max() == 0.03
