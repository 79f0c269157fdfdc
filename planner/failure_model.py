"""The probability that the episode of a plan will fail, from the signs of its search: a logistic model.

The signs by themselves say that something is odd; how odd is bad depends on the model, the cost and the task. So a few
coefficients are fitted to episodes that are known to have failed or succeeded (`vjepa2-ac evaluate-confidence`). They
hold for that model and that cost alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.costs import CostConfig
from vjepa2_ac.config import from_dict, require, to_dict
from vjepa2_ac.errors import ConfigError, InputError

FORMAT = "vjepa2-ac failure models, version 2"
OWN = ("elite_spread", "gain", "flatness", "gripper_contrast", "goal_uncertainty", "cycle_error", "goal_out_of_reach")
SIGNS = (*OWN, "log_idle_cost", "log_cost")
FAR_OUT = 5.0  # standard deviations to which a sign is clipped: nothing was seen beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureModel:
    """A logistic model: coefficients on standardised signs, some of `SIGNS` or all, and what they were fitted for."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    signs: tuple[str, ...] = SIGNS
    weights: str = ""  # fingerprint of the world model's files
    cost: dict[str, Any] = field(default_factory=dict)  # settings of the cost that plans were searched by
    episodes: int = 0  # that it was fitted to

    def __post_init__(self) -> None:
        unknown = ", ".join(name for name in self.signs if name not in SIGNS)
        require(not unknown, f"there is no sign {unknown}; a failure model reads some of {', '.join(SIGNS)}")
        for name in ("centre", "scale", "coefficients"):
            values = getattr(self, name)
            require(len(values) == len(self.signs), f"{name} needs {len(self.signs)} numbers, got {len(values)}")
            require(all(map(math.isfinite, values)), f"{name} must be finite, got {values}")
        require(math.isfinite(self.intercept), f"intercept must be finite, got {self.intercept}")
        require(all(scale > 0 for scale in self.scale), f"scale is positive, got {self.scale}")

    def unfitted(self, cost: Mapping[str, Any]) -> str | None:
        """A phrase saying how the cost that the model was fitted for differs from this one; None where it does not.

        Settings that did not exist yet when it was fitted count as at their defaults, which change nothing.
        """
        fitted = to_dict(CostConfig()) | self.cost
        for name, value in cost.items():
            if fitted.get(name) != value:
                return f"with cost.{name} = {json.dumps(fitted.get(name))}, not {json.dumps(value)}"
        return None

    def probability(self, signs: Mapping[str, float]) -> float | None:
        """The probability of failure, given a plan's signs by name; None where one that it reads is not finite."""
        values = [signs[name] for name in self.signs]
        if not all(map(math.isfinite, values)):
            return None
        standard = zip(values, self.centre, self.scale, strict=True)
        terms = [max(-FAR_OUT, min(FAR_OUT, (value - centre) / scale)) for value, centre, scale in standard]
        logit = self.intercept + sum(a * b for a, b in zip(self.coefficients, terms, strict=True))
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))


def signs(confidence: Mapping[str, Any], cost: float, idle_cost: float) -> dict[str, float]:
    """The signs of a plan by name, from its confidence and its costs; NaN for a cost that is not finite.

    Raises KeyError where the confidence lacks a sign.
    """
    own = {name: float(confidence[name] or 0.0) for name in OWN}  # None, where no hand is located, counts as 0
    return own | {"log_idle_cost": _log(idle_cost), "log_cost": _log(cost)}


def fitted_for(cost: Mapping[str, Any], models: Sequence[FailureModel]) -> FailureModel | None:
    """The first of the models that was fitted for this cost; None where there is none."""
    return next((model for model in models if not model.unfitted(cost)), None)


def read(path: Path, *, weights: str) -> tuple[FailureModel, ...]:
    """The models in a file of `evaluate-confidence`, each for one cost.

    Raises InputError for a file that cannot be read as one, ConfigError for models that were fitted to other weights.
    """
    return tuple(model for model, _ in read_fits(path, weights=weights))


def read_fits(path: Path, *, weights: str) -> list[tuple[FailureModel, dict[str, Any]]]:
    """The same models, each with all that the file says of it: what it was fitted to, and how well it predicts."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a file of {FORMAT}")
    try:
        fits = [(from_dict(FailureModel, fit["failure"], str(path)), fit) for fit in content["fits"]]
    except (KeyError, TypeError):
        raise InputError(f"{path} is not a whole file of {FORMAT}") from None
    for model, _ in fits:
        if model.weights != weights:
            raise ConfigError(
                f"{path} was fitted to other weights ({model.weights or 'random'}, not {weights or 'random'})"
            )
    return fits


def _log(cost: float) -> float:
    return math.log(max(cost, 1e-12)) if math.isfinite(cost) else math.nan
