"""Renders the scene, in one of three styles.

`model` is what a world model sees, in training and in use alike: the hand as it is, the links behind it as hulls, no
shadows. `pretty` draws the whole arm and shadows, for people. `hulls` leaves the hand out and serves to compare
rendering times.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import weakref
from collections.abc import Callable
from typing import Any, Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.arm import HAND, LINK_HULLS, LINKS
from sim.cameras import NAMES
from sim.scene import SEEN, Scene
from vjepa2_ac.errors import InputError

Frame = NDArray[np.uint8]  # [H, W, 3]
Style = Literal["model", "pretty", "hulls"]

_GROUPS: dict[Style, tuple[int, ...]] = {
    "model": (SEEN, HAND, LINK_HULLS),
    "pretty": (SEEN, HAND, LINKS),
    "hulls": (SEEN, LINK_HULLS),
}


_drawing_process: int | None = None  # id of the process that has drawn; a forked child inherits its parent's


class SceneRenderer:
    """Renders one scene at one size. Holds an OpenGL context, made when first needed; `close` releases it."""

    def __init__(
        self, scene: Scene, height: int, width: int, style: Style = "model", shadows: bool | None = None
    ) -> None:
        self.scene, self.height, self.width, self.style = scene, height, width, style
        self.shadows = style == "pretty" if shadows is None else shadows
        self._renderer: Any = None
        self._let_go: Callable[[], object] = lambda: None
        self._options = mujoco.MjvOption()
        show(self._options, style)

    def draw(self, camera: str = "left") -> Frame:
        """What `camera` sees now [H, W, 3]."""
        if camera not in NAMES:
            raise InputError(f"no camera {camera!r} in the scene; it has {', '.join(NAMES)}")
        renderer = self._open()
        renderer.update_scene(self.scene.data, camera=camera, scene_option=self._options)
        return np.asarray(renderer.render(), dtype=np.uint8)

    def close(self) -> None:
        """Release the OpenGL context."""
        self._let_go()
        atexit.unregister(self._let_go)
        self._renderer = None

    def _open(self) -> Any:
        if self._renderer is None:
            _refuse_to_hang()
            _load_torchs_compiler()
            self.scene.model.vis.quality.shadowsize = 2048 if self.shadows else 0  # read when the context is made
            self._renderer = mujoco.Renderer(self.scene.model, self.height, self.width)
            self._let_go = weakref.finalize(self, _release, self._renderer)
            atexit.register(self._let_go)  # later than OpenGL's own, so called before it; finalizers may come too late
            flags = self._renderer.scene.flags
            flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self.shadows
            flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
            flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        return self._renderer


def _release(renderer: Any) -> None:
    """Release the renderer's context and what is in it.

    MuJoCo deletes textures and buffers by number in whichever context is current, where these may be another's.
    """
    if renderer._gl_context:
        with contextlib.suppress(Exception):  # it is current in another thread, so nothing can be drawn with here
            renderer._gl_context.make_current()
    renderer.close()


def show(options: Any, style: Style) -> None:
    """Make MuJoCo's `options` show what belongs to `style`, and nothing else."""
    options.geomgroup[:] = 0
    options.geomgroup[list(_GROUPS[style])] = 1
    options.sitegroup[:] = 0


def _load_torchs_compiler() -> None:
    """Load Triton before OpenGL: with software rendering, loading it afterwards ends the process.

    Both bring an LLVM of their own, and Triton's must not come second. Triton is loaded by whatever compiles or
    profiles, and by some optimisers.
    """
    with contextlib.suppress(ImportError):  # CPU-only builds of torch have none
        importlib.import_module("triton")


def _refuse_to_hang() -> None:
    """Raise InputError in a process forked from one that had drawn, where OpenGL would hang for ever."""
    global _drawing_process
    if _drawing_process not in (None, os.getpid()):
        raise InputError(
            "this process was forked from one that had already drawn, and OpenGL does not survive that; start workers "
            'with "spawn", for example gymnasium.make_vec(..., vector_kwargs={"context": "spawn"})'
        )
    _drawing_process = os.getpid()
