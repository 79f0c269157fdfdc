"""The way from nothing to a model, in one script that may be stopped anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "default_model.sh"
TINY = {
    "EPISODES": "6",
    "WIDE": "3",
    "VIEWS": "3",
    "HARSH": "3",
    "REPAINTS": "2",
    "HELD_OUT": "6",
    "SIZE": "64",
    "PRETRAIN": "tiny-pretrain",
    "COOLDOWN": "tiny-pretrain",
    "TRAIN": "tiny-train",
    "ROLLOUT": "tiny-train",
    "INVERT": "tiny-invert",
    "INVERT_VIEWS": "tiny-invert",
    "KEYFRAMES": "tiny-keyframes",
    "TASKS": "3",
    "TASKS_SEEN": "2",
    "TASKS_HARSH": "1",
    "FIT_CHECK": "--moments 8 --candidates 8 --read-out-steps 20",
}
OUT_OF_TIME = 75


@pytest.mark.long
@pytest.mark.timeout(900)
def test_it_goes_on_where_time_ran_out_and_ends_in_a_checked_model(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, **TINY, "WORKERS": "1", "PATH": path, "OMP_NUM_THREADS": "1"}
    stopped = subprocess.run([SCRIPT, tmp_path], env={**env, "SECONDS_AT_MOST": "12"}, capture_output=True, text=True)
    assert stopped.returncode == OUT_OF_TIME, stopped.stderr
    finished = subprocess.run([SCRIPT, tmp_path], env=env, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "model" / "release" / "model.safetensors").is_file()
    assert (tmp_path / "fit-check" / "fit-check.json").is_file()


@pytest.mark.parametrize(("seconds", "code"), [("1", OUT_OF_TIME), ("600", 137)])
def test_a_step_that_had_to_be_killed_is_out_of_time_if_it_is(seconds: str, code: int, tmp_path: Path) -> None:
    stub = tmp_path / "timeout"
    stub.write_text("#!/bin/sh\nsleep 1\nexit 137\n")  # as after --kill-after, or where the memory ran out
    stub.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SECONDS_AT_MOST": seconds}
    assert subprocess.run([SCRIPT, tmp_path / "out"], env=env, capture_output=True).returncode == code


def test_keyframes_learn_from_whoever_solves_a_task_whatever_the_folder_is_called(tmp_path: Path) -> None:
    stub = tmp_path / "vjepa2-ac"
    lines = "".join(f'{{"path": "a/{kind}", "frames": 41, "kind": "{kind}"}}\n' for kind in ("noisy", "near"))
    given = '[ "$1" = collect ] || exit 0\nwhile [ "$1" != --out ]; do shift; done\ncat > "$2/index.jsonl" <<"END"\n'
    stub.write_text(f"#!/bin/sh\n{given}{lines}END\n")
    stub.chmod(0o755)
    out = tmp_path / r"a & b #1\2"
    folders = [out / name for name in ("episodes/train", "episodes/wide", "views")]
    for folder in (
        *folders,
        *(out / name for name in ("harsh", "held-out", "tasks/train", "tasks/views", "tasks/harsh")),
    ):
        folder.mkdir(parents=True)
        left = folder / ".unfinished" / "SIM+1.1"  # by a collector that was killed
        left.mkdir(parents=True)
        (left / "trajectory.h5").touch()
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert subprocess.run([SCRIPT, out], env=env, capture_output=True).returncode == 0
    assert not (out / "appearances.txt").read_text()
    assert (out / "tasks.txt").read_text().splitlines() == [f"{folder}/a/noisy" for folder in folders]


def test_ctrl_c_ends_it_and_what_it_is_at(tmp_path: Path) -> None:
    stub = tmp_path / "vjepa2-ac"
    stub.write_text('#!/bin/sh\ntrap "exit 130" INT\ntouch "$0.begun"\nwhile :; do sleep 0.1; done\n')
    stub.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SECONDS_AT_MOST": "60"}
    # Whoever runs in the background was told to ignore it, and a shell that was cannot hear it again.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        script = subprocess.Popen([SCRIPT, tmp_path / "out"], env=env, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with script:
        while not (tmp_path / "vjepa2-ac.begun").exists():
            assert script.poll() is None
            time.sleep(0.05)
        os.killpg(script.pid, signal.SIGINT)  # as a terminal does, to the group that is in front
        try:
            assert script.wait(10) == 130
        finally:
            script.kill()
