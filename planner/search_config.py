"""The settings of the default search; each ingredient has a switch, so that its worth can be measured without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from planner.gripper import GripperConfig
from planner.moves import MoveSpace
from planner.noise import NoiseKind
from vjepa2_ac.config import require

MOST_NUMBERS, MOST_DRAWS = 21201, 1 << 30  # limits of torch's SobolEngine: numbers in a draw, draws in a sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """How large the search is, and which ingredients it has. Shares are of the searched numbers' limits."""

    # size
    horizon: int = 1
    samples: int = 32  # in each iteration
    iterations: int = 4
    elites: int = 6

    # limits of a move
    step_limit: float = 0.05  # [m] along each axis
    descent_limit: float | None = None  # [m] downwards; None: as along any axis
    lift_first: bool = False  # the first move from a passed sub-goal to a higher place goes straight up
    turn_limit: float | None = None  # [rad] about each axis; None: rotation is not searched
    gripper: GripperConfig = field(default_factory=GripperConfig)

    # sampling
    noise: NoiseKind = "sobol"
    spread: float = 1.0  # first standard deviation, as a share
    least_spread: float = 0.02  # the standard deviation never falls below this share

    # refitting
    mean_momentum: float = 0.1  # how much of the old mean is kept
    std_momentum: float = 0.1
    kept_elites: int = 3  # elites that compete again in the next iteration: their costs are known, so this is free
    try_mean: bool = True  # the mean is a candidate too
    warm_start: bool = True  # begin at the shifted last plan, where there is one
    warm_spread: float = 0.6  # first standard deviation of a warm start, as a share

    # ending
    prune: bool = True  # on a CPU, do not imagine candidates that cannot be among the best: the answer stays the same
    agreement: float | None = 0.04  # stop when the elites' standard deviation is below this share; None: never
    answer: Literal["best", "mean"] = "best"

    def __post_init__(self) -> None:
        require(self.horizon >= 1, f"horizon must be at least 1, got {self.horizon}")
        require(self.iterations >= 1, f"iterations must be at least 1, got {self.iterations}")
        require(1 < self.elites <= self.samples, f"need 1 < elites <= samples, got {self.elites} of {self.samples}")
        require(self.samples >= 3, f"samples must be at least 3, got {self.samples}")
        require(
            self.most_evaluations <= MOST_DRAWS,
            f"samples x iterations come to at most {MOST_DRAWS}, got {self.samples} x {self.iterations}",
        )
        require(0 <= self.kept_elites <= self.elites, f"kept_elites lies within 0…elites, got {self.kept_elites}")
        require(0 < self.step_limit <= 1, f"step_limit is a length in metres, got {self.step_limit}")
        require(
            self.descent_limit is None or 0 < self.descent_limit <= self.step_limit,
            f"descent_limit is a length in metres within step_limit, got {self.descent_limit}",
        )
        require(self.turn_limit is None or 0 < self.turn_limit <= 3.15, f"turn_limit: got {self.turn_limit} radians")
        for name in ("spread", "warm_spread"):
            require(0 < getattr(self, name) <= 3, f"{name} is a share of the limits, got {getattr(self, name)}")
        for name in ("mean_momentum", "std_momentum", "least_spread"):
            require(0 <= getattr(self, name) < 1, f"{name} lies within 0…1, got {getattr(self, name)}")
        longest = MOST_NUMBERS // len(self.space.columns)
        require(self.horizon <= longest, f"horizon is at most {longest} steps, got {self.horizon}")

    @property
    def space(self) -> MoveSpace:
        """The numbers that are searched."""
        return MoveSpace(
            step_limit=self.step_limit,
            descent_limit=self.descent_limit,
            turn_limit=self.turn_limit,
            gripper_limit=self.gripper.limit if self.gripper.mode == "sampled" else None,
            gripper_deadband=self.gripper.deadband if self.gripper.mode == "sampled" else 0.0,
        )

    @property
    def most_evaluations(self) -> int:
        """The most candidates imagined for a request, besides the few at the end (last mean, gripper options)."""
        return self.samples * self.iterations
