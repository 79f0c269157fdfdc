"""The true state of the scene, for judges and the scripted expert; observations never hold any of it.

Shapes: N contacts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.arm import FINGERS, TIP_BELOW_TOOL, TOOL
from sim.objects import REST_HEIGHT
from sim.scene import Scene
from sim.variation import Draw

Array = NDArray[np.float64]

LEAST_GRIP_FORCE = 0.5  # [N]: a finger that presses with less does not hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The true state at one instant. Positions are in the base frame [m]; the object's is that of its middle."""

    hand: Array  # [3]
    object: Array  # [3]
    object_quaternion: Array  # [4], w first
    object_size: Array  # [3], full extent
    object_speed: float  # [m/s]
    object_spin: float  # [rad/s]
    target: Array  # [3], where the object's middle is when it stands on the target
    left_force: float  # [N], normal force of the finger on the object
    right_force: float
    is_supported: bool  # the object touches something that is not a finger

    @property
    def is_held(self) -> bool:
        """Both fingers press the object, and nothing else touches it."""
        return self.left_force > LEAST_GRIP_FORCE and self.right_force > LEAST_GRIP_FORCE and not self.is_supported

    @property
    def is_touched(self) -> bool:
        """A finger touches the object, however lightly."""
        return max(self.left_force, self.right_force) > 0.0

    @property
    def is_at_rest(self) -> bool:
        """Too slow for the eye to see."""
        return self.object_speed < 0.01 and self.object_spin < 0.2

    @property
    def is_upright(self) -> bool:
        """Within 20° of standing upright."""
        _, x, y, _ = self.object_quaternion
        return float(1.0 - 2.0 * (x * x + y * y)) > 0.94

    @property
    def is_clear(self) -> bool:
        """The ends of the fingers are above the top of the object, or well beside it."""
        above = self.hand[2] - TIP_BELOW_TOOL > self.object[2] + self.object_size[2] / 2
        return bool(above or np.linalg.norm(self.hand[:2] - self.object[:2]) > 0.12)


def measure_truth(scene: Scene, draw: Draw) -> Truth:
    """The true state at this instant; the scene's physics must be up to date (`mj_forward`)."""
    model, data = scene.model, scene.data
    body = model.body(draw.kind).id
    free = data.joint(f"{draw.kind}:free")
    left, right, supported = _contacts(model, data, body)
    return Truth(
        hand=data.site(TOOL).xpos.copy(),
        object=data.xpos[body].copy(),
        object_quaternion=data.xquat[body].copy(),
        object_size=np.array(draw.size),
        object_speed=float(np.linalg.norm(free.qvel[:3])),
        object_spin=float(np.linalg.norm(free.qvel[3:])),
        target=np.array([*draw.target_xy, REST_HEIGHT[draw.target] + draw.size[2] / 2]),
        left_force=left,
        right_force=right,
        is_supported=supported,
    )


def _contacts(model: Any, data: Any, body: int) -> tuple[float, float, bool]:
    """Normal force of each finger on `body` [N], and whether anything else touches it."""
    fingers = [model.body(name).id for name in FINGERS]
    force, pressed, supported = np.zeros(6), [0.0, 0.0], False
    bodies_N2 = model.geom_bodyid[data.contact.geom[: data.ncon]]
    for contact in np.flatnonzero((bodies_N2 == body).any(axis=1)):
        first, second = bodies_N2[contact]
        other = second if first == body else first
        mujoco.mj_contactForce(model, data, contact, force)
        if other in fingers:
            pressed[fingers.index(other)] += float(force[0])
        elif force[0] > 0.0:
            supported = True
    return pressed[0], pressed[1], supported
