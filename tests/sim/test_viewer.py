"""MuJoCo's own window, as far as it can be tested where none can be opened."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import mujoco
import mujoco.viewer
import pytest

from sim import viewer
from sim.arm import HAND, LINKS
from sim.env import FrankaEnv
from sim.scene import SEEN


class Window:
    """What `launch_passive` gives, closed again at once."""

    def __init__(self) -> None:
        self.opt = mujoco.MjvOption()

    def lock(self) -> Any:
        return nullcontext()

    def is_running(self) -> bool:
        return False


def test_the_window_shows_the_hand_and_nothing_that_only_physics_has(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window()
    monkeypatch.setattr(viewer, "check_display", lambda: None)
    monkeypatch.setattr(mujoco.viewer, "launch_passive", lambda *_, **__: nullcontext(window))
    viewer.view(FrankaEnv("reach", views=(), goal_frames=False), seed=0, expert=True)
    shown = {group for group, is_shown in enumerate(window.opt.geomgroup) if is_shown}
    assert shown == {SEEN, HAND, LINKS}
