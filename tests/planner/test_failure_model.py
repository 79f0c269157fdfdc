from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from planner.confidence import ConfidenceConfig
from planner.costs import CostConfig
from planner.failure_model import fitted_for, read, signs
from planner.planning import Planner, PlannerConfig
from tests.planner import failures
from tests.planner.problems import request
from tests.planner.worlds import HOME, PointWorld, moved
from vjepa2_ac.config import from_dict, to_dict
from vjepa2_ac.errors import ConfigError, InputError

ON_GAIN = replace(failures.ON_GAIN, weights="abc", cost={"distance": "l1", "pools": [2, 4]})
ON_PLACES = replace(ON_GAIN, cost={"distance": "l1", "place": 10.0})


def test_chances_follow_the_logistic_curve() -> None:
    assert ON_GAIN.probability((0.0, 0.5, *6 * (0.0,))) == pytest.approx(0.5)
    assert ON_GAIN.probability((0.0,) * 8) == pytest.approx(1 / (1 + math.exp(-2)))
    far, farther = (ON_GAIN.probability((0.0, gain, *6 * (0.0,))) for gain in (-5.0, -500.0))
    assert far == farther


def test_what_is_no_number_has_no_chance() -> None:
    assert ON_GAIN.probability((0.0, math.nan, *6 * (0.0,))) is None


def test_signs_stand_in_their_order() -> None:
    confidence = {"elite_spread": 0.1, "gain": 0.2, "flatness": 0.3, "gripper_contrast": 0.4, "goal_out_of_reach": True}
    found = signs(confidence | {"goal_uncertainty": 0.02}, 1.0, math.e)
    assert found == (0.1, 0.2, 0.3, 0.4, 0.02, 1.0, pytest.approx(1.0), 0.0)
    assert signs(confidence | {"goal_uncertainty": None}, 1.0, math.e)[4] == 0.0  # of a model that locates nothing
    confidence |= {"goal_uncertainty": 0.02}
    assert math.isnan(signs(confidence, 1.0, math.nan)[-2])


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
    path.write_text('{"format": "vjepa2-ac failure model, version 1"}')
    with pytest.raises(InputError, match="is not a file of vjepa2-ac failure models, version 2"):
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


@pytest.mark.parametrize("wrong", [{"scale": (0.0,) * 8}, {"centre": (0.0,)}, {"signs": ("gain",)}])
def test_coefficients_that_fit_nothing_are_refused(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ConfigError):
        replace(ON_GAIN, **wrong)  # type: ignore[arg-type]
