"""Replay: makes the plans of a plan log again, and says whether they are the same.

A line holds the configuration, the seed, poses, what carried over from the plan before, and the clock's readings where
there was a deadline; the pictures lie beside the log. On the same machine with the same versions the actions are the
same to the last bit, and so is the chance of failure.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from planner.camera import CameraTurn
from planner.plan import Plan
from planner.planning import Planner, PlannerConfig, Request
from planner.protocols import World
from planner.seeing import see, shown
from server.model import Served
from server.planlog import picture_path, pictures_of, versions
from server.recording import played_back
from vjepa2_ac.config import from_dict
from vjepa2_ac.errors import InputError
from vjepa2_ac.files import read
from vjepa2_ac.pictures import Frame, decode

ANY_SIDE = 1 << 16  # [pixels] in effect no limit: pictures were checked when they were served
NEEDED = frozenset(
    ("plan_id", "model", "versions", "config", "camera", "seed", "observation", "goal", "last_actions", "unrecorded")
) | {"clock", "answer"}
ROUNDING = 1e-5  # [m, rad, closedness, probability] up to which numbers count as the same


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a replayed plan is from the logged one, and a note on what may explain it."""

    plan_id: str
    difference: float  # the largest, over all actions and the chance of failure
    note: str = ""

    @property
    def is_same(self) -> bool:
        """Whether it is the same plan, to rounding."""
        return self.difference <= ROUNDING


def replay(path: Path, served: Served) -> Iterator[Outcome]:
    """Replay each complete line of a log, and yield its outcome. Raises InputError for what cannot be replayed."""
    for number, line in lines_of(path):
        where = f"{path}, line {number}"
        if line["unrecorded"]:
            raise InputError(
                f"{where}: the plan also used {', '.join(line['unrecorded'])}, which the log does not hold"
            )
        plan = _again(line, served.world, pictures_of(path), where)
        yield Outcome(line["plan_id"], _difference(plan, line["answer"]), _note(line, served))


def _difference(plan: Plan, logged: dict[str, Any]) -> float:
    """The largest one; infinite if the actions differ in shape, or if only one plan has a chance of failure."""
    actions_H7, chances = np.array(logged["actions"]), (plan.failure_probability, logged.get("failure_probability"))
    if plan.actions_H7.shape != actions_H7.shape or chances.count(None) == 1:
        return math.inf
    now, then = (float(chance or 0.0) for chance in chances)
    return max(float(np.abs(plan.actions_H7 - actions_H7).max()), abs(now - then))


def _again(line: dict[str, Any], world: World, folder: Path, where: str) -> Plan:
    config = from_dict(PlannerConfig, line["config"], where)
    camera = from_dict(CameraTurn, line["camera"], where) if line["camera"] else None
    seen, wanted, clock = line["observation"], line["goal"], line["clock"]
    earlier = line.get("earlier", line.get("looks", []))  # "looks" in older lines

    def seen_in_hues(name: str) -> Tensor:
        return see(world, _frame(folder, name, where), config.cost.hues)

    goal = wanted["sha256"][wanted["sub_goal"]]
    past = [seen_in_hues(each["sha256"]) for each in earlier], [each["pose"] for each in earlier]
    request = Request(
        **shown(seen_in_hues(seen["sha256"]), seen_in_hues(goal), *past),
        pose=seen["pose"],
        seed=line["seed"],
        commanded=seen["commanded"],
        last_actions=line["last_actions"],
        leaving=line.get("leaving", False),
        changing=line.get("changing", 0.0),
        set_down=line.get("set_down"),
    )
    if clock:
        planner = Planner(world, config, camera=camera, clock=played_back(clock))
        return planner.plan(request, deadline=0.0)
    return Planner(world, config, camera=camera).plan(request)


def lines_of(path: Path, *, reports_broken: bool = True) -> Iterator[tuple[int, dict[str, Any]]]:
    """The complete lines of a plan log, with their numbers. Raises InputError for what is no plan log.

    A line that was broken off in writing is left out, and reported on stderr if `reports_broken`.
    """
    if not path.is_file():
        raise InputError(f"there is no plan log {path}")
    with path.open(encoding="utf-8", errors="replace") as file:  # bytes that are no text are no line either
        for number, text in enumerate(file, start=1):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
                if text.startswith("{"):
                    broken = f"{path}, line {number} was broken off as it was written: it is left out"
                    if reports_broken:
                        print(broken, file=sys.stderr)
                    continue
            if not isinstance(line, dict) or not line.keys() >= NEEDED:
                raise InputError(f"{path}, line {number} is not a line of a plan log")
            yield number, line


def _frame(folder: Path, name: str, where: str) -> Frame:
    path = picture_path(folder, name)
    if path is None:
        raise InputError(
            f"{where}: the picture {name[:12]}… is not in {folder}; a log can be replayed where pictures were kept, "
            "see serve --log-pictures"
        )
    return decode(read(path), str(path), ANY_SIDE).frame_HW3


def _note(line: dict[str, Any], served: Served) -> str:
    """Which versions have changed since, which may explain a different plan."""
    now = versions() | {"model": served.version}
    then = line["versions"] | {"model": line["model"]["version"]}
    changed = [f"{name} was {then.get(name)}, is {now[name]}" for name in now if now[name] != then.get(name)]
    return "; ".join(changed)
