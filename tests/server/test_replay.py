"""Every served plan is a line of the plan log, from which it can be made again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor

from server.model import Served
from server.planlog import PlanLog
from server.replay import replay
from tests.planner.failures import ON_GAIN, file_of
from tests.planner.worlds import HOME, PointWorld, located, moved, paint
from tests.server.pictures import noise
from tests.server.running import keyframes_model, locating_model, running, tiny_model
from vjepa2_ac import cli
from vjepa2_ac.client import PlannerClient
from vjepa2_ac.errors import InputError
from vjepa2_ac.poses import Array

FRAME, GOALS = noise(seed=1), [noise(seed=2), noise(seed=3)]


def serve_some(log: Path, **settings: Any) -> list[Any]:
    """Plans of every kind, served and logged."""
    with running(tiny_model, plan_log=log, **settings) as (_, where), PlannerClient(where.url) as client:
        plans = [
            client.plan(FRAME, HOME, GOALS[0], seed=7, samples=8, iterations=2),
            client.plan(FRAME, HOME, GOALS[0], preset="paper", samples=16, iterations=2, camera_turn=[0, 0, 0.4]),
            client.plan(FRAME, HOME, GOALS, sub_goal=1, preset="paper", samples=50, iterations=900, deadline_ms=300),
            client.plan(FRAME, HOME, GOALS[0], samples=8, details={"commanded": moved(0.01, 0.0, 0.0)}),
        ]
        with client.session(GOALS, samples=8, iterations=2, horizon=2, seed=3) as session:
            steps = [session.step(noise(seed=10 + n), moved(0.01 * n, 0.0, 0.0)) for n in range(3)]
    return [*plans, *(step.plan for step in steps)]


def test_every_served_plan_can_be_made_again(tmp_path: Path) -> None:
    log = tmp_path / "plans.jsonl"
    plans = serve_some(log, log_pictures=True)
    assert plans[2].stop_reason == "deadline"
    outcomes = list(replay(log, tiny_model()))
    assert [outcome.plan_id for outcome in outcomes] == [plan.plan_id for plan in plans]
    assert [outcome.difference for outcome in outcomes] == [0.0] * len(plans)


def test_what_earlier_observations_told_is_logged_and_comes_out_again(tmp_path: Path) -> None:
    known = {"progress": {"achieved": {"mean": 0.0, "deviation": 1e-4}}, "earlier_observations": 2}
    log, settings = tmp_path / "plans.jsonl", {"log_pictures": True, "control": known}
    frames, poses = [noise(seed=10 + n) for n in range(4)], [moved(0.01 * n, 0.0, 0.0) for n in range(4)]
    with running(locating_model, plan_log=log, **settings) as (_, where), PlannerClient(where.url) as client:
        plan = client.plan(FRAME, HOME, GOALS[0], samples=8)
        with client.session([frames[0], *GOALS], samples=48, seed=3) as session:  # the first is there already
            plans = [plan, *(session.step(*seen).plan for seen in zip(frames, poses, strict=True))]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    seen = [line["observation"]["sha256"] for line in lines]
    assert [[each["sha256"] for each in line["earlier"]] for line in lines] == [[], [], seen[1:2], seen[1:3], seen[2:4]]
    np.testing.assert_allclose([each["pose"] for each in lines[4]["earlier"]], poses[1:3], atol=1e-7)
    stays = not np.any(plans[1].actions[0][:3])  # then the hand still leaves in the next plan
    assert [line["leaving"] for line in lines] == [False, True, stays, False, False]
    assert [outcome.difference for outcome in replay(log, locating_model())] == [0.0] * len(plans)
    lines[4]["looks"] = lines[4].pop("earlier")  # as older lines call them
    log.write_text("\n".join(map(json.dumps, lines)))
    assert list(replay(log, locating_model()))[4].difference == 0.0
    lines[4]["looks"] = []
    log.write_text("\n".join(map(json.dumps, lines)))
    assert not list(replay(log, locating_model()))[4].is_same


def test_plans_by_keyframes_are_located_in_the_same_hues_again(tmp_path: Path) -> None:
    log, frames = tmp_path / "plans.jsonl", [noise(seed=10 + n) for n in range(3)]
    with (
        running(keyframes_model, plan_log=log, log_pictures=True) as (_, where),
        PlannerClient(where.url) as client,
        client.session(GOALS[:1], preset="keyframes", samples=8) as session,
    ):
        plans = [client.plan(FRAME, HOME, GOALS[0], preset=preset, samples=8) for preset in ("keyframes", "balanced")]
        plans += [session.step(frame, moved(0.01 * n, 0.0, 0.0)).plan for n, frame in enumerate(frames)]
    assert [outcome.difference for outcome in replay(log, keyframes_model())] == [0.0] * len(plans)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["config"]["cost"]["hues"] for line in lines] == [5, 1, 5, 5, 5]
    lines[0]["config"]["cost"]["hues"] = 1
    log.write_text(json.dumps(lines[0]))
    assert not next(iter(replay(log, keyframes_model()))).is_same


def clings() -> Served:
    """Opens what is closed, closes what is open, and sees the goal's hand elsewhere."""

    def keyframe(pose_B7: Tensor) -> Tensor:
        return torch.cat((pose_B7[:, :3], 0.4 * (pose_B7[:, 6:] < 0.2)), dim=1)

    world = PointWorld(keyframe=keyframe, located_B4=located(moved(0.0, 0.0, 0.1)))
    return Served(world=world, name="point", version="1")


def clung(log: Path, poses: list[Array]) -> tuple[list[Any], list[dict[str, Any]]]:
    """The plans of a session that sees a hand in these poses, and their lines in the log."""
    with (
        running(clings, plan_log=log, log_pictures=True) as (_, where),
        PlannerClient(where.url) as client,
        client.session([paint(moved(0.0, 0.0, 0.1))], preset="keyframes") as session,
    ):
        plans = [session.step(paint(pose), pose).plan for pose in poses]
    return plans, [json.loads(line) for line in log.read_text().splitlines()]


def test_where_something_was_set_down_is_logged_and_comes_out_again(tmp_path: Path) -> None:
    log, poses = tmp_path / "plans.jsonl", [moved(0.0, 0.0, 0.0, gripper=closed) for closed in (0.4, 0.0, 0.0)]
    plans, lines = clung(log, poses)
    assert [line["set_down"] for line in lines] == [None, poses[0].tolist(), poses[0].tolist()]
    assert plans[2] is not None
    assert plans[2].actions[0][2] > 0.02  # on to the goal
    assert [outcome.difference for outcome in replay(log, clings())] == [0.0] * len(plans)
    lines[2]["set_down"] = None
    log.write_text(json.dumps(lines[2]))
    assert not next(iter(replay(log, clings()))).is_same


def test_that_fingers_are_on_their_way_is_logged_and_comes_out_again(tmp_path: Path) -> None:
    log, poses = tmp_path / "plans.jsonl", [moved(0.0, 0.0, 0.0, gripper=closed) for closed in (0.4, 0.3)]
    plans, lines = clung(log, poses)
    assert [line["changing"] for line in lines] == [0.0, -1.0]  # opening
    assert [outcome.difference for outcome in replay(log, clings())] == [0.0] * len(plans)
    lines[1]["changing"] = 1.0
    log.write_text(json.dumps(lines[1]))
    assert not next(iter(replay(log, clings()))).is_same


def test_the_chance_of_failure_is_logged_and_comes_out_again(tmp_path: Path) -> None:
    log = tmp_path / "plans.jsonl"
    plans = serve_some(log, log_pictures=True, model="random:tiny", confidence=file_of(tmp_path, ON_GAIN))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["answer"]["failure_probability"] for line in lines] == [plan.failure_probability for plan in plans]
    assert all(0 < plan.failure_probability < 1 for plan in (plans[0], *plans[3:]))
    assert plans[1].failure_probability is plans[2].failure_probability is None  # the model is not for paper's cost
    assert [outcome.difference for outcome in replay(log, tiny_model())] == [0.0] * len(plans)
    lines[0]["answer"]["failure_probability"] += 0.01
    lines[1]["answer"]["failure_probability"] = 0.5
    lines[3]["answer"]["failure_probability"] = None
    log.write_text("\n".join(map(json.dumps, lines)))
    first, second, third, fourth, *_ = replay(log, tiny_model())
    assert first.difference == pytest.approx(0.01)
    assert second.difference == fourth.difference == math.inf
    assert third.is_same


def test_another_model_makes_other_plans_and_says_why(tmp_path: Path) -> None:
    log = tmp_path / "plans.jsonl"
    serve_some(log, log_pictures=True)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[0]["answer"]["actions"][0][0] += 0.01
    lines[0]["model"]["version"] = "0"
    log.write_text("\n".join(map(json.dumps, lines)))
    first = next(replay(log, tiny_model()))
    assert not first.is_same
    assert first.note == "model was 0, is 1"


def test_pictures_are_kept_only_where_that_was_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "plans.jsonl"
    serve_some(log)
    assert [path.name for path in tmp_path.iterdir()] == ["plans.jsonl"]
    with pytest.raises(InputError, match="see serve --log-pictures"):
        list(replay(log, tiny_model()))


def test_lines_name_request_and_session(tmp_path: Path) -> None:
    log = tmp_path / "plans.jsonl"
    serve_some(log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(line["request_id"] for line in lines)
    assert [line["session_id"] is not None for line in lines] == [False] * 4 + [True] * 3
    np.testing.assert_allclose(lines[0]["observation"]["pose"], HOME)


def test_a_full_disk_stops_neither_a_robot_nor_the_way_down(caplog: pytest.LogCaptureFixture) -> None:
    plans = PlanLog(Path("/dev/full"), keep_pictures=False)
    plans.write({"plan_id": "1"}, [])
    plans.close()
    assert [line.message for line in caplog.records] == [
        "a plan could not be logged",
        "the end of the plan log could not be written",
    ]


def test_a_line_that_a_full_disk_broke_off_takes_no_other_along(tmp_path: Path) -> None:
    log = tmp_path / "plans.jsonl"
    for before in ("", '{"plan_id": "0"}\n', '{"plan_id": "0'):
        log.write_text(before)
        plans = PlanLog(log, keep_pictures=False)
        plans.write({"plan_id": "1"}, [])
        plans.close()
        assert log.read_text().splitlines() == [*before.splitlines(), '{"plan_id": "1"}']


def test_what_stands_around_a_line_that_was_broken_off_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "plans.jsonl"
    plans = serve_some(log, log_pictures=True)
    lines = log.read_text().splitlines()
    log.write_text("\n".join((lines[0], lines[1][:200], *lines[2:], lines[1][:5])))
    outcomes = list(replay(log, tiny_model()))
    assert [outcome.plan_id for outcome in outcomes] == [plan.plan_id for plan in (plans[0], *plans[2:])]
    assert capsys.readouterr().err.splitlines() == [
        f"{log}, line {number} was broken off as it was written: it is left out" for number in (2, len(lines) + 1)
    ]


def test_a_first_line_that_was_broken_off_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "plans.jsonl"
    with running(tiny_model, plan_log=log, log_pictures=True) as (_, where), PlannerClient(where.url) as client:
        client.plan(FRAME, HOME, GOALS[0], seed=7, samples=8, iterations=2)
    log.write_text('{"plan_id": "1\n' + log.read_text())
    monkeypatch.setattr("server.model.open_model", lambda *asked: tiny_model())
    assert cli.run(["replay", str(log)]) == 0
    assert capsys.readouterr().err.count("line 1 was broken off") == 1


def test_a_log_is_replayed_where_a_service_would_not_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "plans.jsonl"
    with running(tiny_model, plan_log=log, log_pictures=True) as (_, where), PlannerClient(where.url) as client:
        client.plan(FRAME, HOME, GOALS[0], seed=7, samples=8, iterations=2)
    opened = Mock(return_value=tiny_model())
    monkeypatch.setattr("server.model.open_model", opened)
    monkeypatch.setenv("VJEPA2_AC_HOST", "0.0.0.0")  # as in the container; there is no token here
    assert cli.run(["replay", str(log), "--precision", "fp32", "--device", "cpu"]) == 0
    opened.assert_called_once_with("tiny", "fp32", "cpu")


def test_what_is_no_plan_log_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["replay", str(tmp_path / "none.jsonl")]) == 2
    assert "there is no plan log" in capsys.readouterr().err
    log = tmp_path / "log.jsonl"
    log.write_text("")
    assert cli.run(["replay", str(log)]) == 2
    assert "there is no plan in" in capsys.readouterr().err
    for words in (b"hello\n", b"[]\n", b'{"plan_id": "1"}\n', b"\xff\xd8\xff\xe0, a picture\n"):
        log.write_bytes(words)
        assert cli.run(["replay", str(log)]) == 2
        assert "line 1 is not a line of a plan log" in capsys.readouterr().err
