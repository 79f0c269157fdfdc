"""Choosing whether the gripper stays as it is, opens or closes, apart from the motion.

Few samples of a plain search hit both the right motion and the right gripper, and costs are nearly flat in the gripper
until the hand is at the object. So the motion is searched with the gripper kept as it is, and the best plan is then
imagined once with each gripper option. An option is not chosen for its cost alone, because what the model has wrong in
all of these futures outweighs what sets them apart. It must make a difference of which the goal shows enough (mode
`contrast`, see `share_by_latents`); of those that do, the cheapest is taken. Where the model's inverse locates the hand
in the goal, its closedness there gives the same share in another way (see `share_by_closedness`), and settings weigh
the two.

Open fingers around something wide look like closed ones. So before an open hand goes on from a sub-goal, the way to the
next one may be imagined with the fingers closed first (`choose_to_close_first`): whether the object comes along tells
them apart.

A gate may keep the gripper as it is while the hand still has way to go: the gripper changes only once the best plan
that keeps it hardly moves. That stops a hand from closing early and from opening in transit.

Models that learned from measured poses take a change of the gripper for what the fingers will have done, not for what
they were told to do, and around an object fingers never close all the way. So closing is also imagined to end at each
of `stops`; whichever of these futures wins, the gripper is told to close.

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

SAME = 0.05  # a change of closedness by less than this counts as keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class GripperConfig:
    """How it is decided what the gripper does.

    `contrast`: chosen apart from the motion, by imagined differences. `sampled`: searched like any other number, as
    published. `held`: never changed.
    """

    mode: Literal["contrast", "sampled", "held"] = "contrast"
    limit: float = 0.75  # largest change of closedness in one step
    deadband: float = 0.25  # sampled: smaller changes count as none
    share: float = 0.3  # contrast: share of what closing is imagined to change that the goal must show
    release_share: float = 0.5  # contrast: the same for opening, which drops what is held if it is wrong
    located: float = 0.0  # contrast: weight of how closed the model finds the goal's hand; the differences get the rest
    release_located: float = 0.0  # contrast: the same for opening
    take_share: float | None = None  # contrast: as `share`, for closing before the hand goes on; None: never asked
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
    """One thing the gripper can do: its change of closedness in each step, as imagined and as commanded."""

    name: str
    changes_H: tuple[float, ...]
    commanded_H: tuple[float, ...]


def options(config: GripperConfig, closedness: float, horizon: int) -> tuple[Option, ...]:
    """The options of a gripper that is `closedness` closed: keeping first, then those that would change something."""

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
    """The index of the option to take: the cheapest of those that the goal shows enough of.

    How much the goal shows of an option is told by `share_by_latents` and `share_by_closedness`. The index is 0,
    keeping, where it shows enough of none, and while the best plan that keeps the gripper moves (`keeping_moves` [m])
    as far as the gate or farther. An option whose cost is not finite is never taken.
    """
    if config.gate is not None and keeping_moves >= config.gate:
        return 0
    wanted_G = [config.release_share if option.commanded_H[0] < 0 else config.share for option in options_G]
    shows = [share >= wanted for share, wanted in zip(shares_G, wanted_G, strict=True)]
    enough = [option for option in range(1, len(options_G)) if shows[option] and math.isfinite(costs_G[option])]
    return min(enough, key=lambda option: costs_G[option], default=0)


def choose_to_close_first(share: float, options_G: Sequence[Option], shares_G: Sequence[float]) -> int | None:
    """The index of the option to close by before the hand goes on: the one that the goal shows most of.

    None where the goal shows less than `share` of it, or where nothing closes.
    """
    closing = [option for option in range(1, len(options_G)) if options_G[option].commanded_H[0] > 0]
    most = max(closing, key=lambda option: shares_G[option], default=None)
    return most if most is not None and shares_G[most] >= share else None


def weighed(
    config: GripperConfig, options_G: Sequence[Option], by_latents_G: Tensor, by_closedness_G: Tensor
) -> Tensor:
    """The weighted mean [G] of the shares that `share_by_latents` and `share_by_closedness` give."""
    weights = [config.release_located if option.commanded_H[0] < 0 else config.located for option in options_G]
    return torch.lerp(by_latents_G, by_closedness_G, torch.tensor(weights, dtype=torch.float32))


def share_by_closedness(options_G: Sequence[Option], change: float) -> Tensor:
    """The share [G] of each option's change of closedness that the goal shows, where its hand is `change` more closed.

    0 where the goal's hand is as closed as now, 1 where it has changed as much as by the option or more, down to -1
    where it has changed the other way; 0 for keeping.
    """
    ends = [sum(option.changes_H) for option in options_G]
    return torch.tensor([change / end if end else 0.0 for end in ends]).clamp(-1, 1)


def share_by_latents(imagined_GND: Tensor, goal_ND: Tensor) -> Tensor:
    """The share [G] of what each option is imagined to change that the goal shows.

    Let d be the imagined latents of an option minus those of keeping, the first option. The share is the t for which
    keep + t · d comes nearest to the goal: 0 where the goal looks as if the gripper were kept, 1 where it looks as
    imagined. What the model has wrong in both futures cancels, and whatever the gripper does not change counts for
    nothing.
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
