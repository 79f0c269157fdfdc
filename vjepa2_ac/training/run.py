"""A run's folder: its resumable states, its log, and what it was asked to do.

    RUN/recipe.yaml      the resolved recipe           RUN/log.jsonl    one line per logged update
    RUN/run.json         data, weights and machine
    RUN/states/*.pt      the newest two states         RUN/tensorboard  the same numbers for TensorBoard
    RUN/bad_batch*.pt    only after a loss became NaN  RUN/release      what came out

A state is written aside, synced and renamed, so whatever happens the newest whole one is there.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from vjepa2_ac.errors import InputError, NotEnoughDiskError
from vjepa2_ac.files import DISK_FULL

KEPT = 2  # states; the second is for the case that the disk ate the first
FULL = (*DISK_FULL, errno.EFBIG)  # or a file may not grow any more


@dataclass(frozen=True, slots=True)
class Run:
    """One training run on disk."""

    folder: Path

    @property
    def log(self) -> Path:
        """Means of the losses, one JSON line now and then."""
        return self.folder / "log.jsonl"

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def inputs(self) -> Path:
        """What it reads, and where and how it was started."""
        return self.folder / "run.json"

    @property
    def release(self) -> Path:
        """The models that came out."""
        return self.folder / "release"

    def check(self, *, resume: bool) -> None:
        """Refuse to mix two runs in one folder, to resume what is not there, or a folder that can hold no run."""
        if resume and not self.recipe.is_file():
            raise InputError(f"nothing to resume: {self.folder} holds no run")
        if not resume and self.recipe.exists():
            raise InputError(f"{self.folder} holds a run already; continue it with --resume or choose another --out")
        there = next(place for place in (self.folder, *self.folder.parents) if os.path.lexists(place))
        if not there.is_dir():
            raise InputError(f"{self.folder} cannot be made a folder of results: {there} is none; choose another --out")
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"nothing can be written into {there}; choose another --out")

    def states(self) -> list[tuple[int, Path]]:
        """The states there are, by the updates they have behind them, newest first."""
        found = [(int(path.stem), path) for path in (self.folder / "states").glob("*.pt") if path.stem.isdigit()]
        return sorted(found, reverse=True)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Keep the state after update `step`; NotEnoughDiskError leaves the run as it was."""
        path = self.folder / "states" / f"{step:08d}.pt"
        path.parent.mkdir(exist_ok=True)
        with written_aside(path) as file:
            torch.save(dict(state), file)
        for _, old in self.states()[KEPT:]:
            old.unlink()

    def newest(self) -> tuple[int, dict[str, Any]] | None:
        """The newest state that can be read; a damaged one is named and passed over. None where there are none.

        Raises InputError where there are some and none can be read: beginning anew would write over them.
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
        """Go on from `step`: later states, which cannot be read, make room, and so do leftovers of killed writers."""
        for later, path in self.states():
            if later > step:
                path.replace(path.with_suffix(".damaged"))
        for leftover in (self.folder / "states").glob(".*.pt.*"):
            leftover.unlink()

    def forget_after(self, step: int) -> None:
        """Cut the log back to update `step`, because what follows is done again."""
        if self.log.is_file():
            kept = [line for line in self.log.read_text().splitlines() if _step_of(line) <= step]
            with written_aside(self.log) as file:
                file.write("".join(f"{line}\n" for line in kept).encode())

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        with self.log.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def keep_bad_batch(self, step: int, batch: Any, rank: int = 0) -> Path:
        """The batch of a process whose loss was not a number, for a look at it."""
        path = self.folder / (f"bad_batch.{rank}.pt" if rank else "bad_batch.pt")
        with written_aside(path) as file:
            torch.save({"step": step, "batch": batch}, file)
        return path


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is whole and on the disk."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with full_disk_said(path):
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def full_disk_said(path: Path) -> Iterator[None]:
    """Say in a sentence that what is to be written at `path` does not fit on its disk."""
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
    """torch.save may raise its own error while it handles the disk's."""
    seen = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # half a line, from a kill
