"""The demo drives the robot through a service of its own, tells what happened, and leaves nothing running."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import av
import pytest
import torch

from planner.limits import LimitsConfig
from sim import demo
from sim.evaluate.episode import Record
from sim.evaluate.films import place
from sim.evaluate.service import planning_service, served_by
from sim.evaluate.settings import EvaluationConfig, Goals, Job
from tests.models.small import ac_predictor, encoder
from vjepa2_ac.checkpoints.release import save
from vjepa2_ac.cli import run
from vjepa2_ac.images import Preprocessing

GONE_WITHIN_S = 60.0
DEMO = ("sim", "demo", "--no-window", "--task", "reach")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A small model with random weights, in a folder whose name is in the command of whatever serves it."""
    torch.manual_seed(0)
    folder = tmp_path / "release"
    predictor = ac_predictor(img_size=(32, 32), embed_dim=48)
    save(folder, encoder=encoder(), predictor=predictor, preprocessing=Preprocessing(img_size=(32, 32)))
    return folder


def test_a_service_drives_the_robot_and_is_gone_afterwards(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shown"
    given = ["--model", str(release), "--planner", "fast", "--max-steps", "1", "--out", str(out)]
    assert run([*DEMO, *given]) == 1  # 13 cm aside, and a step is 7.5 cm at most
    said = capsys.readouterr().out
    assert re.search(r"ready after .* s", said)
    assert re.search(r"at http://127\.0\.0\.1:\d+", said)
    assert re.search(r"^ +1 +\d\.\d{4} +\d\.\d{4} .* cm .* ms$", said, re.MULTILINE), said
    assert "0 of 1 tasks done; missed reach" in said
    film = place(out, {"driver": "planner", "task": "reach", "object": "cup", "seed": 0})
    assert str(film) in said
    with av.open(str(film)) as opened:
        assert opened.streams.video[0].frames == 5
    assert film.name in (out / "report.html").read_text()
    assert not serving(release)


def test_a_private_service_lets_us_in_whoever_else_the_environment_lets_into_another(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokens").write_text("one-for-the-robots\n")
    monkeypatch.setenv("VJEPA2_AC_TOKEN_FILE", str(tmp_path / "tokens"))
    monkeypatch.setenv("VJEPA2_AC_TLS_CERTIFICATE", "/nowhere")
    with planning_service(str(release), LimitsConfig(), tmp_path / "service.log") as url:
        assert str(release) in served_by(url)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_demo_leaves_no_service_behind(release: Path, tmp_path: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-m", "vjepa2_ac.cli", *DEMO, "--model", str(release), "--out", str(tmp_path / "shown")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        assert any("It is ready" in line for line in process.stdout)
        assert serving(release)
        process.send_signal(end)
        assert process.wait(GONE_WITHIN_S) != 0
    until = time.monotonic() + GONE_WITHIN_S
    while serving(release) and time.monotonic() < until:
        time.sleep(0.1)
    assert not serving(release)


def test_the_expert_needs_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "shown"
    assert run([*DEMO, "--expert", "--seed", "3", "--out", str(out)]) == 0
    assert "1 of 1 tasks done" in capsys.readouterr().out
    assert place(out, {"driver": "expert", "task": "reach", "object": "cup", "seed": 3}).is_file()
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--server", "http://127.0.0.1:9", "--model", "random:tiny"], "a service plans with its own model"),
        (["--expert", "--model", "random:tiny"], "the expert drives by itself"),
        (["--expert", "--server", "http://127.0.0.1:9"], "the expert drives by itself"),
        (["--expert", "--planner", "fast"], "the expert drives by itself"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*DEMO, *options, "--out", str(tmp_path / "shown")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "shown").exists()


def test_a_missing_model_is_said_before_anything_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*DEMO, "--model", "/nowhere", "--out", str(tmp_path / "shown")]) == 2
    said = capsys.readouterr().err
    assert "there is no file or folder /nowhere" in said
    assert "--expert" in said


def test_a_service_that_cannot_start_says_why(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / "model.safetensors").write_bytes(b"nothing of the kind")
    assert run([*DEMO, "--model", str(release), "--out", str(tmp_path / "shown")]) == 2
    assert "the planning service has no model: " in capsys.readouterr().err
    assert not serving(release)


def test_a_place_where_nothing_can_be_written_is_said_before_a_service_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Mock(side_effect=AssertionError("a service was started")))
    (tmp_path / "thesis.txt").touch()
    (tmp_path / "shown-service.log").mkdir()
    for out, said in (("thesis.txt/shown", "cannot be made a folder of results"), ("shown", "cannot be written")):
        assert run([*DEMO, "--model", "random:tiny", "--out", str(tmp_path / out)]) == 2
        assert said in capsys.readouterr().err


def test_a_folder_that_holds_something_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").touch()
    assert run([*DEMO, "--expert", "--out", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_folder_that_may_not_be_entered_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = Path.stat

    def refuse(path: Path, **options: Any) -> Any:
        if path.name == "shown":
            raise PermissionError(13, "Permission denied", str(path))
        return ask(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    assert run([*DEMO, "--expert", "--out", str(tmp_path / "shown")]) == 2
    assert "shown cannot be read: Permission denied" in capsys.readouterr().err


def test_a_step_says_what_the_gripper_did() -> None:
    thoughts = {"cost": 0.31, "imagined_cost": 0.2, "confidence": {"gain": 0.25, "elite_spread": 0.004}, "plan_ms": 81}
    turn = {"action_7": [0.05, 0, -0.012, 0, 0, 0, 0.5], "pose_7": [0.5, 0, 0.1, 0, 0, 0, 0.1], **thoughts}
    said = " ".join(demo.line(2, turn).split())
    assert said == "3 0.3100 0.2000 25% 0.4 cm +5.0 +0.0 -1.2 10% closing 81 ms"


def test_what_repeats_is_said_once() -> None:
    said: list[str] = []
    tell = demo._Commentary(said.append, ["reached"])
    job = Job(driver="planner", task="reach", kind="cup", seed=0)
    still = {"status": "done", "passed": [[0, "achieved"]], "confidence": {}, "error": "", "stages": ["reached"]}
    for step in range(3):
        tell(job, step, still)
    assert [" ".join(each.split()) for each in said] == [
        "1 done: stays where it is",
        "goal picture 'reached' passed (achieved)",
        "physics: reached",
    ]


@pytest.mark.parametrize(
    ("goals", "passed"),
    [
        ("all", ["grasped", "near", "released", "withdrawn"]),
        ("paper", ["grasped", "near", "withdrawn"]),
        ("last", ["withdrawn"]),
    ],
)
def test_goal_pictures_are_named_as_they_are_sent(
    goals: Goals, passed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pass_all(_: Path, config: EvaluationConfig, jobs: list[Job], watch: Callable[..., None]) -> list[Record]:
        for goal in range(len(config.goals_of(jobs[0].task))):
            turn = {"status": "done", "passed": [[goal, "settled"]], "confidence": {}, "error": "", "stages": []}
            watch(jobs[0], goal, turn)
        return [{"success_end": True, "steps": 1, "seconds": 0.1}]

    monkeypatch.setattr(demo, "evaluate", pass_all)
    said: list[str] = []
    job = Job(driver="planner", task="pick_and_place", kind="cup", seed=0)
    demo._played(tmp_path, EvaluationConfig(model="", goals=goals), [job], said.append)
    assert f"seed 0: {len(passed)} goal picture" in said[0]
    assert re.findall(r"goal picture '(.*)' passed", "\n".join(said)) == passed


def serving(release: Path) -> list[str]:
    """Commands of the services that run with that model."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended meanwhile
            continue
        if "serve --stop-with-stdin" in command and str(release) in command:
            found.append(command)
    return found


def test_the_services_log_lies_beside_the_folder_however_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seen" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "seen")
    for out in (Path(), Path("below/.."), tmp_path / "seen"):
        assert demo._service_log(out) == tmp_path / "seen-service.log"
