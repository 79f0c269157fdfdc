"""Every network against the reference's recorded outputs.

Tolerance: 5e-5 absolute. Outputs are of order 1, float32 noise is below 1e-5, plausible mistakes move them by 0.3.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.parity.golden import FOLDER, NETWORK_TOLERANCE, Case, cases_of, npz_state
from tests.parity.reference_keywords import config_of
from vjepa2_ac.checkpoints.ignored import without_position_tables
from vjepa2_ac.checkpoints.official import read_state
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.models.pooler import (
    AttentiveClassifier,
    AttentiveClassifierConfig,
    AttentivePooler,
    AttentivePoolerConfig,
)


def state_of(case: Case) -> dict[str, Tensor]:
    assert isinstance(case.weights, str)
    if ":" not in case.weights:
        return npz_state(case.weights)
    file, entry, _ = case.weights.split(":")
    state = read_state(FOLDER / file, entry)
    return without_position_tables(state, entry, use_rope=case.config["model"]["use_rope"])[0]


def load(model: torch.nn.Module, case: Case) -> None:
    model.load_state_dict(state_of(case), strict=True)
    model.eval()


def agree(ours: Tensor, recorded: NDArray[np.float32]) -> None:
    torch.testing.assert_close(ours, torch.from_numpy(recorded), atol=NETWORK_TOLERANCE, rtol=0)


def tensors(case: Case) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in case.inputs().items()}


def masks_of(given: dict[str, Tensor]) -> list[Tensor] | None:
    return [given[name] for name in sorted(given) if name.startswith("mask")] or None


def agree_on_layers(ours: Tensor | list[Tensor], case: Case) -> None:
    if isinstance(ours, Tensor):
        agree(ours, case.output("y"))
        return
    assert len(ours) == len(case.outputs())
    for i, layer in enumerate(ours):
        agree(layer, case.output(f"layer{i}"))


@pytest.mark.parametrize("case", cases_of("encoder"), ids=lambda case: case.name)
@torch.inference_mode()
def test_encoder(case: Case) -> None:
    model = Encoder(config_of(EncoderConfig, case.config["model"]))
    load(model, case)
    given = tensors(case)
    agree_on_layers(model(given["x"], masks_of(given), out_layers=case.config["model"].get("out_layers")), case)


@pytest.mark.parametrize("case", cases_of("predictor"), ids=lambda case: case.name)
@torch.inference_mode()
def test_masked_predictor(case: Case) -> None:
    model = MaskedPredictor(config_of(MaskedPredictorConfig, case.config["model"]))
    load(model, case)
    given = tensors(case)
    agree(model(given["x"], given["mask_x"], given["mask_y"], case.config["mask_index"]), case.output("y"))


def test_position_tables_are_the_recorded_ones() -> None:
    for kind, model, config in (
        ("encoder", Encoder, EncoderConfig),
        ("predictor", MaskedPredictor, MaskedPredictorConfig),
    ):
        cases = [case for case in cases_of(kind) if not case.config["model"].get("use_rope")]
        assert cases
        for case in cases:
            (recorded,) = (values for name, values in state_of(case).items() if name.endswith("pos_embed"))
            assert torch.equal(model(config_of(config, case.config["model"]))._table(), recorded)


def ac_model(case: Case) -> ACPredictor:
    model = ACPredictor(config_of(ACPredictorConfig, case.config["model"]))
    load(model, case)
    return model


@pytest.mark.parametrize("case", cases_of("ac_predictor"), ids=lambda case: case.name)
@torch.inference_mode()
def test_action_conditioned_predictor(case: Case) -> None:
    given = tensors(case)
    ours = ac_model(case)(given["x"], given["actions"], given["states"], given.get("extrinsics"))
    agree(ours, case.output("y"))


@pytest.mark.parametrize("case", cases_of("ac_predictor"), ids=lambda case: case.name)
@torch.inference_mode()
def test_action_conditioned_predictor_step_by_step(case: Case) -> None:
    model, given = ac_model(case), tensors(case)
    frames = given["x"].split(model.config.tokens_per_frame, dim=1)
    cache = model.empty_cache(len(given["x"]), len(frames))
    extrinsics = given.get("extrinsics")
    predicted = [
        model.step(
            frame,
            given["actions"][:, t],
            given["states"][:, t],
            cache,
            None if extrinsics is None else extrinsics[:, t],
        )
        for t, frame in enumerate(frames)
    ]
    agree(torch.cat(predicted, dim=1), case.output("y"))


@pytest.mark.parametrize("case", cases_of("ac_predictor"), ids=lambda case: case.name)
def test_attention_mask(case: Case) -> None:
    keywords = case.config["model"]
    steps = keywords["num_frames"] // keywords["tubelet_size"]
    model = ACPredictor(config_of(ACPredictorConfig, keywords))
    np.testing.assert_array_equal(model.attention_mask(steps).numpy(), case.output("attn_mask"))


@pytest.mark.parametrize("case", cases_of("pooler"), ids=lambda case: case.name)
@torch.inference_mode()
def test_pooler_and_classifier(case: Case) -> None:
    model = {
        "AttentivePooler": lambda: AttentivePooler(config_of(AttentivePoolerConfig, case.config["model"])),
        "AttentiveClassifier": lambda: AttentiveClassifier(config_of(AttentiveClassifierConfig, case.config["model"])),
    }[case.config["class"]]()
    load(model, case)
    agree(model(tensors(case)["x"]), case.output("y"))


@pytest.mark.parametrize("case", cases_of("v21_encoder"), ids=lambda case: case.name)
@torch.inference_mode()
def test_encoder_v21(case: Case) -> None:
    model = EncoderV21(config_of(EncoderV21Config, case.config["model"]))
    load(model, case)
    given = tensors(case)
    layers = case.config["model"].get("out_layers")
    ours = model(given["x"], masks_of(given), out_layers=layers, hierarchical=case.config["training"])
    agree_on_layers(ours, case)


@pytest.mark.parametrize("case", cases_of("v21_predictor"), ids=lambda case: case.name)
@torch.inference_mode()
def test_masked_predictor_v21(case: Case) -> None:
    model = MaskedPredictorV21(config_of(MaskedPredictorV21Config, case.config["model"]))
    load(model, case)
    given = tensors(case)
    predicted, context = model(
        given["x"], given["mask_x"], given["mask_y"], case.config["mod"], case.config["mask_index"]
    )
    agree(predicted, case.output("pred"))
    assert (context is not None) == ("context" in case.outputs())
    if context is not None:
        agree(context, case.output("context"))
