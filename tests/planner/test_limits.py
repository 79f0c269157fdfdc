"""Laws of the envelope: whatever is asked, what comes out is inside, and what was changed is said."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from planner.limits import LimitsConfig, make_safe, refuse_stale, too_far_from_hand
from tests.planner.worlds import HOME, moved
from vjepa2_ac.errors import ConfigError, InputError, PlanningError, StaleObservationError
from vjepa2_ac.poses import integrate

LIMITS = LimitsConfig()
ANY_ACTIONS = arrays(np.float64, st.tuples(st.integers(1, 4), st.just(7)), elements=st.floats(-3, 3))
ANY_POSITION = arrays(np.float64, 3, elements=st.floats(-1.5, 1.5))


def action(*move: float, gripper: float = 0.0) -> np.ndarray[Any, Any]:
    return np.array([[*move, 0.0, 0.0, 0.0, gripper]])


@given(ANY_ACTIONS)
def test_from_inside_every_target_is_inside(actions: Any) -> None:
    safe = make_safe(HOME, actions, LIMITS)
    positions = safe.targets_H7[:, :3]
    assert (positions >= np.array(LIMITS.lowest) - 1e-9).all()
    assert (positions <= np.array(LIMITS.highest) + 1e-9).all()
    assert np.linalg.norm(positions - HOME[:3], axis=1).max() <= LIMITS.distance + 1e-9
    assert np.abs(safe.actions_H7[:, :3]).max() <= LIMITS.step + 1e-9
    assert np.abs(safe.actions_H7[:, 3:6]).max() <= LIMITS.turn + 1e-9
    assert (safe.targets_H7[:, 6] >= 0).all()
    assert (safe.targets_H7[:, 6] <= 1).all()


@given(ANY_POSITION, ANY_ACTIONS)
def test_from_outside_the_hand_only_comes_back(position: Any, actions: Any) -> None:
    def outside(at: Any) -> Any:
        return np.maximum(np.maximum(LIMITS.lowest - at, at - LIMITS.highest), 0)

    position = np.asarray(position)
    path = [position, *make_safe([*position, 0, 0, 0, 0.5], actions, LIMITS).targets_H7[:, :3]]
    for before, after in itertools.pairwise(path):
        assert (outside(after) <= outside(before) + 1e-9).all()
        assert np.abs(after - before).max() <= LIMITS.step + 1e-9
        assert np.linalg.norm(after - position) <= LIMITS.distance + 1e-9


@given(ANY_ACTIONS)
def test_targets_are_where_the_actions_lead(actions: Any) -> None:
    safe = make_safe(HOME, actions, LIMITS)
    here = np.array(HOME)
    for step, target in zip(safe.actions_H7, safe.targets_H7, strict=True):
        here = integrate(here, step)
        np.testing.assert_allclose(here, target, atol=1e-9)


@given(ANY_ACTIONS)
def test_what_is_safe_is_left_alone(actions: Any) -> None:
    once = make_safe(HOME, actions, LIMITS)
    again = make_safe(HOME, once.actions_H7, LIMITS)
    np.testing.assert_allclose(again.actions_H7, once.actions_H7, atol=1e-9)
    assert again.clipped == ()


@pytest.mark.parametrize(
    ("asked", "start", "part", "rule"),
    [
        (action(0.2, 0, 0), HOME, "x", "step limit"),
        (action(0, 0, -0.05), moved(0, 0, -0.28), "z", "workspace"),
        (action(0, 0, 0, gripper=0.5), moved(0, 0, 0, gripper=0.8), "gripper", "gripper range"),
        (np.repeat(action(0, 0.07, 0), 7, axis=0), HOME, "y", "distance"),
    ],
    ids=["step", "workspace", "gripper", "distance"],
)
def test_what_was_clipped_is_said(asked: Any, start: Any, part: str, rule: str) -> None:
    clipped = make_safe(start, asked, LIMITS).clipped
    assert {(clip.part, clip.rule) for clip in clipped} == {(part, rule)}
    assert abs(clipped[0].allowed) < abs(clipped[0].asked)


def test_every_number_that_was_changed_is_said() -> None:
    clipped = make_safe(HOME, np.repeat(action(0.1, 0.1, 0), 2, axis=0), LIMITS).clipped
    assert [(clip.step, clip.part) for clip in clipped] == [(0, "x"), (0, "y"), (1, "x"), (1, "y")]


def test_a_plan_goes_as_far_as_it_may() -> None:
    safe = make_safe(HOME, np.repeat(action(0.05, -0.05, 0.02), 10, axis=0), LIMITS)
    assert np.linalg.norm(safe.targets_H7[-1, :3] - HOME[:3]) == pytest.approx(LIMITS.distance)


def test_a_move_too_small_to_be_measured_is_no_fault_at_the_edge() -> None:
    limits = LimitsConfig(lowest=(-2, -2, -2), highest=(2, 2, 2))
    for edge in np.random.default_rng(0).uniform(-0.075, 0.075, (30, 3)):
        safe = make_safe(HOME, np.concatenate([np.repeat(action(*edge), 20, axis=0), action(*(1e-170 * edge))]), limits)
        assert np.linalg.norm(safe.targets_H7[-1, :3] - HOME[:3]) == pytest.approx(limits.distance)


@pytest.mark.parametrize("share", [-1e-17, 1e-159])
def test_a_tiny_move_at_the_edge_does_not_end_at_the_other(share: float) -> None:
    limits = LimitsConfig(lowest=(-2, -2, -2), highest=(2, 2, 2))
    for edge in np.random.default_rng(0).uniform(-0.075, 0.075, (30, 3)):
        safe = make_safe(HOME, np.concatenate([np.repeat(action(*edge), 20, axis=0), action(*(share * edge))]), limits)
        assert np.linalg.norm(safe.actions_H7[-1, :3]) < 1e-15


def test_a_gripper_changes_by_no_more_than_the_limit_in_one_action() -> None:
    safe = make_safe(HOME, action(0, 0, 0, gripper=0.5), LimitsConfig(grip=0.2))
    assert safe.targets_H7[0, 6] == pytest.approx(0.2)
    assert [(clip.part, clip.rule) for clip in safe.clipped] == [("gripper", "step limit")]


def test_a_gripper_stays_in_the_range_it_was_given_and_from_outside_only_comes_back() -> None:
    limits = LimitsConfig(gripper=(0.2, 0.7))

    def end(start: float, change: float) -> float:
        pose = moved(0, 0, 0, gripper=start)
        return float(make_safe(pose, action(0, 0, 0, gripper=change), limits).targets_H7[0, 6])

    assert end(0.5, 0.4) == pytest.approx(0.7)
    assert end(0.5, -0.4) == pytest.approx(0.2)
    assert end(0.1, -0.05) == end(0.1, 0.0) == pytest.approx(0.1)  # nor does it move unasked
    assert end(0.9, 0.05) == end(0.9, 0.0) == pytest.approx(0.9)
    assert end(0.9, -0.3) == pytest.approx(0.6)


def test_a_commanded_pose_is_too_far_from_the_hand_once_one_action_cannot_make_up_for_it() -> None:
    def turned(by: float) -> list[float]:
        return [*HOME[:3], 0.0, 0.0, by, 0.0]

    assert too_far_from_hand(moved(0, LIMITS.step, -LIMITS.step), HOME, LIMITS) is None  # along each axis
    assert too_far_from_hand(turned(LIMITS.turn), HOME, LIMITS) is None
    assert too_far_from_hand(moved(0, 0, 0, gripper=1.0), HOME, LIMITS) is None
    assert too_far_from_hand(moved(0, 0.08, 0), HOME, LIMITS) == "8.0 cm and 0.00 rad from where the hand is"
    assert too_far_from_hand(turned(0.32), HOME, LIMITS) == "0.0 cm and 0.32 rad from where the hand is"


def test_a_clipping_reads_as_a_sentence() -> None:
    (clip,) = make_safe(HOME, action(0.2, 0, 0), LIMITS).clipped
    assert str(clip) == "step 0: x +0.2000 became +0.0750 (step limit)"


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(PlanningError, match="not finite"):
        make_safe(HOME, action(np.nan, 0, 0), LIMITS)
    with pytest.raises(InputError):
        make_safe([np.nan] * 7, action(0, 0, 0), LIMITS)


def test_an_old_observation_is_refused_and_so_is_one_from_the_future() -> None:
    refuse_stale(10.0, 10.9, LIMITS)
    with pytest.raises(StaleObservationError, match=r"1\.50 s old; at most 1\.00 s"):
        refuse_stale(10.0, 11.5, LIMITS)
    refuse_stale(10.0, 9.95, LIMITS)  # clocks differ a little
    with pytest.raises(StaleObservationError):
        refuse_stale(10.0, 9.8, LIMITS)


def test_an_empty_workspace_is_refused() -> None:
    with pytest.raises(ConfigError, match="y from"):
        LimitsConfig(lowest=(0, 1, 0), highest=(1, 0, 1))


@pytest.mark.parametrize("name", ["step", "turn", "grip", "distance", "oldest"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_limit_that_is_not_positive_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"limits.{name} must be positive"):
        LimitsConfig(**{name: value})


@pytest.mark.parametrize("gripper", [(-0.1, 1.0), (0.0, 1.5), (0.7, 0.2), (0.5, 0.5)])
def test_a_range_that_no_gripper_has_is_refused(gripper: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="within 0…1"):
        LimitsConfig(gripper=gripper)
