"""A Franka to try plans on: scene, control, tasks, expert, recorded episodes and closed-loop evaluation."""

import os

# MuJoCo chooses its OpenGL when it is first imported; without a display only EGL or OSMesa can draw.
if not os.environ.get("DISPLAY"):
    os.environ.setdefault("MUJOCO_GL", "egl")
