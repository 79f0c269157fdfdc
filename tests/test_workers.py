from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from vjepa2_ac.workers import pool

KILLED = """
import os, signal
from vjepa2_ac.workers import pool
if __name__ == "__main__":
    with pool(2) as workers:
        print(*{workers.submit(os.getpid).result() for _ in range(20)}, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_do_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    parent = subprocess.run([sys.executable, tmp_path / "killed.py"], stdout=subprocess.PIPE, text=True)
    assert parent.returncode == -signal.SIGKILL
    left = []
    for worker in parent.stdout.split():
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(int(worker)))
    _, alive = psutil.wait_procs(left, timeout=20)
    assert parent.stdout.split()
    assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
from vjepa2_ac.workers import pool

def work(path):
    time.sleep(0.3)
    Path(path).touch()

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs in the background was told to ignore it
    try:
        with pool(2) as workers:
            futures = [workers.submit(work, f"{sys.argv[1]}/{number}") for number in range(200)]
            futures[0].result()
            os.killpg(0, signal.SIGINT)
            futures[-1].result()
    except KeyboardInterrupt:
        pass
"""


def test_after_ctrl_c_workers_finish_what_they_are_at_and_begin_nothing(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    done = tmp_path / "done"
    done.mkdir()
    parent = subprocess.run([sys.executable, tmp_path / "interrupted.py", done], start_new_session=True, timeout=60)
    assert parent.returncode == 0
    assert 0 < len(list(done.iterdir())) < 20


def test_workers_begin_before_they_work() -> None:
    with pool(1, os.putenv, "BEGUN", "yes") as workers:
        assert workers.submit(subprocess.getoutput, "echo $BEGUN").result() == "yes"
