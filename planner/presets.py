"""Named ways to plan. They are starting points until the simulation's ablation has decided on their numbers."""

from __future__ import annotations

from planner.cem import CEMConfig
from planner.gripper import GripperConfig
from planner.planning import PlannerConfig
from planner.search_config import SearchConfig
from vjepa2_ac.config import nearest
from vjepa2_ac.errors import ConfigError

GATED = GripperConfig(mode="contrast", gate=0.007)  # [m]: the hand arrives before the gripper moves

PRESETS = {
    "fast": PlannerConfig(search=SearchConfig(samples=32, iterations=3, gripper=GATED)),  # <= 96 candidates
    "balanced": PlannerConfig(search=SearchConfig(samples=64, elites=8, gripper=GATED)),  # <= 256
    "paper": PlannerConfig(method="paper", paper=CEMConfig(samples=800, iterations=10)),  # 8000 candidates
}


def preset(name: str) -> PlannerConfig:
    """The configuration of that name."""
    if name not in PRESETS:
        meant = nearest(name, PRESETS)
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"no preset {name!r}; {hint}")
    return PRESETS[name]
