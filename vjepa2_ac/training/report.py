"""The progress of a run: on the terminal, as JSON lines, and for TensorBoard."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vjepa2_ac.terminal import progress
from vjepa2_ac.training.run_folder import Run, full_disk_as_error

if TYPE_CHECKING:
    from vjepa2_ac.training.engine import EngineConfig


class Report(AbstractContextManager["Report"]):
    """Shows the losses at every update and writes their means over `log_every` updates.

    Without a run (in processes other than the first) it is silent.
    """

    def __init__(self, run: Run | None, config: EngineConfig, done: int, title: str) -> None:
        self.run, self.config, self.done, self.title = run, config, done, title
        self.sums: dict[str, float] = {}
        self.count = 0
        self.open = ExitStack()

    def __enter__(self) -> Report:
        if self.run is not None:
            from torch.utils.tensorboard.writer import SummaryWriter

            self.run.forget_after(self.done)
            self.open.enter_context(full_disk_as_error(self.run.log))  # TensorBoard's thread may say so only at the end
            with full_disk_as_error(self.run.log):
                self.board = SummaryWriter(str(self.run.folder / "tensorboard"), purge_step=self.done + 1)
            self.open.callback(self.board.close)
            self.advance = self.open.enter_context(
                progress(self.title, self.config.steps, done=self.done, unit="updates")
            )
            self.since = self.last = time.monotonic()
        return self

    def losses(self, step: int, losses: dict[str, float]) -> None:
        """Show the losses of an update; every `log_every` updates, write their means."""
        if self.run is None:
            return
        self.advance(1, " ".join(f"{name} {value:.4g}" for name, value in losses.items()))
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        self.last = time.monotonic()
        if step % self.config.log_every == 0 or step == self.config.steps:
            self._write(step, self.run)

    def held_out(self, step: int, losses: dict[str, float]) -> None:
        """Report the losses on held-out episodes; the time they took does not count in `updates_per_second`."""
        if self.run is None:
            return
        self.since += time.monotonic() - self.last
        shown = " ".join(f"{name} {value:.4g}" for name, value in losses.items())
        print(f"held out, after {step} updates: {shown}", file=sys.stderr)
        with full_disk_as_error(self.run.log):
            self.run.note({"step": step, "held_out": losses})
            for name, value in losses.items():
                self.board.add_scalar(f"held_out/{name}", value, step)

    def _write(self, step: int, run: Run) -> None:
        seconds = time.monotonic() - self.since
        means = {name: value / self.count for name, value in self.sums.items()}
        entry: dict[str, Any] = {"step": step, **means, "updates_per_second": round(self.count / seconds, 3)}
        with full_disk_as_error(run.log):
            run.note(entry)
            for name, value in entry.items():
                if name != "step":
                    self.board.add_scalar(name, value, step)
        self.sums, self.count, self.since = {}, 0, time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open.close()
