"""`vjepa2-ac plan` in this process: one plan from pictures on disk, in the point world and on real networks."""

from __future__ import annotations

import json
import re
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from planner.failure_model import SIGNS
from planner.single import here, served
from planner.single.landscape import around, check_points
from planner.single.question import Wishes
from server.messages import PlanResponse
from tests.planner.failures import ON_GAIN
from tests.planner.worlds import HOME, PointWorld, located, moved, paint
from vjepa2_ac.cli import run
from vjepa2_ac.errors import CheckpointError, ConfigError, InputError
from vjepa2_ac.images import Frames, as_frames
from vjepa2_ac.pictures import fingerprint
from vjepa2_ac.poses import Array

POSE = " ".join(map(str, HOME))
GOAL = moved(0.04, -0.02, 0.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of the point world, which is what any model's name opens."""
    monkeypatch.setattr(here, "open_model", lambda *_: (PointWorld(), {"name": "point", "version": "1"}, ()))
    for name, pose in (("now", HOME), ("wanted", GOAL), ("later", moved(0.0, 0.05, 0.0))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), paint(pose)[..., ::-1])
    frames = np.stack([paint(HOME), paint(GOAL)])[None]
    np.savez(tmp_path / "trajectory.npz", observations=frames, states=np.stack([HOME, GOAL])[None])
    return tmp_path


def plan(folder: Path, *options: str, goal: str = "wanted.png", pose: str | None = POSE) -> int:
    where = [] if pose is None else ["--pose", pose]
    return run(["plan", "--observation", f"{folder}/now.png", *where, "--goal", f"{folder}/{goal}", *options])


def answered(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_the_plan_leads_to_what_the_goal_shows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(folder, "--json") == 0
    found = answered(capsys)
    np.testing.assert_allclose(found["targets"][0][:3], GOAL[:3], atol=0.01)
    assert found["landscape"] is None  # nobody asked for a picture


def test_json_says_what_a_service_would_say_and_what_was_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(folder, "--json", "--seed", "3", "--set", "search.horizon=2") == 0
    found = answered(capsys)
    served = PlanResponse.model_validate({name: found.pop(name) for name in PlanResponse.model_fields})
    assert (len(served.actions), served.seed, served.model.name, served.dt_s) == (2, 3, "point", 0.25)
    assert set(served.timings_ms) == {"goal", "encode", "search", "safety", "total"}
    assert set(found) == {"observation", "goal", "asked", "server", "landscape"}
    assert found["observation"]["pose"] == list(HOME)
    assert found["observation"]["source"] == f"{folder}/now.png"
    assert found["observation"]["sha256"] == fingerprint((folder / "now.png").read_bytes())
    assert found["asked"]["settings"] == ["search.horizon=2"]


def test_times_are_milliseconds(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(PointWorld):
        def encode(self, frames: Frames) -> torch.Tensor:
            time.sleep(0.01)
            return super().encode(frames)

    monkeypatch.setattr(here, "open_model", lambda *_: (Slow(), {"name": "point", "version": "1"}, ()))
    assert plan(folder, "--json") == 0
    took_ms = answered(capsys)["timings_ms"]
    assert min(took_ms["goal"], took_ms["encode"]) >= 10
    assert took_ms.pop("total") >= sum(took_ms.values()) - 0.01


def test_costs_that_are_no_numbers_are_left_out_and_no_plan_has_one(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    search, inf = here.Planner.plan, float("inf")
    found: dict[str, Any] = {"trace": (inf, 0.5), "gripper_costs": {"keep": 0.5, "close": inf}, "idle_cost": inf}
    monkeypatch.setattr(here.Planner, "plan", lambda *asked, **kept: replace(search(*asked, **kept), **found))
    assert plan(folder, "--json") == 0
    told = answered(capsys)
    assert [told[name] for name in found] == [[0.5], {"keep": 0.5}, None]
    found["cost"] = float("nan")
    assert plan(folder) == 2
    assert "error: the cost of the best plan is no number" in capsys.readouterr().err


def test_what_is_located_in_several_hues_is_seen_in_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = PointWorld(located_B4=located(GOAL))
    encode = Mock(side_effect=world.encode)
    monkeypatch.setattr(world, "encode", encode)
    monkeypatch.setattr(here, "open_model", lambda *_: (world, {"name": "point", "version": "1"}, ()))
    assert plan(folder, "--set", "cost.place=3", "--set", "cost.hues=3") == 0
    assert sum(len(as_frames(call.args[0])) for call in encode.call_args_list) == 2 * 3  # observation and goal


def test_the_same_seed_gives_the_same_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plans = []
    for seed in ("1", "1", "2"):
        assert plan(folder, "--json", "--seed", seed) == 0
        plans.append(answered(capsys)["actions"])
    assert plans[0] == plans[1] != plans[2]


def test_the_table_holds_moves_targets_and_doubts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(folder, "--dry-run", "--set", "search.horizon=2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "  0.4000   0.0000   0.3000" in line] == ["now", "0", "1"]
    assert any(line.startswith("cost ") and "below doing nothing" in line for line in lines)
    assert "warning     dry run: the robot is asked to stay where it is" in lines
    assert plan(folder, "--json", "--set", "limits.dry_run=true") == 0
    assert answered(capsys)["dry_run"]


def test_a_folder_gets_numbers_and_a_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"name": "/models/$_{$", "version": "1"}  # no formula where it is drawn
    monkeypatch.setattr(here, "open_model", lambda *_: (PointWorld(), named, ()))
    assert plan(folder, "--out", f"{folder}/made/here", "--set", "search.horizon=3") == 0
    content = json.loads((folder / "made/here/plan.json").read_text())
    drawn = cv2.imdecode(np.frombuffer((folder / "made/here/plan.png").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert min(drawn.shape[:2]) > 500
    maps = content["landscape"]["maps"]
    assert [(each["seen_from"], each["across"], each["up"], np.shape(each["energies"])) for each in maps] == [
        ("top", "y", "x", (9, 9)),
        ("side", "x", "z", (9, 9)),
    ]
    assert content["landscape"]["offsets_m"] == pytest.approx(np.linspace(-0.075, 0.075, 9))
    assert content["landscape"]["plan_energy"] == pytest.approx(content["cost"], abs=1e-5)
    assert content["landscape"]["idle_energy"] == pytest.approx(content["idle_cost"], abs=1e-5)
    assert "wrote" in capsys.readouterr().err


def test_costs_are_drawn_at_the_iterations_that_they_were_found_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, saved, drawn = here.Planner.plan, Figure.savefig, list[Figure]()
    found: dict[str, Any] = {"trace": (float("inf"), 0.5, 0.4), "iterations": 3}
    monkeypatch.setattr(here.Planner, "plan", lambda *asked, **kept: replace(search(*asked, **kept), **found))
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *how, **kept: [drawn.append(figure), saved(figure, *how, **kept)]
    )
    assert plan(folder, "--out", f"{folder}/out", "--grid", "2") == 0
    (trace,) = (axes for axes in drawn[0].axes if axes.get_title() == "cost after each iteration")
    np.testing.assert_array_equal(trace.lines[0].get_xydata(), [[2, 0.5], [3, 0.4]])


def test_energies_that_are_no_numbers_are_told_in_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(costs_BS: torch.Tensor) -> torch.Tensor:
        costs_BS[:, 1::2] = torch.nan
        return costs_BS

    monkeypatch.setattr(here, "open_model", lambda *_: (PointWorld(spoil=half), {"name": "point", "version": "1"}, ()))
    assert plan(folder, "--out", f"{folder}/made") == 2
    assert "error: some energies around the plan are no numbers" in capsys.readouterr().err
    assert plan(folder, "--out", f"{folder}/made", "--grid", "0") == 0


def test_the_energies_around_a_plan_count_where_the_hand_is_located_as_the_plan_does(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = PointWorld(blind=(2,), located_B4=located(moved(0.04, -0.02, 0.03)))
    monkeypatch.setattr(here, "open_model", lambda *_: (world, {"name": "point", "version": "1"}, ()))
    assert plan(folder, "--out", f"{folder}/made", "--set", "cost.place=3") == 0
    content = json.loads((folder / "made/plan.json").read_text())
    assert content["landscape"]["plan_energy"] == pytest.approx(content["cost"], abs=1e-5)
    assert content["landscape"]["idle_energy"] == pytest.approx(content["idle_cost"], abs=1e-5)
    assert content["targets"][0][2] == pytest.approx(HOME[2] + 0.03, abs=0.01)


def test_the_valley_lies_at_the_plan_that_leads_to_the_goal() -> None:
    plan_27 = np.array([[0.0375, -0.01875, 0.0, 0.0, 0.0, 0.0, 1.0], [0.2, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]])
    asked: list[Array] = []

    def score(actions_SH7: Array) -> Array:
        asked.append(actions_SH7)
        distance: Array = np.abs(actions_SH7 - plan_27).sum(axis=(1, 2))
        return distance

    found = around(plan_27, 9, score)
    assert found is not None
    assert (found.plan_energy, found.idle_energy) == (0, pytest.approx(2.25625))
    for each, (across, up) in zip(found.maps, ((-0.01875, 0.0375), (0.0375, 0.0)), strict=True):
        row, column = np.unravel_index(each.energies_PP.argmin(), (9, 9))
        assert (found.offsets_P[column], found.offsets_P[row]) == pytest.approx((across, up))
    assert (asked[0][:-1, 0, 6] == 1.0).all()  # the gripper stays as planned
    assert (asked[0][:-1, 1] == plan_27[1]).all()  # and whatever follows


@pytest.mark.parametrize(("points", "refused"), [(1, True), (2, False), (51, False), (52, True)])
def test_a_map_has_as_many_moves_a_side_as_said(points: int, refused: bool) -> None:
    with pytest.raises(InputError) if refused else nullcontext():
        assert check_points(points) == points


def test_a_map_reaches_as_far_as_the_plan() -> None:
    plan_17 = np.array([[0.0, -0.1, 0.0, 0.0, 0.0, 0.0, 0.0]])
    found = around(plan_17, 3, lambda actions_SH7: np.abs(actions_SH7).sum(axis=(1, 2)))
    assert found is not None
    np.testing.assert_allclose(found.offsets_P, [-0.1, 0.0, 0.1])


def test_a_recorded_step_brings_its_pose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = f"{folder}/trajectory.npz"
    assert run(["plan", "--observation", f"{recorded}:0", "--goal", f"{recorded}:1", "--json"]) == 0
    np.testing.assert_allclose(answered(capsys)["targets"][0][:3], GOAL[:3], atol=0.01)
    told = ["--pose", "[0.4, 0.1, 0.3, 0, 0, 0, 0]"]  # or says where the hand is, as lists are written
    assert run(["plan", "--observation", f"{recorded}:0", "--goal", f"{recorded}:1", "--json", *told]) == 0
    assert answered(capsys)["observation"]["pose"] == [0.4, 0.1, 0.3, 0, 0, 0, 0]


def test_one_of_several_goals_is_planned_towards(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(folder, "--goal", f"{folder}/later.png", "--sub-goal", "1", "--json") == 0
    found = answered(capsys)
    np.testing.assert_allclose(found["targets"][0][:3], moved(0.0, 0.05, 0.0)[:3], atol=0.01)
    assert found["goal"]["sub_goal"] == 1
    files = [folder / "wanted.png", folder / "later.png"]
    assert found["goal"]["sources"] == [str(file) for file in files]
    assert found["goal"]["sha256"] == [fingerprint(file.read_bytes()) for file in files]


def test_a_fitted_failure_model_speaks_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = len(SIGNS)
    even = {"centre": [0] * many, "scale": [1] * many, "coefficients": [0] * many, "intercept": 0}
    assert plan(folder, "--set", f"confidence.failure={json.dumps(even)}") == 0
    assert "failure     expected with a probability of 0.50" in capsys.readouterr().out
    assert plan(folder, "--json", "--set", f"confidence.failure={json.dumps(even)}") == 0
    assert answered(capsys)["failure_probability"] == 0.5


def test_a_view_that_the_model_does_not_know_is_said_first(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = PointWorld(located_B4=located(GOAL), cycle_error=0.31)
    monkeypatch.setattr(here, "open_model", lambda *_: (world, {"name": "point", "version": "1"}, (ON_GAIN,)))
    assert plan(folder) == 0
    told = capsys.readouterr().out
    assert "confidence  view unfamiliar; " in told
    assert "contradicting itself by 31.0 cm" in told
    assert "warning     the model does not know such a view: " in told
    assert "failure  " not in told


def test_what_was_learned_about_a_model_is_used_unless_another_cost_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "open_model", lambda *_: (PointWorld(), {"name": "point", "version": "1"}, (ON_GAIN,)))
    assert plan(folder, "--json") == 0
    assert answered(capsys)["failure_probability"] < 0.3
    assert plan(folder, "--json", "--set", "cost.distance=l2") == 0
    assert answered(capsys)["failure_probability"] is None


def test_time_can_be_bounded(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    warm_up = Mock(side_effect=here.warm_up)
    monkeypatch.setattr(here, "warm_up", warm_up)
    assert plan(folder, "--json", "--budget-ms", "60", "--deadline-ms", "60000") == 0
    assert answered(capsys)["evaluations"] > 12
    assert plan(folder, "--json", "--deadline-ms", "60000") == 0
    assert answered(capsys)["evaluations"] == 100  # as many as without, and the first calls do not count
    assert warm_up.call_count == 2
    assert plan(folder, "--deadline-ms", "0.001") == 2
    assert "not one iteration was finished" in capsys.readouterr().err
    assert plan(folder, "--budget-ms", "0.001") == 0
    assert "warning     even the smallest search is expected to take" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"pose": None}, "--pose: none, and .* does not say where the hand is; expected 7 numbers: x y z roll"),
        ({"pose": "0.4 0 0.3 0 0 0"}, "--pose: 6 numbers; expected 7 numbers: x y z roll pitch yaw gripper in metres"),
        ({"pose": "0.4 0 0.3 0 0 zero 0"}, "--pose: '0.4 0 0.3 0 0 zero 0'; expected 7 numbers"),
        ({"pose": "0.4 0 nan 0 0 0 0"}, "--pose: z is not a finite number"),
        ({"pose": "400 0 300 0 0 0 0"}, r"metres \(are these millimetres\?\)"),
        ({"pose": "0.4 0 0.3 180 0 0 0"}, r"angles of 180, 0, 0; expected radians within ± 2π \(are these degrees\?\)"),
        ({"pose": "0.4 0 0.3 0 0 0 8"}, "--pose: gripper 8; expected a closedness from 0 open to 1 closed"),
        ({"pose": "1.4 0 0.3 0 0 0 0"}, "--pose: x = 1.4 m is outside of the workspace; expected 0.1 … 1 m"),
        ({"goal": "none.png"}, "--goal: no picture at"),
        ({"goal": 300 * "g"}, "ggg cannot be read: File name too long"),
        ({"goal": "broken.png"}, "--goal .*broken.png: .* expected a PNG or JPEG picture"),
        ({"goal": "blank.png"}, "--goal .*blank.png: the picture is blank"),
        ({"goal": "trajectory.npz"}, "holds several steps; say which"),
        ({"options": ("--sub-goal", "1")}, "--sub-goal: 1; expected 0 … 0: goals are counted from 0"),
        ({"options": ("--sub-goal", "-1")}, "--sub-goal: -1; expected 0 … 0: goals are counted from 0"),
        ({"options": ("--preset", "fats")}, "no preset 'fats'; did you mean 'fast'?"),
        ({"options": ("--set", "search.sample=3")}, "did you mean 'samples'"),
        ({"options": ("--budget-ms", "0")}, "--budget-ms: 0; expected a positive number"),
        ({"options": ("--deadline-ms", "inf")}, "--deadline-ms: inf; expected a positive number"),
        ({"options": ("--deadline-ms", "nan")}, "--deadline-ms: nan; expected a positive number"),
        ({"options": ("--budget-ms", "9", "--set", "search.samples=9")}, "a budget chooses them"),
        ({"options": ("--budget-ms", "9", "--set", "search.iterations=2")}, "a budget chooses them"),
        ({"options": ("--budget-ms", "9", "--set", "search.samples = 9")}, "a budget chooses them"),
        ({"options": ("--budget-ms", "9", "--set", 'search={{"samples": 9}}')}, "a budget chooses them"),
        ({"options": ("--budget-ms", "9", "--preset", "paper")}, "the published search has a fixed size"),
        ({"options": ("--preset", "paper", "--set", "search.samples=9")}, "this planner searches by paper.…"),
        ({"options": ("--set", "paper.samples=90")}, "would change nothing: this planner searches by search.…"),
        ({"options": ("--out", "{folder}/x", "--grid", "1")}, "from 2 to 51 moves a side"),
        ({"options": ("--out", "{folder}/now.png")}, "now.png cannot be made a folder of results"),
        ({"options": ("--out", "{folder}/full")}, "full/plan.json cannot be written: Is a directory"),
        ({"options": ("--token-file", "x", "--out", "{folder}/full/none")}, "say --server too"),
        ({"options": ("--timeout-s", "5")}, "--timeout-s are for a service: say --server too"),
        ({"options": ("--grid", "5")}, "--grid is for the maps that a folder gets: say --out too"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], complaint: str
) -> None:
    (folder / "broken.png").write_bytes(b"nothing of the kind")
    cv2.imwrite(str(folder / "blank.png"), np.full((32, 32, 3), 90, np.uint8))
    (folder / "full" / "plan.json").mkdir(parents=True, exist_ok=True)
    more = [text.format(folder=folder) for text in options.pop("options", ())]
    assert plan(folder, *more, **options) == 2
    said = capsys.readouterr().err.strip()
    assert re.search(complaint, said), said
    assert said.startswith("error: ")
    assert "\n" not in said


@pytest.mark.parametrize(
    "refused",
    [
        ["--preset", "fats"],
        ["--set", "paper.samples=90"],
        ["--set", "limits.highest=[0.25, 0.6, 0.9]"],
        ["--preset", "paper", "--budget-ms", "100"],
    ],
)
def test_what_can_be_refused_without_a_model_opens_none(
    folder: Path, refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Mock(side_effect=CheckpointError("no such model"))
    monkeypatch.setattr(here, "open_model", opened)
    assert plan(folder, *refused) == 2
    opened.assert_not_called()


def test_how_long_to_wait_for_a_service_can_be_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Mock(side_effect=InputError("nobody asks it"))
    monkeypatch.setattr(served, "PlannerClient", client)
    for said, waits_s in (([], 60.0), (["--timeout-s", "5"], 5.0)):
        assert plan(folder, "--server", "http://127.0.0.1:1", *said) == 2
        assert client.call_args.kwargs["timeout_s"] == waits_s


@pytest.mark.parametrize(
    ("wishes", "asked"),
    [
        (Wishes(seed=3), {"seed": 3}),
        (Wishes(preset="fast", budget_ms=9.0, dry_run=True), {"preset": "fast", "budget_ms": 9.0, "dry_run": True}),
        (Wishes(settings=("search.samples = 9", "search.horizon=2")), {"samples": 9, "horizon": 2}),
        (Wishes(preset="paper", settings=("paper.iterations=4",)), {"preset": "paper", "iterations": 4}),
    ],
)
def test_a_service_is_asked_for_what_was_wished(wishes: Wishes, asked: dict[str, Any]) -> None:
    assert served.options_of(wishes) == {"seed": 0} | asked


def test_a_service_is_given_the_deadline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MagicMock()
    ask = client.return_value.__enter__.return_value.plan
    ask.side_effect = InputError("nobody plans")
    monkeypatch.setattr(served, "PlannerClient", client)
    assert plan(folder, "--server", "http://127.0.0.1:1", "--deadline-ms", "500") == 2
    assert ask.call_args.kwargs["deadline_ms"] == 500


def test_a_token_comes_from_the_file_or_else_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("\n# of the lab\n  first \nsecond\n")
    monkeypatch.setenv("VJEPA2_AC_TOKEN", "another")
    assert (served.read_token(tokens), served.read_token(None)) == ("first", "another")
    tokens.write_text("# of the lab\n\n")
    with pytest.raises(ConfigError, match="tokens holds no token"):
        served.read_token(tokens)


@pytest.mark.parametrize(
    "refused",
    [
        ["--preset", "fats"],
        ["--preset", "paper", "--budget-ms", "100"],
        ["--set", "limits.highest=[0.25, 0.6, 0.9]"],
        ["--server", "nowhere"],
        ["--server", "http://127.0.0.1:1", "--token-file", "none"],
        ["--server", "http://127.0.0.1:1", "--set", "cost.focus=1"],
        ["--server", "http://127.0.0.1:1", "--timeout-s", "1"],
        [],
    ],
)
def test_what_is_refused_leaves_no_folder(folder: Path, refused: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if not refused:
        monkeypatch.setattr(here, "open_model", Mock(side_effect=CheckpointError("no such model")))
    assert plan(folder, "--out", f"{folder}/made", *refused) == 2
    assert not (folder / "made").exists()


def test_a_model_of_another_rate_is_refused_and_leaves_no_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "open_model", lambda *_: (PointWorld(fps=2.0), {"name": "point", "version": "1"}, ()))
    assert plan(folder, "--out", f"{folder}/made") == 2
    assert "error: the model has learned from 2 pictures a second" in capsys.readouterr().err
    assert not (folder / "made").exists()


def test_the_workspace_can_be_said(folder: Path) -> None:
    assert plan(folder, "--set", "limits.highest=[2.0, 0.6, 0.9]", pose="1.4 0 0.3 0 0 0 0") == 0


def test_any_model_that_opens_can_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("now", "wanted")):
        noise = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), noise)
    few = ["samples=4", "elites=2", "kept_elites=1", "iterations=1"]
    pictures = ["--observation", f"{tmp_path}/now.jpg", "--goal", f"{tmp_path}/wanted.jpg", "--pose", POSE]
    options = [word for text in few for word in ("--set", f"search.{text}")]
    assert run(["plan", *pictures, *options, "--model", "random:tiny", "--precision", "fp32", "--json"]) == 0
    found = answered(capsys)
    assert found["model"]["name"] == "random:tiny"
    assert len(found["model"]["version"]) == 16
    assert np.isfinite(found["actions"]).all()


def test_a_model_without_keyframes_is_refused_as_it_plans_and_leaves_no_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the model that is named is opened
    asked = ("--model", "random:tiny", "--precision", "fp32", "--preset", "keyframes", "--out", f"{folder}/made/plan")
    assert plan(folder, *asked) == 2
    assert "keyframes" in capsys.readouterr().err
    assert not (folder / "made").exists()
