from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from planner.costs import GoalCost
from planner.limits import LimitsConfig
from planner.presets import PRESETS, preset
from planner.warm_up import warm_up
from tests.planner.worlds import HOME, PointWorld, located


class Asked(PointWorld):
    """Remembers by which costs it was asked to score how many candidates over how many steps."""

    def score(self, *given: Any) -> Any:
        cost = given[3]
        assert isinstance(cost, GoalCost)
        self.looked.append((cost.config, *given[2].shape[1:3]))
        return super().score(*given)


@pytest.mark.parametrize("name", PRESETS)
def test_a_machine_is_measured_with_what_will_be_planned_with(name: str) -> None:
    config = preset(name)
    config = replace(config, cost=replace(config.cost, pools=(2, 4)))
    world = Asked(keyframe=lambda _: located(HOME))
    found = warm_up(world, config)
    assert found.each > 0
    asked = [each for each in world.looked if isinstance(each, tuple)]
    assert all(cost == config.cost for cost, *_ in asked)
    assert {(8, 1), (64, 1), (8, 2), (64, 2)} <= {(samples, horizon) for _, samples, horizon in asked}


def test_a_workspace_may_be_endless() -> None:
    endless = LimitsConfig(lowest=(-math.inf, 0.1, -math.inf), highest=(math.inf, math.inf, -0.1))
    assert warm_up(PointWorld(), replace(preset("fast"), limits=endless)).each > 0
