"""Plays a closed-loop episode: the driver sees pictures and poses, the judge the true state, and all is recorded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from planner.camera import CameraTurn
from planner.planning import Planner
from sim.bounds import policy_name
from sim.env import FrankaEnv
from sim.evaluate.drivers import Driver, DriverStep, PlannedDriver, ScriptedDriver, ServedDriver
from sim.evaluate.exploring import as_record, explore
from sim.evaluate.failures import REDRAWN, Moment, failure, moment
from sim.evaluate.oracle import OracleDriver
from sim.evaluate.settings import EvaluationConfig, Job
from vjepa2_ac.client import PlannerClient
from vjepa2_ac.world_model import WorldModel

Frame = NDArray[np.uint8]
Record = dict[str, Any]
Watch = Callable[[Job, int, Record], object]  # called at each step: its job, its number, its entry in `turns`

TOKEN = "VJEPA2_AC_TOKEN"  # environment variable with the token of a guarded service
STAGES = ("reached", "grasped", "lifted", "placed")
STRIP = 5  # pictures of an episode that are kept


class Player:
    """Plays episodes in one process, with one model and one cell at a time."""

    def __init__(self, config: EvaluationConfig, watch: Watch = lambda job, step, turn: None) -> None:
        torch.set_num_threads(1)
        self.config, self.watch = config, watch
        self._planner: Planner | None = None
        self._client: PlannerClient | None = None
        self._env: FrankaEnv | None = None
        self._cell: tuple[str, str] | None = None

    def play(self, job: Job) -> tuple[Record, list[Frame]]:
        """The record of an episode, and pictures of it: some on the way, then the goals."""
        started = time.perf_counter()
        env = self.env(job)
        observation, info = env.reset(seed=job.seed)
        given = self.config.goals_of(job.task, job.driver)
        goals: list[Frame] = [info["goal"][goal] for goal in given]
        redraws, seen, turns = int(info["redraws"]), [observation["frame"]], []
        truths = [moment(env)]
        ever = dict.fromkeys(STAGES, False)
        first_done = -1
        driver = self._driver(job, env, goals)
        try:
            camera = self._calibrated(driver, env)
            over = False
            while not over:
                pose = observation["pose"]
                step = driver.step(observation["frame"], pose)
                observation, _, _, over, info = env.step(step.action_7)
                seen.append(observation["frame"])
                truths.append(moment(env))
                turns.append(_written(step, pose, info, truths[-1]))
                self.watch(job, len(turns) - 1, turns[-1])
                ever = {stage: was or bool(info[stage]) for stage, was in ever.items()}
                if info["success"] and first_done < 0:
                    first_done = int(info["steps"])
        finally:
            driver.close()
        truth, at_end = env.truth(), bool(info["success_end"])
        # A scene in which the expert failed was drawn again; that counts against the expert, and nobody else.
        counts = redraws == 0 or job.driver != "expert"
        wanted = {"hand": env.goal.hand, "object": env.goal.object}
        errors = sum(bool(turn["error"]) for turn in turns)
        was_done = bool(info["success_any"])
        mode = failure(job.task, truths, wanted, was_done=was_done, without_plan=errors) if counts else REDRAWN
        record = {
            "driver": job.driver,
            "task": job.task,
            "object": job.kind,
            "seed": job.seed,
            "success_end": at_end and counts,
            "success_any": (at_end or was_done) and counts,
            "first_done": first_done,
            "steps": int(info["steps"]),
            "status": turns[-1]["status"],
            "failure": "" if at_end and counts else mode,
            "ever": ever,
            "hand_error": float(np.linalg.norm(truth.hand - env.goal.hand)),
            "object_error": float(np.linalg.norm(truth.object - env.goal.object)),
            # The last goal is passed again in every later step; the first time counts.
            "passed": {str(goal): how for turn in reversed(turns) for goal, how in turn["passed"]},
            "goals": given,
            "errors": errors,
            "evaluations": sum(turn["evaluations"] for turn in turns),
            "plans": sum(turn["imagined_cost"] is not None for turn in turns),
            "redraws": redraws,
            "start": asdict(truths[0]),
            "wanted": {what: place.tolist() for what, place in wanted.items()},
            "camera": None if camera is None else as_record(camera),
            "seconds": round(time.perf_counter() - started, 3),
            "turns": turns,
        }
        moments = [seen[round(k)] for k in np.linspace(0, len(seen) - 1, STRIP)]
        return record, [*moments, *goals]

    def env(self, job: Job) -> FrankaEnv:
        """The cell for a job; kept as long as the task and the object stay the same."""
        if self._env is None or self._cell != (job.task, job.kind):
            if self._env is not None:
                self._env.close()
            self._env = FrankaEnv(
                job.task,
                split=self.config.split,
                kind=job.kind,
                frame_size=self.config.frame_size,
                max_steps=self.config.max_steps,
                factors=self.config.factors,
                camera_yaw=self.config.camera_yaw,
            )
            self._cell = (job.task, job.kind)
        return self._env

    def close(self) -> None:
        """Close the cell and the connection to the service."""
        if self._env is not None:
            self._env.close()
        if self._client is not None:
            self._client.close()
        self._env = self._client = None

    def _driver(self, job: Job, env: FrankaEnv, goals: list[Frame]) -> Driver:
        if job.driver == "planner":
            return self._evaluated(goals, job.seed)
        if job.driver == "oracle":
            return OracleDriver(
                env, self.config.planner, self.config.control, job.seed,
                given=self.config.goals_of(job.task, job.driver), camera_yaw=self.config.camera_yaw,
            )  # fmt: skip
        return ScriptedDriver(env, policy_name(job.driver), job.seed)

    def _calibrated(self, driver: Driver, env: FrankaEnv) -> CameraTurn | None:
        """The camera's turn that the driver finds by exploratory moves before the episode; None without such moves."""
        if not self.config.calibrate or isinstance(driver, ScriptedDriver):
            return None
        return driver.calibrate(explore(env, driver.look if isinstance(driver, OracleDriver) else env.picture))

    def _evaluated(self, goals: list[Frame], seed: int) -> Driver:
        config = self.config
        if config.server is not None:
            if self._client is None:
                self._client = PlannerClient(config.server, token=os.environ.get(TOKEN))
            return ServedDriver(self._client, goals, config.options, seed)
        if self._planner is None:
            world = WorldModel.open(config.model, precision=config.precision)
            self._planner = Planner(world, config.planner)
        return PlannedDriver(self._planner, list(goals), config.control, seed)


def _written(step: DriverStep, pose: NDArray[np.float64], info: dict[str, Any], after: Moment) -> Record:
    """One of the record's `turns`: a driver's step as JSON holds it, with what the judge saw after it."""
    return {
        **asdict(step),
        "action_7": [float(number) for number in step.action_7],  # exactly, so that the episode can be played again
        "pose_7": [round(float(number), 5) for number in pose],
        "passed": [list(each) for each in step.passed],
        "plan_ms": round(step.plan_ms, 2),
        "stages": [stage for stage in STAGES if info[stage]],
        "success": bool(info["success"]),
        "moment": asdict(after),
        "cut": [name for name in ("action", "workspace", "joints") if info[f"clipped_{name}"]],
    }
