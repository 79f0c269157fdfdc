"""The processes that train together, as torchrun starts them: by RANK, WORLD_SIZE, LOCAL_RANK and a rendezvous.

Without those variables a run is a single process and nothing here communicates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vjepa2_ac.devices import choose_device
from vjepa2_ac.errors import TrainingError
from vjepa2_ac.terminal import Advance, progress

LEFT = ("closed by peer", "reset by peer", "remote process exited")  # how gloo and NCCL say that a peer has ended
# To wait for the slowest: its share of a data set may take hours to encode, and NCCL's default is ten minutes.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among its peers."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come this far."""
        if self.count > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def progress(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """A progress bar in the first process; in the others, one that shows nothing."""
        return progress(what, total) if self.is_first else nullcontext(_silent)

    def mean(self, values_V: Tensor) -> Tensor:
        """The mean of each value over all processes, the same on each; a NaN anywhere is a NaN everywhere."""
        if self.count > 1:
            values_V = values_V.clone()
            dist.all_reduce(values_V)
            values_V /= self.count
        return values_V

    def united(self, values: dict[str, str]) -> dict[str, str]:
        """The values of all processes, by name; for a name that several have, the value of the lowest rank."""
        if self.count == 1:
            return values
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, values)
        return {name: value for theirs in reversed(found) for name, value in theirs.items()}


def _silent(steps: int = 1, note: str = "") -> None:
    """The progress bar that shows nothing."""


@contextmanager
def joined(device: str = "auto") -> Iterator[Processes]:
    """Join the processes torchrun started, on this process's own device, and leave them at the end.

    TrainingError where a peer has ended in the middle.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if count == 1:
        yield Processes(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(rank, count, chosen)
    except RuntimeError as error:
        if any(words in str(error) for words in LEFT):
            raise TrainingError(f"process {rank} cannot go on alone: another one has ended, which says why") from error
        raise
    # Not after an error: leaving takes the others down, and torchrun then ends all, before the error could be printed.
    dist.destroy_process_group()


def _device(device: str, local_rank: int) -> torch.device:
    chosen = choose_device(None if device == "auto" else device)
    return choose_device(f"cuda:{local_rank}") if chosen == torch.device("cuda") else chosen


def shared(learner: nn.Module, processes: Processes) -> nn.Module:
    """The learner with its gradients averaged over the processes (DDP); itself when there is only one."""
    if processes.count == 1:
        return learner
    devices = [processes.device] if processes.device.type == "cuda" else None
    return DistributedDataParallel(learner, device_ids=devices, gradient_as_bucket_view=True)


def shard(learner: nn.Module, processes: Processes, blocks: type[nn.Module], dtype: torch.dtype) -> None:
    """Spread weights, gradients and optimiser state over the processes in place (FSDP2), block by block."""
    # Imported here because it takes seconds, which every start of a small run would pay.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(processes.device.type, (processes.count,))
    policy = MixedPrecisionPolicy(param_dtype=dtype if dtype is not torch.float32 else None, reduce_dtype=torch.float32)
    for module in list(learner.modules()):
        if isinstance(module, blocks):
            fully_shard(module, mesh=mesh, mp_policy=policy)
    # The batch comes as it is: poses in bf16 would be off by millimetres.
    fully_shard(learner, mesh=mesh, mp_policy=replace(policy, cast_forward_inputs=False))


@contextmanager
def gradients_kept_local(module: nn.Module, keep: bool) -> Iterator[None]:
    """With `keep`, backward passes inside exchange no gradients; that of the last micro-batch exchanges the sum."""
    if isinstance(module, DistributedDataParallel) and keep:
        with module.no_sync():
            yield
    else:
        if hasattr(module, "set_requires_gradient_sync"):
            cast("Any", module).set_requires_gradient_sync(not keep)
        yield
