"""Records many simulated episodes in several processes; resumable at any moment, and nothing is left half-written.

Job n is played from seed `seed_base + n` alone, so which process plays it, in which order, and after how many
interruptions does not change what is recorded. A job yields some short episodes and then its long one, if that is
wanted too; the job is done once the last of them is on disk.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

import psutil

from sim.folders import Owner, held
from sim.splits import SPLITS, Split
from vjepa2_ac.data import layout
from vjepa2_ac.data.writer import (
    VERSION,
    AlreadyThereError,
    Recording,
    add_to_index,
    index_entry,
    is_disk_full,
    write_episode,
    write_index,
)
from vjepa2_ac.errors import ConfigError, InputError, NotEnoughDiskError, VJEPA2ACError
from vjepa2_ac.terminal import Advance
from vjepa2_ac.workers import Worker, take_one_thread

COLLECTION, LOCK = "collection.json", ".collecting"
OWNER = Owner(
    name="collector",
    settings=COLLECTION,
    lock=LOCK,
    differs="was collected with {name} {found}, not {wanted}",
    renamed={"look": "versions"},
)
FORMAT = "vjepa2-ac simulated episodes, version 1"
LAB = "SIM"
KEEP_FREE = 200_000_000  # [bytes]: with less left, the disk counts as full

KINDS = ("expert", "noisy", "near", "random")
STEPS = 40  # of a long episode: 10 s
PARTS = 64  # [s] of simulated calendar per seed; a job's episodes start a second apart
CALENDAR = datetime(2000, 1, 1)  # where simulated time begins
LAST_SEED = (datetime.max - CALENDAR) // timedelta(seconds=PARTS) - 1  # simulated time ends with the year 9999


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectConfig:
    """What is recorded. Two folders collected with equal configurations hold equal episodes."""

    split: Split = "train"
    seed_base: int = 0
    mix: tuple[tuple[str, float], ...] = (("expert", 0.25), ("noisy", 0.35), ("near", 0.25), ("random", 0.15))
    branches: int = 2  # pairs per job: from one state, the gripper opens in one, closes in the other
    repaints: int = 0  # parts of the long episode per job, each rendered again with an appearance of its own
    repaint_steps: int = 8  # [0.25 s], how long those parts are: two seconds
    long: bool = True  # whether the long episode is recorded; it is played in any case
    cameras: tuple[str, ...] = ("left",)  # of left, right, wrist
    size: int = 256  # [px] of the square frames
    versions: dict[str, Any] = field(default_factory=dict)  # of what else episodes depend on: release, behaviours

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"no split {self.split!r}; there are {', '.join(SPLITS)}")
        if unknown := [kind for kind, _ in self.mix if kind not in KINDS]:
            raise ConfigError(f"the mix names {unknown[0]!r}; there are {', '.join(KINDS)}")
        if len(dict(self.mix)) != len(self.mix):
            raise ConfigError("the mix names a kind twice")
        in_order = sorted(self.mix, key=lambda part: KINDS.index(part[0]))  # or equal mixes would play other episodes
        object.__setattr__(self, "mix", tuple(in_order))
        shares = [share for _, share in self.mix]
        if not all(share >= 0 for share in shares) or not 0 < sum(shares) < math.inf:
            raise ConfigError("shares of the mix must be finite and not negative, and not all be zero")
        if not self.cameras or any(camera not in layout.CAMERAS for camera in self.cameras):
            raise ConfigError(f"cameras are some of {', '.join(layout.CAMERAS)}; got {self.cameras}")
        if len(set(self.cameras)) != len(self.cameras):
            raise ConfigError(f"a camera is named twice: {', '.join(self.cameras)}")
        if min(self.branches, self.repaints) < 0 or self.short >= PARTS:
            raise ConfigError(
                f"a long episode has up to {PARTS - 1} short ones, two for each branch and one for each repaint; "
                f"got {self.branches} branches and {self.repaints} repaints"
            )
        if not 1 <= self.repaint_steps <= STEPS:
            raise ConfigError(f"a repaint shows 1 … {STEPS} steps of a long episode, got {self.repaint_steps}")
        if not self.long and self.short == 0:
            raise ConfigError("without long episodes there must be branches or repaints")
        if self.seed_base < 0 or not 16 <= self.size <= 1280 or self.size % 2:
            raise ConfigError(
                f"need a seed base ≥ 0 and an even size of 16 … 1280, got {self.seed_base} and {self.size}"
            )

    @property
    def short(self) -> int:
        """Number of short episodes per job."""
        return 2 * self.branches + self.repaints

    @property
    def last(self) -> int:
        """Number of the part of a job that is written last (see `started_at`)."""
        return 0 if self.long else self.short

    def to_dict(self) -> dict[str, Any]:
        """The configuration as kept in `collection.json`."""
        return {
            "format": FORMAT,
            "split": self.split,
            "seed_base": self.seed_base,
            "mix": dict(self.mix),
            "branches": self.branches,
            "repaints": self.repaints,
            "repaint_steps": self.repaint_steps,
            "long": self.long,
            "cameras": list(self.cameras),
            "size": self.size,
            "versions": self.versions,
        }


class Recorder(Protocol):
    """Plays one job a call, its part `config.last` last. Made once in each process."""

    def __call__(self, seed: int) -> Iterable[Recording]:
        """The recordings of a seed, each with `started` from `started_at(seed, part)`."""


MakeRecorder = Callable[[CollectConfig], Recorder]


@dataclass(frozen=True, slots=True)
class Collected:
    """What a call of `collect` did."""

    jobs: int  # played now
    already: int  # found done
    episodes: int  # written now, short ones included
    frames: int
    seconds: float


def collect(
    root: Path,
    jobs: int,
    config: CollectConfig,
    make: MakeRecorder,
    *,
    workers: int = 1,
    advance: Advance | None = None,
) -> Collected:
    """Record the jobs of `config` that `root` does not hold yet.

    Raises InputError when `root` holds something else, NotEnoughDiskError when the disk runs full; what is complete by
    then stays, and calling again goes on from there.
    """
    if jobs < 1 or workers < 1:
        raise ConfigError(f"need at least one episode and one worker, got {jobs} and {workers}")
    if (last := config.seed_base + jobs - 1) > LAST_SEED:
        raise ConfigError(f"seeds go up to {LAST_SEED}, where the calendar of their folders ends; got up to {last}")
    started = time.monotonic()
    with held(root, OWNER, config.to_dict()):
        _remove_leftovers(root)
        _rebuild_index(root)
        seeds = range(config.seed_base, config.seed_base + jobs)
        todo = [seed for seed in seeds if not is_done(root, seed, config.last)]
        already = jobs - len(todo)
        if advance is not None and already:
            advance(already, f"{already} were there")
        played = episodes = frames = 0
        try:
            with contextlib.closing(_play(root, todo, config, make, min(workers, len(todo)))) as jobs_done:
                for seed, entries in jobs_done:
                    _add_to_index(root, entries)
                    frames += sum(entry["frames"] for entry in entries)
                    played, episodes = played + 1, episodes + len(entries)
                    if advance is not None:
                        advance(1, f"seed {seed}, {frames / (time.monotonic() - started):.0f} frames/s")
        finally:
            _rebuild_index(root)  # also when stopped, after the processes have ended
        return Collected(played, already, episodes, frames, time.monotonic() - started)


def started_at(seed: int, part: int = 0) -> datetime:
    """When a job's episode starts on the simulated calendar; part 0 is the long episode, the rest its short ones."""
    return CALENDAR + timedelta(seconds=seed * PARTS + part)


def is_done(root: Path, seed: int, last: int = 0) -> bool:
    """Whether the part of a job that is written last, and with it all of the job, is on disk."""
    return _place(root, started_at(seed, last)) is not None


def _place(root: Path, started: datetime) -> Path | None:
    for outcome in ("success", "failure"):
        folder = root / VERSION / LAB / outcome / f"{started:%Y-%m-%d}" / f"{started:%a_%b_%d_%H:%M:%S_%Y}"
        if (folder / layout.TRAJECTORY).is_file():
            return folder
    return None


def _remove_leftovers(root: Path) -> None:
    """Remove the unfinished episodes of killed writers; those of writers that still run stay."""
    for path in layout.unfinished(root):
        process = path.name.rsplit(".", 1)[-1]
        if not (process.isdigit() and _is_alive(int(process))):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _rebuild_index(root: Path) -> None:
    """Write the index anew from the episodes on disk; a kill may have come between an episode and its line.

    An empty one is removed again, so that a collection that is refused before its first episode leaves nothing behind.
    """
    refs = layout.find_episodes(root)
    entries = [index_entry(ref, layout.read_metadata(ref.folder, ref.name)) for ref in refs]
    with _said_if_unwritable(root):
        write_index(root, entries)
        if not entries:
            (root / layout.INDEX).unlink()


def _add_to_index(root: Path, entries: list[dict[str, Any]]) -> None:
    with _said_if_unwritable(root):
        for entry in entries:
            add_to_index(root, entry)


@contextlib.contextmanager
def _said_if_unwritable(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = NotEnoughDiskError if is_disk_full(error) else InputError
        raise kind(
            f"{root / layout.INDEX} cannot be written: {error.strerror}. What is complete is kept; "
            "run the same command again to go on"
        ) from error


def _play(
    root: Path, seeds: list[int], config: CollectConfig, make: MakeRecorder, workers: int
) -> Generator[tuple[int, list[dict[str, Any]]], None, None]:
    """Each seed once it is done, with its episodes' index lines; played by fresh processes with their own renderers."""
    if not seeds:
        return
    waiting = iter(seeds)
    processes, pipes = [], []
    try:
        for _ in range(workers):
            ours, theirs = multiprocessing.Pipe()
            process = Worker(target=_work, args=(theirs, root, config, make), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
            _hand_out(ours, waiting)
        busy = set(pipes)
        while busy:
            for pipe in wait(busy):
                assert isinstance(pipe, Connection)
                answer = _answer(pipe, processes[pipes.index(pipe)])
                if answer is None:
                    busy.discard(pipe)
                    continue
                yield answer
                _refuse_full_disk(root)
                _hand_out(pipe, waiting)
    finally:
        for pipe in pipes:
            pipe.close()  # a worker that reads from a closed pipe ends, after the episode it is writing
        for process in processes:
            process.join(timeout=30)
            if process.is_alive():
                process.kill()


def _hand_out(pipe: Connection, waiting: Iterator[int]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `_answer` reports a dead worker
        pipe.send(next(waiting, None))


def _answer(pipe: Connection, process: Any) -> tuple[int, list[dict[str, Any]]] | None:
    """A worker's answer: a seed and its index lines, or None when it has ended as it should. Raises its error."""
    try:
        answer = pipe.recv()
    except (EOFError, ConnectionResetError):  # the latter where it had not read its seed yet
        process.join()
        raise VJEPA2ACError(
            f"a collecting process ended without a word (exit code {process.exitcode}); what is complete is kept, "
            "run the same command again to go on"
        ) from None
    if isinstance(answer, VJEPA2ACError):
        raise answer
    if isinstance(answer, Failure):
        what = "a collecting process" if answer.seed is None else f"episode of seed {answer.seed}"
        raise VJEPA2ACError(f"{what} failed: {answer.text}")
    return answer  # type: ignore[no-any-return]  # a pipe carries anything


@dataclass(frozen=True, slots=True)
class Failure:
    """An unexpected error of a worker, as text, because not every exception can be sent between processes."""

    seed: int | None  # None: before the first one
    text: str


def _work(pipe: Connection, root: Path, config: CollectConfig, make: MakeRecorder) -> None:
    """The body of a worker process: play seed after seed until told to stop, or until the pipe is closed."""
    take_one_thread()
    seed: int | None = None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            play = make(config)
            while True:
                try:
                    seed = pipe.recv()
                except (EOFError, ConnectionResetError):
                    return
                if seed is None:
                    pipe.send(None)
                    return
                pipe.send((seed, [entry for recording in play(seed) for entry in _write(recording, root)]))
        except VJEPA2ACError as error:
            pipe.send(error)
        except Exception as error:
            pipe.send(Failure(seed, f"{type(error).__name__}: {error}"))


def _write(recording: Recording, root: Path) -> list[dict[str, Any]]:
    """Write an episode; returns its index line, or none if an interrupted run of the same job had written it."""
    try:
        ref = write_episode(recording, root)
    except AlreadyThereError:
        return []
    return [index_entry(ref, layout.read_metadata(ref.folder, ref.name))]


def _refuse_full_disk(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < KEEP_FREE:
        raise NotEnoughDiskError(
            f"only {free / 1e6:.0f} MB are free at {root}. What is complete is kept; "
            "make room and run the same command again to go on"
        )
