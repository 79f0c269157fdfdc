"""Encoding, imagining and the energy landscape equal the reference's notebook."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.parity.golden import NETWORK_TOLERANCE, Case, cases_of, npz_state
from tests.parity.reference_keywords import config_of
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.landscape.survey import Grid, survey
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.world_model import WorldModel

ENERGY_TOLERANCE = 1e-5  # a mean over many latents, each within 5e-5
NOTEBOOK = {
    "random_horizontal_flip": False,
    "random_resize_aspect_ratio": [1.0, 1.0],
    "random_resize_scale": [1.0, 1.0],
    "reprob": 0.0,
    "auto_augment": False,
    "motion_shift": False,
}


@pytest.mark.parametrize("case", cases_of("wm_encode"), ids=lambda case: case.name)
def test_a_frame_is_encoded_as_in_the_reference(case: Case) -> None:
    agree(world_model(case).encode(case.input("image")), case.output("h"))


@pytest.mark.parametrize("case", cases_of("energy"), ids=lambda case: case.name)
def test_the_landscape_is_the_reference_s(case: Case) -> None:
    model, frames, (start, end) = world_model(case), case.input("frames"), case.input("states")[0]
    agree(model.encode(frames).flatten(0, 1)[None], case.output("h"))
    grid = grid_of(case)
    found = survey(model, frames[0], frames[1], start, goal_pose=end, grid=grid)
    assert found.true_move is not None
    np.testing.assert_allclose(found.true_move, case.output("gt_action"), rtol=0, atol=1e-6)
    agree(found.energies_XYZ.ravel(), case.output("energy"), ENERGY_TOLERANCE)
    summed_XZ = found.over("x", "z") * grid.points  # the reference sums over y where this takes the mean
    agree(summed_XZ, case.output("heatmap"), grid.points * ENERGY_TOLERANCE)


@pytest.mark.parametrize("uncached", [False, True], ids=["cached", "uncached"])
@pytest.mark.parametrize("case", cases_of("energy"), ids=lambda case: case.name)
def test_moves_are_imagined_as_in_the_reference(case: Case, uncached: bool) -> None:
    model, grid = world_model(case), grid_of(case)
    actions_SA = grid.actions()
    agree(actions_SA, case.output("a_hat")[:, 0], 1e-7)
    actions_1SHA = actions_SA[None, :, None].expand(-1, -1, grid.repeats, -1)
    rollout = (model.rollout_uncached if uncached else model.rollout)(
        model.encode(case.input("frames")[0]), torch.from_numpy(case.input("states")[:, 0]), actions_1SHA
    )
    first = case.output("z_hat_last8")  # the last frames of the first candidates
    agree(rollout.last[0, : len(first)], first)
    agree(rollout.poses_BSH7[0], case.output("s_hat")[:, 1:], 1e-6)


def world_model(case: Case) -> WorldModel:
    """The case's networks in fp32; where it has no predictor, any that fits."""
    assert {key: value for key, value in case.config["transform"].items() if key != "crop_size"} == NOTEBOOK
    weights = [case.weights] if isinstance(case.weights, str) else list(case.weights or ())
    encoder = Encoder(config_of(EncoderConfig, case.config["encoder"]))
    encoder.load_state_dict(npz_state(weights[0]), strict=True)
    if "predictor" in case.config:
        predictor = ACPredictor(config_of(ACPredictorConfig, case.config["predictor"]))
        predictor.load_state_dict(npz_state(weights[1]), strict=True)
    else:
        config = encoder.config
        predictor = ACPredictor(
            ACPredictorConfig(img_size=config.img_size, embed_dim=config.embed_dim, predictor_embed_dim=16, num_heads=1)
        )
    size = case.config["transform"]["crop_size"]
    return WorldModel(
        encoder,
        predictor,
        Preprocessing(name="notebook", img_size=(size, size)),
        precision="fp32",
        device="cpu",
        normalize_latents=case.config.get("normalize_reps", True),
    )


def grid_of(case: Case) -> Grid:
    config = case.config
    return Grid(extent=config["grid_size"], points=config["nsamples"], repeats=config["action_repeat"])


def agree(ours: Any, recorded: NDArray[Any], tolerance: float = NETWORK_TOLERANCE) -> None:
    np.testing.assert_allclose(np.asarray(ours), recorded, rtol=0, atol=tolerance)
