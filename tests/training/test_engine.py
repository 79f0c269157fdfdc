from __future__ import annotations

import errno
import itertools
import json
import os
import random
import signal
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from tests.models.small import ac_predictor
from tests.training.small import ALONE
from tests.training.toy import OPTIMIZER, ToyBatches, ToyLearner, start, train
from vjepa2_ac.errors import InputError, NotEnoughDiskError, TrainingError
from vjepa2_ac.models.blocks import Block
from vjepa2_ac.models.copy_gate import CopyGate
from vjepa2_ac.models.inverse_model import InverseModel, InverseModelConfig
from vjepa2_ac.models.local_mixing import LocalMixing
from vjepa2_ac.training.engine import Batch, EngineConfig, Trainer, fit, updates
from vjepa2_ac.training.optimizer import OptimizerConfig
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.run_folder import Run

CONFIG = EngineConfig(steps=12, batch=4, save_every=4, log_every=2, precision="fp32")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def final(folder: Path) -> dict[str, Tensor]:
    found = Run(folder).newest()
    assert found is not None
    return {**found[1]["learner"], **flat(found[1]["optimizer"]["state"])}


def flat(states: dict[int, dict[str, Tensor | bool]]) -> dict[str, Tensor]:
    return {
        f"{number}.{name}": torch.as_tensor(value) for number, state in states.items() for name, value in state.items()
    }


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def lines(folder: Path) -> list[dict[str, float]]:
    log = Run(folder).log
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_the_loss_falls(tmp_path: Path) -> None:
    train(tmp_path, EngineConfig(steps=60, batch=8, precision="fp32"))
    first, last = lines(tmp_path)[0], lines(tmp_path)[-1]
    assert last["loss"] < first["loss"]


@pytest.mark.parametrize(("accumulate", "optimizer"), [(1, "adamw"), (2, "adamw"), (1, "muon")])
def test_a_resumed_run_ends_as_if_never_interrupted(tmp_path: Path, accumulate: int, optimizer: str) -> None:
    config, rates = replace(CONFIG, accumulate=accumulate), replace(OPTIMIZER, name=optimizer)
    train(tmp_path / "whole", config, optimizer=rates)
    train(tmp_path / "parts", config, optimizer=rates)
    for state in (tmp_path / "parts" / "states").glob("*12.pt"):
        state.unlink()  # as if killed after update 8
    train(tmp_path / "parts", config, resume=True, optimizer=rates)
    assert_same(final(tmp_path / "whole"), final(tmp_path / "parts"))
    logged = lines(tmp_path / "parts")
    assert [line["step"] for line in logged] == [2, 4, 6, 8, 10, 12]
    board = EventAccumulator(str(tmp_path / "parts" / "tensorboard")).Reload()
    assert [(each.step, each.value) for each in board.Scalars("loss")] == [
        (line["step"], pytest.approx(line["loss"])) for line in logged
    ]


def test_what_is_logged_are_means_over_the_updates_since(tmp_path: Path) -> None:
    train(tmp_path / "each", replace(CONFIG, log_every=1))
    train(tmp_path / "fours", replace(CONFIG, log_every=4))
    losses = [line["loss"] for line in lines(tmp_path / "each")]
    means = [sum(losses[first : first + 4]) / 4 for first in (0, 4, 8)]
    assert [line["loss"] for line in lines(tmp_path / "fours")] == pytest.approx(means)


@pytest.mark.timeout(120)
def test_killing_it_at_random_points_changes_nothing(tmp_path: Path) -> None:
    config = EngineConfig(steps=200, batch=4, save_every=7, log_every=5, precision="fp32")
    assert ended(start(tmp_path / "whole", config)) == 0
    dice = random.Random(time.time_ns())
    for _ in range(3):
        before = len(lines(tmp_path / "killed"))
        process = start(tmp_path / "killed", config)
        while len(lines(tmp_path / "killed")) < before + 3 and process.is_alive():
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.15))
        process.kill()
        process.join()
    assert ended(start(tmp_path / "killed", config)) == 0
    assert_same(final(tmp_path / "whole"), final(tmp_path / "killed"))
    assert [line["step"] for line in lines(tmp_path / "killed")] == list(range(5, 201, 5))


def test_what_a_killed_writer_left_of_the_first_state_is_cleared_up(tmp_path: Path) -> None:
    left = tmp_path / "states" / ".00000004.pt.ab12cd34"
    left.parent.mkdir()
    left.write_bytes(b"half")
    train(tmp_path, CONFIG)
    assert sorted(path.name for path in left.parent.iterdir()) == ["00000008.pt", "00000012.pt"]


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    for workers in (0, 2):
        config = EngineConfig(steps=6, batch=4, precision="fp32", workers=workers)
        assert ended(start(tmp_path / str(workers), config)) == 0
    assert_same(final(tmp_path / "0"), final(tmp_path / "2"))


def test_a_log_that_does_not_fit_on_the_disk_ends_the_run_in_a_sentence(tmp_path: Path) -> None:
    Run(tmp_path).log.symlink_to("/dev/full")
    with pytest.raises(NotEnoughDiskError, match=r"disk is full: .*log\.jsonl"):
        train(tmp_path, CONFIG)


@pytest.mark.parametrize("call", ["add_scalar", "close"])
def test_so_does_one_that_tensorboard_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SummaryWriter, call, full)
    with pytest.raises(NotEnoughDiskError, match=r"disk is full: .*log\.jsonl"):
        train(tmp_path, CONFIG)


def test_a_disk_that_fills_up_elsewhere_is_not_taken_for_the_log(tmp_path: Path) -> None:
    class Compiled(ToyLearner):
        def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/kernels")  # as a compiler's cache would

    with pytest.raises(OSError, match="/tmp/kernels"):
        train(tmp_path, CONFIG, learner=Compiled())


class Unreadable(ToyBatches):
    def __getitem__(self, micro_batch: int) -> Batch:
        raise InputError("no episode can be read")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_ends_a_worker_process_is_said_without_its_traceback(workers: int) -> None:
    config = EngineConfig(workers=workers)
    with pytest.raises(InputError, match=r"^no episode can be read$"):
        next(updates(Unreadable(Layout(1)), config, 0, torch.device("cpu")))


class Killed(ToyBatches):
    def __getitem__(self, micro_batch: int) -> Batch:
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does where memory runs out
        raise AssertionError


def test_a_worker_process_that_was_killed_ends_the_run_in_a_sentence(tmp_path: Path) -> None:
    config = EngineConfig(workers=1, precision="fp32")
    with pytest.raises(TrainingError, match=r"prepares batches has ended: .*fewer engine\.workers need less"):
        fit(ToyLearner(), Killed(Layout(1)), config, OPTIMIZER, Run(tmp_path), ALONE)


class Failing(ToyBatches):
    def __getitem__(self, micro_batch: int) -> Batch:
        raise RuntimeError("sizes do not agree")


def test_a_fault_in_a_worker_process_is_not_taken_for_its_death(tmp_path: Path) -> None:
    config = EngineConfig(workers=1, precision="fp32")
    with pytest.raises(RuntimeError, match="sizes do not agree"):
        fit(ToyLearner(), Failing(Layout(1)), config, OPTIMIZER, Run(tmp_path), ALONE)


def ended(process: BaseProcess) -> int | None:
    process.join()
    return process.exitcode


def test_micro_batches_add_up_to_the_whole_batch(tmp_path: Path) -> None:
    learners = [ToyLearner() for _ in range(2)]
    for learner in learners:
        learner.dropout.p = 0.0
    for learner, (batch, accumulate) in zip(learners, ((8, 1), (2, 4)), strict=True):
        config = EngineConfig(steps=3, batch=batch, accumulate=accumulate, precision="fp32")
        train(tmp_path / str(batch), config, learner=learner)
    for ours, theirs in zip(learners[0].parameters(), learners[1].parameters(), strict=True):
        # Adam divides by the size of the gradient, and so magnifies rounding where that is small.
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_gradients_are_clipped_to_the_norm_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, norms = ToyLearner(), list[float]()
    trainer = Trainer(learner, CONFIG, OptimizerConfig(clip_grad=1e-3), Processes(0, 1, torch.device("cpu")))

    def step(*_: Any) -> None:
        norms.append(float(sum(p.grad.square().sum() for p in learner.parameters() if p.grad is not None) ** 0.5))

    monkeypatch.setattr(trainer.optimizer, "step", step)
    trainer.update(1, [ToyBatches(Layout(4))[0]], Run(tmp_path))
    assert norms == pytest.approx([1e-3], rel=1e-3)


class Draws(ToyLearner):
    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        self.drawn = float(torch.rand(()))
        return super().forward(batch, step)


def test_every_update_and_process_draws_numbers_of_its_own(tmp_path: Path) -> None:
    learner, drawn = Draws(), list[float]()
    for seed, rank in itertools.product((0, 1), (0, 1)):
        config, place = replace(CONFIG, seed=seed), Processes(rank, 1, torch.device("cpu"))
        trainer = Trainer(learner, config, OptimizerConfig(), place)
        for step in (1, 2):
            trainer.update(step, [ToyBatches(Layout(4))[0]], Run(tmp_path))
            drawn.append(learner.drawn)
    assert len(set(drawn)) == 8


def test_bf16_trains_the_same_weights_in_fp32(tmp_path: Path) -> None:
    learner = train(tmp_path, EngineConfig(steps=2, batch=2, precision="bf16"))
    assert {parameter.dtype for parameter in learner.parameters()} == {torch.float32}


def test_compile_reaches_what_stands_between_blocks_and_an_inverse_model() -> None:
    learner = ToyLearner()
    learner.predictor = ac_predictor(local_mixing=True, copy_gate=True)
    learner.inverse = InverseModel(InverseModelConfig())
    Trainer(learner, replace(CONFIG, compile=True), OptimizerConfig(), Processes(0, 1, torch.device("cpu")))
    compiled = [module for module in learner.modules() if module._compiled_call_impl is not None]
    assert {type(module) for module in compiled} == {Block, LocalMixing, CopyGate, InverseModel}
    assert len(compiled) == 1 + 2 + 2 + 1 + 1  # the toy's block; the predictor's blocks and what stands beside them


class Poisoned(ToyLearner):
    def __init__(self, poison: float) -> None:
        super().__init__()
        self.poison = poison

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        losses = super().forward(batch, step)
        return losses if step != 6 else {name: value * self.poison for name, value in losses.items()}


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_loss_that_is_not_a_number_stops_with_its_batch_saved(tmp_path: Path, poison: float) -> None:
    with pytest.raises(TrainingError, match=r"update 6 is not a number.*bad_batch.pt"):
        train(tmp_path, CONFIG, learner=Poisoned(poison))
    kept = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert kept["step"] == 6
    assert kept["batch"][0]["x_BND"].shape == (4, 4, 24)
    assert Run(tmp_path).states()[0][0] == 4


class Spoilt(ToyLearner):
    def after_update(self, step: int) -> None:
        if step == 8:
            self.block.norm1.weight.data.fill_(float("inf"))


def test_weights_that_are_not_finite_never_become_the_state_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"block\.norm1\.weight is not finite after update 8 of"):
        train(tmp_path, CONFIG, learner=Spoilt())
    assert Run(tmp_path).states()[0][0] == 4
    train(tmp_path, CONFIG, resume=True)
    assert Run(tmp_path).states()[0][0] == 12


def test_nothing_goes_on_from_a_state_that_is_not_finite(tmp_path: Path) -> None:
    train(tmp_path, CONFIG)
    step, state = Run(tmp_path).newest() or pytest.fail("no state")
    state["learner"]["block.norm1.weight"].fill_(float("inf"))
    Run(tmp_path).save(step, state)  # as older versions did
    with pytest.raises(TrainingError, match=r"block\.norm1\.weight is not finite after update 12 of"):
        train(tmp_path, CONFIG, resume=True)
