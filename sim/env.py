"""The cell as a Gymnasium environment: an action goes in, a frame and a pose come out, four times a second.

    env = gymnasium.make("sim.envs:VJEPA2AC/FrankaPickAndPlace-v0", split="test")
    observation, info = env.reset(seed=0)          # info["goal"]: [K, H, W, 3], one to four pictures
    observation, reward, terminated, truncated, info = env.step(action)

`observation` holds what a real cell would have: `frame` [H, W, 3] uint8 of the first of `views`, the left camera unless
told otherwise, and `pose` [7]; further views appear as `frame_right` and so on. Goal pictures are of the first view,
too. `action` [7] is the difference of two poses in the base frame (see `vjepa2_ac.poses`), at most `sim.control.LIMIT`.
`info` holds what only a judge may know. An episode never ends early: success may be lost again, so success at any time
and success at the end are reported separately.
"""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim import cameras, workspace
from sim.control import LIMIT, Clipped, check_action
from sim.episode import Cell, Snapshot, UnsolvableError, begin_episode, stages_after_settling
from sim.expert import Expert
from sim.rendering import SceneRenderer
from sim.scene import Scene
from sim.splits import Split
from sim.tasks import MAX_STEPS, Goal, Judge, Stages, task_name
from sim.truth import Truth
from sim.variation import FACTORS, Draw, Kind, Variation, draw
from vjepa2_ac.errors import ConfigError, InputError

Array = NDArray[np.float64]
Frame = NDArray[np.uint8]
Observation = dict[str, Any]
Info = dict[str, Any]

MAX_REDRAWS = 20


@dataclass(frozen=True, slots=True)
class EnvSnapshot:
    """The complete state of an episode at one instant, to branch from with `FrankaEnv.restore`."""

    cell: Snapshot
    judge: Judge
    steps: int
    redraws: int
    rng: dict[str, Any]


class FrankaEnv(gymnasium.Env[Observation, Array]):
    """A Franka at a table with one of the four tasks."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # as the base class has it

    def __init__(
        self,
        task: str = "pick_and_place",
        *,
        split: Split = "train",
        kind: Kind | None = None,
        factors: tuple[str, ...] = FACTORS,
        frame_size: int | tuple[int, int] = 256,
        views: tuple[str, ...] = ("left",),
        goal_frames: bool = True,
        max_steps: int | None = None,
        render_mode: str | None = None,
        render_size: int = 480,
        robot_xml: str | Path | None = None,
        camera_yaw: float = 0.0,
    ) -> None:
        """Build the cell.

        Args:
            task: `reach`, `grasp`, `reach_with_object` or `pick_and_place`.
            split: one of `sim.splits.SPLITS`.
            kind: `cup` or `box`; None draws one.
            factors: what varies between episodes; the rest keeps its usual value.
            frame_size: pixels, one number for a square or (height, width).
            views: cameras whose pictures are in the observation; the first is `frame` and sees the goals.
                With an empty tuple, only poses are observed.
            goal_frames: whether reset renders the goal pictures into `info["goal"]`.
            max_steps: after how many steps the episode is truncated; None takes the task's usual number.
            render_mode: `rgb_array` lets `render` return the pretty view.
            render_size: height and width of the pretty view in pixels.
            robot_xml: another MJCF of the arm, with the names that `sim.arm` needs.
            camera_yaw: degrees by which the cameras are turned around the workspace, towards the robot's left.
        """
        self.task = task_name(task)
        self.variation = Variation(split=split, factors=tuple(factors), kind=kind, camera_yaw=camera_yaw)
        self.max_steps = MAX_STEPS[self.task] if max_steps is None else max_steps
        if self.max_steps < 1:
            raise ConfigError(f"an episode has at least one step, got max_steps={self.max_steps}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"no render mode {render_mode!r}; there is 'rgb_array'")
        self.render_mode = render_mode
        self._goal_frames = goal_frames
        self._cameras = _checked_cameras(views)
        height, width = _checked_size(frame_size)
        pretty_size = _checked_size(render_size)

        self.cell = Cell(Scene(Path(robot_xml) if robot_xml is not None else None))
        self._renderer = SceneRenderer(self.cell.scene, height, width)
        self._pretty = SceneRenderer(self.cell.scene, *pretty_size, "pretty")
        self._judge: Judge | None = None
        self._steps = self._redraws = 0

        low = np.array([*workspace.LOW - 0.1, *[-np.pi] * 3, 0.0])
        high = np.array([*workspace.HIGH + 0.1, *[np.pi] * 3, 1.0])
        frames = {key: spaces.Box(0, 255, (height, width, 3), np.uint8) for key in self._cameras.values()}
        self.observation_space = spaces.Dict({**frames, "pose": spaces.Box(low, high, dtype=np.float64)})
        self.action_space = spaces.Box(-LIMIT, LIMIT, dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Start the episode of `seed`; without a seed, the next one of the running random stream.

        Options: `draw` (a `sim.variation.Draw`, or what its `as_dict` wrote) builds exactly that scene.
        """
        super().reset(seed=seed)
        self._judge = None  # until the scene stands and has a goal
        if unknown := sorted(set(options or {}) - {"draw"}):
            raise InputError(f"reset has no option {unknown[0]!r}; there is 'draw'")
        given: Draw | dict[str, Any] | None = (options or {}).get("draw")
        if given is not None and not isinstance(given, Draw):
            given = Draw.from_dict(given)
        for self._redraws in range(MAX_REDRAWS):
            scene = given or draw(self.variation, int(self.np_random.integers(2**62)))
            self.cell.dress(scene)
            try:
                picture = self._see_goal if self._goal_frames else None
                goal = begin_episode(self.cell, self.task, np.random.default_rng(scene.entropy), picture)
            except UnsolvableError:
                if given is not None:
                    raise
                continue
            break
        else:
            raise UnsolvableError(f"the expert failed in {MAX_REDRAWS} scenes in a row; something is broken")
        self._judge, self._steps = Judge(self.task, goal), 0
        truth = self.cell.truth()
        info = self._info(truth, self._judge.watch(truth), Clipped())
        if self._goal_frames:
            info["goal"] = goal.frames
        info["goal_poses"] = goal.poses
        return self._observe(), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Carry out one delta pose [7] in 0.25 s; the reward is 1 while the task is done."""
        judge = self._running()
        clipped = self.cell.controller.step(check_action(action))
        self._steps += 1
        truth = self.cell.truth()
        stages = judge.watch(truth)
        truncated = self._steps >= self.max_steps
        info = self._info(truth, stages, clipped)
        info["success_end"] = self.success_after_settling() if truncated else False
        return self._observe(), float(stages.success), False, truncated, info

    def render(self) -> Frame | None:
        """The pretty view; None unless `render_mode` is `rgb_array`."""
        return self._pretty.draw("pretty") if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Release the OpenGL contexts."""
        self._renderer.close()
        self._pretty.close()

    @property
    def goal(self) -> Goal:
        """What this episode should end in, with pictures unless `goal_frames` is off."""
        return self._running().goal

    @property
    def draw(self) -> Draw:
        """The scene of this episode."""
        return self.cell.draw

    @property
    def stages(self) -> Stages:
        """How far the episode has come."""
        return self._running().stages

    def truth(self) -> Truth:
        """The true state of the scene; for judges and the expert."""
        return self.cell.truth()

    def expert(self) -> Expert:
        """A fresh expert for this episode's task; its `act` takes `truth()`."""
        return Expert(self.task, self.goal.hand)

    def success_after_settling(self) -> bool:
        """Whether the task is done after 1.25 s more without any move. The episode itself does not advance."""
        return bool(stages_after_settling(self.cell, self._running()).success)

    def picture(self, camera: str = "left") -> Frame:
        """What a camera sees now, at the size of the observation's frames."""
        return self._renderer.draw(camera)

    def extrinsics(self, camera: str = "left") -> Array:
        """The camera's pose in the base frame [6], x right, y down, z ahead; as DROID records it."""
        return cameras.extrinsics(self.cell.scene.model, self.cell.scene.data, camera)

    def intrinsics(self, camera: str = "left") -> Array:
        """The camera's 3 x 3 matrix for the observation's frame size."""
        return cameras.intrinsics(self.cell.scene.model, camera, self._renderer.width, self._renderer.height)

    def snapshot(self) -> EnvSnapshot:
        """The complete state of this instant: physics, control, judge, steps and randomness."""
        return EnvSnapshot(
            self.cell.snapshot(),
            self._running().copy(),
            self._steps,
            self._redraws,
            self.np_random.bit_generator.state,  # type: ignore[arg-type]  # numpy types it as a Mapping
        )

    def restore(self, snapshot: EnvSnapshot) -> Observation:
        """Go back to `snapshot`, bit for bit, also in another environment of the same kind; returns the observation."""
        self.cell.restore(snapshot.cell)
        self._judge, self._steps, self._redraws = snapshot.judge.copy(), snapshot.steps, snapshot.redraws
        self.np_random.bit_generator.state = snapshot.rng
        return self._observe()

    def _see_goal(self) -> Frame:
        return self._renderer.draw(next(iter(self._cameras), "left"))

    def _observe(self) -> Observation:
        frames = {key: self._renderer.draw(camera) for camera, key in self._cameras.items()}
        return {**frames, "pose": self.cell.controller.measured_pose()}

    def _info(self, truth: Truth, stages: Stages, clipped: Clipped) -> Info:
        return {
            **asdict(stages),
            **{f"clipped_{what}": was for what, was in asdict(clipped).items()},
            "object_pose": np.concatenate([truth.object, truth.object_quaternion]),
            "object_held": truth.is_held,
            "target_position": truth.target,
            "steps": self._steps,
            "redraws": self._redraws,
        }

    def _running(self) -> Judge:
        if self._judge is None:
            raise InputError("no episode is running; call reset() first")
        return self._judge


def _checked_cameras(names: tuple[str, ...]) -> dict[str, str]:
    """The key of the observation that each camera fills. Raises ConfigError for unknown names."""
    unknown = [name for name in names if name not in cameras.NAMES]
    if unknown:
        raise ConfigError(f"no camera {', '.join(unknown)} in the scene; it has {', '.join(cameras.NAMES)}")
    if len(set(names)) != len(names):
        raise ConfigError(f"a camera is named twice: {', '.join(names)}")
    return {name: "frame" if index == 0 else f"frame_{name}" for index, name in enumerate(names)}


def _checked_size(size: int | tuple[int, int]) -> tuple[int, int]:
    try:
        height, width = map(operator.index, np.broadcast_to(size, 2))
    except (TypeError, ValueError):
        raise ConfigError(f"frames have a whole number of pixels a side, or two of them; got {size!r}") from None
    if not (16 <= height <= 1280 and 16 <= width <= 1280):
        raise ConfigError(f"frames have 16 to 1280 pixels a side, got {height} x {width}")
    return height, width
