"""Worker processes that end with whoever began them, however that one ended.

Workers of the standard library wait for their next task for good when their parent is killed, and after Ctrl-C a pool
of theirs first does all that it has been given. They also hear Ctrl-C themselves, and say what they were importing.
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
    """A fresh process that does not hear Ctrl-C: that is for whoever began it, to end it in good order."""

    def start(self) -> None:
        """Begin the process; until then Ctrl-C waits."""
        resource_tracker.ensure_running()  # now, for where it begins signals are unblocked
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which a process has from its parent
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)

    def run(self) -> None:
        """Do the work, whatever a library unblocks meanwhile."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().run()


class _Workers(multiprocessing.context.SpawnContext):
    Process = Worker


@contextlib.contextmanager
def pool(count: int, begin: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """So many fresh processes, each of which calls `begin(*arguments)` first.

    After Ctrl-C or a fault they finish what they are at, and begin nothing. VJEPA2ACError where one is killed.
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
    """One thread, to compute and to draw, unless told otherwise: processes share the cores, threads fight for them."""
    for threads in ("LP_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(threads, "1")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
