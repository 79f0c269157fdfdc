from __future__ import annotations

import numpy as np
import pytest

from planner.camera import CameraTurn
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.poses import integrate

TURN = CameraTurn(roll=0.2, pitch=-0.3, yaw=0.7)


def test_actions_go_into_the_model_s_frame_and_back() -> None:
    actions = np.random.default_rng(0).normal(0, 0.1, (5, 7))
    np.testing.assert_allclose(TURN.actions_to_base(TURN.actions_to_model(actions)), actions, atol=1e-12)


def test_turning_and_moving_may_be_done_in_either_order() -> None:
    pose, action = np.random.default_rng(1).normal(0, 0.3, (2, 7))
    pose[6], action[6] = 0.3, 0.2
    moved_then_turned = TURN.poses_to_model(integrate(pose, action))
    turned_then_moved = integrate(TURN.poses_to_model(pose), TURN.actions_to_model(action))
    np.testing.assert_allclose(turned_then_moved, moved_then_turned, atol=1e-12)


def test_no_turn_changes_nothing() -> None:
    pose = np.array([0.4, 0.1, 0.2, 0.1, 0.2, 0.3, 0.5])
    np.testing.assert_allclose(CameraTurn().poses_to_model(pose), pose, atol=1e-12)


def test_the_point_it_is_turned_about_stays_where_it_is() -> None:
    turn = CameraTurn(yaw=0.7, about=(0.5, 0.1, 0.2))
    pose, action = np.array([0.5, 0.1, 0.2, 0.1, 0.2, 0.3, 0.5]), np.array([0.05, 0.0, 0.02, 0.0, 0.1, 0.0, 0.2])
    np.testing.assert_allclose(turn.poses_to_model(pose)[:3], pose[:3], atol=1e-12)
    moved_then_turned = turn.poses_to_model(integrate(pose, action))
    turned_then_moved = integrate(turn.poses_to_model(pose), turn.actions_to_model(action))
    np.testing.assert_allclose(turned_then_moved, moved_then_turned, atol=1e-12)


def test_a_view_that_explains_too_little_is_warned_of() -> None:
    assert CameraTurn(residual=0.5).warning is None
    assert "60 % of the motion" in str(CameraTurn(residual=0.6).warning)


def test_a_turn_of_what_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="three finite angles"):
        CameraTurn(yaw=float("nan"))
    with pytest.raises(ConfigError, match="three finite numbers"):
        CameraTurn(about=(0.0, float("inf"), 0.0))
