"""Named ways to plan. They are starting points until the simulation's ablation has decided on their numbers."""

from __future__ import annotations

from planner.cem import CEMConfig
from planner.planning import PlannerConfig
from planner.search_config import SearchConfig
from vjepa2_ac.config import nearest
from vjepa2_ac.errors import ConfigError

PRESETS = {
    "fast": PlannerConfig(search=SearchConfig(samples=16, iterations=3, elites=4, kept_elites=2)),  # <= 144 candidates
    "balanced": PlannerConfig(),  # <= 384 candidates, less than a twentieth of the published search
    "paper": PlannerConfig(method="paper", paper=CEMConfig(samples=800, iterations=10)),  # 8000 candidates
}


def preset(name: str) -> PlannerConfig:
    """The configuration of that name."""
    if name not in PRESETS:
        meant = nearest(name, PRESETS)
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"no preset {name!r}; {hint}")
    return PRESETS[name]
