"""Turns a budget of milliseconds into a size of search, once, on this machine; a resumed run keeps that size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch

from planner import budget
from planner.checks import size_among
from planner.planning import PlannerConfig
from planner.search_config import SearchConfig
from sim.env import FrankaEnv
from sim.evaluate.runs import SETTINGS, read_settings
from vjepa2_ac.config import from_dict
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.world_model import WorldModel

SIZE = ("samples", "iterations", "horizon", "elites", "kept_elites")  # what a budget chooses


def refuse_size(given: Sequence[str]) -> None:
    """Raise ConfigError where settings `NAME=VALUE` say what a budget is to choose."""
    if sized := size_among(given):
        raise ConfigError(f"a budget beside {sized}; expected one or the other: it chooses samples and iterations")


def from_previous_run(out: Path, milliseconds: float, config: PlannerConfig) -> PlannerConfig | None:
    """`config` with the size that the evaluation in `out` found for this budget; None if there is none."""
    settings = (read_settings(out) or {}).get("settings", {})
    if settings.get("budget_ms") != milliseconds:
        return None
    found = from_dict(SearchConfig, settings["planner"]["search"], str(out / SETTINGS))
    size = {each.name: getattr(found, each.name) for each in fields(found) if each.name in SIZE}
    return replace(config, search=replace(config.search, **size))


def measured(milliseconds: float, config: PlannerConfig, model: str, precision: str) -> PlannerConfig:
    """`config` with the largest search that fits, by timings of the model on one thread, as episodes are played.

    Raises ConfigError where none does.
    """
    torch.set_num_threads(1)
    world = WorldModel.open(model, precision=precision)
    env = FrankaEnv(goal_frames=False)
    observation, _ = env.reset(seed=0)
    env.close()
    latents_ND = world.encode(observation["frame"])[0]
    choice = budget.within(milliseconds, config, budget.measure(world, latents_ND, cost=config.cost))
    if choice.expected_ms > milliseconds:
        raise ConfigError(
            f"even the smallest search is expected to take {choice.expected_ms:.0f} ms here, and the budget is "
            f"{milliseconds:g} ms"
        )
    return choice.config
