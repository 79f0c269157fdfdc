from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim import collect as collecting
from sim.collect import COLLECTION, LAST_SEED, LOCK, PARTS, CollectConfig, collect, is_done, started_at
from tests.sim import fake_recorder
from vjepa2_ac.data import layout
from vjepa2_ac.data.check import CheckConfig, check_folder
from vjepa2_ac.data.layout import find_episodes, unfinished
from vjepa2_ac.errors import ConfigError, InputError, NotEnoughDiskError, VJEPA2ACError

CONFIG = CollectConfig(branches=1)


def videos(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.mp4"))}


def index(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / layout.INDEX).read_text().splitlines()]


def test_all_jobs_are_recorded_and_indexed(tmp_path: Path) -> None:
    done = collect(tmp_path, 5, CONFIG, fake_recorder.quick)
    assert (done.jobs, done.already, done.episodes, done.frames) == (5, 0, 15, 5 * (12 + 2 * 4))
    assert {entry["path"] for entry in index(tmp_path)} == {ref.name for ref in find_episodes(tmp_path)}
    assert check_folder(tmp_path, CheckConfig(frames_per_clip=2)).is_usable
    assert sum("branch" in entry for entry in index(tmp_path)) == 10


def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        collect(tmp_path / str(workers), 6, CONFIG, fake_recorder.quick, workers=workers)
    assert videos(tmp_path / "1") == videos(tmp_path / "2")


def test_what_is_there_is_not_recorded_again(tmp_path: Path) -> None:
    collect(tmp_path, 3, CONFIG, fake_recorder.quick)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    done = collect(tmp_path, 5, CONFIG, fake_recorder.quick)
    assert (done.already, done.jobs) == (3, 2)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_a_job_without_its_long_episode_is_played_again_around_what_it_left(tmp_path: Path) -> None:
    collect(tmp_path / "whole", 2, CONFIG, fake_recorder.quick)
    shutil.copytree(tmp_path / "whole", tmp_path / "torn")
    lost = next(
        ref for ref in find_episodes(tmp_path / "torn") if ref.folder.name == f"{started_at(1):%a_%b_%d_%H:%M:%S_%Y}"
    )
    shutil.rmtree(lost.folder)
    assert not is_done(tmp_path / "torn", 1)
    assert collect(tmp_path / "torn", 2, CONFIG, fake_recorder.quick).jobs == 1
    assert videos(tmp_path / "torn") == videos(tmp_path / "whole")
    assert len(index(tmp_path / "torn")) == 6


def test_short_episodes_alone_are_recorded_and_gone_on_with(tmp_path: Path) -> None:
    short = CollectConfig(branches=1, long=False)
    assert collect(tmp_path, 2, short, fake_recorder.quick).episodes == 4
    shutil.rmtree(next(ref.folder for ref in find_episodes(tmp_path) if ref.folder.name == last_of(1, short)))
    assert (is_done(tmp_path, 0, short.last), is_done(tmp_path, 1, short.last)) == (True, False)
    done = collect(tmp_path, 3, short, fake_recorder.quick)
    assert (done.already, done.jobs, done.episodes) == (1, 2, 3)
    assert len(index(tmp_path)) == 6


def last_of(seed: int, config: CollectConfig) -> str:
    return f"{started_at(seed, config.last):%a_%b_%d_%H:%M:%S_%Y}"


def test_a_folder_of_another_configuration_is_refused(tmp_path: Path) -> None:
    collect(tmp_path, 1, CONFIG, fake_recorder.quick)
    for other, difference in (
        (CollectConfig(branches=2), "branches 1, not 2"),
        (CollectConfig(branches=1, repaints=1), "repaints 0, not 1"),
        (CollectConfig(branches=1, long=False), "long true, not false"),
        (CollectConfig(branches=1, split="test"), 'split "train", not "test"'),
        (CollectConfig(branches=1, mix=(("near", 1.0),)), "mix"),
    ):
        with pytest.raises(InputError, match=f"was collected with {difference}"):
            collect(tmp_path, 1, other, fake_recorder.quick)


def test_a_folder_whose_collection_was_refused_before_it_had_made_anything_takes_other_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not installed"):
        collect(tmp_path, 1, CONFIG, fake_recorder.without_a_robot)
    assert collect(tmp_path, 1, replace(CONFIG, branches=2), fake_recorder.quick).episodes == 5


def test_a_folder_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(InputError, match=r"not empty .* holds thesis\.tex"):
        collect(tmp_path, 1, CONFIG, fake_recorder.quick)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / COLLECTION).write_text('{"format": "stamps"}')
    with pytest.raises(InputError, match="not of this collector"):
        collect(tmp_path, 1, CONFIG, fake_recorder.quick)


def test_two_collectors_do_not_share_a_folder(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another collector is at work"):
            collect(tmp_path, 1, CONFIG, fake_recorder.quick)


def test_leftovers_of_the_dead_are_removed_and_of_the_living_kept(tmp_path: Path) -> None:
    collect(tmp_path, 1, CONFIG, fake_recorder.quick)
    dead = subprocess.Popen(["true"])
    dead.wait()
    for process in (dead.pid, os.getpid()):
        (tmp_path / layout.ASIDE / f"SIM+x.{process}").mkdir(parents=True)
    collect(tmp_path, 1, CONFIG, fake_recorder.quick)
    assert [path.name for path in unfinished(tmp_path)] == [f"SIM+x.{os.getpid()}"]


@pytest.mark.parametrize(
    ("make", "error", "said", "complete"),
    [
        (fake_recorder.broken, VJEPA2ACError, "episode of seed 2 failed: RuntimeError: the table fell over", 2),
        (fake_recorder.disk_full, NotEnoughDiskError, "the disk is full", 2),
        (fake_recorder.killed, VJEPA2ACError, r"ended without a word \(exit code -9\)", 2),
        (fake_recorder.stillborn, VJEPA2ACError, r"ended without a word \(exit code -9\)", 0),
        (fake_recorder.without_a_table, VJEPA2ACError, "a collecting process failed: RuntimeError: there is no ta", 0),
    ],
)
def test_trouble_in_a_process_ends_the_collection_and_keeps_what_is_complete(
    tmp_path: Path, make: Any, error: type[Exception], said: str, complete: int
) -> None:
    with pytest.raises(error, match=said):
        collect(tmp_path, 4, CONFIG, make, workers=1)
    assert [is_done(tmp_path, seed) for seed in range(4)] == [seed < complete for seed in range(4)]


def test_seeds_end_with_the_calendar_and_nothing_is_written_beyond(tmp_path: Path) -> None:
    assert started_at(LAST_SEED, PARTS - 1).year == 9999
    with pytest.raises(ConfigError, match=f"seeds go up to {LAST_SEED}"):
        collect(tmp_path / "new", 2, CollectConfig(seed_base=LAST_SEED), fake_recorder.quick)
    assert not (tmp_path / "new").exists()


def test_a_disk_that_runs_full_is_noticed_before_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "KEEP_FREE", 10**18)
    with pytest.raises(NotEnoughDiskError, match="What is complete is kept"):
        collect(tmp_path, 4, CONFIG, fake_recorder.quick)
    assert is_done(tmp_path, 0)


def test_where_it_is_stopped_the_index_holds_what_was_in_flight_too(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path, 9, CONFIG, fake_recorder.slow, workers=2, advance=interrupt)
    assert [entry["path"] for entry in index(tmp_path)] == [ref.name for ref in find_episodes(tmp_path)]
    assert len(index(tmp_path)) == 2 * 3  # of both seeds that were being played


@pytest.mark.parametrize(
    ("name", "played", "number", "error"),
    [("write_index", False, errno.EACCES, InputError), ("add_to_index", True, errno.ENOSPC, NotEnoughDiskError)],
)
def test_an_index_that_cannot_be_written_ends_the_collection_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, played: bool, number: int, error: type[Exception]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(collecting, name, refuse)
    with pytest.raises(
        error, match=rf"index\.jsonl cannot be written: {os.strerror(number)}. What is complete is kept"
    ):
        collect(tmp_path, 1, CONFIG, fake_recorder.quick)
    monkeypatch.undo()
    assert collect(tmp_path, 1, CONFIG, fake_recorder.quick).already == played
    assert len(index(tmp_path)) == 3


def test_the_order_in_which_a_mix_is_said_changes_nothing() -> None:
    one, other = (("near", 0.5), ("expert", 0.5)), (("expert", 0.5), ("near", 0.5))
    assert CollectConfig(mix=one) == CollectConfig(mix=other)


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": "validation"},
        {"mix": (("magic", 1.0),)},
        {"mix": (("near", 0.0),)},
        {"mix": (("near", float("inf")),)},
        {"mix": (("near", float("nan")), ("random", 1.0))},
        {"mix": (("near", 1.0), ("near", 1.0))},
        {"branches": -1},
        {"repaints": -1},
        {"branches": 20, "repaints": 24},
        {"branches": 0, "repaints": 0, "long": False},
        {"repaints": 1, "repaint_steps": 0},
        {"repaints": 1, "repaint_steps": 41},
        {"size": 33},
        {"size": 4096},
        {"cameras": ("left", "left")},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        CollectConfig(**wrong)


@pytest.mark.parametrize("size", [16, 1280])
def test_the_smallest_and_the_largest_frames_are_taken(size: int) -> None:
    assert CollectConfig(size=size).size == size


def kill_and_resume(root: Path, kills: int, after: tuple[float, float], jobs: int, recorder: str = "slow") -> None:
    """SIGKILL the collector and its workers at random moments, then let it finish."""
    dice = random.Random(7)
    root.mkdir()  # a kill may come before the collector gets so far
    workers, before = 2, 0
    for _ in range(kills):
        process = run_collector(root, jobs, workers, recorder)
        time.sleep(dice.uniform(*after))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = sum(is_done(root, seed) for seed in range(jobs))
        assert done >= before  # nothing that was complete is lost
        assert not check_folder(root, CheckConfig(every_frame=True)).bad  # and no reader meets half an episode
        assert len(unfinished(root)) <= workers  # only what was in flight is
        before = done
    assert run_collector(root, jobs, workers, recorder).wait() == 0
    assert not unfinished(root)
    assert len(index(root)) == len(find_episodes(root)) == 3 * jobs


def run_collector(root: Path, jobs: int, workers: int, recorder: str = "slow") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.sim.fake_recorder", str(root), str(jobs), str(workers), recorder]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def test_a_killed_collector_loses_only_what_was_in_flight(tmp_path: Path) -> None:
    kill_and_resume(tmp_path / "d", kills=2, after=(1.5, 3.0), jobs=12)


@pytest.mark.long
@pytest.mark.parametrize(("recorder", "after", "jobs"), [("slow", (1.0, 4.0), 60), ("cell", (3.0, 9.0), 20)])
def test_ten_kills_lose_only_what_was_in_flight(
    tmp_path: Path, recorder: str, after: tuple[float, float], jobs: int
) -> None:
    kill_and_resume(tmp_path / "d", kills=10, after=after, jobs=jobs, recorder=recorder)


def test_workers_end_when_the_collector_alone_is_killed(tmp_path: Path) -> None:
    process = run_collector(tmp_path / "d", 1000, 2)
    time.sleep(3.0)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while (members := _group(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not members


def _group(leader: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = path.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(group) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found
