"""Turns the options of a request into a planner configuration that the operator allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from planner.budget import CostModel, within
from planner.camera import CameraTurn
from planner.checks import check_camera_turn, check_point
from planner.failure_model import FailureModel, fitted_for, read
from planner.planning import PlannerConfig
from planner.presets import PRESETS, preset
from server.messages import PlanOptions
from server.settings import Settings
from vjepa2_ac.config import to_dict
from vjepa2_ac.errors import ConfigError, FieldError
from vjepa2_ac.model_version import fingerprint


def failure_models(path: Path | None, model: str) -> tuple[FailureModel, ...]:
    """The failure models in a file of `evaluate-confidence`, each for the presets with the cost that it was fitted for.

    Without a file there are none. Raises ConfigError if it is for other weights, or for the cost of no preset.
    """
    failures = () if path is None else read(path, weights=fingerprint(model))
    costs = {name: to_dict(config.cost) for name, config in PRESETS.items()}
    if failures and not any(fitted_for(cost, failures) for cost in costs.values()):
        why = "; ".join(f"{name}: {failure.unfitted(cost)}" for failure in failures for name, cost in costs.items())
        raise ConfigError(f"{path} was fitted for the cost of no preset ({why}); its probabilities would mean nothing")
    return failures


def planner_config(
    options: PlanOptions,
    settings: Settings,
    cost_model: CostModel | None = None,
    failures: Sequence[FailureModel] = (),
) -> PlannerConfig:
    """The preset, changed as the caller's options say, within the operator's limits. Raises FieldError."""
    name = options.preset or settings.preset
    try:
        config = preset(name)
    except ConfigError as error:
        raise FieldError("options.preset", str(error), f"one of {', '.join(PRESETS)}") from None
    config = _sized(config, options)
    if options.budget_ms is not None:
        config = _budgeted(config, options, cost_model)
    _refuse_too_much(config, settings)
    limits = replace(settings.limits, dry_run=settings.limits.dry_run or bool(options.dry_run))
    return config.expecting(failures).held_to(limits)


def budget_warnings(options: PlanOptions, config: PlannerConfig, cost_model: CostModel | None) -> tuple[str, ...]:
    """Warnings for plans made with this `planner_config`: that even the smallest search exceeds `budget_ms`."""
    if options.budget_ms is None or cost_model is None:
        return ()
    return within(options.budget_ms, config, cost_model).doubts


def camera_turn(options: PlanOptions) -> CameraTurn | None:
    """The camera's turn that the caller's options give, or None. Raises FieldError."""
    about, turn = options.camera_about, options.camera_turn
    if turn is None:
        if about is not None:
            raise FieldError("options.camera_about", "a point without options.camera_turn", "both, or neither")
        return None
    roll, pitch, yaw = check_camera_turn(turn, "options.camera_turn").tolist()
    x, y, z = (0.0, 0.0, 0.0) if about is None else check_point(about, "options.camera_about").tolist()
    return CameraTurn(roll=roll, pitch=pitch, yaw=yaw, about=(x, y, z))


def candidate_steps(config: PlannerConfig) -> int:
    """The most candidates a plan can take, times the steps of each."""
    if config.method == "paper":
        return config.paper.samples * config.paper.iterations * config.paper.horizon
    return config.search.most_evaluations * config.search.horizon


def _sized(config: PlannerConfig, options: PlanOptions) -> PlannerConfig:
    asked = {name: getattr(options, name) for name in ("samples", "iterations", "horizon")}
    changes = {name: value for name, value in asked.items() if value is not None}
    if config.method == "paper":
        elites = min(config.paper.elites, changes.get("samples", config.paper.samples))
        return replace(config, paper=replace(config.paper, **changes, elites=elites))
    old = config.search
    if "samples" in changes:
        elites = max(2, min(changes["samples"], round(changes["samples"] * old.elites / old.samples)))
        changes |= {"elites": elites, "kept_elites": min(old.kept_elites, elites)}
    return replace(config, search=replace(old, **changes))


def _budgeted(config: PlannerConfig, options: PlanOptions, cost_model: CostModel | None) -> PlannerConfig:
    field = "options.budget_ms"
    assert options.budget_ms is not None
    if options.samples is not None or options.iterations is not None:
        raise FieldError(field, "a budget beside samples or iterations", "one or the other: a budget chooses them")
    if config.method == "paper":
        raise FieldError(field, "a budget for the preset paper, whose size is fixed", "fast or balanced")
    if cost_model is None:
        raise FieldError(field, "a budget, while the speed of this machine is not known", "samples and iterations")
    return within(options.budget_ms, config, cost_model).config


def _refuse_too_much(config: PlannerConfig, settings: Settings) -> None:
    if config.horizon > settings.max_horizon:
        raise FieldError("options.horizon", f"{config.horizon} steps", f"at most {settings.max_horizon}")
    steps = candidate_steps(config)
    if steps > settings.max_candidate_steps:
        raise FieldError(
            "options",
            f"samples x iterations x horizon come to {steps} candidate-steps",
            f"at most {settings.max_candidate_steps}",
        )
