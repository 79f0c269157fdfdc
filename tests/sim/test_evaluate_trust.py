"""Chances of failure from signs: fitted where the truth is known, judged on seeds left out, read by the planner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.failure_model import FAR_OUT, SIGNS, read
from sim.evaluate import logistic
from sim.evaluate.trust import Plans, calibrate, gathered, judged, reliability
from vjepa2_ac.errors import ConfigError, InputError

COST = {"distance": "l1", "pools": []}


def evaluation(folder: Path, seeds: range, cost: dict[str, Any] = COST, told: float = 3.0) -> Path:
    """An evaluation in which `gain` tells failures by odds of e^told a deviation, and nothing else tells anything."""
    (folder / "episodes").mkdir(parents=True)
    settings = {"model": "runs/release", "weights": "abc", "server": None, "planner": {"cost": cost}}
    (folder / "settings.json").write_text(json.dumps({"settings": settings}))
    rng = np.random.default_rng(1)
    for seed in seeds:
        gain = rng.normal()
        failed = bool(rng.random() < 1 / (1 + np.exp(told * gain)))
        confidence = {"elite_spread": rng.random(), "gain": gain, "flatness": rng.random(), "gripper_contrast": 0.0}
        confidence |= {"goal_uncertainty": None, "cycle_error": None}
        turn = {
            "confidence": {**confidence, "goal_reached": False, "goal_out_of_reach": False},
            "idle_cost": 1.0 + rng.random(),
            "imagined_cost": 0.5 + rng.random(),
        }
        turns = [turn, turn, {"confidence": {}, "idle_cost": None, "imagined_cost": None}]
        record = {"seed": seed, "task": "grasp", "success_end": not failed, "turns": turns}
        (folder / "episodes" / f"planner-grasp-cup-{seed:06d}.json").write_text(json.dumps(record))
    return folder


def test_a_sign_that_tells_is_found_and_its_chances_are_true(tmp_path: Path) -> None:
    found = judged(gathered([evaluation(tmp_path / "a", range(400))]))
    assert (found.plans, found.episodes, found.seeds) == (800, 400, 400)
    assert found.auroc is not None
    assert found.auroc_interval is not None
    assert found.auroc_interval[0] < found.auroc < found.auroc_interval[1]
    assert found.auroc > 0.85
    assert found.brier < 0.6 * found.brier_of_the_rate
    assert sum(each.plans for each in found.reliability) == 800
    assert all(abs(each.said - each.failed) < 0.25 for each in found.reliability if each.plans > 40)
    strict = found.thresholds[-1]
    assert strict.warned_failed is not None
    assert strict.others_failed is not None
    assert strict.warned_failed > 0.85 > strict.others_failed


def test_signs_that_tell_nothing_are_worth_nothing_on_seeds_left_out(tmp_path: Path) -> None:
    found = judged(gathered([evaluation(tmp_path / "a", range(200), told=0.0)]))
    assert found.auroc is not None
    assert 0.35 < found.auroc < 0.65
    assert found.brier > 0.95 * found.brier_of_the_rate


def test_plans_of_unfamiliar_views_get_no_chance_and_tell_of_none(tmp_path: Path) -> None:
    known, strange = evaluation(tmp_path / "a", range(50)), evaluation(tmp_path / "b", range(50, 60))
    for path in (strange / "episodes").iterdir():
        path.write_text(path.read_text().replace('"goal_reached"', '"view_unfamiliar": true, "goal_reached"'))
    assert len(gathered([known, strange]).failed_N) == 100


def test_two_tasks_in_a_scene_are_two_episodes_of_one_seed(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "a", range(10))
    for path in list((folder / "episodes").iterdir()):
        reaches = path.with_name(path.name.replace("grasp", "reach"))
        reaches.write_text(path.read_text().replace('"grasp"', '"reach"'))
    plans = gathered([folder])
    assert [len(np.unique(each)) for each in (plans.episode_N, plans.seed_N, plans.task_N)] == [20, 10, 2]


def test_plans_of_other_drivers_and_plans_without_numbers_are_left_out(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "a", range(50))
    for path in list((folder / "episodes").iterdir()):
        oracles = path.with_name(path.name.replace("planner", "oracle"))
        oracles.write_text(path.read_text())
    unknown = folder / "episodes" / "planner-grasp-cup-000000.json"
    record = json.loads(unknown.read_text())
    record["turns"][0]["idle_cost"] = float("nan")
    record["turns"][1]["idle_cost"] = None
    unknown.write_text(json.dumps(record))
    assert len(gathered([folder]).failed_N) == 2 * 49


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "a", range(20))
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"thesis\.txt cannot be made a folder of results"):
        calibrate([folder], tmp_path / "thesis.txt" / "confidence.json")


def test_the_planner_reads_what_was_fitted(tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / "a", range(100)), evaluation(tmp_path / "b", range(100, 200))]
    said = calibrate(folders, tmp_path / "confidence.json", command="vjepa2-ac evaluate-confidence")
    assert "AUROC" in said
    assert "400 plans of 200 episodes" in said
    (model,) = read(tmp_path / "confidence.json", weights="abc")
    assert model.episodes == 200
    plans = gathered(folders)
    fit = logistic.fit(plans.signs_NF, plans.failed_N, FAR_OUT)
    chances = [model.probability(dict(zip(SIGNS, values, strict=True))) for values in plans.signs_NF.tolist()]
    np.testing.assert_allclose(chances, fit.chances(plans.signs_NF, FAR_OUT), atol=1e-12)
    assert np.argmax(np.abs(model.coefficients)) == SIGNS.index("gain")


def test_what_a_file_beside_says_of_other_costs_is_kept(tmp_path: Path) -> None:
    path, other = tmp_path / "confidence.json", {"distance": "l2", "pools": []}
    first, second = evaluation(tmp_path / "a", range(50)), evaluation(tmp_path / "b", range(60), cost=other)
    again = evaluation(tmp_path / "c", range(70))
    costs = []
    for folder in (first, second, again):
        calibrate([folder], path, beside=path if path.exists() else None, command=folder.name)
        costs.append([(model.cost, model.episodes) for model in read(path, weights="abc")])
    assert costs == [[(COST, 50)], [(COST, 50), (other, 60)], [(other, 60), (COST, 70)]]
    kept, anew = json.loads(path.read_text())["fits"]
    assert (kept["command"], anew["command"]) == ("b", "c")
    assert kept["worth"]["episodes"] == 60
    settings = json.loads((again / "settings.json").read_text())
    settings["settings"]["weights"] = "abd"
    (again / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="other weights"):
        calibrate([again], path, beside=path)
    assert json.loads(path.read_text())["fits"] == [kept, anew]


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "one", range(50))
    with pytest.raises(InputError, match="another cost"):
        gathered([one, evaluation(tmp_path / "other", range(50), cost={"distance": "l2"})])
    old = evaluation(tmp_path / "old", range(8))
    for record in (old / "episodes").iterdir():
        record.write_text(record.read_text().replace("goal_uncertainty", "something else"))
    with pytest.raises(InputError, match=r"planner-grasp-cup-000000\.json do not say their 'goal_uncertainty'"):
        gathered([old])
    with pytest.raises(InputError, match="holds no evaluation"):
        gathered([tmp_path])
    served = evaluation(tmp_path / "served", range(8))
    settings = (served / "settings.json").read_text()
    (served / "settings.json").write_text(settings.replace('"server": null', '"server": "http://127.0.0.1:8000"'))
    with pytest.raises(InputError, match="through a service"):
        gathered([served])
    with pytest.raises(InputError, match="ended alike"):
        gathered([evaluation(tmp_path / "single", range(1))])
    with pytest.raises(InputError, match="named twice"):
        gathered([one, tmp_path / "other" / ".." / "one"])
    with pytest.raises(InputError, match="at least 5, got 4"):
        gathered([evaluation(tmp_path / "few", range(4), told=0.0)])


def test_auroc_counts_ties_half_and_weights_as_copies() -> None:
    score, event = np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False])
    assert logistic.auroc(score, event) == pytest.approx(3.5 / 4)
    assert logistic.auroc(score, event, np.array([2.0, 1.0, 1.0, 0.0])) == pytest.approx(2.5 / 3)
    assert logistic.auroc(score, np.ones(4, dtype=bool)) is None


def by_hand() -> Plans:
    """Plans of 12 scenes, in each a short episode that fails in half of them and a long one that fails in a third."""
    rng = np.random.default_rng(0)
    lengths, failed = np.tile([1, 4], 12), np.stack([np.arange(12) % 2 == 0, np.arange(12) % 3 == 0], axis=1).ravel()
    episode_N = np.repeat(np.arange(24), lengths)
    signs_NF = rng.normal(size=(len(episode_N), len(SIGNS)))
    signs_NF[:, 1] -= failed[episode_N]  # a gain, which is smaller where episodes fail
    task_N = np.array(["reach", "grasp"])[episode_N % 2]
    return Plans(signs_NF, failed[episode_N], episode_N // 2, episode_N, task_N, "runs/release", "abc", COST)


def test_episodes_count_once_and_plans_by_their_task_and_their_sign() -> None:
    plans = by_hand()
    found = judged(plans)
    assert (found.plans, found.episodes, found.seeds) == (60, 24, 12)
    assert found.failed == pytest.approx(10 / 24)  # of the plans it is 22 of 60
    assert found.brier_of_the_rate == pytest.approx(22 / 60 * 38 / 60)
    chance_N = logistic.left_out(plans.signs_NF, plans.failed_N, plans.seed_N, FAR_OUT)
    here_N = plans.task_N == "grasp"
    assert found.auroc_by_task["grasp"] == logistic.auroc(chance_N[here_N], plans.failed_N[here_N])
    gain = logistic.auroc(plans.signs_NF[:, SIGNS.index("gain")], plans.failed_N)
    assert gain is not None
    assert found.auroc_by_sign["gain"] == 1 - gain > 0.5
    means = np.array([chance_N[plans.episode_N == number].mean() for number in range(24)])
    ends = np.array([plans.failed_N[plans.episode_N == number].all() for number in range(24)])
    assert found.auroc_of_episodes == pytest.approx(logistic.auroc(means, ends))


def test_thresholds_tell_what_is_caught_and_what_is_missed() -> None:
    plans = by_hand()
    chance_N = logistic.left_out(plans.signs_NF, plans.failed_N, plans.seed_N, FAR_OUT)
    found = judged(plans).thresholds[3]
    warned, failed = set(np.flatnonzero(chance_N >= 0.4).tolist()), set(np.flatnonzero(plans.failed_N).tolist())
    assert found.at == 0.4
    assert found.warned == pytest.approx(len(warned) / 60)
    assert found.failures_warned == pytest.approx(len(warned & failed) / len(failed))
    assert found.warned_failed == pytest.approx(len(warned & failed) / len(warned))
    assert found.others_failed == pytest.approx(len(failed - warned) / (60 - len(warned)))


def test_reliability_bins_are_tenths_and_certainty_lies_in_the_last() -> None:
    chance_N = np.array([*np.full(8, 0.25), 0.95, 1.0])
    failed_N, seed_N = np.arange(10) % 2 == 0, np.arange(10)
    some, sure = reliability(chance_N, failed_N, seed_N)
    assert (some.low, some.high, some.plans, some.said, some.failed) == (0.2, 0.3, 8, 0.25, 0.5)
    assert (sure.low, sure.high, sure.plans, sure.said, sure.failed) == (0.9, 1.0, 2, 0.975, 0.5)
    assert some.interval is not None
    assert 0 <= some.interval[0] < 0.5 < some.interval[1] <= 1
    assert sure.interval is None  # of two seeds


def test_reliability_intervals_know_that_plans_of_a_seed_are_alike() -> None:
    rng = np.random.default_rng(0)
    failed_of_seed = rng.random(20) < 0.5
    many, few = (
        reliability(np.full(20 * copies, 0.5), np.repeat(failed_of_seed, copies), np.repeat(np.arange(20), copies))
        for copies in (50, 1)
    )
    assert many[0].interval == few[0].interval
    assert many[0].plans == 50 * few[0].plans
