"""The hand's controller: as in a real cell, one action every 250 ms, tracked by differential inverse kinematics.

An action becomes a target: the *commanded* pose plus the action, clipped to the workspace. Starting from the commanded
pose keeps small errors from adding up; holding the commanded pose near the measured one keeps it from winding up when
the hand is blocked. On the way to the target, joint targets follow by damped least squares with joint limits and a
null-space posture, and position servos with gravity compensation follow those at the physics rate.

The gripper works the same way: when it closes, its command may lead the measured closedness by `GRIP_LEAD`, and this
lead is what squeezes. While an object is held, an action of 0 keeps the grip and one below about -0.1 lets go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim import workspace
from sim.arm import ARM_JOINTS, FINGER_JOINTS, FINGER_TRAVEL, HOME, OPENING, SERVO_LAG, TOOL
from sim.scene import TIMESTEP, Scene
from vjepa2_ac import poses
from vjepa2_ac.errors import InputError

Array = NDArray[np.float64]

STEP_SECONDS = 0.25  # 4 Hz, DROID's rate after subsampling
TICK = 5  # physics steps between two targets of the servos
TICKS = round(STEP_SECONDS / TIMESTEP / TICK)
ARRIVE = 0.72  # share of the step that is travel; the rest lets the servos catch up

# The largest action: 0.075 m, 0.25 rad and 0.5 of the gripper (160 mm/s, about what DROID's Robotiq does).
LIMIT = np.array([0.075, 0.075, 0.075, 0.25, 0.25, 0.25, 0.5])

POSITION_LEAD = 0.015  # [m], how far the command may lead the measured hand
ROTATION_LEAD = 0.10  # [rad]
GRIP_LEAD = 0.10  # closedness, 4 mm of each finger
MAX_TILT = 0.6  # [rad] of the hand from straight down

_DAMPING = 0.03
_POSTURE_GAIN = 0.02
_REACHED = 0.002, 0.01  # [m], [rad]: a larger error means that the joints did not allow the target


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipped:
    """What kept an action from being carried out as asked."""

    action: bool = False  # larger than LIMIT
    workspace: bool = False  # target outside the box, or the hand tilted too far
    joints: bool = False  # a joint limit is in the way

    def __bool__(self) -> bool:
        return self.action or self.workspace or self.joints


class HandController:
    """Carries out actions in a scene, one control step at a time."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        model = scene.model
        self._tool = model.site(TOOL).id
        self._arm_ctrl = np.array([model.actuator(f"servo:{name}").id for name in ARM_JOINTS])
        self._finger_ctrl = np.array([model.actuator(f"servo:{name}").id for name in FINGER_JOINTS])
        margin = 0.01  # [rad]
        limits = np.array([model.joint(name).range for name in ARM_JOINTS])
        self._low, self._high = limits[:, 0] + margin, limits[:, 1] - margin
        self._imagined = mujoco.MjData(model)  # for kinematics of the arm at its joint targets
        self._jacobian = np.zeros((6, model.nv))
        self._joints = np.array(HOME)
        self._position, self._rotation, self._closedness = np.zeros(3), np.eye(3), 0.0
        self.on_tick: Callable[[], None] | None = None  # called every 10 ms of a step, by films and viewers

    def measured_pose(self) -> Array:
        """Where the hand is: x y z, roll pitch yaw, gripper closedness [7]."""
        position, rotation = self._measured()
        return np.concatenate([position, poses.euler_angles(rotation), [self.measured_closedness()]])

    def measured_closedness(self) -> float:
        """0 with 80 mm between the pads, 1 with none."""
        between = float(self.scene.data.qpos[self.scene.finger_qpos].sum())
        return float(np.clip(1.0 - between / OPENING, 0.0, 1.0))

    def place(self, position: Array, closedness: float = 0.0) -> None:
        """Set the hand at `position` [3], pointing straight down, without moving there; for the start of an episode."""
        self._position, self._rotation, self._closedness = np.array(position), np.eye(3), closedness
        self._joints = np.array(HOME)
        for _ in range(100):
            self._solve(self._position, self._rotation)
        scene = self.scene
        scene.data.qpos[scene.arm_qpos] = self._joints
        scene.data.qpos[scene.finger_qpos] = FINGER_TRAVEL * (1.0 - closedness)
        scene.data.qvel[:] = 0.0
        self._send(closedness)
        mujoco.mj_forward(scene.model, scene.data)

    def step(self, action: Array) -> Clipped:
        """Carry out one action [7] for 0.25 s of physics and say what had to be clipped."""
        action = poses.vector(action, "action")
        allowed = np.clip(action, -LIMIT, LIMIT)
        self._hold_command_near_the_hand()
        start, closed_from = self._position, self._closedness
        turned_from = self._rotation
        end, turn, clipped_workspace = self._target(allowed)
        closed_to = float(np.clip(closed_from + allowed[6], 0.0, 1.0))
        for tick in range(1, TICKS + 1):
            done = _smooth(tick / TICKS / ARRIVE)
            rotation = turned_from if turn is None else Rotation.from_rotvec(done * turn).as_matrix() @ turned_from
            before = self._joints
            self._solve(start + done * (end - start), rotation)
            self._send(closed_from + done * (closed_to - closed_from), (self._joints - before) / (TICK * TIMESTEP))
            mujoco.mj_step(self.scene.model, self.scene.data, TICK)
            if self.on_tick is not None:
                self.on_tick()
        self._position, self._closedness = end, closed_to
        if turn is not None:
            self._rotation = Rotation.from_rotvec(turn).as_matrix() @ turned_from
        mujoco.mj_forward(self.scene.model, self.scene.data)
        return Clipped(
            action=bool(np.any(np.abs(action) > LIMIT + 1e-6)),
            workspace=clipped_workspace,
            joints=self._give_in_to_the_joints(),
        )

    def wait(self, seconds: float = STEP_SECONDS) -> None:
        """Run the physics for a while, with the command unchanged."""
        mujoco.mj_step(self.scene.model, self.scene.data, round(seconds / TIMESTEP))
        mujoco.mj_forward(self.scene.model, self.scene.data)

    def state(self) -> dict[str, Any]:
        """What `restore` needs besides the physics."""
        return {
            "joints": self._joints.copy(),
            "position": np.array(self._position),
            "rotation": self._rotation.copy(),
            "closedness": self._closedness,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state`."""
        self._joints, self._position = state["joints"].copy(), state["position"].copy()
        self._rotation, self._closedness = state["rotation"].copy(), state["closedness"]

    def _measured(self) -> tuple[Array, Array]:
        data = self.scene.data
        return data.site_xpos[self._tool].copy(), data.site_xmat[self._tool].reshape(3, 3).copy()

    def _hold_command_near_the_hand(self) -> None:
        position, rotation = self._measured()
        self._position = position + np.clip(self._position - position, -POSITION_LEAD, POSITION_LEAD)
        lead = _rotation_vector(self._rotation @ rotation.T)
        size = float(np.linalg.norm(lead))
        if size > ROTATION_LEAD:
            self._rotation = Rotation.from_rotvec(lead * ROTATION_LEAD / size).as_matrix() @ rotation
        closedness = self.measured_closedness()
        self._closedness = float(np.clip(self._closedness, 0.0, closedness + GRIP_LEAD))  # pushed shut, it opens again

    def _target(self, action: Array) -> tuple[Array, Array | None, bool]:
        """Where to go [3], the turn on the way as a rotation vector [3] or None, and whether something was cut off.

        Cut off is what leaves the workspace or tilts the hand by more than `MAX_TILT`.
        """
        wanted = self._position + action[:3]
        end = np.clip(wanted, workspace.LOW, workspace.HIGH)
        cut = bool(np.any(np.abs(end - wanted) > 1e-6))
        if not np.any(action[3:6]):
            return end, None, cut
        delta = poses.rotation_matrix(action[3:6])
        if np.arccos(np.clip((delta @ self._rotation)[2, 2], -1.0, 1.0)) > MAX_TILT:
            return end, None, True
        return end, _rotation_vector(delta), cut

    def _solve(self, position: Array, rotation: Array, rounds: int = 1) -> tuple[float, float]:
        """Move the joint targets towards a tool pose; returns the errors [m], [rad] before the last round."""
        model, data, scene = self.scene.model, self._imagined, self.scene
        for _ in range(rounds):
            data.qpos[scene.arm_qpos] = self._joints
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, self._jacobian[:3], self._jacobian[3:], self._tool)
            J = self._jacobian[:, scene.arm_qvel]
            away = position - data.site_xpos[self._tool]
            turn = _rotation_vector(rotation @ data.site_xmat[self._tool].reshape(3, 3).T)
            inverse = J.T @ np.linalg.inv(J @ J.T + _DAMPING**2 * 0.01 * np.eye(6))
            posture = _POSTURE_GAIN * (np.asarray(HOME) - self._joints)
            change = inverse @ np.concatenate([away, turn])
            change += posture - inverse @ (J @ posture)
            self._joints = np.clip(self._joints + change, self._low, self._high)
        return float(np.linalg.norm(away)), float(np.linalg.norm(turn))

    def _give_in_to_the_joints(self) -> bool:
        """Where the joints cannot reach the command, replace it by what they reach; returns whether that was so."""
        left = self._solve(self._position, self._rotation)
        if left[0] <= _REACHED[0] and left[1] <= _REACHED[1]:
            return False
        self._position = self._imagined.site_xpos[self._tool].copy()
        self._rotation = self._imagined.site_xmat[self._tool].reshape(3, 3).copy()
        return True

    def _send(self, closedness: float, speed: Array | float = 0.0) -> None:
        control = self.scene.data.ctrl
        control[self._arm_ctrl] = self._joints + SERVO_LAG * speed  # ahead by as much as a servo trails
        control[self._finger_ctrl] = FINGER_TRAVEL * (1.0 - closedness)


def _smooth(fraction: float) -> float:
    """From 0 to 1 with no speed at either end (minimum jerk)."""
    t = min(max(fraction, 0.0), 1.0)
    return t**3 * (10.0 - 15.0 * t + 6.0 * t**2)


def _rotation_vector(rotation: Array) -> Array:
    """The rotation vector [3] of a rotation matrix: a fast formula for small angles, scipy (slower) for the rest."""
    half = 0.5 * np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    sine = float(np.sqrt(half @ half))
    if sine > 0.7 or rotation.trace() < 1.0:
        return np.asarray(Rotation.from_matrix(rotation).as_rotvec())
    return half * (np.arcsin(sine) / sine) if sine > 1e-9 else half


def check_action(action: Any) -> Array:
    """`action` as float64 [7]. Raises InputError where it is none."""
    numbers = poses.vector(action, "action")
    if numbers.ndim != 1:
        raise InputError(f"an action has 7 numbers ({', '.join(poses.PARTS)}); got shape {list(numbers.shape)}")
    return numbers
