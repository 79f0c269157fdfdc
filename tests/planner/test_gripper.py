from __future__ import annotations

from typing import Any

import pytest
import torch

from planner.gripper import (
    GripperConfig,
    choose,
    choose_to_close_first,
    options,
    share_by_closedness,
    share_by_latents,
    weighed,
)
from vjepa2_ac.errors import ConfigError

PLAIN = GripperConfig(stops=())
CONTRAST = GripperConfig(limit=0.5, share=0.3, release_share=0.5, stops=(0.4,))


def test_keeping_comes_first_and_the_others_lead_to_their_end() -> None:
    keep, opened, closed = options(PLAIN, 0.4, horizon=2)
    assert keep.changes_H == (0.0, 0.0)
    assert opened.changes_H == pytest.approx((-0.4, 0.0))
    assert closed.changes_H == pytest.approx((0.6, 0.0))


def test_an_end_further_than_the_limit_takes_several_steps() -> None:
    assert options(PLAIN, 0.0, horizon=3)[1].changes_H == pytest.approx((0.75, 0.25, 0.0))


@pytest.mark.parametrize(("closedness", "names"), [(0.0, "keep close"), (1.0, "keep open"), (0.02, "keep close")])
def test_what_would_change_nothing_is_no_option(closedness: float, names: str) -> None:
    assert " ".join(option.name for option in options(PLAIN, closedness, 1)) == names


@pytest.mark.parametrize("mode", ["sampled", "held"])
def test_other_modes_have_one_option(mode: Any) -> None:
    assert [option.name for option in options(GripperConfig(mode=mode), 0.5, 1)] == ["keep"]


def test_an_option_without_a_cost_is_never_taken() -> None:
    known = options(GripperConfig(), 0.0, 1)  # keep, close, close to 0.4
    assert choose(GripperConfig(), known, [0.0, 1.0, 0.9], [1.0, float("nan"), 2.0], keeping_moves=0.0) == 2
    assert choose(GripperConfig(), known, [0.0, 1.0, 0.9], [1.0, float("nan"), float("inf")], keeping_moves=0.0) == 0


def test_closing_is_imagined_to_stop_around_something_and_told_to_go_on() -> None:
    keep, close, around = options(CONTRAST, 0.0, horizon=2)
    assert keep.commanded_H == (0.0, 0.0)
    assert close.changes_H == close.commanded_H == pytest.approx((0.5, 0.5))
    assert around.name == "close to 0.4"
    assert around.changes_H == pytest.approx((0.4, 0.0))
    assert around.commanded_H == pytest.approx((0.5, 0.5))
    _, _, close, around = options(GripperConfig(), 0.3, horizon=2)
    assert around.commanded_H == close.commanded_H == pytest.approx((0.7, 0.0))


def test_a_gripper_that_is_past_a_stop_does_not_go_back_to_it() -> None:
    assert [option.name for option in options(CONTRAST, 0.5, 1)] == ["keep", "open", "close"]


def test_what_the_goal_shows_is_measured_along_what_an_option_changes() -> None:
    keep, opened, closed = torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4, 3)
    opened[0, 0], closed[1, 1] = -2.0, 2.0
    elsewhere = torch.zeros(4, 3)
    elsewhere[3, 2] = 50.0  # wrong in all futures alike, and none of the gripper's business
    goal = 0.7 * closed + elsewhere
    assert share_by_latents(torch.stack([keep, opened, closed]), goal).tolist() == pytest.approx([0.0, 0.0, 0.7])
    assert share_by_latents(torch.stack([keep, opened, closed]) + 9.0, goal + 9.0)[2] == pytest.approx(0.7)


def test_of_the_options_that_the_goal_shows_enough_of_the_cheapest_is_taken() -> None:
    known = options(CONTRAST, 0.0, 1)  # keep, close, close to 0.4
    assert choose(CONTRAST, known, [0.0, 0.5, 0.6], [1.0, 3.0, 2.0], keeping_moves=1.0) == 2
    assert choose(CONTRAST, known, [0.0, 0.29, 0.1], [1.0, 0.5, 0.5], keeping_moves=1.0) == 0


def test_letting_go_wants_more_of_the_goal_than_closing() -> None:
    known = options(CONTRAST, 0.5, 1)  # keep, open, close
    assert choose(CONTRAST, known, [0.0, 0.45, -0.5], [1.0, 0.5, 0.5], keeping_moves=1.0) == 0
    assert choose(CONTRAST, known, [0.0, 0.55, -0.5], [1.0, 0.5, 0.5], keeping_moves=1.0) == 1
    assert choose(CONTRAST, known, [0.0, -0.5, 0.45], [1.0, 0.5, 0.5], keeping_moves=1.0) == 2


def test_a_gate_holds_what_the_goal_shows_too() -> None:
    gated = GripperConfig(gate=0.01)
    known = options(gated, 1.0, 1)
    assert choose(gated, known, [0.0, 1.0], [1.0, 1.0], keeping_moves=0.02) == 0
    assert choose(gated, known, [0.0, 1.0], [1.0, 1.0], keeping_moves=0.005) == 1


def test_before_it_goes_on_a_hand_closes_as_the_next_goal_shows_most_or_not_at_all() -> None:
    known = options(CONTRAST, 0.3, 1)  # keep, open, close, close to 0.4
    assert choose_to_close_first(0.5, known, [0.0, 0.9, 0.6, 0.7]) == 3
    assert choose_to_close_first(0.5, known, [0.0, 0.9, 0.4, 0.3]) is None
    assert choose_to_close_first(0.5, options(CONTRAST, 1.0, 1), [0.0, 0.9]) is None  # keep, open


@pytest.mark.parametrize(
    ("closedness", "there", "shares"),
    [
        (0.0, 0.0, {"keep": 0.0, "close": 0.0, "close to 0.4": 0.0}),
        (0.0, 0.2, {"keep": 0.0, "close": 0.4, "close to 0.4": 0.5}),
        (0.0, 1.0, {"keep": 0.0, "close": 1.0, "close to 0.4": 1.0}),
        (0.2, 0.65, {"keep": 0.0, "open": -1.0, "close": 0.9, "close to 0.4": 1.0}),
        (0.4, 0.0, {"keep": 0.0, "open": 1.0, "close": -0.8}),
        (0.4, 0.3, {"keep": 0.0, "open": 0.25, "close": -0.2}),
        (0.4, 0.65, {"keep": 0.0, "open": -0.625, "close": 0.5}),
    ],
)
def test_how_closed_the_located_hand_is_tells_what_the_goal_shows(
    closedness: float, there: float, shares: dict[str, float]
) -> None:
    known = options(GripperConfig(limit=0.5), closedness, 1)
    told = share_by_closedness(known, there - closedness).tolist()
    assert {option.name: share for option, share in zip(known, told, strict=True)} == pytest.approx(shares)


def test_shares_may_be_weighed_by_whole_numbers() -> None:
    config, known = GripperConfig(located=0, release_located=1), options(GripperConfig(), 0.4, 1)  # keep, open, close
    assert weighed(config, known, torch.tensor([0.0, 0.2, 0.3]), torch.tensor([0.0, 0.8, 0.9])).tolist() == (
        pytest.approx([0.0, 0.8, 0.3])
    )


@pytest.mark.parametrize(
    "settings",
    [{"mode": "sampled", "gate": 0.015}, {"stops": (1.2,)}, {"share": 0.0}, {"located": 1.5}, {"take_share": 0.0}],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"gripper\.(gate|stops|share|located|take_share)"):
        GripperConfig(**settings)
