"""A Franka to try plans on: scene, control, tasks, expert, recorded episodes and closed-loop evaluation."""

import os
import sys

# MuJoCo chooses its OpenGL when it is first imported; on Linux without a display only EGL or OSMesa can draw.
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("MUJOCO_GL", "egl")
