"""Plays the jobs of a collection in the simulator, and records what the cameras and the judge saw of them.

Shapes: 7 numbers of a pose, H height and W width of a frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import workspace
from sim.cameras import extrinsics
from sim.collect import STEPS, CollectConfig, Recorder, started_at
from sim.collect_behaviours import FULL, Behaviour, Sight, disturbed, play, solve, wander
from sim.control import STEP_SECONDS
from sim.episode import Cell, Snapshot
from sim.rendering import SceneRenderer
from sim.scene import Scene
from sim.tasks import Goal, Judge, TaskName
from sim.variation import Draw, Variation, draw, with_another_appearance
from vjepa2_ac import poses
from vjepa2_ac.data.writer import CameraTrack, Recording

Array = NDArray[np.float64]

SERIALS = {"left": "10000001", "right": "10000002", "wrist": "10000003"}
BRANCH_STEPS = 4  # one second: the gripper opens or closes in half of it
WHERE = {"bowl": "into the bowl", "pad": "on the pad"}
AT_OBJECT = 4.0  # weight of states with the object at the fingers, next to 1, as starts of branches
STREAM = 0xC011EC7  # of random numbers, apart from those that draw the scene
NO_FRAMES = np.zeros((0, 0, 0, 3), dtype=np.uint8)

# The tasks that an expert may begin with, how often it does, and what episodes are called.
TASKS: tuple[TaskName, ...] = ("reach", "grasp", "pick_and_place")
TASK_SHARES = (0.15, 0.25, 0.60)
WORDS = {
    "reach": "reach a place in the air",
    "grasp": "pick up the {kind}",
    "pick_and_place": "put the {kind} {target}",
    "near": "play with the {kind}",
    "random": "move about",
    "open": "open the gripper",
    "close": "close the gripper",
}


def make_recorder(config: CollectConfig) -> Recorder:
    """A recorder with a cell of its own, for this process."""
    return CellRecorder(config)


@dataclass(slots=True)
class Track:
    """What was recorded of an episode so far, a row per moment."""

    is_rendered: bool = True  # False: its frames are not wanted, so none are rendered
    frames: dict[str, list[NDArray[np.uint8]]] = field(default_factory=lambda: defaultdict(list))  # by camera
    extrinsics: dict[str, list[Array]] = field(default_factory=lambda: defaultdict(list))
    poses: list[Array] = field(default_factory=list)
    commands: list[Array] = field(default_factory=list)  # one row fewer: sent after each row but the last
    joints: list[Array] = field(default_factory=list)
    joint_commands: list[Array] = field(default_factory=list)
    truth: list[dict[str, Any]] = field(default_factory=list)


class CellRecorder:
    """Plays and records jobs in one cell, re-dressed for every seed."""

    def __init__(self, config: CollectConfig) -> None:
        self.config, self.variation = config, Variation(split=config.split)
        self.cell = Cell(Scene())
        self.renderer = SceneRenderer(self.cell.scene, config.size, config.size)

    def __call__(self, seed: int) -> Iterator[Recording]:
        """The recordings of a seed: its branches, its repaints, then its long episode, if that is wanted."""
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM,)))
        scene = draw(self.variation, seed)
        self.cell.dress(scene)
        kind = _kind(rng, self.config)
        task: TaskName = TASKS[rng.choice(len(TASKS), p=TASK_SHARES)]
        place_3 = rng.uniform(workspace.LOW, workspace.HIGH)

        track, states, weights = Track(is_rendered=self.config.long), [], []
        sight = self._keep(track)
        judge = Judge(task, Goal(hand=place_3, object=sight.truth.target, poses=np.zeros((0, 7)), frames=NO_FRAMES))
        behaviour = _behaviour(kind, task, place_3, rng, sight)
        action_7 = next(behaviour)
        for _ in range(STEPS):
            states.append(self.cell.snapshot())
            weights.append(AT_OBJECT if _is_at_object(sight) else 1.0)
            sight = self._step(track, action_7)
            stages = judge.watch(sight.truth)
            action_7 = behaviour.send(sight)
        states.append(self.cell.snapshot())

        facts = {"seed": seed, "split": self.config.split}
        shares = np.array(weights) / sum(weights)
        for pair, step in enumerate(sorted(rng.choice(STEPS, self.config.branches, replace=False, p=shares))):
            redrawn = with_another_appearance(scene, self.variation, int(rng.integers(2**62)))
            branch = {"branch": f"{seed}-{pair}", "left_at": int(step), "variation": redrawn.as_dict()}
            yield from self._branches(replace(states[step], draw=redrawn), rng, facts | branch, pair)
        solves = kind in ("expert", "noisy")
        what = task if solves else kind
        success = stages.success_any or not solves
        is_whole = self.config.repaint_steps == STEPS  # a part of an episode has no task to fail
        for number in range(self.config.repaints):
            redrawn = with_another_appearance(scene, self.variation, int(rng.integers(2**62)))
            first = int(rng.integers(STEPS - self.config.repaint_steps + 1))
            seen = self._repainted(track, states, first, redrawn)
            repaint = {"kind": "repaint", "left_at": first, "variation": redrawn.as_dict()}
            part = 1 + 2 * self.config.branches + number
            yield self._recording(seen, what, facts | repaint, success=success or not is_whole, part=part)
        if self.config.long:
            whole = {"kind": kind, "variation": scene.as_dict()}
            yield self._recording(track, what, facts | whole, success=success)

    def _branches(
        self, state: Snapshot, rng: np.random.Generator, facts: dict[str, Any], pair: int
    ) -> Iterator[Recording]:
        """The same moves from the same state twice, alike in appearance: once the gripper opens, once it closes."""
        way_3 = rng.uniform(-0.04, 0.04, 3) if rng.random() < 0.5 else np.zeros(3)
        for side, (name, grip) in enumerate((("open", -FULL), ("close", FULL))):
            self.cell.restore(state)
            track = Track()
            self._keep(track)
            for _ in range(BRANCH_STEPS):
                self._step(track, np.array([*way_3, 0.0, 0.0, 0.0, grip]))
            yield self._recording(track, name, facts | {"kind": "branch"}, success=True, part=1 + 2 * pair + side)

    def _repainted(self, track: Track, states: list[Snapshot], first: int, redrawn: Draw) -> Track:
        """The part of `track` that begins at step `first`, as cameras would have seen it with another appearance."""
        steps = slice(first, first + self.config.repaint_steps)
        again = Track(commands=track.commands[steps], joint_commands=track.joint_commands[steps])
        for state in states[first : first + self.config.repaint_steps + 1]:
            self.cell.restore(replace(state, draw=redrawn))
            self._keep(again)
        return again

    def _step(self, track: Track, action_7: Array) -> Sight:
        self.cell.controller.step(action_7)
        sent = self.cell.controller.state()
        angles = poses.euler_angles(sent["rotation"])
        track.commands.append(np.concatenate((sent["position"], angles, [sent["closedness"]])))
        track.joint_commands.append(sent["joints"])
        return self._keep(track)

    def _keep(self, track: Track) -> Sight:
        scene, truth = self.cell.scene, self.cell.truth()
        sight = Sight(pose_7=self.cell.controller.measured_pose(), truth=truth)
        for camera in self.config.cameras if track.is_rendered else ():
            track.frames[camera].append(self.renderer.draw(camera).copy())
            track.extrinsics[camera].append(extrinsics(scene.model, scene.data, camera))
        track.poses.append(sight.pose_7)
        track.joints.append(scene.data.qpos[scene.arm_qpos].copy())
        track.truth.append(
            {
                "object_position": truth.object,
                "object_quaternion": truth.object_quaternion,
                "target_position": truth.target,
                "finger_forces": np.array([truth.left_force, truth.right_force]),
                "is_held": truth.is_held,
                "is_touched": truth.is_touched,
            }
        )
        return sight

    def _recording(self, track: Track, what: str, facts: dict[str, Any], success: bool, part: int = 0) -> Recording:
        dressed = self.cell.draw
        return Recording(
            fps=1 / STEP_SECONDS,
            poses_N7=np.stack(track.poses),
            commands_N7=np.stack([*track.commands, track.commands[-1]]),
            cameras=tuple(
                CameraTrack(
                    role=camera,
                    serial=SERIALS[camera],
                    frames_NHWC=np.stack(track.frames[camera]),
                    extrinsics_N6=np.stack(track.extrinsics[camera]),
                )
                for camera in self.config.cameras
            ),
            task=WORDS[what].format(kind=dressed.kind, target=WHERE[dressed.target]),
            success=success,
            started=started_at(facts["seed"], part),
            joints_N7=np.stack(track.joints),
            joint_commands_N7=np.stack([*track.joint_commands, track.joint_commands[-1]]),
            facts=facts | {"task": what, "success": success},
            truth={name: np.stack([row[name] for row in track.truth]) for name in track.truth[0]},
        )


def _kind(rng: np.random.Generator, config: CollectConfig) -> str:
    names, shares = zip(*config.mix, strict=True)
    return str(names[rng.choice(len(names), p=np.array(shares) / sum(shares))])


def _is_at_object(sight: Sight) -> bool:
    """Whether opening or closing would do something to the object."""
    return sight.truth.is_touched or float(np.linalg.norm(sight.truth.object - sight.pose_7[:3])) < 0.03


def _behaviour(kind: str, task: TaskName, place_3: Array, rng: np.random.Generator, sight: Sight) -> Behaviour:
    if kind == "near":
        return play(rng, sight)
    if kind == "random":
        return wander(rng, sight)
    expert = solve(rng, sight, task, place_3)
    return expert if kind == "expert" else disturbed(rng, sight, expert)
