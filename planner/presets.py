"""Named ways to plan. They are starting points until the simulation's ablation has decided on their numbers."""

from __future__ import annotations

from planner.cem import CEMConfig
from planner.gripper import GripperConfig
from planner.planning import PlannerConfig
from planner.search_config import SearchConfig
from vjepa2_ac.config import nearest
from vjepa2_ac.errors import ConfigError

GATED = GripperConfig(gate=0.007)  # [m]: the hand arrives before the gripper moves

PRESETS = {
    "fast": PlannerConfig(  # <= 144 candidates
        search=SearchConfig(samples=16, iterations=3, elites=4, kept_elites=2, gripper=GATED)
    ),
    "balanced": PlannerConfig(search=SearchConfig(gripper=GATED)),  # <= 384, less than a twentieth of the published
    "paper": PlannerConfig(method="paper", paper=CEMConfig(samples=800, iterations=10)),  # 8000 candidates
}


def preset(name: str) -> PlannerConfig:
    """The configuration of that name."""
    if name not in PRESETS:
        meant = nearest(name, PRESETS)
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"no preset {name!r}; {hint}")
    return PRESETS[name]
