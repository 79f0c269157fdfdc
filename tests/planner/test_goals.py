from __future__ import annotations

import pytest

from planner.goals import AchievedGoals, Progress, ProgressConfig, Verdict
from vjepa2_ac.errors import ConfigError

ACHIEVED = AchievedGoals(mean=0.10, deviation=0.02)


def verdicts(*costs: float, **settings: object) -> list[Verdict]:
    progress = Progress(ProgressConfig(**settings))  # type: ignore[arg-type]
    return [progress.update(cost) for cost in costs]


def test_a_cost_that_achieved_goals_have_passes_at_once() -> None:
    assert verdicts(0.9, 0.5, 0.12, achieved=ACHIEVED) == ["going", "going", "achieved"]


def test_a_cost_at_its_own_best_that_no_longer_falls_settles() -> None:
    assert verdicts(1.0, 0.5, 0.3, 0.3, 0.295, *[0.3] * 2)[-2:] == ["going", "settled"]


@pytest.mark.parametrize("failed", range(5))
def test_observations_without_a_plan_leave_a_goal_as_much_time_as_it_had(failed: int) -> None:
    progress = Progress(ProgressConfig(timeout=6))
    progress.update(1.0)
    for _ in range(1 + failed):
        assert progress.update(0.5) == "going"
        progress.undo_step()
    progress.update(0.5)
    moves = 1
    while progress.update(0.5) == "going":
        moves += 1
    assert moves == ProgressConfig().window


def test_nothing_settles_that_may_not() -> None:
    progress = Progress(ProgressConfig(timeout=10))
    costs = [1.0, 0.5, 0.3, *[0.3] * 8]
    assert {progress.update(cost, may_settle=False) for cost in costs[:-1]} == {"going"}
    assert progress.update(0.3, may_settle=False) == "timed out"


def test_nothing_settles_while_it_still_falls() -> None:
    for slope in (0.95, 0.99):
        assert set(verdicts(*[slope**step for step in range(38)])) == {"going"}


def test_what_creeps_on_after_a_long_way_settles_and_a_slow_steady_way_goes_on() -> None:
    creeping = [1.0, *(0.1 * 0.95**step for step in range(5))]  # each by half a percent of the way come
    assert verdicts(*creeping)[-2:] == ["going", "settled"]
    steady = [1.0 - 0.02 * step for step in range(38)]
    assert set(verdicts(*steady)) == {"going"}


def test_nothing_settles_that_has_hardly_fallen() -> None:
    assert "settled" not in verdicts(*[1.0, 0.9] + [0.85] * 20)


def test_nothing_settles_far_from_what_achieved_goals_cost() -> None:
    assert "settled" not in verdicts(1.0, *[0.3] * 20, achieved=ACHIEVED)
    assert "settled" in verdicts(1.0, *[0.17] * 20, achieved=ACHIEVED)


def test_a_cost_that_has_risen_above_its_best_does_not_settle() -> None:
    assert "settled" not in verdicts(1.0, 0.3, *[0.5] * 10)
    assert "settled" not in verdicts(1.0, 0.3, *[0.4] * 10, near_best=0.1)


def test_time_gives_a_goal_up_and_never_passes_it() -> None:
    said = verdicts(*[1.0] * 12, timeout=10)
    assert said[:10] == ["going"] * 10
    assert set(said[10:]) == {"timed out"}


def test_a_goal_that_is_lost_again_has_as_much_time_as_before() -> None:
    said = verdicts(0.9, *[0.05] * 30, *[0.9] * 11, achieved=ACHIEVED, timeout=10)
    assert said[1:31] == ["achieved"] * 30
    assert said[31:] == [*["going"] * 10, "timed out"]


def test_a_goal_that_was_given_up_stays_so() -> None:
    falling = [1.0 - 0.05 * step for step in range(11)]
    assert verdicts(*falling, *[0.5] * 10, timeout=10)[10:] == ["timed out"] * 11  # it stands still, and would settle
    assert verdicts(*[1.0] * 11, 0.05, achieved=ACHIEVED, timeout=10)[10:] == ["timed out"] * 2


def test_a_goal_that_is_lost_again_settles_only_once_its_cost_has_stopped_falling_again() -> None:
    there = [1.0, 0.5, *[0.2] * 5]
    lost_and_back = [1.0, 0.6, 0.35, 0.25, 0.2]
    said = verdicts(*there, *lost_and_back, *[0.2] * 4)
    assert said[6] == "settled"
    assert said[7:] == [*["going"] * 8, "settled"]


def test_the_distribution_of_achieved_goals_comes_from_their_costs() -> None:
    achieved = AchievedGoals.from_costs([0.1, 0.2, 0.3])
    assert achieved.limit(2.0) == pytest.approx(0.4)
    assert AchievedGoals.from_costs([0.1, 0.3]).mean == pytest.approx(0.2)
    with pytest.raises(ConfigError, match="at least 2"):
        AchievedGoals.from_costs([0.1])


def test_costs_and_steps_that_make_no_sense_are_refused() -> None:
    for mean, deviation in ((-0.1, 0.1), (0.1, -0.1), (float("inf"), 0.1), (0.1, float("nan"))):
        with pytest.raises(ConfigError, match="costs are not negative"):
            AchievedGoals(mean=mean, deviation=deviation)
    assert AchievedGoals(mean=0.0, deviation=0.0).limit(1.0) == 0.0
    for settings, complaint in (
        ({"window": 0}, "window is at least 1 step"),
        ({"window": 5, "timeout": 5}, "longer than the window of 5 steps"),
        ({"deviations": float("nan")}, "deviations is a number"),
        ({"loose_deviations": float("inf")}, "loose_deviations is a number"),
        ({"least_progress": 1.0}, "least_progress lies within"),
        ({"near_best": -0.1}, "near_best lies within"),
        ({"least_fall": 1.0}, "least_fall lies within"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            ProgressConfig(**settings)  # type: ignore[arg-type]
    assert ProgressConfig(window=1, least_progress=0.0).window == 1
