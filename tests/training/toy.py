"""A learner that trains in milliseconds and touches all a real one does: dropout, an average, accumulated losses."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.training.real import REAL
from vjepa2_ac.models.blocks import Block
from vjepa2_ac.training.engine import Batch, Batches, EngineConfig, Learner, fit
from vjepa2_ac.training.optimizer import OptimizerConfig
from vjepa2_ac.training.order import Layout, generator_of
from vjepa2_ac.training.processes import joined
from vjepa2_ac.training.run_folder import Run

OPTIMIZER = OptimizerConfig(lr=1e-2, warmup=3, anneal=5)


class ToyLearner(Learner):
    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.block = Block(24, 2)
        for parameter in self.block.parameters():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("average", torch.zeros(24))

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        x_BND = batch["x_BND"]
        loss = (self.block(self.dropout(x_BND)) - x_BND.roll(1, -1)).abs().mean()
        return {"loss": loss, "size": x_BND.abs().mean()}

    def after_update(self, step: int) -> None:
        weight = self.block.norm1.weight
        whole = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
        self.average.lerp_(whole.detach(), 0.1)


class ToyBatches:
    def __init__(self, layout: Layout, seed: int = 0) -> None:
        self.layout, self.seed = layout, seed

    def __getitem__(self, micro_batch: int) -> Batch:
        rows = [generator_of(self.seed, sample).standard_normal((4, 24)) for sample in self.layout.samples(micro_batch)]
        return {"x_BND": torch.tensor(np.stack(rows), dtype=torch.float32)}


def train(
    folder: Path,
    config: EngineConfig,
    *,
    resume: bool = False,
    learner: Learner | None = None,
    name: str = "",
    optimizer: OptimizerConfig = OPTIMIZER,
) -> Learner:
    """Train the toy, or the learner of that `name` in `tests.training.real`."""
    with joined("cpu") as processes:
        run = Run(folder)
        if processes.is_first:
            run.check(resume=resume)
            folder.mkdir(exist_ok=True)
            run.recipe.write_text("{}")
        processes.wait()
        layout = Layout(config.batch, processes.count, processes.rank)
        batches: Batches = ToyBatches(layout)
        if name:
            make, batches = REAL[name]
            learner = make()
        learner = learner or ToyLearner(dropout=0.2 if processes.count == 1 else 0.0)
        fit(learner, batches, config, optimizer, run, processes)
        return learner


def start(folder: Path, config: EngineConfig) -> BaseProcess:
    """Train in a process of its own, from where the folder's run stands."""
    process = FORKS.Process(target=_train_on, args=(folder, config))
    process.start()
    return process


def start_two(
    folder: Path, config: EngineConfig, name: str = "", work: Callable[[Path, EngineConfig, str], None] | None = None
) -> list[BaseProcess]:
    """Train, or do other work, on two processes that talk over gloo, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in ("0", "1"):
        contract = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        processes.append(FORKS.Process(target=_work_as, args=(contract, work or _train_on, folder, config, name)))
        processes[-1].start()
    return processes


def _work_as(contract: dict[str, str], work: Callable[..., None], *given: Any) -> None:
    os.environ |= contract
    work(*given)


def _train_on(folder: Path, config: EngineConfig, name: str = "") -> None:
    torch.set_num_threads(1)
    train(folder, config, resume=(folder / "recipe.yaml").exists(), name=name)


FORKS = multiprocessing.get_context("forkserver")  # imports torch once for all processes
FORKS.set_forkserver_preload(
    ["tests.training.toy", "torch._dynamo", "torch.utils.tensorboard", "torch.distributed.fsdp", "timm.optim"]
)
