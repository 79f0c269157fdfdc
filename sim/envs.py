"""Registers the environments with Gymnasium when imported; `gymnasium.make("sim.envs:VJEPA2AC/…")` imports it."""

from __future__ import annotations

import gymnasium

from sim.tasks import TASKS, TaskName

IDS: dict[TaskName, str] = {
    task: f"VJEPA2AC/Franka{''.join(word.capitalize() for word in task.split('_'))}-v0" for task in TASKS
}


def register_envs() -> None:
    """Make every task known to `gymnasium.make`; calling it again changes nothing."""
    for task, name in IDS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point="sim.env:FrankaEnv", kwargs={"task": task})


register_envs()
