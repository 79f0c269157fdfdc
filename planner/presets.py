"""Named planner configurations; docs/planning.md says what each costs and how often it succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.cem import CEMConfig
from planner.costs import CostConfig
from planner.gripper import GripperConfig
from planner.planning import PlannerConfig
from planner.search_config import SearchConfig
from vjepa2_ac.config import nearest, settings_named
from vjepa2_ac.errors import ConfigError

FROM_ABOVE = SearchConfig(
    descent_limit=0.03,  # [m]: the hand arrives over an object, not beside it
    lift_first=True,  # an object that is held is not dragged over the table
    # gate [m]: the hand has arrived before the gripper moves
    gripper=GripperConfig(gate=0.007, located=0.3, release_share=0.6, release_located=0.7, take_share=0.5),
)

# A picture of the end does not show what closing or opening changes, so the located closedness alone decides.
AS_LOCATED = replace(FROM_ABOVE.gripper, located=1.0, release_located=1.0, take_share=None)

TO_THE_PLACE = CostConfig(place=10.0, from_above=2.0)

PRESETS = {
    "fast": PlannerConfig(  # at most 32 candidates
        search=replace(FROM_ABOVE, samples=16, iterations=2, elites=4, kept_elites=1), cost=TO_THE_PLACE
    ),
    "balanced": PlannerConfig(search=replace(FROM_ABOVE, samples=32, iterations=3), cost=TO_THE_PLACE),  # 96
    "keyframes": PlannerConfig(  # as balanced, from a picture of the end alone
        search=replace(FROM_ABOVE, samples=32, iterations=3, gripper=AS_LOCATED),
        cost=replace(TO_THE_PLACE, keyframes=True, hues=5),
    ),
    "paper": PlannerConfig(method="paper", paper=CEMConfig(samples=800, iterations=10)),  # 8000
}


def preset(name: str) -> PlannerConfig:
    """The configuration of that name. Raises ConfigError where there is none."""
    if name not in PRESETS:
        meant = nearest(name, PRESETS)
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"no preset {name!r}; {hint}")
    return PRESETS[name]


def refuse_unused(config: PlannerConfig, settings: Sequence[str]) -> None:
    """Raise ConfigError for settings `NAME=VALUE` of the search that `config` does not use: nothing would change."""
    unused = "search" if config.method == "paper" else "paper"
    for text in settings:
        if any(name.startswith(f"{unused}.") for name in settings_named(text)):
            raise ConfigError(f"--set {text} would change nothing: this planner searches by {config.method}.…")
