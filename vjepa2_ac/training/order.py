"""Which sample comes when, and what replaces one that fails: pure functions of the seed and the sample's number.

Samples of a run are numbered across updates, accumulated micro-batches, processes and rows, so that the same seed gives
the same samples however many processes share the work, and a resumed run needs no sampler state.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.errors import EpisodeError, InputError

DrawnT = TypeVar("DrawnT")
ATTEMPTS = 10  # videos or episodes drawn in place of ones that fail, each counted, before giving up


@dataclass(frozen=True, slots=True)
class Layout:
    """How samples are spread over micro-batches and processes."""

    batch: int  # of one process and micro-batch
    processes: int = 1
    rank: int = 0

    def samples(self, micro_batch: int) -> range:
        """The sample numbers of this process in a micro-batch; micro-batches are counted from 0 over the whole run."""
        first = (micro_batch * self.processes + self.rank) * self.batch
        return range(first, first + self.batch)


def generator_of(seed: int, sample: int, attempt: int = 0) -> np.random.Generator:
    """The random generator of one sample; counter-based, so samples are independent and no state is carried along."""
    return np.random.Generator(np.random.Philox(counter=[0, 0, attempt, sample], key=seed))


def shuffled(items: int, seed: int, sample: int) -> int:
    """The index of the item that a sample uses: each of `items` once per epoch, in a new order every epoch."""
    epoch, place = divmod(sample, items)
    return int(_permutation(items, seed, epoch)[place])


def first_readable(draw: Callable[[int], DrawnT], bad: dict[str, str]) -> DrawnT:
    """The result of `draw` at its first attempt that can be decoded; what cannot be is named in `bad`.

    InputError after ATTEMPTS failures.
    """
    for attempt in range(ATTEMPTS):
        try:
            return draw(attempt)
        except EpisodeError as error:
            bad[error.episode] = error.reason
    shown = "".join(f"\n  {name}: {reason}" for name, reason in list(bad.items())[-ATTEMPTS:])
    raise InputError(f"{ATTEMPTS} videos or episodes in a row cannot be decoded:{shown}")


@functools.lru_cache(maxsize=4)
def _permutation(items: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.Philox(counter=[0, 1, 0, epoch], key=seed)).permutation(items)
