"""The folder of a training run: its resumable states, its log, and what it was asked to do.

    RUN/recipe.yaml      the resolved recipe           RUN/log.jsonl    one line per logged update
    RUN/run.json         data, weights and machine
    RUN/states/*.pt      the newest two states         RUN/tensorboard  the same numbers for TensorBoard
    RUN/bad_batch*.pt    only after a loss became NaN  RUN/release      the result

A state is written to a temporary file, synced and renamed, so a crash never leaves half a state under its name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import torch

from vjepa2_ac.errors import InputError, NotEnoughDiskError
from vjepa2_ac.files import DISK_FULL, results_in, sync

KEPT = 2  # states; the older one is for the case that the newest is damaged
FULL = (*DISK_FULL, errno.EFBIG)  # EFBIG: a file may not grow any more


@dataclass(frozen=True, slots=True)
class Run:
    """One training run on disk."""

    folder: Path

    @property
    def log(self) -> Path:
        """The log, in JSON lines: means of the losses over `log_every` updates, and losses on held-out episodes."""
        return self.folder / "log.jsonl"

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def inputs(self) -> Path:
        """What the run reads, and where and how it was started (`run.json`)."""
        return self.folder / "run.json"

    @property
    def release(self) -> Path:
        """The folder of the resulting models."""
        return self.folder / "release"

    def check(self, *, resume: bool) -> None:
        """InputError where a new run would mix with another, none is there to resume, or none can be written."""
        if resume and not self.recipe.is_file():
            raise InputError(f"nothing to resume: {self.folder} holds no run")
        if not resume and self.recipe.exists():
            raise InputError(f"{self.folder} holds a run already; continue it with --resume or choose another --out")
        there = next(place for place in (self.folder, *self.folder.parents) if os.path.lexists(place))
        if not there.is_dir():
            raise InputError(f"{self.folder} cannot be made a folder of results: {there} is none; choose another --out")
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"nothing can be written into {there}; choose another --out")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder, which is made if it is not there, as the only process for as long as the context lasts.

        InputError where another process holds it. If the run ends before it has begun (`recipe`), nothing is left.
        """
        lock = self.folder / ".training"
        with results_in(self.folder), _open_lock(lock) as file:
            try:
                # Not flock: processes that prepare batches would inherit that, and outlive a killed run by seconds.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                raise InputError(f"another process is at work on the run in {self.folder}") from error
            except OSError:
                pass  # a file system without locks, as some clusters have; runs still work there
            try:
                yield
            finally:
                if not self.recipe.is_file():
                    lock.unlink(missing_ok=True)

    def states(self) -> list[tuple[int, Path]]:
        """The number of updates done and the file of every state, newest first."""
        found = [(int(path.stem), path) for path in (self.folder / "states").glob("*.pt") if path.stem.isdigit()]
        return sorted(found, reverse=True)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Keep the state after update `step` and the one before it; NotEnoughDiskError leaves the run as it was."""
        path = self.folder / "states" / f"{step:08d}.pt"
        path.parent.mkdir(exist_ok=True)
        with written_aside(path) as file:
            torch.save(dict(state), file)
        for _, old in self.states()[KEPT:]:
            old.unlink()

    def newest(self) -> tuple[int, dict[str, Any]] | None:
        """The number of updates done and the newest state that can be read; None where there are no states.

        A damaged state is named and passed over. InputError where there are states but none can be read: beginning
        anew would write over them.
        """
        states, why = self.states(), ""
        for step, path in states:
            try:
                return step, torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                print(f"{path.name} cannot be read ({why})", file=sys.stderr)
        if states:
            raise InputError(f"none of the {len(states)} states in {states[0][1].parent} can be read ({why})")
        return None

    def tidy(self, step: int) -> None:
        """Set aside (`.damaged`) the states after `step`, which cannot be read, and delete what killed writers left."""
        for later, path in self.states():
            if later > step:
                path.replace(path.with_suffix(".damaged"))
        for leftover in (self.folder / "states").glob(".*.pt.*"):
            leftover.unlink()

    def forget_after(self, step: int) -> None:
        """Cut the log back to update `step`, because later updates are done again."""
        if self.log.is_file():
            kept = [line for line in self.log.read_text().splitlines() if _step_of(line) <= step]
            with written_aside(self.log) as file:
                file.write("".join(f"{line}\n" for line in kept).encode())

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        with self.log.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def keep_bad_batch(self, step: int, batch: Any, rank: int = 0) -> Path:
        """Save the batch with which the loss of a process was not a number; returns the file."""
        path = self.folder / (f"bad_batch.{rank}.pt" if rank else "bad_batch.pt")
        with written_aside(path) as file:
            torch.save({"step": step, "batch": batch}, file)
        return path


def _open_lock(path: Path) -> TextIO:
    try:
        return path.open("w")
    except OSError as error:
        raise InputError(
            f"nothing can be written into {path.parent}: {error.strerror}; choose another --out"
        ) from error


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """A file open for writing that gets its name only when it is complete and on the disk."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with full_disk_as_error(path):
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            sync(path.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def full_disk_as_error(path: Path) -> Iterator[None]:
    """Turn any error that a full disk causes while `path` is written into NotEnoughDiskError."""
    try:
        yield
    except NotEnoughDiskError:
        raise
    except BaseException as error:
        if _is_full(error):
            free = shutil.disk_usage(path.parent).free / 1e6
            raise NotEnoughDiskError(
                f"the disk is full: {path} could not be written ({free:.0f} MB free); what was there before is intact"
            ) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error; torch.save may raise its own while it handles the disk's."""
    seen = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # an incomplete line, left by a kill
