"""Worker processes that end when their parent does, however it ended.

Workers of the standard library wait for their next task for ever when their parent is killed, and after Ctrl-C their
pool first does all that it has been given. They also receive Ctrl-C themselves, and print what they were importing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.context
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any

from vjepa2_ac.errors import VJEPA2ACError


class Worker(multiprocessing.context.SpawnProcess):
    """A spawned process that ignores Ctrl-C: its parent receives that, and ends it in good order."""

    def start(self) -> None:
        """Start the process with Ctrl-C blocked; one that comes meanwhile reaches the parent afterwards."""
        resource_tracker.ensure_running()  # now, because starting it unblocks signals
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the process inherits this mask
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)

    def run(self) -> None:
        """Do the work, ignoring Ctrl-C even if a library unblocks it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().run()


class _Workers(multiprocessing.context.SpawnContext):
    Process = Worker


@contextlib.contextmanager
def pool(count: int, begin: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of `count` spawned processes, each of which first calls `begin(*arguments)`.

    After Ctrl-C or an error, they finish the tasks they are at and begin no others. Raises VJEPA2ACError where one of
    them is killed.
    """
    workers = ProcessPoolExecutor(count, mp_context=_Workers(), initializer=_begin, initargs=(begin, arguments))
    try:
        yield workers
    except BrokenProcessPool as error:
        raise VJEPA2ACError(
            "a worker process ended without a word: killed, perhaps because memory ran out; fewer workers need less"
        ) from error
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    take_one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)


def take_one_thread() -> None:
    """Compute and render on one thread unless the environment says otherwise: threads of many processes compete."""
    for threads in ("LP_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(threads, "1")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
