"""`./dev bench data [JOBS]`: collecting with one and two processes, what H.264 costs, and reading back.

Cores shared with other work make wall times long; frames per second of processor time show what they would be alone.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._result import Row, count, publish, run
from sim.collect import CollectConfig, collect
from sim.collect_recorder import CellRecorder, make_recorder
from vjepa2_ac.data.check import check_folder
from vjepa2_ac.data.episodes import BadEpisodes, usable
from vjepa2_ac.data.layout import find_episodes
from vjepa2_ac.data.video import QUALITY, Frames, open_video, write_video
from vjepa2_ac.data.windows import WindowConfig, draw_window


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench data", description=__doc__)
    parser.add_argument("jobs", type=count, nargs="?", default=8, help="long episodes of each process (default 8)")
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        tables: dict[str, list[Row]] = {"collecting": [collecting(root / str(n), n, jobs * n) for n in (1, 2)]}
        tables["reading"] = reading(root / "2")
        tables["H.264, 256 × 256"] = [video(root, clips(), quality) for quality in (8, 12, QUALITY, 20, 23)]
        publish("data", tables)


def collecting(root: Path, workers: int, jobs: int) -> Row:
    before = _processor_seconds()
    done = collect(root, jobs, CollectConfig(), make_recorder, workers=workers)
    spent = _processor_seconds() - before
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    return {
        "processes": workers,
        "long episodes": done.jobs,
        "episodes": done.episodes,
        "frames": done.frames,
        "wall s": round(done.seconds, 1),
        "frames/s": round(done.frames / done.seconds, 1),
        "frames per processor second": round(done.frames / spent, 1),
        "kB/frame, all files": round(size / done.frames / 1e3, 2),
    }


def reading(root: Path) -> list[Row]:
    refs = find_episodes(root)
    long = [episode for episode in usable(refs, BadEpisodes(0)) if len(episode) > 8]
    draw = np.random.default_rng(0).integers
    return [
        timed("windows of 8 frames", 200, lambda n: draw_window(long[n % len(long)], WindowConfig(), draw)),
        timed("episodes opened", len(refs), lambda n: list(usable([refs[n]], BadEpisodes(0)))),
        timed("folder checked, per episode", 1, lambda _: check_folder(root), counts=len(refs)),
    ]


def timed(what: str, times: int, do: Callable[[int], Any], counts: int | None = None) -> Row:
    started, before = time.perf_counter(), time.process_time()
    for number in range(times):
        do(number)
    each = 1e3 / (counts or times)
    return {
        "what": what,
        "ms": round((time.perf_counter() - started) * each, 2),
        "processor ms": round((time.process_time() - before) * each, 2),
    }


def clips() -> list[Frames]:
    recorder = CellRecorder(CollectConfig(branches=0))
    return [recording.cameras[0].frames_NHWC for seed in range(6) for recording in recorder(seed)]


def video(root: Path, films: list[Frames], quality: int) -> Row:
    path, size, errors = root / "film.mp4", 0, []
    writing = reading = 0.0
    for film in films:
        started = time.process_time()
        write_video(path, film, 4.0, quality=quality)
        written = time.process_time()
        again = open_video(path).frames(range(len(film)))
        writing, reading = writing + written - started, reading + time.process_time() - written
        size += path.stat().st_size
        errors.append(float(np.square(film.astype(np.float64) - again).mean()))
    frames = sum(len(film) for film in films)
    return {
        "crf": quality,
        "PSNR dB": round(float(10 * np.log10(255**2 / np.mean(errors))), 1),
        "kB/frame": round(size / frames / 1e3, 2),
        "encode ms": round(1e3 * writing / frames, 2),
        "decode ms": round(1e3 * reading / frames, 2),
    }


def _processor_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    run(main)
