"""The recorded checkpoint files give the recorded answers through the loader users call.

Everything that stands in the shapes is inferred, as for a released file; only what does not stand there is told.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from tests.parity.golden import FOLDER, Case, cases
from tests.parity.test_models import agree, agree_on_layers, masks_of, tensors
from vjepa2_ac.checkpoints import load
from vjepa2_ac.checkpoints.reading import read
from vjepa2_ac.models.ac_predictor import ACPredictorConfig
from vjepa2_ac.models.encoder import EncoderConfig
from vjepa2_ac.models.masked_predictor import MaskedPredictorConfig

PARTS: dict[str, tuple[str, type[Any]]] = {  # kind of case: the model of a file it is about, and that model's settings
    "encoder": ("encoder", EncoderConfig),
    "ac_predictor": ("predictor", ACPredictorConfig),
    "predictor": ("masked_predictor", MaskedPredictorConfig),
}
TOLD = ("num_heads", "img_size", "num_frames", "norm_eps", "use_extrinsics", "return_all_tokens")

CASES = [case for case in cases() if case.kind in PARTS and isinstance(case.weights, str) and ".pt:" in case.weights]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@torch.inference_mode()
def test_an_entry_of_a_checkpoint_gives_its_recorded_answer(case: Case) -> None:
    file, entry = _place(case)
    part, _ = PARTS[case.kind]
    which = entry if part == "encoder" else None
    loaded = load(FOLDER / file, which=which, parts=(part,), overrides=_told_about(file, case))
    given = tensors(case)
    if loaded.encoder is not None:
        layers = case.config["model"].get("out_layers")
        agree_on_layers(loaded.encoder(given["x"], masks_of(given), out_layers=layers), case)
    elif loaded.predictor is not None:
        agree(
            loaded.predictor(given["x"], given["actions"], given["states"], given.get("extrinsics")), case.output("y")
        )
    else:
        index = case.config["mask_index"]
        agree(loaded.masked_predictor(given["x"], given["mask_x"], given["mask_y"], index), case.output("y"))


@pytest.mark.parametrize("file", sorted({_file for _file, _ in (str(case.weights).split(":")[:2] for case in CASES)}))
def test_everything_a_checkpoint_leaves_aside_has_a_reason(file: str) -> None:
    contents = read(FOLDER / file, overrides=_told_about(file))
    assert contents.ignored, "training files hold an optimiser's state, at least"
    assert all(ignored.reason for ignored in contents.ignored)


def _place(case: Case) -> tuple[str, str]:
    file, entry, _prefix = str(case.weights).split(":")
    return file, entry


def _told_about(file: str, *first: Case) -> dict[str, dict[str, Any]]:
    """What the cases of one file say of its models and its shapes do not; `first` goes before the others."""
    told: dict[str, dict[str, Any]] = {}
    for case in (*first, *(case for case in CASES if _place(case)[0] == file)):
        part, config = PARTS[case.kind]
        fields = {field.name for field in dataclasses.fields(config)}
        model = case.config["model"]
        told.setdefault(part, {key: model[key] for key in TOLD if key in model and key in fields})
    return told
