"""The closed loop from pictures and poses: played, judged, resumed, refused and reported."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from planner import budget
from planner.mpc import ControlConfig
from planner.planning import Planner
from sim.env import FrankaEnv
from sim.evaluate import budgets, episode, runs
from sim.evaluate.episode import Player
from sim.evaluate.failures import Moment, failure, moment
from sim.evaluate.oracle import TrueWorld
from sim.evaluate.runs import evaluate, place
from sim.evaluate.settings import (
    EvaluationConfig,
    Job,
    baselines_named,
    factors_named,
    goals_named,
    in_this_cell,
    jobs,
    kinds_named,
    tasks_named,
    with_settings,
)
from sim.evaluate.summary import auroc, rows, table
from sim.variation import FACTORS
from vjepa2_ac.cli import run
from vjepa2_ac.errors import ConfigError, InputError, NotEnoughDiskError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.world_model import WorldModel

FEW = ["search.samples=4", "search.elites=2", "search.kept_elites=1", "search.iterations=1"]
REACH = Job(driver="planner", task="reach", kind="box", seed=3)


def small_world(*_: Any, **__: Any) -> WorldModel:
    encoder = build(Encoder, EncoderConfig(img_size=(32, 32), embed_dim=24, depth=1, num_heads=2))
    config = ACPredictorConfig(img_size=(32, 32), embed_dim=24, predictor_embed_dim=32, depth=1, num_heads=2)
    predictor = build(ACPredictor, config)
    return WorldModel(encoder, predictor, Preprocessing(img_size=(32, 32)), precision="fp32", device="cpu")


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorldModel, "open", small_world)


def config(*settings: str, **others: Any) -> EvaluationConfig:
    planner, control = with_settings(in_this_cell("fast"), ControlConfig(), [*FEW, *settings])
    return EvaluationConfig(model="small", planner=planner, control=control, **{"max_steps": 2, **others})


def test_the_loop_sees_pictures_and_poses_and_nothing_else(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    original = episode.PlannedDriver.step

    def spy(self: Any, *given: Any) -> Any:
        seen.append(given)
        return original(self, *given)

    monkeypatch.setattr(episode.PlannedDriver, "step", spy)
    record, pictures = Player(config()).play(REACH)
    assert [[each.shape for each in given] for given in seen] == [[(256, 256, 3), (7,)]] * 2
    assert len(pictures) == 5 + 1
    turn = record["turns"][0]
    assert turn["cost"] > 0
    assert turn["imagined_cost"] is not None
    assert turn["evaluations"] > 0
    assert set(turn["confidence"]) >= {"gain", "flatness", "elite_spread"}


def test_the_same_job_gives_the_same_episode(small: None) -> None:
    first, second = (Player(config()).play(REACH)[0] for _ in range(2))
    for record in (first, second):
        record.pop("seconds")
        for turn in record["turns"]:
            turn.pop("plan_ms")
    assert first == second


def test_the_goal_pictures_given_are_all_or_the_papers_or_the_last(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[Any]] = []
    original = episode.PlannedDriver.__init__

    def spy(self: Any, planner: Planner, goals: list[Any], *rest: Any) -> None:
        given.append(goals)
        original(self, planner, goals, *rest)

    monkeypatch.setattr(episode.PlannedDriver, "__init__", spy)
    for goals in ("all", "paper", "last"):
        Player(config(max_steps=1, goals=goals)).play(Job(driver="planner", task="pick_and_place", kind="cup", seed=0))
    every, paper, last = given
    np.testing.assert_array_equal(paper, [every[0], every[1], every[3]])  # released is shown by none of the paper's
    np.testing.assert_array_equal(last, every[3:])


def test_the_expert_succeeds_and_doing_nothing_does_not(tmp_path: Path) -> None:
    found = evaluate(tmp_path, config(max_steps=None), jobs(["expert", "nothing"], ["reach"], ["box"], range(1)))
    assert [record["success_end"] for record in found] == [True, False]
    assert [record["failure"] for record in found] == ["", "never near"]
    assert found[0]["hand_error"] < 0.04 < found[1]["hand_error"]


def test_how_an_episode_failed_can_be_told_from_its_record(tmp_path: Path) -> None:
    (record,) = evaluate(tmp_path, config(max_steps=3), jobs(["random"], ["grasp"], ["box"], range(1)))
    env = FrankaEnv("grasp", split="test", kind="box")
    env.reset(seed=0)
    start, wanted = moment(env), {"hand": env.goal.hand.tolist(), "object": env.goal.object.tolist()}
    env.close()
    assert (record["start"], record["wanted"]) == (json.loads(json.dumps(asdict(start))), wanted)
    moments = [Moment(**each) for each in (record["start"], *(turn["moment"] for turn in record["turns"]))]
    again = failure("grasp", moments, record["wanted"], was_done=record["success_any"], without_plan=record["errors"])
    assert again == record["failure"] != ""


def test_a_scene_that_was_drawn_again_is_no_success_of_its_expert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset = FrankaEnv.reset

    def again(env: FrankaEnv, **how: Any) -> Any:
        observation, info = reset(env, **how)
        return observation, info | {"redraws": 1}

    monkeypatch.setattr(FrankaEnv, "reset", again)
    wanted = jobs(["expert", "nothing"], ["reach"], ["box"], range(1))
    expert, nothing = evaluate(tmp_path, config(max_steps=None), wanted)
    assert (expert["success_end"], expert["success_any"], expert["failure"]) == (False, False, "scene drawn again")
    assert nothing["failure"] == "never near"


def test_a_run_goes_on_where_it_was(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(tmp_path, config(), jobs(["nothing"], ["reach"], ["box"], range(2)))
    begun: list[Job] = []
    said: list[tuple[int, str]] = []
    original = Player.play
    monkeypatch.setattr(Player, "play", lambda self, job: (begun.append(job), original(self, job))[1])
    wanted = jobs(["nothing"], ["reach"], ["box"], range(3))
    found = evaluate(tmp_path, config(), wanted, advance=lambda steps=1, note="": said.append((steps, note)))
    assert said == [(2, "nothing 0 of 2"), (1, "nothing 0 of 3")]
    assert [job.seed for job in begun] == [2]
    assert [record["seed"] for record in found] == [0, 1, 2]
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_is_said_and_the_run_goes_on_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = jobs(["nothing"], ["reach"], ["box"], range(1))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        (tmp_path / runs.SETTINGS).write_text(json.dumps(runs.written(config())))
        with pytest.raises(NotEnoughDiskError, match=r"reach-box-000000\.jpg cannot be written: No space left"):
            evaluate(tmp_path, config(), wanted)
    assert len(evaluate(tmp_path, config(), wanted)) == 1


def test_files_that_a_power_cut_left_empty_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = jobs(["nothing"], ["reach"], ["box"], range(1))
    evaluate(tmp_path, config(), wanted)
    path = place(tmp_path, wanted[0])
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"reach-box-000000\.json is damaged: .*; without it, the episode is played"):
        evaluate(tmp_path, config(), wanted)
    path.unlink()
    assert len(evaluate(tmp_path, config(), wanted)) == 1
    (tmp_path / runs.SETTINGS).write_bytes(b"")
    for command in (["evaluate", "--budget", "250", "--out"], ["evaluate", "--achieved", "1", "--out"]):
        assert run([*command, str(tmp_path), "--model", "random:tiny"]) == 2
        assert "settings.json is damaged" in capsys.readouterr().err
    assert run(["evaluate-confidence", str(tmp_path)]) == 2


@pytest.mark.parametrize("content", ["[1]", "3", "{}", '{"editor.tabSize": 4}'])
def test_settings_of_something_else_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (tmp_path / runs.SETTINGS).write_text(content)
    for command in (["evaluate-confidence"], ["evaluate", "--achieved", "1", "--model", "random:tiny", "--out"]):
        assert run([*command, str(tmp_path)]) == 2
        assert "settings.json is not of an evaluation" in capsys.readouterr().err


def test_a_task_that_is_named_twice_is_played_once() -> None:
    assert tasks_named("reach,grasp,reach") == ("reach", "grasp")


def test_a_budget_that_not_even_the_smallest_search_keeps_is_refused(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = budget.CostModel(call=0.05, step=0.0, each=1e-4)
    monkeypatch.setattr(budget, "measure", lambda *_, **__: slow)
    with pytest.raises(ConfigError, match="expected to take 203 ms here, and the budget is 200 ms"):
        budgets.measured(200.0, in_this_cell(), "small", "fp32")
    assert budgets.measured(1000.0, in_this_cell(), "small", "fp32").search.samples > 12


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    evaluate(tmp_path, config(), [])
    with pytest.raises(InputError, match=r"planner\.search\.samples = 4, not 8"):
        evaluate(tmp_path, config("search.samples=8"), [])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"thesis\.txt"):
        evaluate(tmp_path / "other", config(), [])


@pytest.mark.long
def test_two_processes_play_what_one_does(tmp_path: Path) -> None:
    wanted = jobs(["nothing"], ["reach"], ["box"], range(2))
    alone = evaluate(tmp_path / "one", config(), wanted)
    together = evaluate(tmp_path / "two", config(), wanted, workers=2)
    for record in [*alone, *together]:
        record.pop("seconds")
    assert alone == together


def test_a_plan_that_fails_leaves_the_robot_where_it_is(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from vjepa2_ac.errors import PlanningError

    def no_plan(*_: Any, **__: Any) -> Any:
        raise PlanningError("all costs are NaN")

    monkeypatch.setattr(Planner, "plan", no_plan)
    record, _ = Player(config()).play(REACH)
    assert record["errors"] == 2
    assert not np.any([turn["action_7"] for turn in record["turns"]])


def test_a_search_on_the_true_state_that_fails_leaves_the_robot_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrueWorld, "score", lambda self, latents, pose, actions, *_: actions[..., 0, 0] * np.nan)
    record, _ = Player(config()).play(replace(REACH, driver="oracle"))
    assert record["errors"] == 2
    assert "a cost that is a number" in record["turns"][0]["error"]
    assert not np.any([turn["action_7"] for turn in record["turns"]])


def test_settings_are_named_as_documented() -> None:
    planner, control = with_settings(
        in_this_cell(),
        ControlConfig(),
        ["search.gripper.gate=0.015", "cost.pools=[2,4]", "cost.distance=l2", "progress.timeout=20", "history=2",
         'progress.achieved={"mean": 0.2, "deviation": 0.01}'],
    )  # fmt: skip
    assert planner.search.gripper.gate == 0.015
    assert (planner.cost.pools, planner.cost.distance) == ((2, 4), "l2")
    assert (control.progress.timeout, control.history) == (20, 2)
    assert control.progress.achieved is not None
    with pytest.raises(ConfigError, match="did you mean 'samples'"):
        with_settings(planner, control, ["search.sample=3"])
    with pytest.raises(ConfigError, match="is written like"):
        with_settings(planner, control, ["samples"])


def test_only_the_factors_asked_for_vary_between_episodes(small: None) -> None:
    two_seeds = [Job(driver="nothing", task="reach", kind="box", seed=seed) for seed in (3, 4)]
    scenes = []
    for factors in (("light",), ("layout", "light")):
        player = Player(config(split="shift", factors=factors))
        scenes.append([])
        for job in two_seeds:
            player.play(job)
            scenes[-1].append(player.env(job).cell.draw)
        player.close()
    (one, two), (here, there) = scenes
    assert (one.table, one.object_xy, one.camera_azimuth) == (two.table, two.object_xy, two.camera_azimuth)
    assert one.light_azimuth != two.light_azimuth
    assert here.object_xy != there.object_xy
    with pytest.raises(ConfigError, match="no factor fog; there are"):
        config(factors=("fog",))


def test_the_planner_is_told_the_cell_it_works_in() -> None:
    limits = in_this_cell().limits
    assert limits.lowest == (0.40, -0.12, 0.0105)
    assert (limits.step, limits.turn, limits.grip) == (0.075, 0.25, 0.5)
    assert in_this_cell().search.gripper.limit == 0.5
    assert in_this_cell("paper").method == "paper"


def test_names_on_the_command_line() -> None:
    assert tasks_named("grasp, reach") == ("grasp", "reach")
    assert kinds_named("all") == ("cup", "box")
    assert baselines_named("") == ()
    assert baselines_named("expert,nothing") == ("nothing", "expert")
    assert factors_named("light, layout") == ("layout", "light")
    assert factors_named("all") == FACTORS
    assert goals_named("last") == "last"
    wrong_names = ((tasks_named, "juggle"), (kinds_named, "plate"), (baselines_named, "lucky"), (factors_named, "fog"))
    for read, wrong in (*wrong_names, (goals_named, "first")):
        with pytest.raises(ConfigError, match="there are"):
            read(wrong)


def test_auroc_of_known_cases() -> None:
    assert auroc([3.0, 2.0, 1.0], [True, False, False]) == 1.0
    assert auroc([1.0, 1.0, None], [True, False, True]) == 0.5
    assert auroc([1.0, 2.0], [True, True]) is None


def test_the_command_writes_json_and_shows_the_paper_beside(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--task", "grasp", "--object", "cup", "--episodes", "1", "--max-steps", "2"]
    arguments += [
        "--model",
        "random:tiny",
        "--baselines",
        "nothing",
        "--planner",
        "fast",
        "--out",
        str(tmp_path / "found"),
    ]
    for setting in FEW:
        arguments += ["--set", setting]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert "65%" in said
    assert "0.0% – 79.3%" in said
    found = json.loads((tmp_path / "found" / "evaluation.json").read_text())
    assert found["format"] == runs.FORMAT
    assert len(found["asset"]) == 64
    assert [row["driver"] for row in found["rows"]] == ["planner", "nothing"]
    assert found["seeds"] == [0]
    page = (tmp_path / "found" / "report.html").read_text()
    assert "How the planner failed" in page
    assert "data:image/jpeg" in page
    assert "<polyline" in page
    assert "http" not in page
    assert place(tmp_path / "found", Job(driver="planner", task="grasp", kind="cup", seed=0)).is_file()


def test_baselines_alone_need_no_model(tmp_path: Path) -> None:
    arguments = ["evaluate", "--only-baselines", "--baselines", "expert", "--task", "reach", "--episodes", "1"]
    assert run([*arguments, "--out", str(tmp_path / "found")]) == 0
    rows_found = json.loads((tmp_path / "found" / "evaluation.json").read_text())["rows"]
    assert [(row["driver"], row["object"], row["at_end"]) for row in rows_found] == [
        ("expert", "cup", 1),
        ("expert", "box", 1),
    ]
    page = (tmp_path / "found" / "report.html").read_text()
    assert "<h1>Closed loop: no model, split test</h1>" in page
    assert "expert and oracle know the true state" in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--server", "http://127.0.0.1:9", "--model", "random:tiny"], "leave out --model"),
        (["--server", "http://127.0.0.1:9", "--precision", "fp32"], "leave out --model and --precision"),
        (["--only-baselines", "--baselines", "nothing", "--achieved", "1"], "leaves the model out"),
        (["--only-baselines", "--baselines", "oracle", "--budget", "250"], "leaves the model out"),
        (["--only-baselines", "--baselines", "random", "--model", "random:tiny"], "leaves the model out"),
        (["--only-baselines", "--baselines", "random", "--precision", "fp32"], "leaves the model out"),
        (["--only-baselines", "--baselines", "random", "--server", "http://127.0.0.1:9"], "leaves the model out"),
        (["--only-baselines", "--baselines", "random", "--planner", "paper"], "about the oracle alone"),
        (["--only-baselines", "--baselines", "expert,nothing", "--set", "cost.pools=[2]"], "about the oracle alone"),
        (["--only-baselines", "--baselines", "expert", "--calibrate"], "about the oracle alone"),
        (["--budget", "250", "--set", "search.samples=9"], "a budget beside search.samples=9"),
        (["--budget", "250", "--set", 'search={"iterations": 2}'], "one or the other"),
        (["--planner", "paper", "--set", "search.samples=9"], "this planner searches by paper.…"),
        (["--set", 'paper={"samples": 90}'], "this planner searches by search.…"),
        (["--only-baselines"], "needs --baselines"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--out", str(tmp_path / "found"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "found").exists()


def test_rows_come_in_the_order_of_tasks(tmp_path: Path) -> None:
    found = evaluate(tmp_path, config(max_steps=1), jobs(["nothing"], ["grasp", "reach"], ["box"], range(1)))
    assert [row.task for row in rows(found)] == ["reach", "grasp"]
    assert table(rows(found)).splitlines()[0].startswith("| task")
