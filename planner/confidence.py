"""How far a plan can be trusted, read off the search that found it.

Six signs say that a plan may be bad, and all but the last come at no further cost: elites that disagree, a plan hardly
better than doing nothing, a cost that hardly depends on what is done, a goal that looks out of reach because no move
within reach comes nearer to it, a hand in the goal that the model locates badly in this scene, and a model that
contradicts itself on the way there and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.failure_model import FailureModel
from planner.moves import GRIPPER
from planner.problem import SearchResult
from vjepa2_ac.config import require
from vjepa2_ac.models.hand_location import FAMILIAR


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceConfig:
    """The thresholds beyond which a sign counts as a warning."""

    least_gain: float = 0.02  # a plan that lowers the cost by a smaller share is not worth its move
    most_flatness: float = 0.98  # beyond it, moves hardly matter
    achieved_cost: float | None = None  # costs up to this one are those of achieved goals; None: not known
    most_cycle_error: float = FAMILIAR  # [m]; in views that a model knows, it contradicts itself far less
    failure: FailureModel | None = None  # fitted model of what the signs mean for this world model; None: not known

    def __post_init__(self) -> None:
        require(0 <= self.least_gain < 1, f"least_gain lies within 0…1, got {self.least_gain}")
        require(0 < self.most_flatness <= 1, f"most_flatness lies within 0…1, got {self.most_flatness}")
        require(self.most_cycle_error > 0, f"most_cycle_error is positive, got {self.most_cycle_error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """The signs; `goal_reached`, `goal_out_of_reach` and `view_unfamiliar` sum them up."""

    elite_spread: float  # [m] how far apart the elites' first moves are
    gain: float  # share by which the plan lowers the cost of doing nothing
    flatness: float  # cost of the best against the median of the first candidates: near 1, moves hardly matter
    gripper_contrast: float  # share by which the gripper's best option beats the next one; 0 with a single option
    goal_uncertainty: float | None  # [m] expected error of the hand located in the goal; None: not located or no number
    cycle_error: float | None  # [m] by which the ways to that hand and back contradict each other; None: likewise
    goal_reached: bool  # the cost of doing nothing is that of an achieved goal
    goal_out_of_reach: bool  # not reached, yet no move within reach comes nearer, and the gripper is not to change
    view_unfamiliar: bool  # the ways there and back contradict each other: the model does not know what it sees


def judge(found: SearchResult, config: ConfidenceConfig | None = None) -> Confidence:
    """The signs of a finished search."""
    config = config or ConfidenceConfig()
    gain = _share(found.idle_cost - found.cost, found.idle_cost)
    finite = found.first_costs_S[found.first_costs_S.isfinite()]
    flatness = 1 - _share(float(finite.median() - finite.min()), float(finite.median())) if len(finite) else 1.0
    reached = config.achieved_cost is not None and found.idle_cost <= config.achieved_cost
    stuck = gain < config.least_gain or flatness > config.most_flatness
    if len(found.gripper_costs) > 1 and found.actions_HA[:, GRIPPER].any():
        stuck = False  # costs did not choose the gripper's change (see `gripper`), so they do not judge it
    return Confidence(
        elite_spread=elite_spread(found),
        gain=gain,
        flatness=flatness,
        gripper_contrast=_contrast(sorted(filter(math.isfinite, found.gripper_costs.values()))),
        goal_uncertainty=_number(found.goal_uncertainty),
        cycle_error=_number(found.cycle_error),
        goal_reached=reached,
        goal_out_of_reach=stuck and not reached,
        view_unfamiliar=found.cycle_error is not None and not found.cycle_error <= config.most_cycle_error,
    )


def elite_spread(found: SearchResult) -> float:
    """Root mean square distance [m] of the elites' first moves from their mean."""
    first_K3 = found.elites_KHA[:, 0, :3]
    return float((first_K3 - first_K3.mean(dim=0)).square().sum(dim=1).mean().sqrt())


def _contrast(costs: list[float]) -> float:
    return _share(costs[1] - costs[0], costs[1]) if len(costs) > 1 else 0.0


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _share(part: float, whole: float) -> float:
    # `part` is `whole` less something, so it is not finite where `whole` is not.
    return part / whole if math.isfinite(part) and whole > 0 else 0.0
