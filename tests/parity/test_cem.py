"""The published search equals the reference's, draw for draw, on a real predictor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from planner.cem import CEMConfig, Search, search_with
from tests.parity.golden import Case, cases_of, npz_state
from tests.parity.reference_keywords import config_of
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.world_model import Rollout, WorldModel, energy

TOLERANCE = 1e-5  # the elites are cut at energy gaps above 2e-5, so both sides choose the same ones
KEYWORDS = {
    "rollout": "horizon",
    "samples": "samples",
    "cem_steps": "iterations",
    "topk": "elites",
    "maxnorm": "step_limit",
    "momentum_mean": "mean_momentum",
    "momentum_std": "std_momentum",
    "momentum_mean_gripper": "gripper_mean_momentum",
    "momentum_std_gripper": "gripper_std_momentum",
}


@pytest.mark.parametrize("case", cases_of("cem"), ids=lambda case: case.name)
def test_the_search_is_the_reference_s(case: Case) -> None:
    found = replay(case)
    assert len(found.trace) == len(case.output("mean"))
    for step, iteration in enumerate(found.trace):
        agree(iteration.actions_SHA, case.output("action_traj")[step])
        agree(iteration.costs_S, case.output("sims")[step])
        assert set(iteration.elites_K.tolist()) == set(case.output("topk_idx")[step].tolist())
        agree(iteration.mean_HP, case.output("mean")[step])
        agree(iteration.std_HP, case.output("std")[step])
    agree(found.actions_HA, case.output("action"))


def replay(case: Case) -> Search:
    problem = Problem(world_model(case), *(torch.from_numpy(case.input(name)) for name in ("rep", "pose", "goal")))
    draws = iter(torch.from_numpy(case.input("draws")))
    found = search_with(problem.cost, config(case), lambda: next(draws))
    assert next(draws, None) is None, "not every recorded draw was used"
    return found


@dataclass(frozen=True)
class Problem:
    """One observation and its goal, as the planner hands candidates to the world model."""

    model: WorldModel
    latents_1ND: Tensor
    pose_117: Tensor
    goal_1ND: Tensor

    def cost(self, actions_SHA: Tensor) -> Tensor:
        def to_goal(rollout: Rollout) -> Tensor:
            return energy(rollout, self.goal_1ND)

        return self.model.score(self.latents_1ND, self.pose_117[:, 0], actions_SHA[None], to_goal)[0]


def config(case: Case) -> CEMConfig:
    arguments = dict(case.config["mpc_args"])
    held = {int(index): value for index, value in arguments.pop("axis").items()}
    settings = {KEYWORDS[key]: value for key, value in arguments.items()}
    return CEMConfig(held=held, close_gripper_from=case.config["close_gripper"], **settings)


def world_model(case: Case) -> WorldModel:
    predictor = ACPredictor(config_of(ACPredictorConfig, case.config["model"]))
    predictor.load_state_dict(npz_state(str(case.weights)), strict=True)
    shape = predictor.config
    never_used = Encoder(
        EncoderConfig(
            img_size=shape.img_size, patch_size=shape.patch_size, embed_dim=shape.embed_dim, depth=1, num_heads=1
        )
    )
    return WorldModel(
        never_used,
        predictor,
        Preprocessing(name="notebook", img_size=shape.img_size),
        precision="fp32",
        device="cpu",
        normalize_latents=case.config["normalize_reps"],
    )


def agree(ours: Tensor, recorded: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(ours.numpy(), recorded, rtol=0, atol=TOLERANCE)
