"""Plays many episodes in several processes; resumable at any moment, and nothing is left half-written.

An episode depends on its settings, task, object and seed alone, so neither the number of processes nor interruptions
change what comes out. Its record is written to a temporary file and renamed, so an episode is done if its file exists.
"""

from __future__ import annotations

import atexit
import json
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np
import torch

from sim.episode import EDITION
from sim.evaluate.episode import Frame, Player, Record, Watch
from sim.evaluate.settings import EvaluationConfig, Job
from sim.folders import Owner, held
from vjepa2_ac import __version__
from vjepa2_ac.config import to_dict
from vjepa2_ac.devices import choose_device
from vjepa2_ac.errors import InputError
from vjepa2_ac.files import make_folder, read, write
from vjepa2_ac.terminal import Advance
from vjepa2_ac.workers import pool

FORMAT = "vjepa2-ac closed-loop evaluation, version 1"
SETTINGS, EPISODES = "settings.json", "episodes"
OWNER = Owner(
    name="evaluation",
    settings=SETTINGS,
    lock=".evaluating",
    differs="was evaluated with {name} = {found}, not {wanted}",
)
STRIP_SIZE = 160  # [px] of the pictures that are kept


def evaluate(
    out: Path,
    config: EvaluationConfig,
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    advance: Advance | None = None,
    watch: Watch = lambda job, step, turn: None,
) -> list[Record]:
    """The records of all jobs, in their order; what `out` already holds is not played again.

    `watch` is called at every step as it is made, if a single worker plays in this process.
    Raises InputError where `out` holds an evaluation with other settings, or something else altogether.
    """
    with held(out, OWNER, written(config)):
        _make_room(out)
        todo = [job for job in jobs if not place(out, job).is_file()]
        running = _Running(advance)
        running.count(_records(out, [job for job in jobs if place(out, job).is_file()]))
        for record in _play_all(out, config, todo, workers, watch):
            running.count([record])
        return _records(out, jobs)


def place(out: Path, job: Job) -> Path:
    """Where a job's record is kept; its pictures lie beside it as a JPEG."""
    return out / EPISODES / f"{job.name}.json"


def read_record(path: Path) -> Record:
    """The record of an episode. Raises InputError where it is damaged, as after a power cut."""
    found: Record = _read(path, "without it, the episode is played again")
    return found


def read_settings(out: Path) -> dict[str, Any] | None:
    """The settings and versions of the evaluation in `out`, in the form of `written`; None where there is none.

    Raises InputError where their file is damaged, or not of an evaluation.
    """
    if not (out / SETTINGS).is_file():
        return None
    found = _read(out / SETTINGS, "choose another folder")
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise InputError(f"{out / SETTINGS} is not of an evaluation; choose another folder")
    return found


def written(config: EvaluationConfig) -> dict[str, Any]:
    """The settings and versions that a folder was evaluated with."""
    return {"format": FORMAT, "versions": versions(), "settings": to_dict(config)}


def versions() -> dict[str, str]:
    """What results depend on besides the settings: versions of programs and scenes, and the device."""
    return {
        "vjepa2-ac": __version__,
        "scenes": str(EDITION),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mujoco": mujoco.__version__,
        "numpy": np.__version__,
        "device": choose_device(None).type,
    }


def _read(path: Path, then: str) -> Any:
    text = read(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}; {then}") from None


def _make_room(out: Path) -> None:
    """Make the folder for episodes, and remove files that killed runs left half-written."""
    make_folder(out / EPISODES)
    for leftover in (out / EPISODES).glob("*.part"):
        leftover.unlink()


class _Running:
    """Counts successes so far, for the progress line."""

    def __init__(self, advance: Advance | None) -> None:
        self.advance, self.played, self.done = advance, Counter[str](), Counter[str]()

    def count(self, records: Sequence[Record]) -> None:
        for record in records:
            self.played[record["driver"]] += 1
            self.done[record["driver"]] += bool(record["success_end"])
        if self.advance is not None and records:
            counts = [f"{driver} {self.done[driver]} of {count}" for driver, count in self.played.items()]
            self.advance(len(records), ", ".join(counts))


def _records(out: Path, jobs: Sequence[Job]) -> list[Record]:
    return [read_record(place(out, job)) for job in jobs]


def _play_all(out: Path, config: EvaluationConfig, todo: Sequence[Job], workers: int, watch: Watch) -> Iterator[Record]:
    if workers == 1 or len(todo) < 2:
        player = Player(config, watch)
        try:
            for job in todo:
                yield _play_and_write(player, out, job)
        finally:
            player.close()
        return
    with pool(min(workers, len(todo)), _open_player, config) as players:
        futures: list[Future[Record]] = [players.submit(_play_in_worker, out, job) for job in todo]
        for future in as_completed(futures):
            yield future.result()


_players: list[Player] = []  # the one of this process; a pool's workers have nowhere else to keep it


def _open_player(config: EvaluationConfig) -> None:
    _players.append(Player(config))
    atexit.register(_players[0].close)


def _play_in_worker(out: Path, job: Job) -> Record:
    return _play_and_write(_players[0], out, job)


def _play_and_write(player: Player, out: Path, job: Job) -> Record:
    record, pictures = player.play(job)
    path = place(out, job)
    _write_strip(path.with_suffix(".jpg"), pictures)
    write(path, json.dumps(record) + "\n")
    return {name: value for name, value in record.items() if name != "turns"}


def _write_strip(path: Path, pictures: list[Frame]) -> None:
    small = [cv2.resize(each, (STRIP_SIZE, STRIP_SIZE), interpolation=cv2.INTER_AREA) for each in pictures]
    encoded = cv2.imencode(".jpg", np.concatenate(small, axis=1)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    write(path, encoded.tobytes())
