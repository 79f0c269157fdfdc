from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.real import REAL
from tests.training.small import SHAPE
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.training.pretraining import Pretraining, PretrainingConfig


def test_the_momentum_of_the_average_rises_from_the_first_update_over_the_stretched_run() -> None:
    shape = MaskedPredictorConfig(
        img_size=SHAPE.img_size,
        patch_size=SHAPE.patch_size,
        num_frames=SHAPE.num_frames,
        embed_dim=SHAPE.embed_dim,
        predictor_embed_dim=24,
        depth=1,
        num_heads=2,
    )
    config = PretrainingConfig(momentum=(0.0, 1.0), stretch=2.0)
    learner = Pretraining(build(Encoder, SHAPE), build(MaskedPredictor, shape), config, steps=2)
    newest, average = learner.encoder.norm.weight, learner.target.norm.weight
    for step, expected in ((1, 1.0), (2, 0.75)):  # of the way from the average to the encoder: momentum 0, then 1 / 4
        with torch.no_grad():
            average.zero_()
            newest.fill_(1.0)
        learner.after_update(step)
        torch.testing.assert_close(average, torch.full_like(average, expected))


@torch.no_grad()
def test_what_was_visible_counts_more_and_more_between_two_updates() -> None:
    make, batches = REAL["pretraining-v21"]
    learner = make()
    assert isinstance(learner, Pretraining)
    learner.config = replace(learner.config, context_weight=0.8, context_ramp=(2, 6))
    for step, weight in ((1, 0.0), (2, 0.0), (3, 0.2), (6, 0.8), (9, 0.8)):
        losses = learner(batches[0], step)
        assert float(losses["loss"]) == pytest.approx(float(losses["hidden"] + weight * losses["visible"]))
    learner.config = replace(learner.config, context_ramp=None)
    losses = learner(batches[0], 1)
    assert float(losses["loss"]) == pytest.approx(float(losses["hidden"] + 0.8 * losses["visible"]))
