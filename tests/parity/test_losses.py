"""Losses, their gradients and the moving average equal the reference's.

Tolerances: losses 1e-5 and gradient norms 1e-4 relative, as float32 allows; latents as for every network.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.parity.golden import NETWORK_TOLERANCE, Case, cases_of, npz_state
from tests.parity.reference_keywords import config_of
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.training.losses import action_conditioned_loss, distance_to_masked, normalized
from vjepa2_ac.training.masks import Masks
from vjepa2_ac.training.pretraining import Pretraining, PretrainingConfig


@pytest.mark.parametrize("case", cases_of("ac_loss"), ids=lambda case: case.name)
def test_the_action_conditioned_loss(case: Case) -> None:
    config = case.config
    assert isinstance(case.weights, str)
    predictor = ACPredictor(config_of(ACPredictorConfig, config["model"]))
    predictor.load_state_dict(npz_state(case.weights))
    given = tensors(case)
    latents = normalized(given["h"]) if config["normalize_reps"] else given["h"]
    loss = action_conditioned_loss(
        predictor,
        latents,
        given["actions"],
        given["states"],
        given["extrinsics"] if predictor.config.use_extrinsics else None,
        rollout_steps=config["auto_steps"],
        exponent=config["loss_exp"],
        normalize=config["normalize_reps"],
    )
    loss.total.backward()
    agree(latents, case, "h")
    agree(loss.forced_BND, case, "z_tf")
    agree(loss.imagined_BND, case, "z_ar")
    same_number(loss.teacher_forcing, case, "jloss")
    same_number(loss.rollout, case, "sloss")
    same_number(loss.total, case, "loss")
    same_gradients(case, predictor)


@pytest.mark.parametrize("case", cases_of("pretrain_loss"), ids=lambda case: case.name)
def test_the_pretraining_loss_and_the_average(case: Case) -> None:
    momentum = case.config["ema_m"]
    learner = learner_of(case, PretrainingConfig(exponent=case.config["loss_exp"], momentum=(momentum, momentum)))
    video, masks = clip_and_masks(case)
    prediction = learner.predict(video, masks)
    losses = learner(batch_of(video, masks), step=1)
    losses["loss"].backward()
    agree(prediction.targets_BND, case, "h")
    for number, latents in enumerate(prediction.hidden):
        agree(latents, case, f"z{number}")
    same_number(losses["loss"], case, "loss")
    same_gradients(case, learner.encoder, learner.predictor)
    learner.after_update(step=1)
    average = learner.target.state_dict()
    np.testing.assert_allclose(average["norm.weight"], case.output("ema_norm_weight"), rtol=0, atol=1e-6)
    np.testing.assert_allclose(average["blocks.0.attn.qkv.weight"], case.output("ema_qkv0"), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", cases_of("v21_loss"), ids=lambda case: case.name)
def test_the_dense_loss(case: Case) -> None:
    settings = PretrainingConfig(
        context_by_distance=case.config["weight_distance_loss"],
        context_weight=case.config["lambda"],
        context_ramp=None,
    )
    learner = learner_of(case, settings)
    video, masks = clip_and_masks(case)
    prediction = learner.predict(video, masks)
    losses = learner(batch_of(video, masks), step=1)
    agree(prediction.targets_BND, case, "h")
    agree(prediction.hidden[0], case, "z_pred0")
    agree(prediction.visible[0], case, "z_context0")
    same_number(losses["hidden"], case, "loss_pred")
    same_number(losses["visible"], case, "loss_context")
    same_number(losses["loss"], case, "loss_total")


@pytest.mark.parametrize("case", cases_of("v21_maskdist"), ids=lambda case: case.name)
def test_distances_to_what_is_masked(case: Case) -> None:
    side = case.config["grid_size"]
    mask = Masks(torch.from_numpy(case.input("mask_enc")), torch.from_numpy(case.input("mask_pred")))
    distances = distance_to_masked(mask, (side, side), divisor=side // 16 if case.config["offset"] else 1)
    np.testing.assert_allclose(distances, case.output("d"), rtol=0, atol=1e-5)


def learner_of(case: Case, config: PretrainingConfig) -> Pretraining:
    encoder: Encoder | EncoderV21
    target: Encoder | EncoderV21
    predictor: MaskedPredictor | MaskedPredictorV21
    if case.kind == "v21_loss":
        shape = config_of(EncoderV21Config, case.config["encoder"])
        encoder, target = EncoderV21(shape), EncoderV21(shape)
        predictor = MaskedPredictorV21(config_of(MaskedPredictorV21Config, case.config["predictor"]))
    else:
        plain = config_of(EncoderConfig, case.config["encoder"])
        encoder, target = Encoder(plain), Encoder(plain)
        predictor = MaskedPredictor(config_of(MaskedPredictorConfig, case.config["predictor"]))
    assert isinstance(case.weights, list)
    for network, file in zip((encoder, predictor, target), case.weights, strict=True):
        network.load_state_dict(npz_state(file))
    return Pretraining(encoder, predictor, config, steps=1000, target=target)


def clip_and_masks(case: Case) -> tuple[Tensor, list[Masks]]:
    given = tensors(case)
    masks = [Masks(given[f"mask_enc{i}"], given[f"mask_pred{i}"]) for i in range(case.config["num_masks"])]
    return given["clip"], masks


def batch_of(video: Tensor, masks: list[Masks]) -> dict[str, object]:
    return {
        "video_BCTHW": video,
        "contexts": [mask.context_BK for mask in masks],
        "targets": [mask.target_BK for mask in masks],
    }


def tensors(case: Case) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in case.inputs().items()}


def agree(ours: Tensor, case: Case, name: str) -> None:
    torch.testing.assert_close(ours.detach(), torch.from_numpy(case.output(name)), atol=NETWORK_TOLERANCE, rtol=0)


def same_number(ours: Tensor, case: Case, name: str) -> None:
    np.testing.assert_allclose(ours.item(), case.output(name), rtol=0, atol=1e-5)


def same_gradients(case: Case, *modules: nn.Module) -> None:
    """Norms of every parameter's gradient; -1 stands for none."""
    parameters = {name: parameter for module in modules for name, parameter in module.named_parameters()}
    ours = {name: -1.0 if p.grad is None else p.grad.norm().item() for name, p in parameters.items()}
    names = [name.removeprefix("predictor.").removeprefix("backbone.") for name in case.output("grad_norm_names")]
    recorded = dict(zip(names, case.output("grad_norms").tolist(), strict=True))
    assert ours.keys() == recorded.keys()
    np.testing.assert_allclose([ours[name] for name in recorded], list(recorded.values()), rtol=1e-4, atol=1e-6)
