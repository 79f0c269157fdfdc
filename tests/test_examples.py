"""The examples run as they stand."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from planner.limits import LimitsConfig
from server.model import Served
from server.run import Listening
from tests.planner.worlds import HOME, PointRobot, PointWorld, located, moved, paint
from tests.server import pictures
from tests.server.conftest import point, tiny  # noqa: F401 - fixtures
from tests.server.running import running
from vjepa2_ac.client import PlannerError
from vjepa2_ac.poses import pose_difference

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Arm:
    """A point that does what the examples ask of a robot."""

    def __init__(self) -> None:
        self.point = PointRobot()

    def look(self) -> Any:
        return self.point.frame()

    def pose(self) -> Any:
        return self.point.pose

    def move_to(self, pose: Any) -> None:
        self.point.follow(pose_difference(self.point.pose, pose))


def test_the_robot_loop_reaches_its_goals(point: Listening) -> None:  # noqa: F811
    arm, goals = Arm(), [moved(0.06, 0.0, 0.0), moved(0.06, 0.05, 0.0)]
    assert example("robot_loop").follow(arm, [paint(goal) for goal in goals], point.url) == "done"
    np.testing.assert_allclose(arm.point.pose[:3], goals[-1][:3], atol=0.01)


def test_the_robot_loop_ends_at_what_no_later_observation_will_change(point: Listening) -> None:  # noqa: F811
    class Turned(Arm):
        def pose(self) -> Any:
            asked.append(1)
            if len(asked) > 1:
                raise EOFError
            return [*super().pose()[:3], 180.0, 0.0, 0.0, 0.0]  # degrees

    asked: list[int] = []
    with pytest.raises(PlannerError, match="are these degrees"):
        example("robot_loop").follow(Turned(), [paint(moved(0.06, 0.0, 0.0))], point.url)


def test_the_robot_loop_makes_no_move_of_a_picture_that_is_old_by_now() -> None:
    class Timed(Arm):
        def look(self) -> Any:
            seen_at.append(time.monotonic())
            if len(seen_at) == 2 and program._loop:
                program._loop.call_soon_threadsafe(time.sleep, 5.0)  # what comes meanwhile arrives when that is over
            return super().look()

        def move_to(self, pose: Any) -> None:
            ages.append(time.monotonic() - seen_at[-1])
            super().move_to(pose)

    seen_at: list[float] = []
    ages: list[float] = []
    with running() as (program, where):
        assert example("robot_loop").follow(Timed(), [paint(moved(0.1, 0.05, 0.0))], where.url) == "done"
    assert max(ages) < 4.0


def test_fingers_are_not_kept_closing_by_a_plan_that_the_robot_loop_did_not_follow() -> None:
    class Moved(Arm):
        """Somebody moves it, and the view clears, after a plan that would have closed its fingers."""

        pictures = 0

        def look(self) -> Any:
            self.pictures += 1
            if self.pictures == 2:
                self.point.pose, world.cycle_error = moved(0.0, 0.1, 0.0), 0.0
            return super().look()

        def move_to(self, pose: Any) -> None:
            sent.append(pose)
            if len(sent) > 1:
                raise EOFError
            super().move_to(pose)

    goal, sent = moved(0.0, 0.0, 0.0, gripper=1.0), list[Any]()
    world = PointWorld(located_B4=located(goal), cycle_error=0.31)
    with running(lambda: Served(world=world, name="point", version="1")) as (_, where), pytest.raises(EOFError):
        example("robot_loop").follow(Moved(), [paint(goal)], where.url)
    assert sent[0][1] < 0.09  # on its way back
    assert sent[0][6] < 0.5


class Still(Arm):
    """Looks three times and must not be moved."""

    pictures = 0

    def look(self) -> Any:
        self.pictures += 1
        if self.pictures > 3:
            raise EOFError
        return super().look()

    def move_to(self, pose: Any) -> None:
        raise AssertionError(f"moved to {pose}")


def test_the_robot_loop_heeds_how_old_a_picture_the_operator_lets_it_act_on() -> None:
    with running(limits=LimitsConfig(oldest=1e-9)) as (_, where), pytest.raises(EOFError):
        example("robot_loop").follow(Still(), [paint(moved(0.06, 0.0, 0.0))], where.url)


def test_the_smooth_loop_ends_at_what_no_later_observation_will_change(point: Listening) -> None:  # noqa: F811
    with pytest.raises(PlannerError, match="there is no goal") as raised:
        example("smooth_loop").follow_smoothly(Still(), "0" * 64, moves=3, url=point.url)
    assert not raised.value.may_pass


def test_no_loop_moves_in_a_view_that_the_model_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    goal = moved(0.06, 0.0, 0.0)
    world = PointWorld(located_B4=located(goal), cycle_error=0.31)
    with running(lambda: Served(world=world, name="point", version="1")) as (_, where):
        with pytest.raises(EOFError):
            example("robot_loop").follow(Still(), [paint(goal)], where.url)
        with pytest.raises(EOFError):
            example("smooth_loop").follow_smoothly(Still(), paint(goal), moves=9, url=where.url, dt_s=0.01)
        assert "holding still: the model does not know such a view" in capsys.readouterr().err.splitlines()[-1]


def test_the_robot_loop_says_why_it_holds_still_and_for_how_long(
    point: Listening,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Held(Arm):
        def move_to(self, pose: Any) -> None:
            raise AssertionError(f"moved to {pose}")

    loop, waited = example("robot_loop"), []
    monkeypatch.setattr(loop, "time", SimpleNamespace(sleep=waited.append))
    assert loop.follow(Held(), [paint(HOME)], point.url) in ("done", "timed out")
    held = capsys.readouterr().err.count("holding still: the goal looks out of reach")
    assert held
    assert waited == [0.25] * held  # as a move would, or steps would pass, and the goal be given up, in no time


def test_the_smooth_loop_holds_still_where_a_goal_looks_out_of_reach(point: Listening) -> None:  # noqa: F811
    class Held(Arm):
        def move_to(self, pose: Any) -> None:
            raise AssertionError(f"moved to {pose}")

    smooth = example("smooth_loop")
    assert smooth.follow_smoothly(Held(), paint(HOME), moves=3, url=point.url, dt_s=0.01) is None


def test_the_smooth_loop_comes_near_its_goal(point: Listening) -> None:  # noqa: F811
    arm, goal = Arm(), moved(0.1, 0.05, 0.0)
    example("smooth_loop").follow_smoothly(arm, paint(goal), moves=20, url=point.url, dt_s=0.03)
    np.testing.assert_allclose(arm.point.pose[:3], goal[:3], atol=0.04)


def test_reflection_lists_the_calls(point: Listening) -> None:  # noqa: F811
    lines = example("reflection").describe(point.grpc)
    assert "  rpc Plan(PlanRequest) returns (PlanResponse)" in lines
    assert "  rpc PlanStream(stream PlanStreamRequest) returns (stream PlanStreamResponse)" in lines


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_gets_a_chunk(tiny: Listening, tmp_path: Path) -> None:  # noqa: F811
    for name, seed in (("observation", 1), ("goal", 2)):
        (tmp_path / f"{name}.jpg").write_bytes(pictures.jpeg(pictures.noise(64, 64, seed)))
    done = subprocess.run(
        [EXAMPLES / "curl.sh", tmp_path / "observation.jpg", tmp_path / "goal.jpg"],
        env={**os.environ, "URL": tiny.url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"actions":[[') == 2
