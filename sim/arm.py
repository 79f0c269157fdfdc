"""The Franka Panda: its body from `gymnasium-robotics`, with our servos, finger pads and tool frame.

The asset is one fixed choice, because a model learns what the arm looks like. Its collision hulls for the fingers are
replaced by flat pads where the real finger is flat (a stack of capsules would hold a box on two lines), its fingers get
their real length, one motor drives both, and gravity is compensated as the real arm does.

The tool frame sits between the finger pads. With the hand pointing straight down its axes are those of the base, so the
angles of an upright hand are near (0, 0, yaw) and never wrap at ± π. Actions do not depend on this choice: a constant
turn of the tool on the right cancels in R₂ · R₁ᵀ.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import mujoco

from vjepa2_ac.errors import ConfigError, InputError

ARM_JOINTS = tuple(f"robot:panda0_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("robot:panda0_finger_joint1", "robot:panda0_finger_joint2")
FINGERS = ("panda0_leftfinger", "panda0_rightfinger")
TOOL = "tool"

# Tool over the middle of the workspace, pointing straight down, elbow up. Also the posture of the null space.
HOME = (0.0, 0.2518, 0.0, -2.4331, 0.0, 1.1150, 0.0)  # [rad]

FINGER_TRAVEL = 0.04  # [m] each
OPENING = 2 * FINGER_TRAVEL  # [m] between the pads when closedness is 0
TIP_BELOW_TOOL = 0.0091  # [m] from the tool point to the end of the fingers
GRIP_FORCE = 25.0  # [N] of each finger; the real hand holds with up to 70

SERVO_LAG = 0.05  # [s], damping over stiffness: how far a servo trails a moving target
_STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # [N m / rad]
_TORQUE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # [N m], the real arm's
_FINGER_STIFFNESS = 10_000.0  # [N / m]: full grip at 2.5 mm of error
_FINGER_ARMATURE = 0.25  # [kg]

LINKS, LINK_HULLS, UNSEEN, HAND = 1, 2, 3, 4  # geom groups: links as they are, as hulls, only physics, the hand
ROBOT_BIT, WORLD_BIT = 1, 2  # contact types: robot parts never meet each other

# Pads and finger backs as boxes: centre and half size in the left finger's frame [m].
_FINGER_BOXES = (
    ("pad", (0.0, 0.0045, 0.0450), (0.0088, 0.0045, 0.0090)),
    ("middle", (0.0, 0.0125, 0.0270), (0.0088, 0.0040, 0.0090)),
    ("root", (0.0, 0.0190, 0.0090), (0.0100, 0.0065, 0.0090)),
)
_WHITE, _GREY, _DARK = (0.93, 0.94, 0.95, 1.0), (0.80, 0.81, 0.83, 1.0), (0.13, 0.14, 0.16, 1.0)


def load_arm(robot_xml: Path | None = None) -> Any:
    """An `MjSpec` of the arm alone, to which the rest of the cell is added.

    `robot_xml` may name another MJCF of a Panda; it needs the same joint, finger and link names, and an InputError says
    which one is missing.
    """
    spec = mujoco.MjSpec.from_string(_default_xml()) if robot_xml is None else _read(robot_xml)
    _check_names(spec, robot_xml)
    _delete_all(spec, spec.actuators)
    _arm_servos(spec)
    _hand(spec)
    _geoms(spec)
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0
    return spec


def franka_folder() -> Path:
    """The folder of the Franka in `gymnasium-robotics`, found without importing it and registering its environments."""
    found = importlib.util.find_spec("gymnasium_robotics")
    if found is None or found.origin is None:
        raise ConfigError("the Franka's meshes come with the package gymnasium-robotics, which is not installed")
    return Path(found.origin).parent / "envs" / "assets" / "kitchen_franka" / "franka_assets"


def _default_xml() -> str:
    folder = franka_folder()
    return f"""
    <mujoco model="franka">
      <include file="{folder}/assets.xml"/>
      <worldbody><include file="{folder}/chain.xml"/></worldbody>
      <compiler angle="radian" meshdir="{folder}/meshes"/>
    </mujoco>"""


def _read(robot_xml: Path) -> Any:
    if not robot_xml.is_file():
        raise InputError(f"no robot description at {robot_xml}")
    try:
        return mujoco.MjSpec.from_file(str(robot_xml))
    except ValueError as error:
        raise InputError(f"{robot_xml} is not a MuJoCo model: {error}") from None


def _check_names(spec: Any, robot_xml: Path | None) -> None:
    missing = [name for name in (*ARM_JOINTS, *FINGER_JOINTS) if spec.joint(name) is None]
    missing += [name for name in (*FINGERS, "panda0_link7") if spec.body(name) is None]
    if missing:
        raise InputError(f"{robot_xml} lacks {', '.join(missing)}; see sim/arm.py for the names a Panda needs here")


def _arm_servos(spec: Any) -> None:
    for name, stiffness, torque in zip(ARM_JOINTS, _STIFFNESS, _TORQUE, strict=True):
        joint = spec.joint(name)
        joint.damping, joint.armature, joint.frictionloss = [1.0, 0.0, 0.0], 0.1, 0.0
        _position_servo(spec, name, stiffness, SERVO_LAG * stiffness, torque, joint.range)


def _hand(spec: Any) -> None:
    for name, body, side in zip(FINGER_JOINTS, FINGERS, (1.0, -1.0), strict=True):
        joint = spec.joint(name)
        joint.damping, joint.armature, joint.frictionloss = [1.0, 0.0, 0.0], _FINGER_ARMATURE, 0.0
        damping = 2.0 * (_FINGER_STIFFNESS * _FINGER_ARMATURE) ** 0.5
        _position_servo(spec, name, _FINGER_STIFFNESS, damping, GRIP_FORCE, (0.0, FINGER_TRAVEL))
        _pads(spec, spec.body(body), side)
    spec.add_equality(  # one motor moves both fingers
        name="fingers_together",
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=FINGER_JOINTS[0],
        name2=FINGER_JOINTS[1],
        data=[0.0, 1.0] + [0.0] * 10,
        solref=[0.004, 1.0],
    )
    spec.body("panda0_link7").add_site(
        name=TOOL,
        pos=[0.0, 0.0, 0.1654 + 0.0540 - TIP_BELOW_TOOL],
        quat=[0.0, 0.92388, -0.382683, 0.0],  # the hand's frame, turned by 180° about x
        size=[0.004] * 3,
        group=5,
    )


def _position_servo(spec: Any, joint: str, stiffness: float, damping: float, force: float, limits: Any) -> None:
    servo = spec.add_actuator(name=f"servo:{joint}", target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    servo.set_to_position(kp=stiffness, kv=damping)
    servo.forcelimited, servo.forcerange = True, [-force, force]
    servo.ctrllimited, servo.ctrlrange = True, list(limits)


def _pads(spec: Any, finger: Any, side: float) -> None:
    _delete_all(spec, (geom for geom in finger.geoms if geom.meshname == ""))
    for name, (x, y, z), size in _FINGER_BOXES:
        finger.add_geom(
            name=f"{finger.name}:{name}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[x, side * y, z],
            size=size,
            group=UNSEEN,
            contype=ROBOT_BIT,
            conaffinity=WORLD_BIT,
            condim=4,
            priority=2,
            friction=[1.3, 0.02, 0.0001],  # rubber
            solref=[0.004, 1.0],
            solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
            margin=0.0,
            mass=0.0,
            rgba=[0.9, 0.3, 0.3, 0.5],
        )


def _geoms(spec: Any) -> None:
    for mesh in spec.meshes:
        if mesh.name in ("finger_viz", "finger_col"):
            mesh.scale, mesh.file = [1.0, 1.0, 1.0], "visual/finger.stl"
    for geom in spec.geoms:
        if geom.name.partition(":")[0] in FINGERS:
            continue
        hull = geom.meshname.endswith("_col")
        if hull:
            geom.contype, geom.conaffinity, geom.group = ROBOT_BIT, WORLD_BIT, UNSEEN
        else:
            of_hand = "hand" in geom.meshname or "finger" in geom.meshname
            geom.contype, geom.conaffinity, geom.group = 0, 0, HAND if of_hand else LINKS
        geom.rgba = _DARK if "finger" in geom.meshname else _GREY if "hand" in geom.meshname else _WHITE
        if hull and "hand" not in geom.meshname:
            _add_seen_hull(geom)


def _add_seen_hull(geom: Any) -> None:
    geom.parent.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=geom.meshname,
        pos=geom.pos,
        quat=geom.quat,
        group=LINK_HULLS,
        contype=0,
        conaffinity=0,
        mass=0.0,
        rgba=geom.rgba,
    )


def _delete_all(spec: Any, elements: Any) -> None:
    for element in list(elements):
        spec.delete(element)
