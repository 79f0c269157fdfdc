"""The training loop. Updates are counted from 1; each is a pure function of the state before it and its number.

Batches, masks and dropout draw from generators seeded by the update's number, so a run needs nothing but its weights,
its optimiser and that number to continue exactly. The same loop serves a single process, DDP and FSDP2.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vjepa2_ac.data.episodes import BadEpisodes
from vjepa2_ac.errors import ConfigError, EpisodeError, InputError, TrainingError, VJEPA2ACError
from vjepa2_ac.models.blocks import Block
from vjepa2_ac.models.copy_gate import CopyGate
from vjepa2_ac.models.inverse_model import InverseModel
from vjepa2_ac.models.local_mixing import LocalMixing
from vjepa2_ac.precision import PRECISIONS, choose_dtype
from vjepa2_ac.training import optimizer as rates
from vjepa2_ac.training.optimizer import OptimizerConfig, make_optimizer
from vjepa2_ac.training.processes import Processes, gradients_kept_local, shard, shared
from vjepa2_ac.training.report import Report
from vjepa2_ac.training.run_folder import Run

Batch = Mapping[str, Any]

COMPILED = (Block, LocalMixing, CopyGate, InverseModel)  # the modules that `compile` compiles, each by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How the updates are made: their number, batches, precision and processes. The learner says what they minimise."""

    steps: int = 1000  # updates
    batch: int = 8  # samples per process and micro-batch
    accumulate: int = 1  # micro-batches per update
    seed: int = 239
    precision: str = "auto"  # fp32, bf16 (autocast; weights stay fp32) or auto
    sharded: bool = False  # FSDP2 in place of DDP
    compile: bool = False  # block by block; an inverse model as a whole
    workers: int = 0  # processes that prepare batches ahead; 0: the training process does, between updates
    log_every: int = 20  # updates
    save_every: int = 500  # updates
    held_out_every: int = 500  # updates between two measurements of the loss on held-out episodes
    held_out_batches: int = 16  # of one process, the same each time

    def __post_init__(self) -> None:
        counts = ("steps", "batch", "accumulate", "log_every", "save_every", "held_out_every", "held_out_batches")
        for name in counts:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"no precision {self.precision!r}; there are {', '.join(PRECISIONS)}")
        if self.workers < 0:
            raise ConfigError(f"workers cannot be negative, got {self.workers}")
        if not 0 <= self.seed < 2**32:  # `_seed` joins it with the update's number and must fit into 64 bits
            raise ConfigError(f"a seed lies between 0 and {2**32 - 1}, got {self.seed}")


class Learner(nn.Module):
    """The networks that are trained, as one module whose forward pass returns the losses."""

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Scalar losses by name; `loss` is minimised, the others are only reported."""
        raise NotImplementedError

    def after_update(self, step: int) -> None:
        """Called after each step of the optimiser, for such things as a moving average."""


class Batches(Protocol):
    """The run's micro-batches by number; a pure function, so any process may ask for any of them."""

    def __getitem__(self, micro_batch: int, /) -> Batch:
        """The tensors of one micro-batch, by name."""
        ...


def fit(
    learner: Learner,
    batches: Batches,
    config: EngineConfig,
    optimizer_config: OptimizerConfig,
    run: Run,
    processes: Processes,
    title: str = "training",
    bad: BadEpisodes | None = None,
    held_out: Batches | None = None,
) -> None:
    """Train to the end, from the newest state in the run's folder if there is one.

    The losses on the batches `held_out` are reported every `held_out_every` updates and at the end; they do not change
    the training.

    TrainingError when a loss is not a number (the batch is saved, and the weights stay those before it), when weights
    are not finite, and when a worker process was killed.
    NotEnoughDiskError when a state or the log does not fit on the disk: the states before it stay usable.
    """
    trainer = Trainer(learner, config, optimizer_config, processes)
    bad = bad or BadEpisodes(limit=0)
    done = trainer.resume(run)
    with _end_of_workers_as_error(), Report(run if processes.is_first else None, config, done, title) as report:
        for step, micro_batches in updates(batches, config, done, processes.device):
            for batch in micro_batches:
                _count(bad, batch.get("bad", {}))
            report.losses(step, trainer.update(step, micro_batches, run))
            if held_out is not None and (step % config.held_out_every == 0 or step == config.steps):
                judged = _first(held_out, config.held_out_batches, processes.device, bad)
                report.held_out(step, trainer.judge(step, judged))
            if step % config.log_every == 0 or step == config.steps:
                _unite(bad, processes)
            if step % config.save_every == 0 or step == config.steps:
                trainer.save(run, step)


class Trainer:
    """A learner with its optimiser, on the device and, with several processes, wrapped in DDP or FSDP2."""

    def __init__(
        self, learner: Learner, config: EngineConfig, optimizer_config: OptimizerConfig, processes: Processes
    ) -> None:
        self.config, self.optimizer_config, self.processes = config, optimizer_config, processes
        self.dtype = choose_dtype(config.precision, processes.device)
        self.learner = learner.to(processes.device)
        if config.compile:
            for module in learner.modules():
                if isinstance(module, COMPILED):
                    module.compile()
        self.is_sharded = config.sharded and processes.count > 1
        if self.is_sharded:
            shard(learner, processes, Block, self.dtype)
            self.wrapped: nn.Module = learner
        else:
            self.wrapped = shared(learner, processes)
        self.optimizer = make_optimizer(learner, optimizer_config)

    def update(self, step: int, micro_batches: list[Batch], run: Run) -> dict[str, float]:
        """Make one update; returns its losses, averaged over micro-batches and processes, and the learning rate."""
        lr = rates.set_rates(self.optimizer, self.optimizer_config, step, self.config.steps)
        self.learner.train()
        torch.manual_seed(_seed(self.config.seed, step, self.processes.rank))
        total: dict[str, Tensor] = {}
        is_finite = True
        for number, batch in enumerate(micro_batches, start=1):
            is_last = number == len(micro_batches)
            with gradients_kept_local(self.wrapped, keep=not is_last):
                with self._autocast():
                    losses = self.wrapped(batch, step)
                (losses["loss"] / len(micro_batches)).backward()
            is_finite &= bool(losses["loss"].isfinite())
            for name, value in losses.items():
                total[name] = total.get(name, 0) + value.detach().float() / len(micro_batches)
        means = self.processes.mean(torch.stack(list(total.values()))).tolist()
        losses_now = dict(zip(total, means, strict=True))
        if not math.isfinite(losses_now["loss"]):
            self._stop(step, micro_batches, losses_now, run, is_mine=not is_finite)
        if self.optimizer_config.clip_grad is not None:
            nn.utils.clip_grad_norm_(self.learner.parameters(), self.optimizer_config.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.learner.after_update(step)
        return losses_now | {"lr": lr}

    @torch.no_grad()
    def judge(self, step: int, micro_batches: Iterable[Batch]) -> dict[str, float]:
        """The losses on held-out batches, averaged over them and over the processes; nothing is learned from them."""
        self.learner.eval()
        torch.manual_seed(self.config.seed)  # no trace is left: the next update seeds anew
        found: list[dict[str, Tensor]] = []
        for batch in micro_batches:
            with self._autocast():
                found.append(self.learner(batch, step))
        values_BV = torch.stack([torch.stack([value.float() for value in losses.values()]) for losses in found])
        return dict(zip(found[0], self.processes.mean(values_BV.mean(dim=0)).tolist(), strict=True))

    def save(self, run: Run, step: int) -> None:
        """Write the state after update `step`; under FSDP2, the first process gathers it from all.

        TrainingError when weights are not finite: nothing could go on from them, and the states before stay usable.
        """
        if self.is_sharded:
            from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

            whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
            learner, optimizer = get_state_dict(self.learner, self.optimizer, options=whole)
        else:
            learner, optimizer = self.learner.state_dict(), self.optimizer.state_dict()
        state = {"step": step, "sharded": self.is_sharded, "learner": learner, "optimizer": optimizer}
        if self.processes.is_first:
            _check_finite(learner, step, run)
            run.save(step, state)
        self.processes.wait()

    def resume(self, run: Run) -> int:
        """Load the newest state in the run's folder; returns how many updates it has done (0 without one)."""
        found = run.newest()
        step = 0 if found is None else found[0]
        if self.processes.mean(torch.tensor(float(step), device=self.processes.device)).item() != step:
            raise InputError(f"processes found different states; this one the state of update {step} in {run.folder}")
        if self.processes.is_first:
            run.tidy(step)
        if found is None:
            return 0
        state = found[1]
        _check_finite(state["learner"], step, run)  # older versions kept such states
        if state["sharded"] != self.is_sharded:
            raise ConfigError("a run started with FSDP2 continues with several processes and FSDP2, others without")
        if self.is_sharded:
            from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

            set_state_dict(
                self.learner,
                self.optimizer,
                model_state_dict=state["learner"],
                optim_state_dict=state["optimizer"],
                options=StateDictOptions(full_state_dict=True),
            )
        else:
            self.learner.load_state_dict(state["learner"])
            try:
                self.optimizer.load_state_dict(state["optimizer"])
            except ValueError as error:
                raise ConfigError(
                    f"the optimiser in {run.folder} held other weights than this version trains; begin a run anew from "
                    "what it has learned (--start)"
                ) from error
        return step

    def _stop(
        self, step: int, micro_batches: list[Batch], losses: dict[str, float], run: Run, *, is_mine: bool
    ) -> None:
        told = ", ".join(f"{name} {value:g}" for name, value in losses.items())
        where = ""
        if is_mine:
            kept = run.keep_bad_batch(step, [dict(batch) for batch in micro_batches], self.processes.rank)
            where = f"; its batch is in {kept}"
        self.processes.wait()  # the first process to end takes the others down
        raise TrainingError(f"the loss of update {step} is not a number ({told}){where}")

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.processes.device.type, self.dtype)


def _check_finite(weights: Mapping[str, Any], step: int, run: Run) -> None:
    """TrainingError where weights are not finite: a loss precedes its update, so only the next one would show it."""
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise TrainingError(
                f"{name} is not finite after update {step} of {run.folder}: nothing goes on from there, and nothing is "
                "released; train anew with a lower rate, or with optimizer.clip_grad"
            )


def updates(
    batches: Batches, config: EngineConfig, done: int, device: torch.device
) -> Iterator[tuple[int, list[Batch]]]:
    """Each remaining update's number and micro-batches, prepared ahead by the worker processes, if any, in order."""
    numbers = range(done * config.accumulate, config.steps * config.accumulate)
    loader = DataLoader(
        cast("Dataset[Batch | VJEPA2ACError]", _ErrorsHandedOn(batches)),
        sampler=numbers,
        batch_size=None,
        num_workers=config.workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if config.workers else None,
        multiprocessing_context="fork" if config.workers else None,  # batches hold open files and mapped arrays
    )
    ready = (_on(device, batch) for batch in loader)
    for step in range(done + 1, config.steps + 1):
        yield step, [next(ready) for _ in range(config.accumulate)]


@contextmanager
def _end_of_workers_as_error() -> Iterator[None]:
    """Turn torch's error about a killed worker process, which may come anywhere in the loop, into TrainingError."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):  # an error inside a worker says "in DataLoader worker process"
            raise
        raise TrainingError(
            f"a process that prepares batches has ended: {str(error).splitlines()[0]} They may need more memory, or "
            "more in /dev/shm, through which batches come; fewer engine.workers need less"
        ) from error


class _ErrorsHandedOn:
    """Batches, or the error in place of a batch that fails: raised in a worker, it would hold the traceback as text."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, micro_batch: int) -> Batch | VJEPA2ACError:
        try:
            return self.batches[micro_batch]
        except VJEPA2ACError as error:
            return error


def _count(bad: BadEpisodes, reasons: Mapping[str, str]) -> None:
    """Name and count each episode or video that failed to decode when it was drawn; too many end the run."""
    for name, reason in reasons.items():
        if name not in bad.reasons:
            print(f"left out, another was drawn: {name}: {reason}", file=sys.stderr)
        bad.add(EpisodeError(name, reason))


def _first(batches: Batches, count: int, device: torch.device, bad: BadEpisodes) -> Iterator[Batch]:
    """The first `count` batches, on the device; what fails to decode is counted in `bad`."""
    for number in range(count):
        batch = batches[number]
        _count(bad, batch.get("bad", {}))
        yield _on(device, batch)


def _unite(bad: BadEpisodes, processes: Processes) -> None:
    """Count the bad episodes of all processes in each: the limit is that of a single process, and all end together."""
    for name, reason in processes.united(bad.reasons).items():
        bad.add(EpisodeError(name, reason))


def _on(device: torch.device, batch: Batch | VJEPA2ACError) -> Batch:
    if isinstance(batch, VJEPA2ACError):
        raise batch

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value]
        return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value

    return {name: moved(value) for name, value in batch.items()}


def _seed(seed: int, step: int, rank: int) -> int:
    return (seed * 1_000_003 + step) * 4099 + rank
