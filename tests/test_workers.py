from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from vjepa2_ac.client import PlannerUnavailableError
from vjepa2_ac.errors import EpisodeError, FieldError, VJEPA2ACError
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


IMPORTING = """
import os, signal, sys, time
from vjepa2_ac.workers import pool

if __name__ == "__mp_main__":  # a worker, which imports what it is to do
    print("importing", flush=True)
    time.sleep(1)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pool(2) as workers:
        futures = [workers.submit(abs, number) for number in range(2)]
        time.sleep(0.5)
        try:
            os.killpg(0, signal.SIGINT)
            futures[-1].result()
        except KeyboardInterrupt:
            print(*[future.result() for future in futures])
"""


ALONE = """
import os, signal, time
from vjepa2_ac.workers import Worker

if __name__ == "__mp_main__":
    print("importing", flush=True)
    time.sleep(1)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = Worker(target=print, args=("worked",))  # the first of a process, before anything else is begun
    worker.start()
    time.sleep(0.5)
    try:
        os.killpg(0, signal.SIGINT)
        worker.join()
    except KeyboardInterrupt:
        worker.join()
"""


@pytest.mark.parametrize(
    ("script", "said"), [(IMPORTING, "importing importing 0 1"), (ALONE, "importing worked")], ids=["pool", "alone"]
)
def test_a_worker_that_is_still_importing_does_not_hear_ctrl_c(script: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "importing.py").write_text(script)
    parent = subprocess.run(
        [sys.executable, tmp_path / "importing.py"], start_new_session=True, timeout=60, capture_output=True, text=True
    )
    assert (parent.returncode, parent.stderr) == (0, "")
    assert parent.stdout.split() == said.split()


def test_workers_begin_before_they_work() -> None:
    with pool(1, os.putenv, "BEGUN", "yes") as workers:
        assert workers.submit(subprocess.getoutput, "echo $BEGUN").result() == "yes"


def fail_as(kind: Callable[..., VJEPA2ACError], *words: str, **named: str) -> NoReturn:
    raise kind(*words, **named)


def test_what_a_worker_refuses_is_said_in_its_own_words() -> None:
    with pool(1) as workers:
        with pytest.raises(PlannerUnavailableError, match="the service is gone") as gone:
            workers.submit(fail_as, PlannerUnavailableError, "the service is gone", code="unreachable").result()
        with pytest.raises(FieldError, match="pose: 6 numbers; expected 7") as refused:
            workers.submit(fail_as, FieldError, "pose", "6 numbers", "7").result()
        with pytest.raises(EpisodeError, match="episode one: it has no frames"):
            workers.submit(fail_as, EpisodeError, "one", "it has no frames").result()
    assert (gone.value.code, gone.value.field, refused.value.field) == ("unreachable", None, "pose")


def test_a_worker_that_is_killed_is_said_in_a_sentence() -> None:
    with pytest.raises(VJEPA2ACError, match="ended without a word: killed, perhaps"), pool(1) as workers:
        workers.submit(os._exit, 9).result()
