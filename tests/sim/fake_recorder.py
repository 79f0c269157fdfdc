"""Recorders that play no physics, so that collecting itself can be tested."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.collect import CollectConfig, Recorder, started_at
from tests.data.folders import recording
from vjepa2_ac.data.writer import Recording
from vjepa2_ac.errors import ConfigError, NotEnoughDiskError


class Quick:
    """A line drawn in the air and `branches` pairs, at once."""

    seconds_per_episode = 0.0

    def __init__(self, config: CollectConfig) -> None:
        self.config = config

    def __call__(self, seed: int) -> Iterator[Recording]:
        for part in range(1, 2 * self.config.branches + 1):
            facts = {"seed": seed, "kind": "branch", "branch": f"{seed}-{(part - 1) // 2}"}
            yield recording(rows=4, started=started_at(seed, part), facts=facts)
        time.sleep(self.seconds_per_episode)
        if not self.config.long:
            return
        facts = {"seed": seed, "kind": "expert"}
        yield recording(rows=12, started=started_at(seed), facts=facts, success=seed % 3 > 0)


class Slow(Quick):
    seconds_per_episode = 0.1


class Broken(Quick):
    def __call__(self, seed: int) -> Iterator[Recording]:
        if seed == 2:
            raise RuntimeError("the table fell over")
        yield from super().__call__(seed)


class DiskFull(Quick):
    def __call__(self, seed: int) -> Iterator[Recording]:
        if seed == 2:
            raise NotEnoughDiskError("the disk is full")
        yield from super().__call__(seed)


class Killed(Quick):
    def __call__(self, seed: int) -> Iterator[Recording]:
        if seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().__call__(seed)


def quick(config: CollectConfig) -> Recorder:
    return Quick(config)


def slow(config: CollectConfig) -> Recorder:
    return Slow(config)


def broken(config: CollectConfig) -> Recorder:
    return Broken(config)


def disk_full(config: CollectConfig) -> Recorder:
    return DiskFull(config)


def killed(config: CollectConfig) -> Recorder:
    return Killed(config)


def stillborn(_: CollectConfig) -> Recorder:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def without_a_table(_: CollectConfig) -> Recorder:
    raise RuntimeError("there is no table")


def without_a_robot(_: CollectConfig) -> Recorder:
    raise ConfigError("the robot's meshes are not installed")


def main(root: str, jobs: str, workers: str, name: str = "slow") -> None:
    from sim.collect import collect
    from sim.collect_recorder import make_recorder

    makers: dict[str, Any] = {"slow": slow, "cell": make_recorder}
    collect(Path(root), int(jobs), CollectConfig(branches=1, size=64), makers[name], workers=int(workers))


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
