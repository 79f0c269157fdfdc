from __future__ import annotations

from typing import Any

import pytest

from planner.gripper import GripperConfig, choose, options
from vjepa2_ac.errors import ConfigError

BRANCHES = GripperConfig()


def test_keeping_comes_first_and_the_others_lead_to_their_end() -> None:
    keep, opened, closed = options(BRANCHES, 0.4, horizon=2)
    assert keep.changes_H == (0.0, 0.0)
    assert opened.changes_H == pytest.approx((-0.4, 0.0))
    assert closed.changes_H == pytest.approx((0.6, 0.0))


def test_an_end_further_than_the_limit_takes_several_steps() -> None:
    assert options(BRANCHES, 0.0, horizon=3)[1].changes_H == pytest.approx((0.75, 0.25, 0.0))


@pytest.mark.parametrize(("closedness", "names"), [(0.0, "keep close"), (1.0, "keep open"), (0.02, "keep close")])
def test_what_would_change_nothing_is_no_option(closedness: float, names: str) -> None:
    assert " ".join(option.name for option in options(BRANCHES, closedness, 1)) == names


@pytest.mark.parametrize("mode", ["sampled", "held"])
def test_other_modes_have_one_option(mode: Any) -> None:
    assert [option.name for option in options(GripperConfig(mode=mode), 0.5, 1)] == ["keep"]


def test_the_cheapest_option_wins_and_keeping_wins_a_draw() -> None:
    assert choose(BRANCHES, [3.0, 2.0, 1.0], keeping_moves=1.0) == 2
    assert choose(BRANCHES, [1.0, 1.0, 1.0], keeping_moves=1.0) == 0


def test_a_change_must_be_cheaper_by_the_margin() -> None:
    careful = GripperConfig(margin=0.1)
    assert choose(careful, [1.0, 0.95], keeping_moves=0.0) == 0
    assert choose(careful, [1.0, 0.85], keeping_moves=0.0) == 1


def test_the_gate_holds_while_keeping_would_still_move() -> None:
    gated = GripperConfig(gate=0.015)
    assert choose(gated, [2.0, 1.0], keeping_moves=0.02) == 0
    assert choose(gated, [2.0, 1.0], keeping_moves=0.01) == 1


def test_an_option_without_a_cost_is_never_taken() -> None:
    assert choose(GripperConfig(gate=0.015), [float("inf"), 1.0], keeping_moves=9.0) == 1


def test_a_gate_needs_branches() -> None:
    with pytest.raises(ConfigError, match="branches"):
        GripperConfig(mode="sampled", gate=0.015)
