"""Costs of imagined futures: the published one, and what each choice changes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from planner.costs import DISTANCES, CostConfig, GoalCost, pooling
from vjepa2_ac.config import from_dict, to_dict
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.world_model import Rollout, energy


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rollout(latents_BSHND: Tensor) -> Rollout:
    B, S, H = latents_BSHND.shape[:3]
    return Rollout(latents_BSHND, torch.zeros(B, S, H, 7), torch.zeros(B, S, H, 7))


GOAL, OBSERVED, IMAGINED = random(2, 16, 5), random(2, 16, 5, seed=1), rollout(random(2, 3, 4, 16, 5, seed=2))


def cost(imagined: Rollout = IMAGINED, **settings: object) -> Tensor:
    return GoalCost(CostConfig(**settings), GOAL, OBSERVED)(imagined)  # type: ignore[arg-type]


def test_the_default_is_the_published_cost() -> None:
    torch.testing.assert_close(cost(), energy(IMAGINED, GOAL))


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("settings", [{}, {"pools": (2, 4)}, {"focus": 0.7}, {"earlier": 0.5}], ids=str)
def test_only_the_goal_itself_costs_nothing(distance: str, settings: dict[str, object]) -> None:
    there = rollout(GOAL[:, None, None].expand(-1, 3, 4, -1, -1))
    assert cost(there, distance=distance, **settings).abs().max() < 1e-5
    assert cost(distance=distance, **settings).min() > 1e-2


def test_l2_of_one_differing_channel_is_larger_than_l1() -> None:
    latents = GOAL[:, None, None].clone()
    latents[..., 0] += 1.0
    torch.testing.assert_close(cost(rollout(latents)), torch.full((2, 1), 1 / 5))
    torch.testing.assert_close(cost(rollout(latents), distance="l2"), torch.full((2, 1), (1 / 5) ** 0.5))


def test_a_pooled_map_forgives_what_cancels_out() -> None:
    noisy = GOAL[:, None, None].clone()
    noisy[..., 0, :] += 1.0
    noisy[..., 1, :] -= 1.0  # the neighbour, in the same cell of a 2 x 2 map
    shifted = GOAL[:, None, None] + 2 / 16
    torch.testing.assert_close(cost(rollout(noisy)), cost(rollout(shifted)))
    coarse_noisy, coarse_shifted = (cost(rollout(x), pools=(2,)) for x in (noisy, shifted))
    torch.testing.assert_close(coarse_noisy, cost(rollout(noisy)))
    torch.testing.assert_close(coarse_shifted, 2.5 * cost(rollout(shifted)))


def test_pooling_averages_neighbours_and_knows_odd_maps() -> None:
    torch.testing.assert_close(pooling(16, 2).sum(dim=1), torch.ones(4))
    assert pooling(16, 2)[0].nonzero().flatten().tolist() == [0, 1, 4, 5]
    assert pooling(6, 2, (2, 3)).shape == (4, 6)
    with pytest.raises(ConfigError, match="not square"):
        pooling(6, 2)


def test_focus_looks_where_goal_and_observation_differ() -> None:
    observed = GOAL.clone()
    observed[:, 3] += 1.0  # only token 3 has to change
    elsewhere = GOAL[:, None, None].clone()
    elsewhere[..., 7, :] += 1.0
    focused = GoalCost(CostConfig(focus=1.0), GOAL, observed)
    assert focused(rollout(elsewhere)).max() < 1e-4
    torch.testing.assert_close(focused(rollout(observed[:, None, None])), torch.ones(2, 1), atol=1e-4, rtol=0)


def test_earlier_steps_count_as_much_as_asked() -> None:
    each_step = torch.stack([energy(rollout(IMAGINED.latents_BSHND[:, :, : h + 1]), GOAL) for h in range(4)], dim=-1)
    torch.testing.assert_close(cost(earlier=1.0), each_step.mean(dim=-1))
    weights = torch.tensor([0.125, 0.25, 0.5, 1.0]) / 1.875
    torch.testing.assert_close(cost(earlier=0.5), (each_step * weights).sum(dim=-1))


def test_a_known_mistake_is_expected_again() -> None:
    mistake = random(2, 16, 5, seed=3)
    wrong = rollout(GOAL[:, None, None] - mistake[:, None, None])
    corrected = GoalCost(CostConfig(surprise=1.0), GOAL, surprise_BND=mistake)
    assert corrected(wrong).max() < 1e-6


def ending(*places: tuple[float, float, float]) -> Rollout:
    """Futures of both requests that show the goal; they end at `places` [m], one for each candidate."""
    poses_BSH7 = random(2, len(places), 4, 7, seed=4)
    poses_BSH7[:, :, -1, :3] = torch.tensor(places)
    return Rollout(GOAL[:, None, None].expand(-1, len(places), 4, -1, -1), poses_BSH7, torch.zeros_like(poses_BSH7))


def test_each_metre_from_the_located_hand_costs_what_place_says() -> None:
    located = GoalCost(
        CostConfig(place=2.0), GOAL, located_B4=torch.tensor([[0.4, 0.0, 0.3, 0.0], [0.4, 0.1, 0.3, 1.0]])
    )
    costs_BS = located(ending((0.4, 0.0, 0.3), (0.43, 0.0, 0.34)))
    expected = [[0.0, 2 * 0.05], [2 * 0.1, 2 * (0.03**2 + 0.1**2 + 0.04**2) ** 0.5]]
    torch.testing.assert_close(costs_BS, torch.tensor(expected), atol=1e-5, rtol=0)


def test_place_and_latents_add_up() -> None:
    located_B4 = random(2, 4, seed=5)
    latents_alone, both = cost(), GoalCost(CostConfig(place=0.7), GOAL, located_B4=located_B4)(IMAGINED)
    torch.testing.assert_close(both, latents_alone + 0.7 * located_B4[:, :3].norm(dim=-1, keepdim=True))
    assert torch.equal(GoalCost(CostConfig(place=0.7), GOAL)(IMAGINED), latents_alone)  # nobody knows the place
    assert torch.equal(GoalCost(CostConfig(), GOAL, located_B4=located_B4)(IMAGINED), latents_alone)


def test_a_slope_leads_to_the_located_hand_and_ends_there() -> None:
    imagined = ending((0.4, 0.0, 0.3), (0.43, 0.0, 0.34))
    imagined.poses_BSH7.requires_grad_()
    GoalCost(CostConfig(place=2.0), GOAL, located_B4=torch.tensor([[0.4, 0.0, 0.3, 0.5]] * 2))(
        imagined
    ).sum().backward()
    slope_BSH7 = imagined.poses_BSH7.grad
    assert slope_BSH7 is not None
    torch.testing.assert_close(slope_BSH7[:, 1, -1, :3], torch.tensor([[1.2, 0.0, 1.6]] * 2))
    assert not slope_BSH7[:, 0].any()  # and is a number there
    assert not slope_BSH7[:, :, :-1].any()


PLACE = (0.4, 0.1, 0.3)


def from_above(slope: float, *places: tuple[float, float, float]) -> Tensor:
    """The cost of ending at places that show the goal, a metre's way to `PLACE` for 1."""
    located_B4 = torch.tensor([[*PLACE, 1.0]] * 2)
    return GoalCost(CostConfig(place=1.0, from_above=slope), GOAL, located_B4=located_B4)(ending(*places))[0]


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("aside", "r"), [((0.08, 0.0), 0.08), ((-0.03, 0.04), 0.05), ((0.0, 0.0), 0.0)])
def test_aside_of_the_place_a_point_above_it_is_the_cheapest(
    slope: float, aside: tuple[float, float], r: float
) -> None:
    heights = [0.005 * step for step in range(-10, 41)]  # [m] over the place
    costs = from_above(slope, *((PLACE[0] + aside[0], PLACE[1] + aside[1], PLACE[2] + height) for height in heights))
    assert heights[int(costs.argmin())] == pytest.approx(slope * r)
    assert float(costs.min()) == pytest.approx(r * (1 + slope**2) ** 0.5, abs=1e-5)  # what is left there is the way


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("height", [0.0, 0.03, 0.06])
def test_at_any_height_straight_over_the_place_is_the_cheapest(slope: float, height: float) -> None:
    x, y, z = PLACE
    costs = from_above(slope, *((x + 0.01 * step, y, z + height) for step in range(-8, 9)))
    assert int(costs.argmin()) == 8
    assert float(costs.min()) == pytest.approx(height, abs=1e-5)


def test_above_the_cone_only_the_way_counts_and_under_it_what_is_missing_too() -> None:
    x, y, z = PLACE
    above, on, under = from_above(1.0, (x + 0.03, y, z + 0.04), (x + 0.03, y, z + 0.03), (x + 0.03, y, z + 0.01))
    below, below_aside = from_above(1.0, (x, y, z - 0.04), (x + 0.03, y, z - 0.04))
    assert float(above) == pytest.approx(0.05, abs=1e-5)
    assert float(on) == pytest.approx(0.03 * 2**0.5, abs=1e-5)
    assert float(under) == pytest.approx((0.03**2 + 0.01**2) ** 0.5 + 0.02, abs=1e-5)
    assert float(below) == pytest.approx(0.04, abs=1e-5)  # no cone hangs under the place
    assert float(below_aside) == pytest.approx(0.05 + 0.03, abs=1e-5)


def test_the_tip_of_the_cone_costs_nothing_and_its_slope_is_a_number() -> None:
    imagined = ending(PLACE, (PLACE[0], PLACE[1], PLACE[2] + 0.05))
    imagined.poses_BSH7.requires_grad_()
    located_B4 = torch.tensor([[*PLACE, 0.0]] * 2)
    costs_BS = GoalCost(CostConfig(place=2.0, from_above=1.0), GOAL, located_B4=located_B4)(imagined)
    torch.testing.assert_close(costs_BS, torch.tensor([[0.0, 0.1]] * 2), atol=1e-5, rtol=0)
    costs_BS.sum().backward()
    slope_BSH7 = imagined.poses_BSH7.grad
    assert slope_BSH7 is not None
    assert slope_BSH7.isfinite().all()
    torch.testing.assert_close(slope_BSH7[:, 1, -1, 2], torch.tensor([2.0, 2.0]))  # straight down


def test_some_of_the_requests_keep_their_costs() -> None:
    config = CostConfig(focus=0.5, pools=(2,), place=0.5, from_above=0.7, surprise=0.5)
    both = GoalCost(config, GOAL, OBSERVED, random(*GOAL.shape, seed=6), random(2, 4, seed=5))
    second = both.take([1])(rollout(IMAGINED.latents_BSHND[1:]))
    torch.testing.assert_close(second, both(IMAGINED)[1:])


def test_the_cost_of_a_frame_is_that_of_a_future_which_ends_there() -> None:
    config = CostConfig(pools=(2, 4), distance="l2")
    now = GoalCost(config, GOAL).of_frame(OBSERVED)
    torch.testing.assert_close(now, GoalCost(config, GOAL)(rollout(OBSERVED[:, None, None]))[:, 0])


def test_costs_are_chosen_by_name_and_parameters() -> None:
    config = from_dict(CostConfig, {"distance": "huber", "parameters": {"delta": 0.1}, "pools": [2, 4]}, "test")
    assert from_dict(CostConfig, to_dict(config), "test") == config
    with pytest.raises(ConfigError, match="did you mean 'huber'"):
        CostConfig(distance="hubert")
    for delta in (0.0, -1.0, math.inf):
        with pytest.raises(ConfigError, match="delta is a difference of latents, above 0"):
            CostConfig(distance="huber", parameters={"delta": delta})
    with pytest.raises(ConfigError, match="place is the cost of a metre, at least 0, got -1"):
        CostConfig(place=-1)
    with pytest.raises(ConfigError, match="grid is rows and columns of tokens"):
        CostConfig(grid=(-4, -4))
    with pytest.raises(ConfigError, match="from_above is a slope, at least 0, got -1"):
        CostConfig(from_above=-1)


def test_a_distance_of_ones_own_is_told_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def any_settings(latents: Tensor, goal: Tensor, **settings: float) -> Tensor:
        return settings["scale"] * (latents - goal).abs().mean(dim=-1)

    monkeypatch.setitem(DISTANCES, "mine", any_settings)
    monkeypatch.setitem(DISTANCES, "builtin", torch.cosine_similarity)
    torch.testing.assert_close(cost(distance="mine", parameters={"scale": 2.0}), 2 * cost())
    assert CostConfig(distance="builtin").parameters == {}
    with pytest.raises(ConfigError, match="l1 has no parameter 'delta'; it takes none"):
        CostConfig(parameters={"delta": 0.5})
    with pytest.raises(ConfigError, match="pool_weight is not negative"):
        CostConfig(pools=(1,), pool_weight=-1.5)
