"""The environment in MuJoCo's own window: watch the expert, or drive the hand yourself."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

from sim.control import STEP_SECONDS, TICK
from sim.env import FrankaEnv
from sim.rendering import show
from sim.scene import TIMESTEP
from vjepa2_ac.errors import InputError

STRIDE = 0.03  # [m] a key press
KEYS: dict[int, tuple[int, float]] = {  # GLFW key code: which number of the action it changes, and by how much
    265: (0, STRIDE),  # up: forward
    264: (0, -STRIDE),  # down: back
    263: (1, STRIDE),  # left
    262: (1, -STRIDE),  # right
    266: (2, STRIDE),  # page up
    267: (2, -STRIDE),  # page down
    260: (6, 0.5),  # insert: close
    261: (6, -0.5),  # delete: open
}
HELP = "arrows: move · page up/down: rise, sink · insert/delete: close, open · E: expert on/off · N: next episode"


def check_display() -> None:
    """Raise an InputError where no window can be opened."""
    if sys.platform not in ("darwin", "win32") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError(
            "there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set), so no window can be opened; "
            "`vjepa2-ac sim video` writes an MP4 instead"
        )


def view(env: FrankaEnv, seed: int, expert: bool) -> None:
    """Open the window and run until it is closed."""
    check_display()
    import mujoco.viewer

    keys = _Keys(expert)
    scene = env.cell.scene
    env.reset(seed=seed)
    with mujoco.viewer.launch_passive(scene.model, scene.data, key_callback=keys.press, show_left_ui=False) as window:
        with window.lock():
            show(window.opt, "pretty")
        ticks = 0

        def keep_time() -> None:
            nonlocal ticks
            ticks += 1
            if ticks % 2 == 0:
                window.sync()
            time.sleep(TICK * TIMESTEP)

        env.cell.controller.on_tick = keep_time
        player = env.expert()
        while window.is_running():
            if keys.wants_next:
                keys.wants_next = False
                env.cell.controller.on_tick = None  # the expert makes the goal first, which nobody needs to watch
                env.reset()
                env.cell.controller.on_tick = keep_time
                player = env.expert()
            started = time.monotonic()
            env.step(player.act(env.truth()) if keys.expert else keys.action())
            time.sleep(max(0.0, STEP_SECONDS - (time.monotonic() - started)))


class _Keys:
    """Key presses since the last step, as an action."""

    def __init__(self, expert: bool) -> None:
        self.expert, self.wants_next = expert, False
        self._moves = np.zeros(7)

    def press(self, key: int) -> None:
        if key in KEYS:
            part, change = KEYS[key]
            self._moves[part] += change
        elif key == ord("E"):
            self.expert = not self.expert
        elif key == ord("N"):
            self.wants_next = True

    def action(self) -> Any:
        action, self._moves = self._moves, np.zeros(7)
        return action
