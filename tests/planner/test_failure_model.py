from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.confidence import ConfidenceConfig
from planner.costs import CostConfig
from planner.failure_model import FORMAT, SIGNS, fitted_for, read, signs
from planner.planning import Planner, PlannerConfig
from tests.planner import failures
from tests.planner.problems import request
from tests.planner.worlds import HOME, PointWorld, moved
from vjepa2_ac.config import from_dict, to_dict
from vjepa2_ac.errors import ConfigError, InputError

ON_GAIN = replace(failures.ON_GAIN, weights="abc", cost={"distance": "l1", "pools": [2, 4]})
NOTHING = dict.fromkeys(SIGNS, 0.0)
ON_PLACES = replace(ON_GAIN, cost={"distance": "l1", "place": 10.0})


def test_chances_follow_the_logistic_curve() -> None:
    assert ON_GAIN.probability(NOTHING | {"gain": 0.5}) == pytest.approx(0.5)
    assert ON_GAIN.probability(NOTHING) == pytest.approx(1 / (1 + math.exp(-2)))
    far, farther = (ON_GAIN.probability(NOTHING | {"gain": gain}) for gain in (-5.0, -500.0))
    assert far == farther


def test_signs_count_in_deviations_from_their_centre_and_no_further_than_was_seen() -> None:
    place = SIGNS.index("gain")
    centre, scale = ((*[0.0] * place, 0.2, *[0.0] * (8 - place)), (*[1.0] * place, 0.1, *[1.0] * (8 - place)))
    model = replace(ON_GAIN, centre=centre, scale=scale, intercept=0.0)
    for gain, terms in ((0.2, 0.0), (0.3, 1.0), (0.1, -1.0), (0.6, 4.0), (9.0, 5.0), (-9.0, -5.0)):
        assert model.probability(NOTHING | {"gain": gain}) == pytest.approx(1 / (1 + math.exp(4 * terms)))


def test_a_chance_is_a_number_however_sure() -> None:
    sure = replace(ON_GAIN, coefficients=tuple(250 * each for each in ON_GAIN.coefficients))
    assert sure.probability(NOTHING | {"gain": 5.0}) == pytest.approx(0.0)
    assert sure.probability(NOTHING | {"gain": -5.0}) == pytest.approx(1.0)


def test_what_is_no_number_has_no_chance() -> None:
    assert ON_GAIN.probability(NOTHING | {"log_cost": math.nan}) is None


def test_a_model_reads_the_signs_that_it_names() -> None:
    few = replace(ON_GAIN, signs=("log_cost", "gain"), centre=(0, 0), scale=(1, 1), coefficients=(0, -4))
    for gain in (0.0, 0.3):
        plan = NOTHING | {"gain": gain}
        assert few.probability(plan) == ON_GAIN.probability(plan)
        assert few.probability(plan | {"flatness": math.nan}) == few.probability(plan)


def test_signs_are_what_a_plan_says_and_the_logarithms_of_its_costs() -> None:
    said = {"elite_spread": 0.1, "gain": 0.2, "flatness": 0.3, "gripper_contrast": 0.4, "goal_out_of_reach": True}
    said |= {"goal_uncertainty": 0.02, "cycle_error": 0.03}
    assert signs(said, 1.0, math.e) == said | {"log_idle_cost": pytest.approx(1.0), "log_cost": 0.0}
    nothing_located = signs(said | {"goal_uncertainty": None, "cycle_error": None}, 1.0, math.e)
    assert (nothing_located["goal_uncertainty"], nothing_located["cycle_error"]) == (0.0, 0.0)
    for none in (math.nan, math.inf):
        assert math.isnan(signs(said, 1.0, none)["log_idle_cost"])
    assert math.isfinite(signs(said, 0.0, 1.0)["log_cost"])


def test_a_plan_says_its_chance_of_failure() -> None:
    told = PlannerConfig(confidence=ConfidenceConfig(failure=ON_GAIN))
    near, there = (Planner(PointWorld(), told).plan(request(goal)) for goal in (moved(0.03, 0.02, 0.0), HOME))
    assert near.failure_probability is not None
    assert there.failure_probability is not None
    assert near.failure_probability < 0.3 < there.failure_probability
    assert near.to_dict()["failure_probability"] == near.failure_probability
    assert Planner(PointWorld()).plan(request(HOME)).failure_probability is None


def test_settings_come_back_from_json() -> None:
    config = PlannerConfig(confidence=ConfidenceConfig(failure=ON_GAIN))
    assert from_dict(PlannerConfig, json.loads(json.dumps(to_dict(config))), "test") == config


def test_a_file_is_read_for_its_own_model_alone(tmp_path: Path) -> None:
    path = failures.file_of(tmp_path, ON_GAIN, ON_PLACES)
    assert read(path, weights="abc") == (ON_GAIN, ON_PLACES)
    with pytest.raises(ConfigError, match=r"other weights \(abc, not abd\)"):
        read(path, weights="abd")
    for foreign in ('{"format": "vjepa2-ac failure model, version 1"}', "[]"):
        path.write_text(foreign)
        with pytest.raises(InputError, match="is not a file of vjepa2-ac failure models, version 2"):
            read(path, weights="abc")
    path.write_text("{")
    for unreadable in (path, tmp_path / "none.json"):
        with pytest.raises(InputError, match=f"cannot read .*{unreadable.name}"):
            read(unreadable, weights="abc")
    for damaged in ("", ', "fits": [{}]', ', "fits": [1]', ', "fits": null'):
        path.write_text(f'{{"format": "{FORMAT}"{damaged}}}')
        with pytest.raises(InputError, match="is not a whole file"):
            read(path, weights="abc")


def test_of_several_models_the_one_for_the_cost_speaks() -> None:
    for cost, model in ((ON_GAIN.cost, ON_GAIN), (ON_PLACES.cost, ON_PLACES), ({"distance": "l2"}, None)):
        assert fitted_for(cost, (ON_GAIN, ON_PLACES)) is model
        searched = PlannerConfig(cost=from_dict(CostConfig, dict(cost), "test"))
        assert searched.expecting((ON_GAIN, ON_PLACES)).confidence.failure is model
    said = PlannerConfig(confidence=ConfidenceConfig(failure=ON_PLACES), cost=CostConfig(pools=(2, 4)))
    assert said.expecting((ON_GAIN,)).confidence.failure is ON_PLACES


def test_a_setting_that_came_later_stood_at_its_default_when_a_model_was_fitted() -> None:
    assert ON_GAIN.unfitted(to_dict(CostConfig(pools=(2, 4)))) is None
    assert ON_GAIN.unfitted(to_dict(CostConfig(pools=(2, 4), place=0.5))) == "with cost.place = 0.0, not 0.5"
    assert ON_GAIN.unfitted({"pools": []}) == "with cost.pools = [2, 4], not []"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"scale": (0.0,) * len(SIGNS)}, "scale is positive"),
        ({"centre": (0.0,)}, "centre needs 9 numbers, got 1"),
        ({"coefficients": (math.inf,) * len(SIGNS)}, "coefficients must be finite"),
        ({"intercept": math.inf}, "intercept must be finite, got inf"),
        ({"signs": ("gain",)}, "centre needs 1 numbers, got 9"),
        ({"signs": (*SIGNS[1:], "luck")}, "there is no sign luck"),
    ],
)
def test_coefficients_that_fit_nothing_are_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        replace(ON_GAIN, **wrong)
