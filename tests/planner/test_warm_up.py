from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from planner.costs import GoalCost
from planner.limits import LimitsConfig
from planner.plan import Plan
from planner.planning import Planner
from planner.presets import PRESETS, preset
from planner.warm_up import SAMPLES, warm_up
from tests.planner.worlds import HOME, PointWorld, located
from vjepa2_ac.errors import ConfigError


class Asked(PointWorld):
    """Remembers by which costs it was asked to score how many candidates over how many steps."""

    def score(self, *given: Any) -> Any:
        cost = given[3]
        assert isinstance(cost, GoalCost)
        self.told.append((cost.config, *given[2].shape[1:3]))
        return super().score(*given)


@pytest.mark.parametrize("name", PRESETS)
def test_a_machine_is_measured_with_what_will_be_planned_with(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.warm_up.MOST_MEASURING_S", math.inf)  # however busy it is
    config = preset(name)
    config = replace(config, cost=replace(config.cost, pools=(2, 4)))
    world = Asked(keyframe=lambda _: located(HOME))
    found = warm_up(world, config)
    assert found.each > 0
    asked = [each for each in world.told if isinstance(each, tuple)]
    assert all(cost == config.cost for cost, *_ in asked)
    assert {(8, 1), (64, 1), (8, 2), (64, 2)} <= {(samples, horizon) for _, samples, horizon in asked}


def test_where_timing_would_take_long_or_tells_nothing_the_second_plan_is_the_estimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, took_s = Planner.plan, [7.0, 0.5]

    def timed(planner: Planner, *asked: Any, **how: Any) -> Plan:
        found = plan(planner, *asked, **how)
        return replace(found, timings={"search": 1e3 * took_s.pop(0)}, evaluations=10)

    monkeypatch.setattr(Planner, "plan", timed)
    world = Asked()
    found = warm_up(world, preset("fast"))
    assert (found.call, found.step) == (0.0, 0.0)
    assert found.each == pytest.approx(0.05)
    assert not [each for each in world.told if isinstance(each, tuple) and each[1] > SAMPLES]

    took_s[:] = [7.0, 0.02]
    monkeypatch.setattr("planner.warm_up.measure", Mock(side_effect=ConfigError("the timings do not grow")))
    assert warm_up(world, preset("fast")).each == pytest.approx(0.002)


def test_a_workspace_may_be_endless() -> None:
    endless = LimitsConfig(lowest=(-math.inf, 0.1, -math.inf), highest=(math.inf, math.inf, -0.1))
    assert warm_up(PointWorld(), replace(preset("fast"), limits=endless)).each > 0
