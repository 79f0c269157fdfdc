"""A cache on disk of arrays that are expensive to make: one memory-mapped file per video or episode, made once.

A store belongs to what made it (an encoder and its preprocessing, or a rate and a size of frames): its folder is named
after the hash of that description, so nothing stale is ever read. Items appear whole or not at all; any number of
processes may fill the same store, and one that was killed goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vjepa2_ac.checkpoints.mapped import read_soon
from vjepa2_ac.checkpoints.writing import require_room
from vjepa2_ac.data.episodes import BadEpisodes
from vjepa2_ac.data.layout import video_path
from vjepa2_ac.errors import EpisodeError, InputError
from vjepa2_ac.files import make_folder
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.run_folder import written_aside

MAPPED = 8192  # arrays mapped at once, far fewer than a process may map
DAY = 86_400  # [s]

Facts = dict[str, Any]
ItemT = TypeVar("ItemT")
SourceT = TypeVar("SourceT")


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of the arrays that belong to one description."""

    folder: Path

    @staticmethod
    def keyed(root: Path, key: Mapping[str, Any]) -> Store:
        """The store below `root` for exactly this description, which is written to its `key.json`."""
        store = Store(root / fingerprint(key))
        make_folder(store.folder)
        if not (said := store.folder / "key.json").is_file():
            with written_aside(said) as file:
                file.write(json.dumps(key, indent=1, default=str).encode())
        return store

    def has(self, identity: str) -> bool:
        """Whether an item is here, with both its array and its facts."""
        return all(self._path(identity, suffix).is_file() for suffix in ("json", "npy"))

    def rows(self, identity: str) -> NDArray[Any]:
        """The item's array, memory-mapped and not yet read; `read` reads rows of it."""
        with _damage_as_error(path := self._path(identity, "npy")):
            return _mapped(path)

    def read(self, identity: str, rows_R: NDArray[np.int64]) -> NDArray[Any]:
        """These rows of the item's array, in the order asked; nothing else of it is read from the disk.

        Where the memory cannot hold a whole cache, reading what lies around them would push other rows out.
        """
        array = self.rows(identity)
        for run in _runs(rows_R.tolist()):
            wanted = array[run.start : run.stop]
            read_soon(wanted.ctypes.data, wanted.nbytes)
        return array[rows_R]

    def facts(self, identity: str) -> Facts:
        """The facts that were kept beside the array."""
        with _damage_as_error(path := self._path(identity, "json")):
            facts: Facts = json.loads(path.read_text())
            return facts

    def put(self, identity: str, rows: NDArray[Any], facts: Facts) -> None:
        """Keep an item; where two processes make the same one, the second replaces it by an equal one."""
        path = self._path(identity, "npy")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(path) as file:
                np.save(file, rows)
            with written_aside(path.with_suffix(".json")) as file:
                file.write(json.dumps(facts).encode())
        except OSError as error:
            raise InputError(
                f"{path} is not there and cannot be written: {error.strerror}; choose another --cache"
            ) from error

    def tidy(self) -> None:
        """Remove the unfinished files of killed writers: those a day old, since other processes may be writing here."""
        for leftover in self.folder.glob("*/.*"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > DAY:
                    leftover.unlink()

    def _path(self, identity: str, suffix: str) -> Path:
        return self.folder / identity[:2] / f"{identity}.{suffix}"


@contextlib.contextmanager
def _damage_as_error(path: Path) -> Iterator[None]:
    """Turn the error of reading a damaged file, such as one that a disk or a copy cut off, into InputError."""
    try:
        yield
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it, and it is made again by the next run") from error


@lru_cache(maxsize=MAPPED)
def _mapped(path: Path) -> NDArray[Any]:
    """The array of a file, mapped; it stays mapped, as files never change and mapping takes longer than reading a row.

    Mapped by torch, which closes the file afterwards: numpy's maps keep theirs open, and a process may usually open
    only 1,024. Torch's maps are writable, though only this process would see the change; so writing is disabled.
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        begin, size = file.tell(), path.stat().st_size
    rows: NDArray[Any] = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8).numpy()
    rows.flags.writeable = False
    return rows[begin:].view(dtype).reshape(shape, order="F" if by_columns else "C")


def _runs(rows: Iterable[int]) -> list[range]:
    """The rows in the order of the file, without repetition, as ranges that have no gaps."""
    runs: list[range] = []
    for row in sorted(set(rows)):
        if runs and row == runs[-1].stop:
            runs[-1] = range(runs[-1].start, row + 1)
        else:
            runs.append(range(row, row + 1))
    return runs


@dataclass(frozen=True, slots=True)
class Work:
    """How items of a store are made: read in threads (decoding), then finished one by one in this one (encoding)."""

    title: str
    identify: Callable[[Any], str]
    name: Callable[[Any], str]
    read: Callable[[Any], Any]
    finish: Callable[[Any], tuple[NDArray[Any], Facts]]
    size: Callable[[Any], int]  # bytes an item will take, without making it


def fill(
    store: Store, items: Sequence[ItemT], work: Work, bad: BadEpisodes, processes: Processes
) -> list[tuple[str, ItemT]]:
    """Make the missing items, shared among the processes; returns those in the store, with their identities, in order.

    The size is estimated and shown first; NotEnoughDiskError when it does not fit. What fails is counted in `bad`.
    """
    if processes.is_first:
        store.tidy()
    identities = [work.identify(item) for item in items]
    missing = [(key, item) for key, item in zip(identities, items, strict=True) if not store.has(key)]
    if processes.is_first and missing:
        size = _estimate([item for _, item in missing], work)
        print(
            f"{work.title}: {len(missing)} of {len(items)} to make, about {size / 1e9:.2f} GB in {store.folder}",
            file=sys.stderr,
        )
        require_room(store.folder, size)
    processes.wait()
    # A share of all items, not of the missing ones, which change while another run fills the same store.
    share = set(identities[processes.rank :: processes.count])
    mine = [(identity, item) for identity, item in missing if identity in share]
    if mine:
        with processes.progress(work.title, len(mine)) as advance:
            for identity, made in _made(mine, work, bad, store):
                if made is not None:
                    store.put(identity, *made)
                advance()
    reasons = processes.united(bad.reasons)  # which also waits for all
    for identity, item in zip(identities, items, strict=True):
        if not store.has(identity):  # perhaps it failed in another process
            bad.add(EpisodeError(work.name(item), reasons.get(work.name(item), "could not be read")))
    return [(identity, item) for identity, item in zip(identities, items, strict=True) if store.has(identity)]


def _made(
    missing: Sequence[tuple[str, Any]], work: Work, bad: BadEpisodes, store: Store
) -> Iterator[tuple[str, tuple[NDArray[Any], Facts] | None]]:
    """The items made, in order; None for those that failed or that another run has made by now.

    Threads read a few ahead, because decoding releases Python's lock.
    """

    def read(identity: str, item: Any) -> Any:
        return None if store.has(identity) else work.read(item)

    with ThreadPoolExecutor(4) as threads:
        ahead: deque[tuple[str, Future[Any]]] = deque()
        rest = iter(missing)
        while True:
            for identity, item in rest:
                ahead.append((identity, threads.submit(read, identity, item)))
                if len(ahead) == 8:
                    break
            if not ahead:
                return
            identity, reading = ahead.popleft()
            try:
                found = reading.result()
                yield identity, None if found is None else work.finish(found)
            except EpisodeError as error:
                bad.add(error)
                yield identity, None


def _estimate(items: Sequence[Any], work: Work) -> int:
    """The estimated bytes of all items, from at most 50 of them, evenly spread."""
    sample = items[:: max(1, math.ceil(len(items) / 50))]
    sizes = []
    for item in sample:
        try:
            sizes.append(work.size(item))
        except EpisodeError:
            continue
    return round(sum(sizes) / max(1, len(sizes)) * len(items))


def fingerprint(key: Mapping[str, Any]) -> str:
    """The hash of a description, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:16]


def identity_of_episode(folder: Path, camera: str, also: Iterable[str] = ()) -> str:
    """A hash over all files that are read of an episode: its poses, videos and metadata (cameras and rates)."""
    patterns = ("*.h5", "*.json", "recordings/MP4/*.mp4", "recordings/MP4/*.json")
    files = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    with contextlib.suppress(EpisodeError):  # whoever opens the episode will raise it
        if (video := video_path(folder, camera, folder.name)) not in files:  # it need not be called .mp4
            files.append(video)
    return identity_of_files(*files, also=also)


def identity_of_files(*files: Path, also: Iterable[str] = ()) -> str:
    """A hash that stands for the present content of files, from their paths, sizes and times of change."""
    parts = list(also)
    for file in files:
        try:
            status = file.stat()
        except OSError:  # a link that leads nowhere: whoever opens it will raise that
            parts.append(f"{file} missing")
            continue
        parts.append(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
