"""The gripper's choice, made apart from the motion.

Few samples of a plain search hit both the right motion and the right gripper, and its costs are nearly flat in the
gripper until the hand is there. So the motion is searched with the gripper kept as it is, and then the best plan is
imagined once with each thing that the gripper can do. What decides is not which future costs least, because what the
model has wrong about all of them outweighs what sets them apart, but how much of an imagined difference the goal shows
(`contrast`). Where the model's inverse locates the hand in the goal, how closed it is there tells the same share in
another way, and `located` weighs the two.

Open fingers around something wide look like closed ones. So before an open hand goes on from a sub-goal, the way to the
next one may be imagined with the fingers closed first (`choose_first`): what came along tells them apart.

A gate may hold the gripper while there is still way to go: it changes only once the best plan that keeps it hardly
moves, which is what stops a hand from closing early and from opening in transit.

Models that learned from measured poses take a change of the gripper for what the fingers will have done, not for what
they were told: around an object they never close all the way. So closing is also imagined to end at `stops`; whichever
wins, the gripper is told to close.

Shapes: H steps of the horizon, G options, N tokens, D width of a latent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vjepa2_ac.config import require

SAME = 0.05  # closing or opening by less than this is keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class GripperConfig:
    """How the gripper is decided.

    `contrast`: chosen apart from the motion, by imagined differences. `sampled`: searched like any other number, as
    published. `held`: never.
    """

    mode: Literal["contrast", "sampled", "held"] = "contrast"
    limit: float = 0.75  # largest change of closedness in one step
    deadband: float = 0.25  # sampled: smaller changes count as none
    share: float = 0.3  # contrast: how much of what closing would change the goal must show
    release_share: float = 0.5  # contrast: the same for opening, which drops what is held if it is wrong
    located: float = 0.0  # contrast: weight, beside the differences', of how closed the model finds the goal's hand
    release_located: float = 0.0  # contrast: the same for opening
    take_share: float | None = None  # contrast: of what closing before the hand goes on changes; None: never asked
    stops: tuple[float, ...] = (0.4,)  # contrast: closednesses at which something between the fingers may stop them
    gate: float | None = None  # [m] contrast: no change while the best plan that keeps it moves at least this far

    def __post_init__(self) -> None:
        require(0 < self.limit <= 1, f"gripper.limit lies within 0…1, got {self.limit}")
        require(0 <= self.deadband < self.limit, f"gripper.deadband lies within 0…limit, got {self.deadband}")
        require(self.gate is None or self.gate > 0, f"gripper.gate is a length in metres, got {self.gate}")
        for name in ("located", "release_located"):
            require(0 <= getattr(self, name) <= 1, f"gripper.{name} is a weight within 0…1, got {getattr(self, name)}")
        for name in ("share", "release_share"):
            require(getattr(self, name) > 0, f"gripper.{name} is positive, got {getattr(self, name)}")
        require(
            self.take_share is None or self.take_share > 0, f"gripper.take_share is positive, got {self.take_share}"
        )
        require(all(0 < stop < 1 for stop in self.stops), f"gripper.stops lie between 0 and 1, got {self.stops}")
        require(self.gate is None or self.mode == "contrast", "gripper.gate needs gripper.mode = contrast")


@dataclass(frozen=True, slots=True)
class Option:
    """One thing the gripper can do, as its changes of closedness in each step: as imagined, and as it is told."""

    name: str
    changes_H: tuple[float, ...]
    told_H: tuple[float, ...]


def options(config: GripperConfig, closedness: float, horizon: int) -> tuple[Option, ...]:
    """What a gripper that is `closedness` closed can do; keeping comes first, and what would change nothing is out."""

    def steps(end: float) -> tuple[float, ...]:
        return _towards(end, closedness, config.limit, horizon)

    keep = Option("keep", (0.0,) * horizon, (0.0,) * horizon)
    if config.mode != "contrast":
        return (keep,)
    ends = [(name, end) for name, end in (("open", 0.0), ("close", 1.0)) if abs(end - closedness) >= SAME]
    stops = [stop for stop in config.stops if stop - closedness >= SAME]
    return (
        keep,
        *(Option(name, steps(end), steps(end)) for name, end in ends),
        *(Option(f"close to {stop:g}", steps(stop), steps(1.0)) for stop in stops),
    )


def choose(
    config: GripperConfig,
    options_G: Sequence[Option],
    shares_G: Sequence[float],
    costs_G: Sequence[float],
    keeping_moves: float,
) -> int:
    """The option to take: of those that the goal shows enough of (see `shown` and `located`), the cheapest.

    What has no cost is never taken.
    """
    if config.gate is not None and keeping_moves >= config.gate:
        return 0
    wanted_G = [config.release_share if option.told_H[0] < 0 else config.share for option in options_G]
    shows = [share >= wanted for share, wanted in zip(shares_G, wanted_G, strict=True)]
    enough = [option for option in range(1, len(options_G)) if shows[option] and math.isfinite(costs_G[option])]
    return min(enough, key=lambda option: costs_G[option], default=0)


def choose_first(share: float, options_G: Sequence[Option], shares_G: Sequence[float]) -> int | None:
    """What to close to before the hand goes on: the option that the goal shows most of, where that is enough."""
    closing = [option for option in range(1, len(options_G)) if options_G[option].told_H[0] > 0]
    most = max(closing, key=lambda option: shares_G[option], default=None)
    return most if most is not None and shares_G[most] >= share else None


def weighed(config: GripperConfig, options_G: Sequence[Option], shown_G: Tensor, located_G: Tensor) -> Tensor:
    """Both signs of how much the goal shows of each option, as one [G]; `located` weighs one of them, see there."""
    weights = [config.release_located if option.told_H[0] < 0 else config.located for option in options_G]
    return torch.lerp(shown_G, located_G, torch.tensor(weights))


def located(options_G: Sequence[Option], change: float) -> Tensor:
    """How much of what each option would change the goal shows [G], where its hand is closed by `change` more.

    0 where the goal's hand is closed as now, 1 where it is as closed as the option leaves it or more, -1 where it goes
    the other way; keeping shows nothing.
    """
    ends = [sum(option.changes_H) for option in options_G]
    return torch.tensor([change / end if end else 0.0 for end in ends]).clamp(-1, 1)


def shown(imagined_GND: Tensor, goal_ND: Tensor) -> Tensor:
    """How much of what each option would change the goal shows [G].

    With d what an option is imagined to change beside keeping, the first, it is the t for which keep + t · d comes
    nearest to the goal: 0 where the goal looks as if the gripper were kept, 1 where it looks just as imagined. What
    the two imagined futures have wrong alike cancels, and whatever the gripper does not change counts for nothing.
    """
    changed_GND = imagined_GND - imagined_GND[:1]
    along_G = ((goal_ND - imagined_GND[0]) * changed_GND).sum(dim=(1, 2))
    shares_G: Tensor = along_G / changed_GND.square().sum(dim=(1, 2)).clamp_min(1e-12)
    return shares_G


def _towards(end: float, closedness: float, limit: float, horizon: int) -> tuple[float, ...]:
    changes = []
    for _ in range(horizon):
        change = max(-limit, min(limit, end - closedness))
        closedness += change
        changes.append(change)
    return tuple(changes)
