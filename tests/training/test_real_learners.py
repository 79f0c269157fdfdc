"""What several processes need of a learner: a gradient of every weight that is trained, and numbers as they came."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.real import REAL
from tests.training.test_engine import ended
from tests.training.test_processes import weights
from tests.training.toy import start_two
from vjepa2_ac.training.engine import EngineConfig


@pytest.mark.parametrize("name", REAL)
def test_every_weight_that_is_trained_gets_a_gradient(name: str) -> None:
    make, batches = REAL[name]
    learner = make()
    learner(batches[0], 1)["loss"].backward()
    trained = {name: parameter for name, parameter in learner.named_parameters() if parameter.requires_grad}
    assert trained
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["pretraining-v21", "inversion"])
def test_two_processes_that_share_the_weights_resume_bit_for_bit(tmp_path: Path, name: str) -> None:
    config = EngineConfig(steps=4, batch=2, accumulate=2, save_every=2, log_every=2, precision="bf16", sharded=True)
    assert [ended(process) for process in start_two(tmp_path, config, name)] == [0, 0]
    whole = weights(tmp_path)
    (tmp_path / "states" / "00000004.pt").unlink()
    assert [ended(process) for process in start_two(tmp_path, config, name)] == [0, 0]
    again = weights(tmp_path)
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
