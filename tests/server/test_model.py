"""The one model of a service: what callers may know of it, and how it stops when nobody waits for its answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from server.model import InterruptibleWorld, open_model
from server.worker import Job
from tests.checkpoints import samples
from tests.planner.problems import problem
from tests.planner.worlds import PointWorld, located, moved
from vjepa2_ac.errors import CancelledError
from vjepa2_ac.world_model import Rollout

GOAL = moved(0.04, 0.0, 0.02, gripper=0.5)


def test_the_hand_is_located_as_the_world_does_while_the_caller_is_there() -> None:
    asked = problem(GOAL)
    given = asked.latents_ND[None], asked.pose_7[None], asked.goal_ND[None]
    world = InterruptibleWorld(PointWorld(located_B4=located(GOAL)))
    world.job = Job(work=lambda _: None, queued_at=0.0, deadline=None)
    found = world.locate(*given)
    assert found is not None
    assert torch.equal(found.hand_B4, located(GOAL))
    assert InterruptibleWorld(PointWorld()).locate(*given) is None
    world.job.gone = True
    with pytest.raises(CancelledError, match="the caller went away"):
        world.locate(*given)


def test_a_caller_who_goes_away_is_noticed_between_the_pieces_of_many_candidates() -> None:
    asked = problem(GOAL)
    world = InterruptibleWorld(PointWorld(pieces=2))
    world.job = job = Job(work=lambda _: None, queued_at=0.0, deadline=None)
    taken: list[int] = []

    def cost(rollout: Rollout) -> Tensor:
        taken.append(rollout.actions_BSHA.shape[1])
        job.gone = len(taken) == 2
        return rollout.latents_BSHND.mean(dim=(2, 3, 4))

    actions_BSHA = torch.zeros(1, 10, 1, 7)
    with pytest.raises(CancelledError, match="the caller went away"):
        world.score(asked.latents_ND[None], asked.pose_7[None], actions_BSHA, cost)
    assert taken == [2, 2]


def test_all_networks_of_a_model_are_counted_and_an_inverse_is_told(tmp_path: Path) -> None:
    without, inverse = [samples.encoder(), samples.acting()], samples.inverse()
    for folder, networks, answer in (
        (samples.release(tmp_path / "without"), without, "no"),
        (samples.locating(tmp_path / "with"), [*without, inverse], "yes"),
    ):
        details = open_model(str(folder)).details
        assert details["parameters"] == str(sum(p.numel() for network in networks for p in network.parameters()))
        assert details["inverse"] == answer
