from __future__ import annotations

import torch

from planner.search_config import SearchConfig
from planner.swarm import Swarm, elite_weights, shifted
from tests.planner.problems import problem
from tests.planner.worlds import HOME, moved

COSTS = torch.tensor([[1.0, 1.5, 2.0, torch.inf]])


def test_elites_weigh_the_same_and_what_has_no_cost_nothing() -> None:
    torch.testing.assert_close(elite_weights(COSTS), torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0.0]]))


def test_a_shifted_plan_repeats_its_last_step() -> None:
    plan_HA = torch.arange(3.0)[:, None].expand(3, 7)
    assert shifted(plan_HA, 3)[:, 0].tolist() == [1, 2, 2]
    assert shifted(plan_HA[:1], 2)[:, 0].tolist() == [0, 0]


def test_gripper_options_share_their_draws() -> None:
    swarm = Swarm(problem(HOME, moved(0.0, 0.0, 0.0, gripper=0.5)), SearchConfig())
    keep, opening, closing = swarm.propose(16)
    torch.testing.assert_close(keep[..., :6], opening[..., :6])
    assert (keep[0, 0, 6], opening[0, 0, 6], closing[0, 0, 6]) == (0.0, -0.5, 0.5)


def test_doing_nothing_is_always_proposed_first() -> None:
    swarm = Swarm(problem(HOME, last_HA=torch.full((1, 7), 0.03)), SearchConfig())
    assert not swarm.propose(8)[0, 0].any()


def test_a_swarm_that_met_only_nonsense_stays_where_it_is() -> None:
    swarm = Swarm(problem(HOME), SearchConfig())
    before = swarm.mean_QHV.clone()
    swarm.learn(torch.full(swarm.propose(32).shape[:2], torch.nan))
    torch.testing.assert_close(swarm.mean_QHV, before)
    assert not swarm.converged
