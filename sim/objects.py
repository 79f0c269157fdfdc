"""The objects on the table: cup, box, bowl, pad and distractors, added once and reshaped for every episode.

Compiling a model takes 100 ms and the renderer would have to load it again, so an episode only edits fields: sizes of
primitives, which of the cups' meshes is drawn, masses and colours. What an episode does not use is parked out of sight,
weightless and touching nothing.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim import meshes
from sim.arm import ROBOT_BIT, UNSEEN, WORLD_BIT
from sim.variation import CUP_SIZES, KINDS, SLOTS, Draw

Array = NDArray[np.float64]

MASS = {"cup": 0.11, "box": 0.13}  # [kg]
BOWL_FLOOR, BOWL_RIM, BOWL_HEIGHT = 0.052, 0.068, 0.021  # [m]
PAD_RADIUS, PAD_HEIGHT = 0.055, 0.003  # [m]
REST_HEIGHT = {"bowl": meshes.WALL, "pad": PAD_HEIGHT}  # [m], z of the underside of what stands on the target
PARKED = {"cup": (0.0, 0.6, -2.0), "box": (0.0, -0.6, -2.0), "bowl": (0.5, 0.0, -2.0), "pad": (0.5, 0.5, -2.0)}

_STAVES = 16  # flat boards that make a round wall
_FOOT = 0.0006  # [m] by which a cup's floor stands out under its wall: 4 contacts with the table instead of 68
_CONTACT = {
    "contype": WORLD_BIT,
    "conaffinity": WORLD_BIT | ROBOT_BIT,
    "condim": 4,
    "friction": [0.7, 0.01, 0.0001],
    "solref": [0.005, 1.0],
    "solimp": [0.95, 0.99, 0.001, 0.5, 2.0],
}
_SEEN = {"contype": 0, "conaffinity": 0, "mass": 0.0, "group": 0}


def add_objects(spec: Any) -> None:
    """Add the bodies of all objects to `spec`; `shape_objects` then gives them the shapes of a draw."""
    _add_box(spec)
    _add_cup(spec)
    _add_bowl(spec)
    _add_pad(spec)
    for slot in range(SLOTS):
        body = spec.worldbody.add_body(name=f"distractor{slot}", mocap=True, pos=[0.3, 0.1 * slot, -2.0])
        body.add_geom(name=f"distractor{slot}", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.01] * 3, mass=0.0, **_CONTACT)


def shape_objects(model: Any, data: Any, draw: Draw) -> None:
    """Set sizes, colours and places of all objects as in `draw`; free objects are at rest 0.5 mm above the table."""
    _shape_box(model, draw)
    _shape_cup(model, draw)
    for kind in KINDS:
        used = kind == draw.kind
        model.body_gravcomp[model.body(kind).id] = 0.0 if used else 1.0
        joint = data.joint(f"{kind}:free")
        place = (*draw.object_xy, draw.size[2] / 2 + 0.0005) if used else PARKED[kind]
        joint.qpos[:3], joint.qpos[3:] = place, _about_z(draw.object_yaw if used else 0.0)
        joint.qvel[:] = 0.0
    for name in ("bowl", "pad"):
        place = (*draw.target_xy, 0.0) if name == draw.target else PARKED[name]
        data.mocap_pos[model.body(name).mocapid[0]] = place
        model.geom(f"{name}:seen").rgba[:3] = draw.target_rgb
    _shape_distractors(model, data, draw)


def _add_box(spec: Any) -> None:
    body = spec.worldbody.add_body(name="box", pos=PARKED["box"])
    body.add_freejoint(name="box:free")
    body.mass, body.inertia, body.explicitinertial = MASS["box"], [1e-4] * 3, True
    body.ipos = [0.0, 0.0, 0.0]
    body.add_geom(name="box:seen", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.025] * 3, **_SEEN)
    body.add_geom(name="box:solid", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.025] * 3, group=UNSEEN, **_CONTACT)


def _add_cup(spec: Any) -> None:
    body = spec.worldbody.add_body(name="cup", pos=PARKED["cup"])
    body.add_freejoint(name="cup:free")
    body.mass, body.inertia, body.explicitinertial = MASS["cup"], [1e-4] * 3, True
    body.ipos = [0.0, 0.0, 0.0]
    for index, (radius, height) in enumerate(CUP_SIZES):
        _add_mesh(spec, f"cup{index}", *meshes.cup(radius, height))
        # a mesh is loaded into the renderer only if some geom could draw it
        body.add_geom(name=f"cup:seen{index}", type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"cup{index}", **_SEEN)
    for stave in range(_STAVES):
        body.add_geom(
            name=f"cup:wall{stave}", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.01] * 3, group=UNSEEN, **_CONTACT
        )
    body.add_geom(name="cup:floor", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.01] * 3, group=UNSEEN, **_CONTACT)
    for part in ("top", "bar", "bottom"):
        body.add_geom(
            name=f"cup:handle_{part}",
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            size=[meshes.HANDLE_RADIUS, 0.008, 0],
            quat=[1, 0, 0, 0] if part == "bar" else [0.7071068, 0, 0.7071068, 0],
            group=UNSEEN,
            **_CONTACT,
        )


def _add_bowl(spec: Any) -> None:
    body = spec.worldbody.add_body(name="bowl", mocap=True, pos=PARKED["bowl"])
    _add_mesh(spec, "bowl", *meshes.bowl(BOWL_FLOOR, BOWL_RIM, BOWL_HEIGHT))
    body.add_geom(name="bowl:seen", type=mujoco.mjtGeom.mjGEOM_MESH, meshname="bowl", **_SEEN)
    body.add_geom(
        name="bowl:floor",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.86 * BOWL_FLOOR, 0.86 * BOWL_FLOOR, meshes.WALL / 2],
        pos=[0, 0, meshes.WALL / 2],
        group=UNSEEN,
        **_CONTACT,
    )
    slope = float(np.arctan2(BOWL_RIM - BOWL_FLOOR, BOWL_HEIGHT))
    middle = (BOWL_FLOOR + BOWL_RIM) / 2
    for angle in np.arange(_STAVES) * 2 * np.pi / _STAVES:
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[meshes.WALL / 2, middle * np.tan(np.pi / _STAVES), BOWL_HEIGHT / 2 / np.cos(slope)],
            pos=[middle * np.cos(angle), middle * np.sin(angle), BOWL_HEIGHT / 2],
            quat=_product(_about_z(angle), (np.cos(slope / 2), 0.0, np.sin(slope / 2), 0.0)),
            group=UNSEEN,
            **_CONTACT,
        )


def _add_pad(spec: Any) -> None:
    body = spec.worldbody.add_body(name="pad", mocap=True, pos=PARKED["pad"])
    size, pos = [PAD_RADIUS, PAD_HEIGHT / 2, 0], [0, 0, PAD_HEIGHT / 2]
    body.add_geom(name="pad:seen", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=size, pos=pos, **_SEEN)
    body.add_geom(name="pad:solid", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=size, pos=pos, group=UNSEEN, **_CONTACT)


def _add_mesh(spec: Any, name: str, vertices: Array, faces: NDArray[np.int64]) -> None:
    spec.add_mesh(
        name=name,
        uservert=vertices.ravel(),
        userface=faces.ravel(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )


def _shape_box(model: Any, draw: Draw) -> None:
    if draw.kind != "box":
        return
    half = np.asarray(draw.size) / 2
    _resize(model, "box:solid", half)
    _resize(model, "box:seen", half)
    model.geom("box:seen").rgba[:3] = draw.object_rgb
    model.body("box").inertia[:] = MASS["box"] / 3 * (np.sum(half**2) - half**2)


def _shape_cup(model: Any, draw: Draw) -> None:
    if draw.kind != "cup":
        return
    radius, height = draw.size[0] / 2, draw.size[2]
    for index, size in enumerate(CUP_SIZES):
        rgba = model.geom(f"cup:seen{index}").rgba
        rgba[:3], rgba[3] = draw.object_rgb, float(np.allclose(size, (radius, height)))
    middle = radius - meshes.WALL / 2
    for stave in range(_STAVES):
        angle = 2 * np.pi * stave / _STAVES
        _resize(model, f"cup:wall{stave}", (meshes.WALL / 2, radius * np.tan(np.pi / _STAVES), (height - _FOOT) / 2))
        place = (middle * np.cos(angle), middle * np.sin(angle), _FOOT / 2)
        _move(model, f"cup:wall{stave}", place, _about_z(angle))
    _resize(model, "cup:floor", (0.7 * radius, 0.7 * radius, meshes.WALL / 2))
    _move(model, "cup:floor", (0.0, 0.0, (meshes.WALL - height) / 2))
    rise, reach = 0.31 * height - meshes.HANDLE_RADIUS, meshes.HANDLE_REACH
    _resize(model, "cup:handle_bar", (meshes.HANDLE_RADIUS, 0.75 * rise, 0.0))
    _move(model, "cup:handle_bar", (radius - 0.002 + reach, 0.0, 0.0))
    for part, side in (("top", 1.0), ("bottom", -1.0)):
        _resize(model, f"cup:handle_{part}", (meshes.HANDLE_RADIUS, reach / 2 - 0.002, 0.0))
        _move(model, f"cup:handle_{part}", (radius + reach / 2 - 0.002, 0.0, side * rise))
    around_z = MASS["cup"] * radius**2 * 0.9
    model.body("cup").inertia[:] = (around_z / 2 + MASS["cup"] * height**2 / 12,) * 2 + (around_z,)


def _shape_distractors(model: Any, data: Any, draw: Draw) -> None:
    for slot in range(SLOTS):
        mocap = model.body(f"distractor{slot}").mocapid[0]
        if slot >= len(draw.distractors):
            data.mocap_pos[mocap] = (0.3, 0.1 * slot, -2.0)
            continue
        thing = draw.distractors[slot]
        kinds = {"box": mujoco.mjtGeom.mjGEOM_BOX, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER}
        geom = model.geom(f"distractor{slot}")
        geom.type[:] = kinds.get(thing.shape, mujoco.mjtGeom.mjGEOM_SPHERE)
        _resize(model, geom.name, (thing.size, thing.size, thing.size))
        geom.rgba[:3] = thing.rgb
        data.mocap_pos[mocap] = (*thing.xy, thing.size)
        data.mocap_quat[mocap] = _about_z(thing.yaw)


def _resize(model: Any, name: str, size: Any) -> None:
    """Set a primitive's size, and with it the bounds that collision detection uses."""
    geom = model.geom(name)
    geom.size[:] = size
    kind = int(geom.type[0])
    x, y, z = geom.size
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        half = (x, y, z)
    elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        half = (x, x, y)
    elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        half = (x, x, x + y)
    else:
        half = (x, x, x)
    model.geom_aabb[geom.id] = (0.0, 0.0, 0.0, *half)
    geom.rbound[:] = x if kind == mujoco.mjtGeom.mjGEOM_SPHERE else np.linalg.norm(half)


def _move(model: Any, name: str, pos: Any, quat: Any = None) -> None:
    geom = model.geom(name)
    geom.pos[:] = pos
    model.geom_sameframe[geom.id] = 0  # or MuJoCo takes it to sit in the body's frame
    if quat is not None:
        geom.quat[:] = quat


def _about_z(angle: float) -> tuple[float, float, float, float]:
    return (float(np.cos(angle / 2)), 0.0, 0.0, float(np.sin(angle / 2)))


def _product(first: Any, second: Any) -> Array:
    result = np.zeros(4)
    mujoco.mju_mulQuat(result, np.asarray(first, dtype=float), np.asarray(second, dtype=float))
    return result
