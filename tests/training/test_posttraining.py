from __future__ import annotations

from typing import Any

import torch

from tests.models.small import ac_predictor
from tests.training.real import SIZE, D, N, windows
from vjepa2_ac.training.losses import action_conditioned_loss, contrast_loss
from vjepa2_ac.training.posttraining import PostTraining, PostTrainingConfig


def learner(**config: Any) -> PostTraining:
    return PostTraining(ac_predictor(img_size=SIZE, embed_dim=D), PostTrainingConfig(**config), steps=10)


def batch(**more: Any) -> dict[str, Any]:
    return {**windows(torch.Generator().manual_seed(0)), **more}


def test_a_curriculum_lengthens_the_rollout_in_the_course_of_the_run() -> None:
    trained, asked = learner(rollout_steps=1, curriculum=((0.5, 3),)), list[int]()
    trained.predictor.register_forward_hook(lambda *_: asked.append(1))  # once for teacher forcing and the first step

    def rollout_steps(step: int) -> int:
        asked.clear()
        trained(batch(), step)
        return len(asked)

    assert [rollout_steps(step) for step in (1, 5, 6, 10)] == [1, 1, 3, 3]


def test_pairs_are_judged_by_what_they_differ_in_as_well() -> None:
    trained, pair = learner(contrast_weight=2.0), batch(is_paired=True)
    told = trained(pair, 1)
    latents_BND = pair["latents_BND"].float()
    plain = action_conditioned_loss(trained.predictor, latents_BND, pair["actions_BS7"], pair["poses_BT7"])
    contrast = contrast_loss(plain.imagined_BND, latents_BND[:, N : 3 * N])  # the two frames after the first
    torch.testing.assert_close(told["contrast"], contrast)
    torch.testing.assert_close(told["loss"], plain.total + 2.0 * contrast)
    assert trained(batch(is_paired=False), 1)["contrast"] == 0
