"""The planning service itself: what it does for a caller, whichever wire the caller came in by.

It owns one model in one worker thread. Requests are checked and their pictures decoded while others are planned for;
then they wait their turn, are answered by their deadline, and are dropped when nobody waits for them any more. It
knows no web types: what comes in and goes out are the messages that all wires share.

Times are on `clock` [s] unless they end in _ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from planner import checks
from planner.calibration import CalibrationConfig
from planner.camera import CameraTurn
from planner.costs import CostConfig, GoalCost
from planner.limits import refuse_stale
from planner.plan import Plan
from planner.planning import PlannerConfig, Request
from planner.presets import PRESETS
from planner.seeing import see, shown
from server import answers, calibration, traces
from server import messages as m
from server.errors import DrainingError, NotFoundError, NotReadyError
from server.goals import Goal, Goals
from server.logs import request_id
from server.metrics import Metrics
from server.model import InterruptibleWorld, ModelHost, Served, open_model
from server.options import camera_turn, failure_models, planner_config
from server.planlog import PlanLog, line_of
from server.sessions import Calibrated, Session
from server.settings import Settings
from server.shelf import Shelf
from server.tape import TapedPlanner
from server.worker import Job, Place, Worker
from vjepa2_ac.errors import DeadlineError, FieldError, StaleObservationError
from vjepa2_ac.pictures import Picture, decode
from vjepa2_ac.poses import Array
from vjepa2_ac.world_model import Rollout

Answer = TypeVar("Answer")
Asked = ParamSpec("Asked")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """An observation that has been found usable."""

    picture: Picture
    pose: Array
    commanded: Array | None
    taken_at: float | None
    id: str | None
    request_id: str
    arrived_at: float
    decode_ms: float


def _queued(
    call: Callable[Concatenate[PlanningService, Place, Asked], Awaitable[Answer]],
) -> Callable[Concatenate[PlanningService, Asked], Coroutine[Any, Any, Answer]]:
    """A call of the model: it keeps a place in the queue until its turn comes, or is refused at once."""

    @wraps(call)
    async def queued(service: PlanningService, /, *args: Asked.args, **more: Asked.kwargs) -> Answer:
        service._refuse_unready()
        with service.worker.place() as place:
            return await call(service, place, *args, **more)

    return queued


class PlanningService:
    """Plans, goals, sessions, energies and rollouts of one model."""

    def __init__(
        self,
        settings: Settings,
        opener: Callable[[], Served] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.clock = settings, clock
        self._failures = failure_models(settings.confidence, settings.model)  # the operator's, before the model's own
        self.host = ModelHost(settings.model, opener or partial(open_model, settings))
        self.worker = Worker(settings.queue_size, clock)
        self.metrics = Metrics()
        self.traces = traces.open_traces(settings.traces)
        self.plan_log = (
            PlanLog(settings.plan_log, keep_pictures=settings.log_pictures) if settings.plan_log is not None else None
        )
        self.goals = Goals(
            settings.max_goals, settings.goal_idle_s, self._decode, keep_pictures=settings.log_pictures, clock=clock
        )
        self.sessions: Shelf[Session] = Shelf("session", settings.max_sessions, settings.session_idle_s, clock)
        self.draining = asyncio.Event()
        self.lost = asyncio.Event()  # the device, and with it all use of this process
        self.streams = 0
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._default = planner_config(m.PlanOptions(), settings, failures=self._failures)
        self._watch()

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring the model up. Returns when it is ready or has failed; until then requests are told to come back."""
        self.worker.start()
        await self.worker.run(lambda _: self.host.load(self._default))

    def refuse_new(self) -> None:
        """From now on take nothing new; what was accepted goes on."""
        self.draining.set()

    async def drain(self, patience_s: float) -> bool:
        """Finish what was accepted and take no more; False when that took longer than `patience_s`."""
        self.refuse_new()
        finished = await self.worker.drain(patience_s)
        self._decoders.shutdown(wait=False)
        if self.plan_log:
            await asyncio.to_thread(self.plan_log.close)
        if self.traces:
            await asyncio.to_thread(self.traces.close)
        return finished

    @property
    def unready(self) -> str | None:
        """Why requests would be refused now; None when they would not."""
        if self.draining.is_set():
            return "the service is shutting down"
        return None if self.host.state == "ready" else self.host.condition

    def admit(self) -> None:
        """Refuse a request for the model before anything is read of it, where it would be refused in the end."""
        self._refuse_unready()
        self.worker.refuse_if_full()

    # --- planning ----------------------------------------------------------------------------------------------------

    @_queued
    async def plan(self, place: Place, asked: m.PlanRequest, time_left_s: float | None = None) -> m.PlanResponse:
        """One plan; `time_left_s` is what the wire itself still allows."""
        config, camera = self._config(asked.options)
        deadline = self._deadline(asked.deadline_ms, time_left_s)
        look = await self._look(asked.observation)
        goal = await self.goals.find(asked.goal)
        sub_goal = goal.check(asked.sub_goal)

        def work(job: Job) -> m.PlanResponse:
            world, served = self._begin(job, look)
            times = answers.Stages(queue=job.waited_s * 1e3, decode=look.decode_ms)
            with times.stage("goal"):
                goal_VND = goal.latents(world, config.cost.hues)[sub_goal]
            with times.stage("encode"):
                latents_VND = see(world, look.picture.frame_HW3, config.cost.hues)
            planner = TapedPlanner(world, config, camera=camera, clock=self.clock)
            request = Request(
                **shown(latents_VND, goal_VND),
                pose=look.pose,
                seed=asked.options.seed or 0,
                commanded=look.commanded,
            )
            plan = planner.plan(request, deadline=deadline)
            times.total = 1e3 * (self.clock() - look.arrived_at)
            answer = answers.plan_response(plan, served, look.id, times)
            self._log(planner, plan, answer, look, goal, sub_goal)
            return answer

        return self._counted(await self._run(work, deadline, place))

    async def open_session(self, asked: m.OpenSessionRequest) -> m.Session:
        """A session that pursues the goal's pictures in order."""
        self._refuse_unready()
        config, camera = self._config(asked.options)
        goal = await self.goals.find(asked.goal)
        session = Session(goal, config, self.settings.control, camera, asked.options.seed or 0, self.clock)
        self.sessions.put(session.key, session)
        return self.describe(session)

    def describe(self, session: Session) -> m.Session:
        """What callers are told of a session."""
        return session.describe(self.sessions.expires_in_s(session.key))

    @_queued
    async def step(
        self,
        place: Place,
        session_id: str,
        asked: m.StepRequest,
        time_left_s: float | None = None,
        arrived_at: float | None = None,
    ) -> m.StepResponse:
        """What to do next in a session, seeing what arrived just now, or at `arrived_at`."""
        arrived_at = self.clock() if arrived_at is None else arrived_at
        session = self.sessions.get(session_id)
        deadline = self._deadline(asked.deadline_ms, time_left_s, arrived_at)
        look = await self._look(asked.observation, arrived_at)
        if look.commanded is not None:
            raise FieldError("observation.commanded", "a commanded pose", "none: a session knows what it commanded")

        def work(job: Job) -> m.StepResponse:
            world, served = self._begin(job, look)
            times = answers.Stages(queue=job.waited_s * 1e3, decode=look.decode_ms)
            with times.timed("encode"):
                step = session.step(world, look.picture, look.pose, deadline)
            times.total = 1e3 * (self.clock() - look.arrived_at)
            answer = None
            if step.plan is not None:
                times.encode -= sum(step.plan.timings.values())
                answer = answers.plan_response(step.plan, served, look.id, times)
                assert session.planner is not None
                self._log(session.planner, step.plan, answer, look, session.goal, step.goal, session)
            return answers.step_response(session.key, look.id, step, answer)

        answer = await self._run(work, deadline, place)
        if answer.plan:
            self._counted(answer.plan)
        return answer

    @_queued
    async def calibrate(self, place: Place, session_id: str, asked: m.CalibrationRequest) -> m.Calibration:
        """How the session's camera is turned; its plans take it into account from now on."""
        session = self.sessions.get(session_id)
        moves = await calibration.check(asked, self.settings, self._decode)
        config = CalibrationConfig(yaw_only=asked.yaw_only is not False)

        def work(job: Job) -> m.Calibration:
            turn = calibration.estimate(self._begin(job)[0], moves, config)
            session.calibrated = Calibrated(turn=turn, moves=len(moves))
            return calibration.answer(session.key, turn, len(moves))

        return await self._run(work, None, place)

    def calibration(self, session_id: str) -> m.Calibration:
        """What the exploratory moves of a session told. Raises NotFoundError where there were none."""
        found = self._calibrated(session_id)
        return calibration.answer(session_id, found.turn, found.moves)

    async def forget_calibration(self, session_id: str) -> None:
        """Plan again as the session was opened."""
        self._calibrated(session_id)
        session = self.sessions.get(session_id)
        await self._run(lambda job: setattr(session, "calibrated", None), None)

    @_queued
    async def energy(self, place: Place, asked: m.EnergyRequest, time_left_s: float | None = None) -> m.EnergyResponse:
        """The published energy of given action sequences, whatever cost a preset plans by."""
        actions_SH7 = await self._candidates(asked.candidates, self.settings.max_candidate_steps)
        deadline = self._deadline(asked.deadline_ms, time_left_s)
        look = await self._look(asked.observation)
        goal = await self.goals.find(asked.goal)
        sub_goal = goal.check(asked.sub_goal)

        def work(job: Job) -> m.EnergyResponse:
            world, served = self._begin(job, look, deadline)
            times = answers.Stages(queue=job.waited_s * 1e3, decode=look.decode_ms)
            with times.stage("encode"):
                cost = GoalCost(CostConfig(), goal.latents(world)[sub_goal])
                latents_1ND = world.encode(look.picture.frame_HW3)
            with times.stage("search"):
                energies_S = world.score(latents_1ND, _row(look.pose), _batch(actions_SH7), cost)[0]
            times.total = 1e3 * (self.clock() - look.arrived_at)
            return m.EnergyResponse(
                model=answers.model_of(served),
                energies=answers.finite(energies_S.tolist(), "energies"),
                idle_energy=float(cost.of_frame(latents_1ND)),
                timings_ms=times.to_dict(),
            )

        return await self._run(work, deadline, place)

    @_queued
    async def rollout(
        self, place: Place, asked: m.RolloutRequest, time_left_s: float | None = None
    ) -> m.RolloutResponse:
        """Where given action sequences would lead."""
        actions_SH7 = await self._candidates(asked.candidates, self.settings.max_rollout_steps)
        deadline = self._deadline(asked.deadline_ms, time_left_s)
        look = await self._look(asked.observation)
        has_goal = asked.goal.id is not None or bool(asked.goal.pictures)
        goal = await self.goals.find(asked.goal) if has_goal else None
        sub_goal = goal.check(asked.sub_goal) if goal else 0

        def work(job: Job) -> m.RolloutResponse:
            world, served = self._begin(job, look, deadline)
            times = answers.Stages(queue=job.waited_s * 1e3, decode=look.decode_ms)
            with times.stage("encode"):
                cost = GoalCost(CostConfig(), goal.latents(world)[sub_goal]) if goal else None
                latents_1ND = world.encode(look.picture.frame_HW3)
            with times.stage("search"):
                rollout = world.rollout(latents_1ND, _row(look.pose), _batch(actions_SH7))
                energies = _energies_by_step(cost, rollout) if cost else []
            times.total = 1e3 * (self.clock() - look.arrived_at)
            return m.RolloutResponse(
                model=answers.model_of(served),
                poses=rollout.poses_BSH7[0].tolist(),
                energies=energies,
                latents=answers.tensor_of(rollout.latents_BSHND[0]) if asked.with_latents else None,
                timings_ms=times.to_dict(),
            )

        return await self._run(work, deadline, place)

    # --- goals, and what there is ------------------------------------------------------------------------------------

    @_queued
    async def register_goal(self, place: Place, asked: m.RegisterGoalRequest) -> m.Goal:
        """Keep a goal and encode it now, so that the first plan towards it need not."""
        goal = await self.goals.read(asked.pictures)

        def work(job: Job) -> int:
            world = self._begin(job)[0]
            with traces.stage("goal"):
                return len(goal.latents(world))

        await self._run(work, None, place)
        return self.goals.register(goal)

    def models(self) -> m.Models:
        """The model of this service and how far it is."""
        return m.Models(models=[answers.model_info(self.host)])

    def info(self) -> m.ServerInfo:
        """Conventions, limits and versions."""
        return answers.server_info(self.settings, list(PRESETS))

    # --- how a request goes ------------------------------------------------------------------------------------------

    def _refuse_unready(self) -> None:
        if self.draining.is_set():
            raise DrainingError("the service is shutting down; ask another one, or again later", 5.0)
        _ = self.host.served

    def _config(self, options: m.PlanOptions) -> tuple[PlannerConfig, CameraTurn | None]:
        failures = (*self._failures, *self.host.served.failures)
        config = planner_config(options, self.settings, self.host.cost_model, failures)
        if config.cost.keyframes and not self.host.served.world.finds_keyframes:
            raise FieldError(
                "options.preset", f"keyframes, which {self.host.served.name} cannot find", "another preset"
            )
        return config, camera_turn(options)

    def _calibrated(self, session_id: str) -> Calibrated:
        found = self.sessions.get(session_id).calibrated
        if found is None:
            raise NotFoundError(f"the session {session_id!r} has no calibration; it needs exploratory moves first")
        return found

    def _deadline(
        self, deadline_ms: float | None, time_left_s: float | None, arrived_at: float | None = None
    ) -> float | None:
        """The earlier one of the caller's, which counts from arrival, and the wire's own."""
        now, ends = self.clock(), []
        if deadline_ms is not None:
            ends.append((now if arrived_at is None else arrived_at) + deadline_ms / 1e3)
        if time_left_s is not None:
            ends.append(now + time_left_s)
        return min(ends, default=None)

    async def _candidates(self, candidates: list[list[m.Vector]], most: int) -> Array:
        """Checked beside the event loop, as pictures are: there may be very many."""
        check = partial(checks.check_candidates, candidates, "candidates", self.settings.max_horizon, most)
        return await asyncio.get_running_loop().run_in_executor(self._decoders, check)

    async def _look(self, observation: m.Observation, arrived_at: float | None = None) -> _Look:
        started = self.clock()
        arrived_at = started if arrived_at is None else arrived_at
        limits, margin = self.settings.limits, self.settings.workspace_margin
        pose = checks.check_pose(observation.pose, "observation.pose", limits, margin)
        commanded = None
        if observation.commanded is not None:
            commanded = checks.check_pose(observation.commanded, "observation.commanded", limits, margin)
            checks.check_near(commanded, pose, "observation.commanded", limits)
        picture = await self._decode(observation.picture, "observation.picture")
        return _Look(
            picture=picture,
            pose=pose,
            commanded=commanded,
            taken_at=None if observation.age_ms is None else arrived_at - observation.age_ms / 1e3,
            id=observation.id,
            request_id=request_id.get(),
            arrived_at=arrived_at,
            decode_ms=1e3 * (self.clock() - started),
        )

    async def _decode(self, data: bytes, field: str) -> Picture:
        loop = asyncio.get_running_loop()
        with traces.stage("decode"):
            return await loop.run_in_executor(self._decoders, decode, data, field, self.settings.max_picture_side)

    def _begin(
        self, job: Job, look: _Look | None = None, deadline: float | None = None
    ) -> tuple[InterruptibleWorld, Served]:
        """The turn of a request has come: is it still worth doing?"""
        self.metrics.queue_wait.observe(job.waited_s)
        traces.past("queue", job.waited_s)
        world = self.host.world
        world.job = job
        if look and look.taken_at is not None:
            refuse_stale(look.taken_at, self.clock(), self.settings.limits)
        if deadline is not None and self.clock() > deadline:
            raise DeadlineError(f"the time was up after {1e3 * job.waited_s:.0f} ms in the queue")
        return world, self.host.served

    async def _run(self, work: Callable[[Job], Answer], deadline: float | None, place: Place | None = None) -> Answer:
        try:
            return await self.worker.run(work, deadline, place)
        except DeadlineError:
            self.metrics.missed.inc()
            raise
        except StaleObservationError:
            self.metrics.stale.inc()
            raise
        except torch.AcceleratorError as error:
            self.host.lose(error)
            self.lost.set()
            raise NotReadyError(self.host.condition) from error

    def _counted(self, answer: m.PlanResponse) -> m.PlanResponse:
        traces.note(
            {
                "vjepa2_ac.plan_id": answer.plan_id,
                "vjepa2_ac.model": f"{answer.model.name} {answer.model.version}",
                "vjepa2_ac.stop_reason": answer.stop_reason,
                "vjepa2_ac.iterations": answer.iterations,
                "vjepa2_ac.evaluations": answer.evaluations,
                "vjepa2_ac.cost": answer.cost,
            }
        )
        self.metrics.iterations.observe(answer.iterations)
        self.metrics.costs.observe(answer.cost)
        self.metrics.stops.labels(answer.stop_reason).inc()
        for stage, took_ms in answer.timings_ms.items():
            self.metrics.stages.labels(stage).observe(took_ms / 1e3)
        return answer

    def _log(
        self,
        planner: TapedPlanner,
        plan: Plan,
        answer: m.PlanResponse,
        look: _Look,
        goal: Goal,
        sub_goal: int,
        session: Session | None = None,
    ) -> None:
        if self.plan_log is None:
            return
        observed = (look.picture.sha256, look.picture.data)
        line = line_of(
            planner,
            plan,
            answer,
            request_id=look.request_id,
            observation=observed,
            goal=goal.pictures,
            sub_goal=sub_goal,
            session_id=session.key if session else None,
            seen=session.seen if session else (),
        )
        self.plan_log.write(line, [observed, *goal.pictures])

    def _watch(self) -> None:
        watch = self.metrics.watch
        watch("model_ready", "1 when plans can be asked for", lambda: float(self.unready is None))
        watch("queue_depth", "Requests that wait for their turn", lambda: float(self.worker.depth))
        watch("sessions", "Open sessions", lambda: float(len(self.sessions)))
        watch("goals", "Registered goals", lambda: float(len(self.goals.registered)))
        watch("streams", "Open streams", lambda: float(self.streams))
        watch("tasks", "Tasks of the event loop", lambda: float(len(asyncio.all_tasks())))


def _row(pose: ArrayLike) -> torch.Tensor:
    return torch.from_numpy(np.array(pose, dtype=np.float32))[None]


def _batch(actions_SH7: Array) -> torch.Tensor:
    return torch.from_numpy(actions_SH7.astype(np.float32))[None]


def _energies_by_step(cost: GoalCost, rollout: Rollout) -> list[list[float]]:
    """The cost [S][H] of every imagined step."""
    steps = rollout.latents_BSHND.shape[2]
    upto = [
        Rollout(
            rollout.latents_BSHND[:, :, : h + 1], rollout.poses_BSH7[:, :, : h + 1], rollout.actions_BSHA[:, :, : h + 1]
        )
        for h in range(steps)
    ]
    return torch.stack([cost(part)[0] for part in upto], dim=-1).tolist()
