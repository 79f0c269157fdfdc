"""The cell: a Franka on a table, the objects, lights and cameras, as one MuJoCo model that every episode re-dresses.

The model is compiled once; `Scene.apply` edits it into what a draw describes (about a millisecond). The base frame of
the robot is the world frame, with the table's top at z = 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim import surfaces
from sim.arm import ARM_JOINTS, FINGER_JOINTS, HOME, UNSEEN, WORLD_BIT, load_arm
from sim.cameras import LEFT, PRETTY, RIGHT, Placement
from sim.objects import add_objects, shape_objects
from sim.variation import Draw
from vjepa2_ac.errors import InputError

Array = NDArray[np.float64]

TIMESTEP = 0.002  # [s]
SEEN = 0  # geom group of what every camera draws
_TABLE_LOW, _TABLE_HIGH, _TABLE_THICK = (-0.30, -0.62), (0.80, 0.62), 0.04  # [m]
_WRIST_CAMERA = (0.068, -0.068, 0.115)  # [m] in the frame of link 7, in front of the hand
_FLOOR = -0.78  # [m], z of the floor; the table top is at 0


class Scene:
    """Compiled model and state of the cell, dressed by the last draw."""

    def __init__(self, robot_xml: Path | None = None) -> None:
        self.model: Any = _compiled(build_spec(robot_xml), robot_xml)
        self.data: Any = mujoco.MjData(self.model)
        self.arm_qpos = np.array([self.model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self.arm_qvel = np.array([self.model.joint(name).dofadr[0] for name in ARM_JOINTS])
        self.finger_qpos = np.array([self.model.joint(name).qposadr[0] for name in FINGER_JOINTS])

    def apply(self, draw: Draw) -> None:
        """Dress the cell as `draw` says and put everything at rest; the arm waits at home with open fingers."""
        mujoco.mj_resetData(self.model, self.data)
        shape_objects(self.model, self.data, draw)
        self._surfaces(draw)
        self._lights(draw)
        self._cameras(draw)
        self.data.qpos[self.arm_qpos] = HOME
        self.data.qpos[self.finger_qpos] = self.model.joint(FINGER_JOINTS[0]).range[1]
        at_rest = self.data.qpos.copy()
        mujoco.mj_setConst(self.model, self.data)  # contact softness depends on masses, which have changed
        self.data.qpos[:] = at_rest
        mujoco.mj_forward(self.model, self.data)

    def _surfaces(self, draw: Draw) -> None:
        for geom, name, tint, repeat in (
            ("table:seen", draw.table, draw.table_tint, draw.table_repeat),
            ("wall", draw.wall, draw.wall_tint, draw.wall_repeat),
        ):
            material = self.model.material(f"{geom.partition(':')[0]}_{name}")
            material.rgba[:3], material.texrepeat[:] = tint, repeat
            self.model.geom(geom).matid[:] = material.id

    def _lights(self, draw: Draw) -> None:
        lamps = {
            "key": (draw.light_azimuth, draw.light_elevation, draw.light_rgb),
            "fill": (draw.fill_azimuth, draw.fill_elevation, draw.fill_rgb),
        }
        for name, (turn, rise, rgb) in lamps.items():
            light = self.model.light(name)
            light.dir[:] = -np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
            light.pos[:] = np.array([0.45, 0.0, 0.0]) - 1.8 * light.dir
            light.diffuse[:] = rgb
            self.model.light_active[light.id] = any(rgb)
        self.model.vis.headlight.ambient[:] = draw.ambient

    def _cameras(self, draw: Draw) -> None:
        for name, usual in (("left", LEFT), ("right", RIGHT)):
            moved = Placement(
                azimuth=usual.azimuth + draw.camera_azimuth,
                elevation=usual.elevation + draw.camera_elevation,
                distance=usual.distance + draw.camera_distance,
                look_at=usual.look_at,
                field_of_view=usual.field_of_view,
            )
            camera = self.model.camera(name)
            camera.pos[:], camera.quat[:] = moved.position(), _quaternion(moved.rotation())


def build_spec(robot_xml: Path | None = None) -> Any:
    """The `MjSpec` of the whole cell."""
    spec = load_arm(robot_xml)
    _physics(spec)
    _table(spec)
    add_objects(spec)
    _lights(spec)
    _add_cameras(spec)
    return spec


def _compiled(spec: Any, robot_xml: Path | None) -> Any:
    """The model of `spec`. Raises InputError where another robot makes none, as one whose meshes are not there."""
    try:
        return spec.compile()
    except ValueError as error:
        if robot_xml is None:
            raise
        raise InputError(f"{robot_xml} makes no model of the cell: {error}") from None


def _physics(spec: Any) -> None:
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC  # with a high impratio, a gripped object does not creep
    spec.option.impratio = 10.0
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE  # its trees would keep the compiled sizes
    spec.stat.center, spec.stat.extent = [0.4, 0.0, 0.2], 1.2
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 12.0
    spec.visual.quality.offsamples = 4  # anti-aliasing: motions of less than a pixel show
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 1280


def _table(spec: Any) -> None:
    for where in ("table", "wall"):
        for name in surfaces.SURFACES:
            if where == "table":
                _texture(spec, name)
            _material(spec, f"{where}_{name}", name)
    low, high = np.array(_TABLE_LOW), np.array(_TABLE_HIGH)
    (x, y), (half_x, half_y) = (low + high) / 2, (high - low) / 2
    world, box, plane = spec.worldbody, mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    seen = {"contype": 0, "conaffinity": 0, "group": SEEN}
    world.add_geom(
        name="table:solid",
        type=box,
        pos=[x, y, -_TABLE_THICK / 2],
        size=[half_x, half_y, _TABLE_THICK / 2],
        group=UNSEEN,
        contype=WORLD_BIT,
        conaffinity=3,
        condim=4,
        friction=[0.7, 0.01, 0.0001],
        solref=[0.005, 1.0],
        solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
    )
    world.add_geom(name="table:seen", type=plane, pos=[x, y, 0], size=[half_x, half_y, 1], material="table_oak", **seen)
    world.add_geom(
        type=box,
        pos=[x, y, -_TABLE_THICK / 2 - 0.001],
        size=[half_x, half_y, _TABLE_THICK / 2],
        rgba=[0.35, 0.33, 0.31, 1],
        **seen,
    )
    for leg_x in (low[0] + 0.05, high[0] - 0.05):
        for leg_y in (low[1] + 0.05, high[1] - 0.05):
            half = (-_FLOOR - _TABLE_THICK) / 2
            size = [0.025, 0.025, half]
            world.add_geom(type=box, pos=[leg_x, leg_y, _FLOOR + half], size=size, rgba=[0.3, 0.3, 0.32, 1], **seen)
    world.add_geom(type=plane, pos=[0, 0, _FLOOR], size=[4, 4, 1], rgba=[0.42, 0.43, 0.45, 1], **seen)
    world.add_geom(name="wall", type=plane, pos=[-1.3, 0, 0.7], size=[1.6, 4, 1], quat=[0.7071, 0, 0.7071, 0], **seen)


def _texture(spec: Any, name: str) -> None:
    texture = spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=surfaces.SIZE, height=surfaces.SIZE, nchannel=3
    )
    texture.data = surfaces.picture(name).tobytes()


def _material(spec: Any, name: str, texture: str) -> None:
    material = spec.add_material(name=name, specular=0.1, shininess=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture


def _lights(spec: Any) -> None:
    headlight = spec.visual.headlight
    headlight.ambient, headlight.diffuse, headlight.specular = [0.34] * 3, [0.22] * 3, [0.05] * 3
    for name in ("key", "fill"):
        spec.worldbody.add_light(
            name=name,
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=[1, 1, 2],
            dir=[-0.3, -0.3, -1],
            diffuse=[0.65] * 3,
            specular=[0.15] * 3,
            castshadow=name == "key",
        )


def _add_cameras(spec: Any) -> None:
    for name, placement in (("left", LEFT), ("right", RIGHT), ("pretty", PRETTY)):
        spec.worldbody.add_camera(
            name=name,
            pos=placement.position(),
            quat=_quaternion(placement.rotation()),
            fovy=placement.field_of_view,
        )
    spec.body("panda0_link7").add_camera(
        name="wrist", pos=_WRIST_CAMERA, quat=_quaternion(_wrist_rotation()), fovy=65.0
    )


def _wrist_rotation() -> Array:
    """Axes of the wrist camera in the frame of link 7 (z along the fingers): from beside the hand to the tool point."""
    back = np.array(_WRIST_CAMERA) - (0.0, 0.0, 0.215)
    back /= np.linalg.norm(back)
    right = np.cross([0.0, 0.0, -1.0], back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back], axis=1)


def _quaternion(rotation: Array) -> Array:
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    return quaternion
