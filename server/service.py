"""The planning service: plans, sessions, goals, energies and rollouts of one model, the same over REST and gRPC.

One worker thread owns the model. A request is checked and its pictures are decoded while others are planned for. Then
it waits its turn, is answered by its deadline, and is dropped once its caller is gone. The service knows no web types:
it takes and returns the messages that both protocols share (`server.messages`).

Times are on `clock` [s] unless they end in _ms. Shapes: V hues of a picture (`planner.seeing`), N tokens, D width of a
latent, S candidates, H steps, 7 numbers of an action.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch

from planner.calibration import CalibrationConfig
from planner.camera import CameraTurn
from planner.costs import CostConfig, GoalCost
from planner.limits import refuse_stale
from planner.plan import Plan
from planner.planning import PlannerConfig, Request
from planner.presets import PRESETS
from planner.seeing import see, shown
from server import answers, calibration, rollouts, traces
from server import messages as m
from server.errors import DrainingError, NotFoundError, NotReadyError
from server.expiring_store import ExpiringStore
from server.goals import Goal, Goals
from server.intake import Intake, Observed
from server.metrics import Metrics
from server.model import InterruptibleWorld, ModelHost, Served, open_model
from server.options import budget_warnings, camera_turn, failure_models, planner_config
from server.planlog import PlanLog, line_of
from server.recording import RecordingPlanner
from server.sessions import Calibrated, Session
from server.settings import Settings
from server.worker import Job, Place, Worker
from vjepa2_ac.errors import DeadlineError, FieldError, StaleObservationError

Answer = TypeVar("Answer")
Asked = ParamSpec("Asked")


def _queued(
    call: Callable[Concatenate[PlanningService, Place, Asked], Awaitable[Answer]],
) -> Callable[Concatenate[PlanningService, Asked], Coroutine[Any, Any, Answer]]:
    """A call that needs the model: a place in the queue is reserved before it begins, or it is refused at once.

    Raises NotReadyError, DrainingError and QueueFullError.
    """

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
        self._failures = failure_models(settings.confidence, settings.model)  # the operator's, tried before the model's
        named = partial(open_model, settings.model, settings.precision, settings.device)
        self.host = ModelHost(settings.model, opener or named)
        self.worker = Worker(settings.queue_size, clock)
        self.intake = Intake(settings, clock)
        self.metrics = Metrics()
        self.traces = traces.open_traces(settings.traces)
        self.plan_log = (
            PlanLog(settings.plan_log, keep_pictures=settings.log_pictures) if settings.plan_log is not None else None
        )
        self.goals = Goals(
            settings.max_goals,
            settings.goal_idle_s,
            self.intake.decode,
            keep_pictures=settings.log_pictures,
            clock=clock,
        )
        self.sessions: ExpiringStore[Session] = ExpiringStore(
            "session", settings.max_sessions, settings.session_idle_s, clock
        )
        self.draining = asyncio.Event()
        self.lost = asyncio.Event()  # set when the device is lost: only a new process can use it again
        self.streams = 0
        self._default = planner_config(m.PlanOptions(), settings, failures=self._failures)
        self._watch()

    # --- start and stop ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the model; returns when it is ready or has failed. Until then requests are told to come back."""
        self.worker.start()
        await self.worker.run(lambda _: self.host.load(self._default))
        self.worker.forget_times()  # loading takes longer than any request that callers may have to wait for

    def refuse_new(self) -> None:
        """Refuse new requests from now on; accepted ones are still answered."""
        self.draining.set()

    async def drain(self, patience_s: float) -> bool:
        """Refuse new requests and finish the accepted ones; False when that took longer than `patience_s`.

        None has been accepted while the model is still being loaded, so then there is nothing to wait for.
        """
        self.refuse_new()
        is_loading = self.host.state == "loading"
        finished = await self.worker.drain(0.0 if is_loading else patience_s) or is_loading
        self.intake.close()
        if self.plan_log:
            await asyncio.to_thread(self.plan_log.close)
        if self.traces:
            await asyncio.to_thread(self.traces.close)
        return finished

    @property
    def unready(self) -> str | None:
        """Why the service would refuse requests now, as a sentence; None when it is ready."""
        if self.draining.is_set():
            return "the service is shutting down"
        return None if self.host.state == "ready" else self.host.condition

    def admit(self) -> None:
        """Refuse a request that needs the model before it is read, where it would be refused afterwards anyway."""
        self._refuse_unready()
        self.worker.refuse_if_full()

    # --- planning ----------------------------------------------------------------------------------------------------

    @_queued
    async def plan(self, place: Place, asked: m.PlanRequest, time_left_s: float | None = None) -> m.PlanResponse:
        """A plan from an observation towards a goal; `time_left_s` is what is left of the deadline of the gRPC call."""
        config, camera, warnings = self._config(asked.options)
        arrived_at = self.intake.arrival()
        deadline = self.intake.deadline(asked.deadline_ms, time_left_s, arrived_at)
        observed = await self.intake.observe(asked.observation, arrived_at)
        goal = await self.goals.find(asked.goal)
        sub_goal = goal.check(asked.sub_goal)

        def work(job: Job) -> m.PlanResponse:
            world, served = self._begin(job, observed)
            times = answers.Stages(queue=job.waited_s * 1e3, decode=observed.decode_ms)
            with times.stage("goal"):
                goal_VND = goal.latents(world, config.cost.hues)[sub_goal]
            with times.stage("encode"):
                latents_VND = see(world, observed.picture.frame_HW3, config.cost.hues)
            planner = RecordingPlanner(world, config, camera=camera, clock=self.clock)
            request = Request(
                **shown(latents_VND, goal_VND),
                pose=observed.pose,
                seed=asked.options.seed or 0,
                commanded=observed.commanded,
            )
            plan = planner.plan(request, deadline=deadline)
            times.total = 1e3 * (self.clock() - observed.arrived_at)
            answer = answers.plan_response(plan, served, observed.id, times, warnings)
            self._log(planner, plan, answer, observed, goal, sub_goal)
            return answer

        return self._counted(await self._run(work, deadline, place))

    async def open_session(self, asked: m.OpenSessionRequest) -> m.Session:
        """A session that pursues the goal's pictures in order."""
        self._refuse_unready()
        config, camera, warnings = self._config(asked.options)
        goal = await self.goals.find(asked.goal)
        seed = asked.options.seed or 0
        session = Session(goal, config, self.settings.control, camera, seed, self.clock, warnings=warnings)
        self.sessions.put(session.key, session)
        return self.describe(session)

    def describe(self, session: Session) -> m.Session:
        """The message that describes a session to callers."""
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
        """What to do next in a session, for an observation that came with the current request, or at `arrived_at`."""
        arrived_at = self.intake.arrival() if arrived_at is None else arrived_at
        session = self.sessions.get(session_id)
        deadline = self.intake.deadline(asked.deadline_ms, time_left_s, arrived_at)
        observed = await self.intake.observe(asked.observation, arrived_at, kept_near=True)

        def work(job: Job) -> m.StepResponse:
            world, served = self._begin(job, observed)
            times = answers.Stages(queue=job.waited_s * 1e3, decode=observed.decode_ms)
            with times.timed("encode"):
                step = session.step(world, observed, deadline, times)
            times.total = 1e3 * (self.clock() - observed.arrived_at)
            answer = None
            if step.plan is not None:
                times.encode -= times.goal + sum(step.plan.timings.values())
                answer = answers.plan_response(step.plan, served, observed.id, times, session.warnings)
                assert session.planner is not None
                self._log(session.planner, step.plan, answer, observed, session.goal, step.goal, session)
            return answers.step_response(session.key, observed.id, step, answer)

        with self.sessions.using(session_id):
            answer = await self._run(work, deadline, place)
        self.sessions.get(session_id)  # NotFoundError: whoever closed it meanwhile wants no more moves
        if answer.plan:
            self._counted(answer.plan)
        return answer

    @_queued
    async def calibrate(self, place: Place, session_id: str, asked: m.CalibrationRequest) -> m.Calibration:
        """Estimate how the session's camera is turned; its plans take the turn into account from now on."""
        session = self.sessions.get(session_id)
        moves = await calibration.check(asked, self.settings, self.intake.decode)
        config = CalibrationConfig(yaw_only=asked.yaw_only is not False)

        def work(job: Job) -> m.Calibration:
            turn = calibration.estimate(self._begin(job)[0], moves, config)
            session.calibrated = Calibrated(turn=turn, moves=len(moves))
            return calibration.answer(session.key, turn, len(moves))

        with self.sessions.using(session_id):
            return await self._run(work, None, place)

    def calibration(self, session_id: str) -> m.Calibration:
        """The camera's turn, estimated from a session's exploratory moves. Raises NotFoundError where none came."""
        found = self._calibrated(session_id)
        return calibration.answer(session_id, found.turn, found.moves)

    async def forget_calibration(self, session_id: str) -> None:
        """Plan again with the turn that the session was opened with. Raises NotFoundError without a calibration."""
        self._calibrated(session_id)
        session = self.sessions.get(session_id)
        await self._run(lambda job: setattr(session, "calibrated", None), None)

    @_queued
    async def energy(self, place: Place, asked: m.EnergyRequest, time_left_s: float | None = None) -> m.EnergyResponse:
        """The published energies of given action sequences, not the costs that presets plan by."""
        arrived_at = self.intake.arrival()
        deadline = self.intake.deadline(asked.deadline_ms, time_left_s, arrived_at)
        actions_SH7 = await self.intake.candidates(asked.candidates, self.settings.max_candidate_steps)
        observed = await self.intake.observe(asked.observation, arrived_at)
        goal = await self.goals.find(asked.goal)
        sub_goal = goal.check(asked.sub_goal)

        def work(job: Job) -> m.EnergyResponse:
            world, served = self._begin(job, observed, deadline)
            times = answers.Stages(queue=job.waited_s * 1e3, decode=observed.decode_ms)
            with times.stage("goal"):
                cost = GoalCost(CostConfig(), goal.latents(world)[sub_goal])
            with times.stage("encode"):
                latents_1ND = world.encode(observed.picture.frame_HW3)
            with times.stage("search"):
                energies = rollouts.energies(world, latents_1ND, observed.pose, actions_SH7, cost)
            times.total = 1e3 * (self.clock() - observed.arrived_at)
            return m.EnergyResponse(
                model=answers.model_of(served),
                energies=answers.finite(energies, "energies"),
                idle_energy=answers.finite([float(cost.of_frame(latents_1ND))], "energies")[0],
                timings_ms=times.to_dict(),
            )

        return await self._run(work, deadline, place)

    @_queued
    async def rollout(
        self, place: Place, asked: m.RolloutRequest, time_left_s: float | None = None
    ) -> m.RolloutResponse:
        """Where given action sequences would lead, with energies if there is a goal, and latents on request."""
        arrived_at = self.intake.arrival()
        deadline = self.intake.deadline(asked.deadline_ms, time_left_s, arrived_at)
        actions_SH7 = await self.intake.candidates(asked.candidates, self.settings.max_rollout_steps)
        observed = await self.intake.observe(asked.observation, arrived_at)
        has_goal = asked.goal.id is not None or bool(asked.goal.pictures) or asked.sub_goal is not None
        goal = await self.goals.find(asked.goal) if has_goal else None
        sub_goal = goal.check(asked.sub_goal) if goal else 0

        def work(job: Job) -> m.RolloutResponse:
            world, served = self._begin(job, observed, deadline)
            times = answers.Stages(queue=job.waited_s * 1e3, decode=observed.decode_ms)
            with times.stage("goal"):
                cost = GoalCost(CostConfig(), goal.latents(world)[sub_goal]) if goal else None
            with times.stage("encode"):
                latents_1ND = world.encode(observed.picture.frame_HW3)
            with times.stage("search"):
                rollout = rollouts.rollout(world, latents_1ND, observed.pose, actions_SH7)
                energies = rollouts.energies_by_step(cost, rollout) if cost else []
            times.total = 1e3 * (self.clock() - observed.arrived_at)
            return m.RolloutResponse(
                model=answers.model_of(served),
                poses=rollout.poses_BSH7[0].tolist(),
                energies=[answers.finite(row, "energies") for row in energies],
                latents=answers.tensor_of(rollout.latents_BSHND[0]) if asked.with_latents else None,
                timings_ms=times.to_dict(),
            )

        return await self._run(work, deadline, place)

    # --- goals, and what callers may know of the service -------------------------------------------------------------

    @_queued
    async def register_goal(self, place: Place, asked: m.RegisterGoalRequest) -> m.Goal:
        """Keep a goal and encode it now, so that the first plan towards it does not have to."""
        goal = await self.goals.read(asked.pictures)

        def work(job: Job) -> int:
            world = self._begin(job)[0]
            with traces.stage("goal"):
                return len(goal.latents(world))

        await self._run(work, None, place)
        return self.goals.register(goal)

    def models(self) -> m.Models:
        """The model of this service and its state: loading, ready or failed."""
        return m.Models(models=[answers.model_info(self.host)])

    def info(self) -> m.ServerInfo:
        """Conventions, limits and versions."""
        return answers.server_info(self.settings, list(PRESETS))

    # --- the parts of a request --------------------------------------------------------------------------------------

    def _refuse_unready(self) -> None:
        if self.draining.is_set():
            raise DrainingError("the service is shutting down; ask another one, or again later", 5.0)
        _ = self.host.served

    def _config(self, options: m.PlanOptions) -> tuple[PlannerConfig, CameraTurn | None, tuple[str, ...]]:
        """The planner's configuration, the camera's turn, and what each plan should warn of. Raises FieldError."""
        failures = (*self._failures, *self.host.served.failures)
        config = planner_config(options, self.settings, self.host.cost_model, failures)
        if config.cost.keyframes and not self.host.served.world.finds_keyframes:
            raise FieldError(
                "options.preset", f"keyframes, which {self.host.served.name} cannot find", "another preset"
            )
        return config, camera_turn(options), budget_warnings(options, config, self.host.cost_model)

    def _calibrated(self, session_id: str) -> Calibrated:
        found = self.sessions.get(session_id).calibrated
        if found is None:
            raise NotFoundError(f"the session {session_id!r} has no calibration; it needs exploratory moves first")
        return found

    def _begin(
        self, job: Job, observed: Observed | None = None, deadline: float | None = None
    ) -> tuple[InterruptibleWorld, Served]:
        """The model, once a request's turn has come. Raises StaleObservationError or DeadlineError if too late."""
        self.metrics.queue_wait.observe(job.waited_s)
        traces.add_wait("queue", job.waited_s)
        world = self.host.world
        world.job = job
        if observed and observed.taken_at is not None:
            refuse_stale(observed.taken_at, self.clock(), self.settings.limits)
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
        planner: RecordingPlanner,
        plan: Plan,
        answer: m.PlanResponse,
        observed: Observed,
        goal: Goal,
        sub_goal: int,
        session: Session | None = None,
    ) -> None:
        if self.plan_log is None:
            return
        picture = (observed.picture.sha256, observed.picture.data)
        line = line_of(
            planner,
            plan,
            answer,
            request_id=observed.request_id,
            observation=picture,
            goal=goal.pictures,
            sub_goal=sub_goal,
            session_id=session.key if session else None,
            seen=session.seen if session else (),
        )
        self.plan_log.write(line, [picture, *goal.pictures])

    def _watch(self) -> None:
        watch = self.metrics.watch
        watch("model_ready", "1 when plans can be asked for", lambda: float(self.unready is None))
        watch("queue_depth", "Requests that wait for their turn", lambda: float(self.worker.depth))
        watch("sessions", "Open sessions", lambda: float(len(self.sessions)))
        watch("goals", "Registered goals", lambda: float(len(self.goals.registered)))
        watch("streams", "Open streams", lambda: float(self.streams))
        watch("tasks", "Tasks of the event loop", lambda: float(len(asyncio.all_tasks())))
