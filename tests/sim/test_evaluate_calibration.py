"""With a turned camera the loop goes astray; a few exploratory moves before the episode put it right."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planner.mpc import ControlConfig
from planner.planning import Planner
from sim.env import FrankaEnv
from sim.evaluate.drivers import Driver, PlannedDriver, ServedDriver
from sim.evaluate.exploring import Explored, explore, summary
from sim.evaluate.oracle import OracleDriver, state
from sim.evaluate.settings import EvaluationConfig, in_this_cell, with_settings
from sim.variation import Variation, draw
from tests.planner.worlds import HOME, PointWorld, moved, paint
from tests.server.running import running, served
from tests.sim.test_evaluate import FEW, small_world
from vjepa2_ac.cli import run
from vjepa2_ac.client import PlannerClient
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.world_model import WorldModel

YAW = 40.0  # [deg]
GOAL = moved(0.05, 0.0, 0.0)


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def in_point_world() -> list[Explored]:
    ways = np.eye(3)[[0, 1, 2, 0, 1]] * 0.04
    return [
        Explored(before=paint(HOME), after=paint(moved(*way)), pose_before=np.array(HOME), pose_after=moved(*way))
        for way in ways
    ]


def check_driver(driver: Driver) -> None:
    """A driver goes astray by the camera's turn before, and straight after it has been calibrated."""
    crooked = driver.step(paint(HOME), np.array(HOME)).action_7
    assert math.degrees(math.atan2(crooked[1], crooked[0])) == pytest.approx(YAW, abs=5)
    turn = driver.calibrate(in_point_world())
    assert turn is not None
    assert math.degrees(turn.yaw) == pytest.approx(-YAW, abs=2)
    straight = driver.step(paint(HOME), np.array(HOME)).action_7
    np.testing.assert_allclose(straight[:3], (0.05, 0.0, 0.0), atol=0.005)


def test_the_loop_in_this_process_goes_straight_once_it_is_calibrated() -> None:
    world = PointWorld(tokens=1, yaw=math.radians(YAW))
    planner = Planner(world)
    check_driver(PlannedDriver(planner, [paint(GOAL)], ControlConfig(), seed=1))
    assert planner.camera is None  # the next episode's is another


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_so_does_the_loop_through_a_service(wire: str) -> None:
    with (
        running(served(PointWorld(tokens=1, yaw=math.radians(YAW)))) as (_, where),
        PlannerClient(where.url if wire == "rest" else f"grpc://{where.grpc}") as client,
    ):
        driver = ServedDriver(client, [paint(GOAL)], {}, seed=1)
        check_driver(driver)
        driver.close()


def test_a_turned_camera_is_all_that_differs() -> None:
    usual, turned = (asdict(draw(Variation(split="test", camera_yaw=yaw), 7)) for yaw in (0.0, YAW))
    assert turned.pop("camera_azimuth") == pytest.approx(usual.pop("camera_azimuth") + YAW)
    assert usual == turned


def test_exploring_leaves_no_trace() -> None:
    env = FrankaEnv("grasp", split="test", kind="box", frame_size=64, camera_yaw=YAW)
    env.reset(seed=1)
    before, picture = state(env), env.picture()
    found = explore(env, env.picture)
    np.testing.assert_array_equal(state(env), before)
    np.testing.assert_array_equal(env.picture(), picture)
    env.close()
    moves = np.array([each.pose_after - each.pose_before for each in found])[:, :3]
    np.testing.assert_allclose(np.abs(moves).max(axis=1), 0.04, atol=0.006)
    assert len({each.after.tobytes() for each in found}) > 4


def test_with_a_perfect_model_calibration_makes_up_for_a_turned_camera() -> None:
    few = ["search.samples=16", "search.elites=4", "search.kept_elites=2", "search.iterations=4", "search.horizon=1"]
    planner, control = with_settings(in_this_cell("fast"), ControlConfig(), few)
    env = FrankaEnv("reach", split="test", kind="box", views=(), goal_frames=False)
    env.reset(seed=1)
    hand = env.truth().hand
    wanted = np.clip(env.goal.hand - hand, -0.075, 0.075)
    driver = OracleDriver(env, planner, control, seed=1, camera_yaw=YAW)

    def astray() -> float:
        """How far from where it should lead the next move does [m]."""
        move = driver.step(np.zeros((8, 8, 3), np.uint8), env.cell.controller.measured_pose()).action_7
        return float(np.linalg.norm(move[:2] - wanted[:2]))

    before = astray()
    turn = driver.calibrate(explore(env, driver.look))
    assert math.degrees(turn.yaw) == pytest.approx(YAW, abs=4)
    assert turn.residual < 0.3
    assert astray() < 0.4 * before
    env.close()


def test_the_command_says_what_the_moves_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorldModel, "open", small_world)
    arguments = ["evaluate", "--model", "random:tiny", "--task", "reach", "--object", "box", "--episodes", "1"]
    arguments += ["--max-steps", "1", "--planner", "fast", "--camera-yaw", "30"]
    for setting in FEW:
        arguments += ["--set", setting]
    assert run([*arguments, "--calibrate", "--out", str(tmp_path / "found")]) == 0
    assert "camera's yaw found in 1 episodes" in capsys.readouterr().out
    found = json.loads((tmp_path / "found" / "evaluation.json").read_text())
    assert found["settings"]["camera_yaw"] == 30
    assert found["settings"]["calibrate"] is True
    assert found["episodes"][0]["camera"]["residual"] > 0.5  # a random model explains nothing


def test_what_was_not_calibrated_is_not_summed_up() -> None:
    assert summary([{"camera": None}]) == ""
    assert summary([{"driver": "oracle", "camera": {"yaw": 20.0, "residual": 0.0}}]) == ""  # it knows the true states
    with pytest.raises(ConfigError, match="up to 90°"):
        EvaluationConfig(camera_yaw=120.0)
