"""The published search, on a point world whose best plan is known by arithmetic."""

from __future__ import annotations

import math

import pytest
import torch

from planner.cem import CEMConfig, Search, search
from vjepa2_ac.errors import ConfigError


def solve(*goal: float, horizon: int = 2, seed: int = 0, **settings: object) -> Search:
    """A point starts at the origin; the cost is its L1 distance to `goal` (x, y, z, gripper)."""

    def cost(actions_SHA: torch.Tensor) -> torch.Tensor:
        end_SP = actions_SHA[..., (0, 1, 2, 6)].sum(dim=1)
        return (end_SP - torch.tensor(goal)).abs().sum(dim=1)

    config = CEMConfig(horizon=horizon, samples=400, iterations=12, std_momentum=0.15, **settings)  # type: ignore[arg-type]
    return search(cost, config, torch.Generator().manual_seed(seed))


def test_reaches_a_goal_two_steps_away() -> None:
    end_A = solve(0.06, -0.04, 0.0, 0.0).actions_HA.sum(dim=0)
    torch.testing.assert_close(end_A[:3], torch.tensor([0.06, -0.04, 0.0]), atol=5e-3, rtol=0)


def test_rotations_stay_zero() -> None:
    assert not solve(0.06, 0.0, 0.0, 0.0).actions_HA[:, 3:6].any()


def test_no_sampled_move_leaves_the_box() -> None:
    for iteration in solve(1.0, 1.0, 1.0, 5.0, step_limit=0.03).trace:
        assert iteration.actions_SHA[..., :3].abs().max() <= 0.03
        assert iteration.actions_SHA[..., 6].abs().max() <= CEMConfig().gripper_limit


def test_small_gripper_changes_are_dropped_and_large_ones_kept() -> None:
    assert not solve(0.0, 0.0, 0.0, 0.1, horizon=1).actions_HA[:, 6].any()
    assert solve(0.0, 0.0, 0.0, 0.6, horizon=1).actions_HA[0, 6].item() == pytest.approx(0.6, abs=0.03)


def test_the_same_seed_gives_the_same_plan() -> None:
    first, again, other = solve(0.05, 0, 0, 0), solve(0.05, 0, 0, 0), solve(0.05, 0, 0, 0, seed=1)
    assert torch.equal(first.actions_HA, again.actions_HA)
    assert not torch.equal(first.actions_HA, other.actions_HA)


def test_held_numbers_stay_where_they_are_held() -> None:
    found = solve(0.05, 0.05, 0.0, 0.0, held={1: 0.01})
    torch.testing.assert_close(found.actions_HA[:, 1], torch.full((2,), 0.01))


@pytest.mark.parametrize("known", [1, 3])
def test_elites_that_cost_no_number_do_not_lead_on(known: int) -> None:
    def cost(actions_SHA: torch.Tensor) -> torch.Tensor:
        costs_S = (actions_SHA[:, 0, 0] - 0.03).abs()
        costs_S[known:] = torch.inf
        return costs_S

    first = search(cost, CEMConfig(samples=20, elites=5, iterations=1), torch.Generator().manual_seed(0))
    known_KP = first.trace[0].actions_SHA[:known, 0, (0, 1, 2)]
    torch.testing.assert_close(first.actions_HA[0, :3], 0.85 * known_KP.mean(dim=0))
    assert first.trace[0].std_HP.isfinite().all()


@pytest.mark.parametrize(
    "nonsense",
    [
        {"elites": 1},
        {"elites": 900},
        {"horizon": 0},
        {"iterations": 0},
        {"step_limit": 0.0},
        {"step_limit": math.inf},
        {"held": {7: 0.0}},
        {"held": {0: 5.0}},
        {"held": {3: math.nan}},
        {"gripper_limit": 0.0},
        {"mean_momentum": 2.0},
        {"gripper_std_momentum": -0.1},
        {"close_gripper_from": -1},
    ],
)
def test_nonsense_settings_are_refused(nonsense: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        CEMConfig(**nonsense)  # type: ignore[arg-type]
