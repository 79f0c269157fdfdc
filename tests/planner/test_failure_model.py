from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from planner.confidence import ConfidenceConfig
from planner.costs import CostConfig
from planner.failure_model import read, signs
from planner.planning import Planner, PlannerConfig
from tests.planner import failures
from tests.planner.problems import request
from tests.planner.worlds import HOME, PointWorld, moved
from vjepa2_ac.config import from_dict, to_dict
from vjepa2_ac.errors import ConfigError, InputError

ON_GAIN = replace(failures.ON_GAIN, weights="abc", cost={"distance": "l1", "pools": [2, 4]})


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


def test_a_file_is_read_for_its_own_model_and_cost_alone(tmp_path: Path) -> None:
    path = failures.file_of(ON_GAIN, tmp_path)
    assert read(path, weights="abc", cost={"distance": "l1"}) == ON_GAIN
    with pytest.raises(ConfigError, match="other weights"):
        read(path, weights="abd")
    with pytest.raises(ConfigError, match=r"cost\.pools = \[2, 4\], not \[\]"):
        read(path, cost={"pools": []})
    path.write_text("{}")
    with pytest.raises(InputError, match="is not a"):
        read(path)


def test_a_setting_that_came_later_stood_at_its_default_when_a_file_was_written(tmp_path: Path) -> None:
    path = failures.file_of(ON_GAIN, tmp_path)
    assert read(path, cost=to_dict(CostConfig(pools=(2, 4)))) == ON_GAIN
    with pytest.raises(ConfigError, match=r"cost\.place = 0\.0, not 0\.5"):
        read(path, cost=to_dict(CostConfig(pools=(2, 4), place=0.5)))


@pytest.mark.parametrize("wrong", [{"scale": (0.0,) * 8}, {"centre": (0.0,)}, {"signs": ("gain",)}])
def test_coefficients_that_fit_nothing_are_refused(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ConfigError):
        replace(ON_GAIN, **wrong)  # type: ignore[arg-type]
