"""The planner on a real, tiny world model: chunks, batches and histories change nothing they should not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from planner.costs import CostConfig
from planner.planning import Planner, PlannerConfig, Request
from planner.protocols import World
from planner.search_config import SearchConfig
from vjepa2_ac.images import Frames, Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.hand_location import Located
from vjepa2_ac.models.inverse_model import InverseModel, InverseModelConfig
from vjepa2_ac.world_model import Cost, History, Rollout, WorldModel

SIZE, TOKENS, WIDTH = (32, 32), 4, 24
SAME = 1e-5  # [m]; costs differ by rounding, below 1e-6, when the same candidate is imagined in another piece
ALIKE = 2e-3  # [m]; in another batch they may differ by more, and elites that cost the same change places
POSE = (0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 0.4)


@dataclass
class InPieces:
    """The same world model, given `pieces` candidates at a time."""

    model: WorldModel
    pieces: int

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def fps(self) -> float:
        return self.model.fps

    @property
    def locates(self) -> bool:
        return self.model.locates

    @property
    def finds_keyframes(self) -> bool:
        return self.model.finds_keyframes

    def encode(self, frames: Frames) -> Tensor:
        return self.model.encode(frames)

    def rollout(self, *given: Any) -> Rollout:
        return self.model.rollout(*given)

    def locate(self, *given: Any, keyframe: bool = False) -> Located | None:
        return self.model.locate(*given, keyframe=keyframe)

    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        parts = actions_BSHA.split(self.pieces, dim=1)
        return torch.cat([self.model.score(latents_BND, pose_B7, part, cost, history) for part in parts], dim=1)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    torch.manual_seed(0)
    predictor = build(
        ACPredictor,
        ACPredictorConfig(img_size=SIZE, embed_dim=WIDTH, predictor_embed_dim=32, depth=2, num_heads=2),
    )
    with torch.no_grad():  # so that moves matter
        predictor.action_encoder.weight.mul_(300)
    encoder = build(Encoder, EncoderConfig(img_size=SIZE, embed_dim=WIDTH, depth=1, num_heads=2))
    return WorldModel(encoder, predictor, Preprocessing(img_size=SIZE), precision="fp32", device="cpu")


def latents(seed: int, *shape: int) -> Tensor:
    drawn = torch.randn(*shape, TOKENS, WIDTH, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.layer_norm(drawn, (WIDTH,))


def request(seed: int = 0, history: int = 0) -> Request:
    past = History(latents(7, 1, history), torch.full((1, history, 7), 0.2), torch.full((1, history, 7), 0.01))
    return Request(
        latents_ND=latents(2 * seed),
        pose=POSE,
        goal_ND=latents(2 * seed + 1),
        seed=seed,
        history=past if history else None,
    )


def plan(model: World, asked: Request, **settings: Any) -> Any:
    return Planner(model, PlannerConfig(search=SearchConfig(**settings))).plan(asked)


@pytest.mark.parametrize("settings", [{}, {"horizon": 3}], ids=str)
@pytest.mark.parametrize("pieces", [1, 5, 32])
def test_the_size_of_pieces_does_not_change_the_plan(model: WorldModel, settings: dict[str, Any], pieces: int) -> None:
    whole = plan(model, request(), **settings)
    cut = plan(InPieces(model, pieces), request(), **settings)
    np.testing.assert_allclose(cut.actions_H7, whole.actions_H7, atol=SAME, rtol=0)
    assert (cut.stop_reason, cut.iterations) == (whole.stop_reason, whole.iterations)


def test_the_same_seed_gives_the_same_plan_to_the_last_bit(model: WorldModel) -> None:
    np.testing.assert_array_equal(plan(model, request()).actions_H7, plan(model, request()).actions_H7)


def test_a_plan_goes_where_an_inverse_locates_the_hand(model: WorldModel) -> None:
    inverse = build(InverseModel, InverseModelConfig(grid=model.grid, embed_dim=WIDTH), seed=1)
    world = WorldModel(
        model.encoder, model.predictor, model.preprocessing, precision="fp32", device="cpu", inverse=inverse
    )
    asked = [request(seed) for seed in range(2)]
    located = world.locate(
        torch.stack([each.latents_ND for each in asked]),
        torch.tensor([POSE, POSE]),
        torch.stack([each.goal_ND for each in asked]),
    )
    assert located is not None
    planner = Planner(world, PlannerConfig(cost=CostConfig(place=100.0)))
    for found, located_4 in zip(planner.plan_together(asked), located.hand_B4, strict=True):
        np.testing.assert_allclose(found.targets_H7[-1, :3], located_4[:3], atol=5e-3, rtol=0)


@pytest.mark.parametrize("history", [0, 2])
def test_requests_planned_together_get_the_plans_they_get_alone(model: WorldModel, history: int) -> None:
    planner = Planner(model)
    asked = [request(seed, history) for seed in range(3)]
    for together, alone in zip(planner.plan_together(asked), map(planner.plan, asked), strict=True):
        np.testing.assert_allclose(together.actions_H7, alone.actions_H7, atol=ALIKE, rtol=0)
        np.testing.assert_allclose(together.cost, alone.cost, rtol=1e-4)


def test_history_is_shown_to_the_model(model: WorldModel) -> None:
    with_past, without = plan(model, request(history=2)), plan(model, request())
    assert abs(with_past.idle_cost - without.idle_cost) > 1e-6


def test_the_published_search_plans_on_the_same_network(model: WorldModel) -> None:
    config = PlannerConfig(method="paper")
    published = Planner(model, config).plan(request())
    assert published.evaluations == 8002
    assert published.cost < published.idle_cost
