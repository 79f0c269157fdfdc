"""The oracle: the same search and the same loop on a model that cannot be wrong, because it is the simulator itself.

A latent is here the true state: hand, object, hand relative to object, and the gripper, in metres. What the search
reaches with it is what it could reach with a perfect model; where it fails, no better model will help.

With a turned camera it is a model that is perfect but for one belief: that the camera stands where it always did. The
states it sees are turned, and so are the effects that it expects of actions.

Shapes: B requests (all of the present state), S candidates, H steps, one token of D = 10 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planner.calibration import CalibrationConfig
from planner.camera import CameraTurn
from planner.confidence import ConfidenceConfig
from planner.costs import CostConfig
from planner.goals import AchievedGoals
from planner.mpc import ControlConfig, Controller
from planner.planning import Planner, PlannerConfig
from sim.cameras import LOOK_AT
from sim.control import STEP_SECONDS, check_action
from sim.env import FrankaEnv
from sim.episode import Snapshot, play
from sim.evaluate.drivers import DriverStep, Frame, calibrated, followed
from sim.evaluate.exploring import Explored
from vjepa2_ac.errors import InputError
from vjepa2_ac.images import Frames
from vjepa2_ac.models.hand_location import Observations
from vjepa2_ac.world_model import Cost, History, Rollout

Array = NDArray[np.float64]

GRIPPER_SCALE = 0.02  # [m]: a gripper open instead of closed counts as 2 cm
CALIBRATION = CalibrationConfig(  # true states are clear, candidates are slow, and nothing depends on absolute poses
    rounds=1, search=replace(CalibrationConfig().search, samples=24, elites=6, kept_elites=2, iterations=5)
)
# [m], over the numbers of a state. A hand at its goal around an object that it has not grasped costs about 0.004.
ACHIEVED = AchievedGoals(mean=0.001, deviation=0.001)


class TrueWorld:
    """The simulator as a world model: candidates are carried out in it, and undone."""

    def __init__(self, env: FrankaEnv, camera_yaw: float = 0.0) -> None:
        self.env, self.device = env, torch.device("cpu")
        # A camera that stands further to the left shows what the model takes for a scene turned to the right.
        self.camera = CameraTurn(yaw=math.radians(camera_yaw), about=LOOK_AT) if camera_yaw else None
        self._instants: dict[bytes, Snapshot] = {}

    def look(self) -> Tensor:
        """The present state [1, 10] as the camera shows it, remembered so that `rollout` can start from it later."""
        latents_ND = self.seen(state(self.env))
        self._instants[latents_ND.numpy().tobytes()] = self.env.cell.snapshot()
        return latents_ND

    def seen(self, state_10: Array) -> Tensor:
        """A true state as the model believes it to be [1, 10], turned if the camera is."""
        if self.camera is None:
            return _latents(state_10)
        R, about = self.camera.matrix.T, np.asarray(LOOK_AT)
        hand, thing, between = state_10[:3], state_10[3:6], state_10[6:9]
        turned = [(hand - about) @ R.T + about, (thing - about) @ R.T + about, between @ R.T, state_10[9:]]
        return _latents(np.concatenate(turned))

    def encode(self, frames: Frames) -> Tensor:
        """Raise InputError: this world takes states, not pictures."""
        raise InputError("the simulator does not look at pictures; give it states")

    def rollout(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        """What every candidate leads to from a state that `look` returned, or else from the present one."""
        batch, samples, horizon, _ = actions_BSHA.shape
        states = np.zeros((batch, samples, horizon, 1, latents_BND.shape[-1]))
        poses = np.zeros((batch, samples, horizon, 7))
        cell = self.env.cell
        here = cell.snapshot()
        for request, sample in np.ndindex(batch, samples):
            cell.restore(self._instants.get(latents_BND[request].numpy().tobytes(), here))
            for step in range(horizon):
                action = actions_BSHA[request, sample, step].double().numpy()
                cell.controller.step(check_action(self.camera.actions_to_base(action) if self.camera else action))
                pose = cell.controller.measured_pose()
                states[request, sample, step] = self.seen(state(self.env)).numpy()
                poses[request, sample, step] = self.camera.poses_to_model(pose) if self.camera else pose
        cell.restore(here)
        return Rollout(torch.from_numpy(states).float(), torch.from_numpy(poses).float(), actions_BSHA)

    @property
    def fps(self) -> float:
        """Frames per second of the simulated cell, one for each control step."""
        return 1 / STEP_SECONDS

    @property
    def locates(self) -> bool:
        """False: the goal's hand need not be located, because rollouts are true."""
        return False

    @property
    def finds_keyframes(self) -> bool:
        """False: it is given every goal of a task."""
        return False

    def locate(
        self,
        latents_BND: Tensor,
        pose_B7: Tensor,
        goal_BND: Tensor,
        earlier: Sequence[Observations | None] | None = None,
        *,
        keyframe: bool = False,
    ) -> None:
        """None: it locates nothing."""

    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        """The costs [B, S] of what the candidates lead to."""
        return cost(self.rollout(latents_BND, pose_B7, actions_BSHA))


class OracleDriver:
    """Pursues the true states behind the goal pictures with the search under evaluation."""

    def __init__(
        self,
        env: FrankaEnv,
        planner: PlannerConfig,
        control: ControlConfig,
        seed: int,
        *,
        given: Sequence[int] | None = None,
        camera_yaw: float = 0.0,
    ) -> None:
        self.env, self.world = env, TrueWorld(env, camera_yaw)
        states = goal_states(env)
        goals = [self.world.seen(states[goal]) for goal in (range(len(states)) if given is None else given)]
        progress = replace(control.progress, achieved=ACHIEVED)
        self.control = Controller(
            Planner(self.world, _adapted(planner)), goals, replace(control, history=0, progress=progress), seed=seed
        )

    def step(self, frame: Frame, pose: Array) -> DriverStep:
        """The first action of a plan made in the simulator itself."""
        return followed(self.control, self.world.seen(state(self.env)), pose)

    def look(self) -> Tensor:
        """The present state as it is seen, for calibrating from exploratory moves."""
        return self.world.look()

    def calibrate(self, explored: Sequence[Explored]) -> CameraTurn:
        """The camera's turn, found from true states that are turned with the camera."""
        self.control.planner = calibrated(self.control.planner, explored, lambda seen: seen, CALIBRATION)
        assert self.control.planner.camera is not None
        return self.control.planner.camera

    def close(self) -> None:
        """Nothing to let go of."""


def state(env: FrankaEnv) -> Array:
    """The true state [10]: hand, object, hand relative to object, gripper; all in metres."""
    truth = env.truth()
    closedness = env.cell.controller.measured_pose()[6]
    return np.concatenate([truth.hand, truth.object, truth.hand - truth.object, [GRIPPER_SCALE * closedness]])


def goal_states(env: FrankaEnv) -> list[Array]:
    """The states in which the goal pictures were taken: the expert plays the episode again, and this is undone."""
    start, found = env.cell.snapshot(), list[Array]()
    play(env.cell, env.expert(), lambda: found.append(state(env)))
    env.cell.restore(start)
    return found


def _adapted(config: PlannerConfig) -> PlannerConfig:
    """The same search, with the plain distance of states as its cost, and neither surprise nor a failure model."""
    return replace(config, cost=CostConfig(earlier=config.cost.earlier), confidence=ConfidenceConfig())


def _latents(state_10: Array) -> Tensor:
    return torch.from_numpy(state_10).float()[None]
