"""A model is known by its files, and an open one by its weights."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.checkpoints import samples
from vjepa2_ac.model_version import CONFIDENCE_FILE, confidence_file, fingerprint, version_of
from vjepa2_ac.world_model import WorldModel


def test_a_model_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    before = fingerprint(str(tmp_path))
    (tmp_path / "weights").write_bytes(b"two")
    assert before != fingerprint(str(tmp_path))
    assert fingerprint("random:tiny") == ""


def test_what_was_learned_about_a_model_may_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    before = fingerprint(str(tmp_path))
    (tmp_path / CONFIDENCE_FILE).write_text("{}")
    assert before == fingerprint(str(tmp_path))


def test_a_folder_and_its_weights_are_one_model_config_included(tmp_path: Path) -> None:
    folder = samples.locating(tmp_path / "model")
    whole = fingerprint(str(folder))
    assert fingerprint(str(folder / "model.safetensors")) == whole
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"normalize_latents": true', '"normalize_latents": false'))
    assert fingerprint(str(folder / "model.safetensors")) != whole
    (folder / CONFIDENCE_FILE).write_text("{}")
    assert confidence_file(str(folder / "model.safetensors")) == folder / CONFIDENCE_FILE


def test_an_inverse_is_part_of_which_model_it_is(tmp_path: Path) -> None:
    model = WorldModel.open(samples.locating(tmp_path / "model"), precision="fp32", device="cpu")
    first = version_of(model)
    assert first == version_of(model)
    assert model.inverse is not None
    with torch.no_grad():
        model.inverse.move.bias[2] += 0.01
    other = version_of(model)
    model.inverse = None
    assert len({first, other, version_of(model)}) == 3
