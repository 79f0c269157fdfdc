"""Planners beside each other on the same episodes: read from YAML, played, gone on with, and compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from planner.goals import AchievedGoals
from planner.mpc import ControlConfig
from planner.planning import PlannerConfig
from sim.bounds import wilson
from sim.episode import EDITION
from sim.evaluate import achieved, budgets
from sim.evaluate.comparison import Key, difference_interval, holm, outcomes, paired, rate_interval, sign_flip_test
from sim.evaluate.episode import Player
from sim.evaluate.runs import EPISODES, SETTINGS, place, versions
from sim.evaluate.settings import in_this_cell, with_settings
from sim.evaluate.sweep import JSON, TABLE, SweepConfig, sweep, table, variant_rows
from sim.evaluate.variants import SHIPPED, chosen, read
from tests.sim.test_evaluate import small_world
from tests.sim.test_evaluate_summary import record
from vjepa2_ac.cli import run
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.precision import resolve
from vjepa2_ac.world_model import WorldModel

YAML = """
baseline: {planner: fast, set: {search.samples: 4, search.elites: 2, search.kept_elites: 1, search.iterations: 1}}
variants:
  draws:
    gaussian draws: {set: {search.noise: gaussian}}
    sobol draws: {set: {search.noise: sobol}}
  how much:
    6 samples: {set: {search.samples: 6}, episodes: 1}
"""


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    path = tmp_path / "table.yaml"
    path.write_text(YAML)
    return path


def test_a_table_changes_the_baseline_by_what_it_names(yaml: Path) -> None:
    found = read(yaml, given=["search.samples=5"])
    assert [each.name for each in found] == ["baseline", "gaussian draws", "sobol draws", "6 samples"]
    planner, _ = with_settings(in_this_cell(found[1].planner), ControlConfig(), found[1].settings)
    assert (planner.search.noise, planner.search.samples, planner.search.iterations) == ("gaussian", 5, 1)
    assert found[3].folder == "6-samples"
    assert [each.name for each in chosen(found, ["draws"])] == ["baseline", "gaussian draws", "sobol draws"]
    with pytest.raises(ConfigError, match="draws, how much"):
        chosen(found, ["cost"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plan: {}", "has 'baseline' and 'variants'"),
        ("variants: {cost: {l2: {sets: {}}}}", "did you mean 'set'"),
        ("variants: {a: {x y: {}}, b: {x-y: {}}}", "share a folder"),
        ("variants: {a: {8: {}}}", "into quotes"),
        ("baseline: [", "no YAML"),
        ("variants: {a: {fast: {planner: fast}, fast: {budget: 250}}}", "'fast' is said twice"),
        ("variants: {a: {fast: {planner: fast}}, a: {}}", "'a' is said twice"),
        ("baseline: {budget: 250}", "baseline has no 'budget'"),
        ("baseline: {episodes: 3}", "baseline has no 'episodes'"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read(path)


def test_every_shipped_variant_is_a_planner_that_can_be_built() -> None:
    found = read(SHIPPED)
    for variant in found:
        with_settings(in_this_cell(variant.planner), ControlConfig(), variant.settings)
    gated = read(SHIPPED, given=["search.gripper.gate=0.015", "cost.pools=[2,4]"])
    for variant in gated:
        with_settings(in_this_cell(variant.planner), ControlConfig(), variant.settings)


def test_shipped_budgets_are_those_they_are_named_for() -> None:
    variants = {variant.name: variant for variant in read(SHIPPED)}

    def planner(name: str) -> PlannerConfig:
        return with_settings(in_this_cell(variants[name].planner), ControlConfig(), variants[name].settings)[0]

    assert planner("16 x 2, fast") == in_this_cell("fast")
    assert planner("32 x 3, balanced") == in_this_cell("balanced")
    assert planner("published 800 x 10").paper == in_this_cell("paper").paper
    for name, share in {"published 33 x 3, 1/80": 80, "published 100 x 4, 1/20": 20}.items():
        paper = planner(name).paper
        assert paper.samples * paper.iterations == pytest.approx(8000 / share, rel=0.03)
    options = 4  # of the gripper, imagined once more
    assert planner("baseline").search.most_evaluations + options == 8000 / 400


def test_pairs_are_counted_where_they_differ() -> None:
    keys = [("grasp", "cup", seed) for seed in range(5)]
    ours = dict(zip(keys, [True, True, True, False, True], strict=True))
    baseline = dict(zip(keys[:4], [False, False, True, True], strict=True))
    found = paired(ours, baseline)
    assert (found.pairs, found.won, found.lost, found.difference) == (4, 2, 1, 0.25)
    assert found.interval[0] < 0.25 < found.interval[1]
    assert found.p == 1.0


def test_success_at_the_end_is_what_is_compared() -> None:
    record = {"task": "grasp", "object": "cup", "seed": 3, "success_end": False, "success_any": True}
    assert outcomes([record]) == {("grasp", "cup", 3): False}


def test_pairs_of_one_scene_are_flipped_together() -> None:
    keys: list[Key] = [("grasp", kind, seed) for seed in range(4) for kind in ("cup", "box")]
    found = paired(dict.fromkeys(keys, True), dict.fromkeys(keys, False))
    assert (found.pairs, found.won, found.lost) == (8, 8, 0)
    assert found.p == 2 / 2**4
    assert found.interval == difference_interval(8, 0, [[1, 1]] * 4)


def test_a_sign_flip_test_counts_coins() -> None:
    assert sign_flip_test([]) == sign_flip_test([0, 0]) == 1.0
    assert sign_flip_test([1] * 5) == 2 / 32
    assert sign_flip_test([1] * 6 + [-1]) == sign_flip_test([-1] * 6 + [1]) == 2 * (1 + 7) / 128
    assert sign_flip_test([4, 1]) == 2 / 4  # two scenes, whatever happened in them, say little
    assert difference_interval(0, 0, []) == (-1.0, 1.0)
    low, high = difference_interval(40, 0, [[1]] * 40 + [[0]] * 10)
    assert 0.6 < low < 0.8 < high < 0.9
    assert difference_interval(40, 0, [[1] * 10] * 4 + [[0] * 10])[0] < low - 0.1
    np.testing.assert_allclose(difference_interval(32, 0, [[1] * 8] * 4), difference_interval(4, 0, [[1]] * 4))
    np.testing.assert_allclose(difference_interval(5, 1, [[1] * 5 + [-1, 0, 0]])[1], 1.0)


def test_what_is_alike_in_a_scene_counts_once() -> None:
    keys: list[Key] = [("grasp", kind, seed) for seed in range(20) for kind in ("cup", "box")]
    alike = rate_interval({key: key[2] >= 5 for key in keys})
    np.testing.assert_allclose(alike, wilson(15, 20), atol=0.01)
    apart = rate_interval({key: (key[1] == "cup") == (key[2] % 2 == 0) for key in keys})
    np.testing.assert_allclose(apart, wilson(20, 40))
    np.testing.assert_allclose(rate_interval(dict.fromkeys(keys, True)), wilson(20, 20))
    np.testing.assert_allclose(rate_interval({key: key[1] == "cup" for key in keys[:2]}), wilson(0.5, 1))
    np.testing.assert_allclose(rate_interval({key: key[2] == 0 for key in keys[:4]}), wilson(0.5, 1))  # two, unlike


@pytest.mark.parametrize("scenes", [2, 3, 20])
def test_scenes_that_were_played_once_have_wilsons_interval(scenes: int) -> None:
    done: dict[Key, bool] = {("grasp", "cup", seed): seed > 0 for seed in range(scenes)}
    assert rate_interval(done) == wilson(scenes - 1, scenes)


def test_where_scenes_differ_intervals_hold_the_truth_and_equals_seldom_seem_unequal() -> None:
    rng = np.random.default_rng(0)

    def played() -> Any:  # eight episodes in each of 32 scenes; half of those that fail do so in four of them
        chances = 1 / (1 + np.exp(-rng.normal(2.6, 1.6, (32, 1))))
        return rng.random((32, 8)) < chances

    truth = float(np.mean([played().mean() for _ in range(4000)]))
    keys: list[Key] = [("grasp", str(which), scene) for scene in range(32) for which in range(8)]
    held, naive, surprised = 0, 0, 0
    for _ in range(400):
        one, other = played(), played()
        low, high = rate_interval(dict(zip(keys, one.ravel().tolist(), strict=True)))
        held += low <= truth <= high
        low, high = wilson(float(one.sum()), one.size)
        naive += low <= truth <= high
        surprised += sign_flip_test((one.astype(int) - other).sum(axis=1).tolist()) < 0.05
    assert held > 0.90 * 400 > 0.85 * 400 > naive
    assert surprised < 0.08 * 400


def test_looking_often_raises_chances() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_a_row_sets_a_variant_beside_the_baseline(yaml: Path, tmp_path: Path) -> None:
    config = SweepConfig(model="small", tasks=("reach", "grasp"), kinds=("cup",), episodes=6, max_steps=9)
    baseline, gaussian, _, few = read(yaml)
    for variant, done in ((baseline, ()), (gaussian, ("reach",)), (few, ())):
        folder = tmp_path / variant.folder
        (folder / EPISODES).mkdir(parents=True)
        settings = {"weights": "abc", "split": "test", "max_steps": 9, "precision": resolve("auto")}
        settings |= {"asked": [variant.planner, *variant.settings], "budget_ms": None, "achieved_scenes": None}
        (folder / SETTINGS).write_text(json.dumps({"versions": versions(), "settings": settings}))
        for job in config.jobs(variant):
            played = record(job.seed, end=job.task in done, task=job.task, object=job.kind)
            place(folder, job).write_text(json.dumps(played))
    first, second, third = variant_rows(tmp_path, config, read(yaml), "abc")
    assert (first.beside, first.p_holm, first.at_end, first.episodes) == (None, None, 0, 12)
    assert (second.at_end, second.episodes, second.by_task) == (6, 12, {"reach": 1.0, "grasp": 0.0})
    assert second.beside is not None
    assert (second.beside.won, second.beside.lost, second.beside.difference) == (6, 0, 0.5)
    assert (second.beside.p, second.p_holm) == (2 / 2**6, 2 * 2 / 2**6)  # of two that are compared
    assert (third.episodes, third.p_holm) == (2, 1.0)
    shown = [[cell.strip() for cell in line.split("|")[2:-4]] for line in table([first, second]).splitlines()[2:]]
    assert shown[0] == ["", "baseline", "12", "0%", "0% – 39%", "0%", "0%", *6 * "–"][1:]
    low, high = (f"{100 * end:+.0f}" for end in second.beside.interval)
    assert shown[1][-6:] == ["6", "0", "+50", f"{low} … {high}", "0.031", "0.062"]
    sure = replace(second, beside=replace(second.beside, p=2 / 2**25), p_holm=0.001)
    assert table([first, sure]).splitlines()[3].count("| < 0.001 | 0.001 ") == 1
    for other in (replace(config, split="shift"), replace(config, max_steps=None)):
        assert variant_rows(tmp_path, other, read(yaml), "abc") == []
    assert variant_rows(tmp_path, config, read(yaml), "abd") == []
    older = tmp_path / gaussian.folder / SETTINGS
    older.write_text(older.read_text().replace(f'"scenes": "{EDITION}"', '"scenes": "older"'))
    assert [each.name for each in variant_rows(tmp_path, config, read(yaml), "abc")] == [baseline.name, few.name]


def test_what_achieved_goals_cost_is_the_same_whatever_tasks_are_compared(
    yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorldModel, "open", small_world)
    measured: list[int] = []

    def measure(world: WorldModel, config: PlannerConfig, scenes: int) -> AchievedGoals:
        measured.append(scenes)
        return AchievedGoals(mean=0.2, deviation=0.01)

    monkeypatch.setattr(achieved, "measure", measure)
    config = SweepConfig(
        model="random:tiny", tasks=("reach",), kinds=("box",), episodes=1, max_steps=1, achieved_scenes=3
    )
    sweep(tmp_path, config, read(yaml)[:1])
    assert measured == [3]


def test_variants_play_the_same_episodes_and_go_on(yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorldModel, "open", small_world)
    played: list[int] = []
    original = Player.play
    monkeypatch.setattr(Player, "play", lambda self, job: (played.append(job.seed), original(self, job))[1])
    config = SweepConfig(model="random:tiny", tasks=("reach",), kinds=("box",), seed_base=7, episodes=2, max_steps=1)
    variants, said = read(yaml), list[str]()
    found: Any = None
    for _ in range(2):
        found = sweep(tmp_path / "out", config, variants, advance=lambda steps=1, note="": said.append(note))
    assert played == [7, 8, 7, 8, 7]  # the variant that is the baseline is left out, the slow one plays one episode
    assert [(each.name, each.episodes) for each in found] == [("baseline", 2), ("gaussian draws", 2), ("6 samples", 1)]
    assert found[2].beside.pairs == 1
    assert found[2].evaluations > found[0].evaluations
    assert said[-1] == "6 samples: 0 of 1"
    kept = json.loads((tmp_path / "out" / JSON).read_text())
    assert kept["same_as_baseline"] == ["sobol draws"]
    said_there = (tmp_path / "out" / TABLE).read_text()
    assert table(found) in said_there
    assert said_there.endswith("Left out, because their settings are the baseline's: sobol draws.\n")
    assert (tmp_path / "out" / "6-samples" / "report.html").is_file()
    assert variant_rows(tmp_path / "out", config, variants, "") == found
    assert variant_rows(tmp_path / "out", config, read(yaml, given=["search.samples=5"]), "") == []
    assert variant_rows(tmp_path / "out", config, [replace(each, budget=250.0) for each in variants], "") == []
    assert variant_rows(tmp_path / "out", replace(config, achieved_scenes=3), variants, "") == []


def test_a_budget_that_cannot_be_kept_is_refused_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Player, "play", Mock(side_effect=AssertionError("an episode was played")))
    monkeypatch.setattr(budgets, "measured", Mock(side_effect=ConfigError("even the smallest search …")))
    (tmp_path / "table.yaml").write_text("variants: {budgets: {quick: {budget: 250}}}")
    config = SweepConfig(model="random:tiny", tasks=("reach",), kinds=("box",), episodes=1, max_steps=1)
    with pytest.raises(ConfigError, match="variant 'quick': even the smallest search"):
        sweep(tmp_path / "out", config, read(tmp_path / "table.yaml"))


def test_a_variant_has_a_budget_or_a_size(tmp_path: Path) -> None:
    (tmp_path / "table.yaml").write_text("variants: {budgets: {quick: {budget: 250, set: {search.samples: 9}}}}")
    config = SweepConfig(model="random:tiny", tasks=("reach",), kinds=("box",), episodes=1, max_steps=1)
    with pytest.raises(ConfigError, match=r"variant 'quick': a budget beside search\.samples=9; expected one or"):
        sweep(tmp_path / "out", config, read(tmp_path / "table.yaml"))


def test_the_list_says_all_that_a_variant_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(
        "baseline: {set: {earlier_observations: 2, settled: 3}}\n"
        "variants: {budgets: {quick: {budget: 250}, "
        "published: {planner: paper, episodes: 5, set: {earlier_observations: 0}}}}"
    )
    assert run(["evaluate-sweep", str(path), "--list", "--set", "settled=4"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "– · baseline: default, earlier_observations=2, settled=4",
        "budgets · quick: default, earlier_observations=2, settled=4, in 250 ms",
        "budgets · published: paper, earlier_observations=0, settled=4, at most 5 episodes a line",
    ]
