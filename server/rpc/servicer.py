# ruff: noqa: N802, D102 - the names are those of the proto file, which also says what each call does
"""The calls of `vjepa2_ac.v1.Planning`: messages become the same requests that REST reads, and answers messages."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from pydantic import BaseModel

from server import messages as m
from server.errors import MalformedError, TooSlowError, problem_of
from server.rpc.count import count
from server.rpc.problems import abort
from server.service import PlanningService
from server.stream import Incoming, answer_newest
from server.threads import in_thread_if_large
from server.traces import failed
from vjepa2_ac.errors import VJEPA2ACError
from vjepa2_ac.pb import planning_pb2 as pb
from vjepa2_ac.pb import planning_pb2_grpc
from vjepa2_ac.wire import to_message, to_plain

log = logging.getLogger(__name__)
Context = Any  # grpc.aio.ServicerContext; its type parameters say nothing here
MessageT = TypeVar("MessageT", bound=Message)
WAY_BACK_S = 0.02  # [s] of the caller's deadline, left for the answer to travel back


class Planning(planning_pb2_grpc.PlanningServicer):
    """Each call translates its message, asks the service, and translates the answer."""

    def __init__(self, service: PlanningService) -> None:
        self.service = service

    async def Plan(self, request: pb.PlanRequest, context: Context) -> pb.PlanResponse:
        return await self._ask(
            context,
            "Plan",
            pb.PlanResponse,
            lambda: self.service.plan(_read(m.PlanRequest, request), _left(context)),
            of_model=True,
        )

    async def Energy(self, request: pb.EnergyRequest, context: Context) -> pb.EnergyResponse:
        async def energy() -> m.EnergyResponse:
            asked = await in_thread_if_large(request.ByteSize(), lambda: _read(m.EnergyRequest, request))
            return await self.service.energy(asked, _left(context))

        return await self._ask(
            context,
            "Energy",
            pb.EnergyResponse,
            energy,
            of_model=True,
        )

    async def Rollout(self, request: pb.RolloutRequest, context: Context) -> pb.RolloutResponse:
        async def rollout() -> m.RolloutResponse:
            asked = await in_thread_if_large(request.ByteSize(), lambda: _read(m.RolloutRequest, request))
            return await self.service.rollout(asked, _left(context))

        return await self._ask(
            context,
            "Rollout",
            pb.RolloutResponse,
            rollout,
            of_model=True,
        )

    async def RegisterGoal(self, request: pb.RegisterGoalRequest, context: Context) -> pb.Goal:
        return await self._ask(
            context,
            "RegisterGoal",
            pb.Goal,
            lambda: self.service.register_goal(_read(m.RegisterGoalRequest, request)),
            of_model=True,
        )

    async def ListGoals(self, request: pb.ListGoalsRequest, context: Context) -> pb.ListGoalsResponse:
        async def goals() -> m.Goals:
            kept = self.service.goals
            return m.Goals(goals=[kept.describe(goal) for goal in kept.registered.items().values()])

        return await self._ask(context, "ListGoals", pb.ListGoalsResponse, goals)

    async def DeleteGoal(self, request: pb.DeleteGoalRequest, context: Context) -> pb.DeleteGoalResponse:
        async def delete() -> None:
            self.service.goals.registered.remove(request.goal_id)

        return await self._ask(context, "DeleteGoal", pb.DeleteGoalResponse, delete)

    async def OpenSession(self, request: pb.OpenSessionRequest, context: Context) -> pb.Session:
        return await self._ask(
            context,
            "OpenSession",
            pb.Session,
            lambda: self.service.open_session(_read(m.OpenSessionRequest, request)),
        )

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        async def sessions() -> m.Sessions:
            return m.Sessions(sessions=[self.service.describe(s) for s in self.service.sessions.items().values()])

        return await self._ask(context, "ListSessions", pb.ListSessionsResponse, sessions)

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.Session:
        async def session() -> m.Session:
            return self.service.describe(self.service.sessions.get(request.session_id))

        return await self._ask(context, "GetSession", pb.Session, session)

    async def StepSession(self, request: pb.StepSessionRequest, context: Context) -> pb.StepResponse:
        async def step() -> m.StepResponse:
            plain = to_plain(request)
            session_id = plain.pop("session_id")
            return await self.service.step(session_id, m.read(m.StepRequest, plain), _left(context))

        return await self._ask(context, "StepSession", pb.StepResponse, step, of_model=True)

    async def CloseSession(self, request: pb.CloseSessionRequest, context: Context) -> pb.CloseSessionResponse:
        async def close() -> None:
            self.service.sessions.remove(request.session_id)

        return await self._ask(context, "CloseSession", pb.CloseSessionResponse, close)

    async def CalibrateSession(self, request: pb.CalibrateSessionRequest, context: Context) -> pb.Calibration:
        async def calibrate() -> m.Calibration:
            plain = to_plain(request)
            session_id = plain.pop("session_id")
            return await self.service.calibrate(session_id, m.read(m.CalibrationRequest, plain))

        return await self._ask(context, "CalibrateSession", pb.Calibration, calibrate, of_model=True)

    async def GetCalibration(self, request: pb.GetCalibrationRequest, context: Context) -> pb.Calibration:
        async def calibration() -> m.Calibration:
            return self.service.calibration(request.session_id)

        return await self._ask(context, "GetCalibration", pb.Calibration, calibration)

    async def DeleteCalibration(
        self, request: pb.DeleteCalibrationRequest, context: Context
    ) -> pb.DeleteCalibrationResponse:
        return await self._ask(
            context,
            "DeleteCalibration",
            pb.DeleteCalibrationResponse,
            lambda: self.service.forget_calibration(request.session_id),
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        async def models() -> m.Models:
            return self.service.models()

        return await self._ask(context, "ListModels", pb.ListModelsResponse, models)

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Context) -> pb.ServerInfo:
        async def info() -> m.ServerInfo:
            return self.service.info()

        return await self._ask(context, "GetServerInfo", pb.ServerInfo, info)

    async def PlanStream(
        self, requests: AsyncIterator[pb.PlanStreamRequest], context: Context
    ) -> AsyncIterator[pb.PlanStreamResponse]:
        session_id = None
        started = time.monotonic()
        try:
            session = await self._open(requests)
            session_id = session.session_id
            yield pb.PlanStreamResponse(opened=_message(session, pb.Session))
            async with aclosing(answer_newest(self.service, session_id, _incoming(requests))) as answers:
                async for answer in answers:
                    if isinstance(answer, m.StreamProblem):
                        yield pb.PlanStreamResponse(problem=_message(answer, pb.StreamProblem))
                    else:
                        yield pb.PlanStreamResponse(step=_message(answer, pb.StepResponse))
            self._count("PlanStream", "OK", started)
        except (asyncio.CancelledError, GeneratorExit):  # the caller is gone, or never reads
            self._count("PlanStream", "CANCELLED", started)
            raise
        except Exception as error:
            await self._abort(context, "PlanStream", error, started)
        finally:
            if session_id is not None and session_id in self.service.sessions:
                self.service.sessions.remove(session_id)

    async def _open(self, requests: AsyncIterator[pb.PlanStreamRequest]) -> m.Session:
        patience_s = self.service.settings.idle_connection_s
        try:
            async with asyncio.timeout(patience_s):
                first = await anext(aiter(requests), None)
        except TimeoutError:
            raise TooSlowError(f"the stream's first message did not come within {patience_s:g} s") from None
        if first is None or first.WhichOneof("message") != "open":
            raise MalformedError("the first message of a stream opens a session; it must be 'open'")
        return await self.service.open_session(_read(m.OpenSessionRequest, first.open))

    async def _ask(
        self,
        context: Context,
        method: str,
        kind: type[MessageT],
        work: Callable[[], Coroutine[Any, Any, BaseModel | None]],
        *,
        of_model: bool = False,
    ) -> MessageT:
        started = time.monotonic()
        try:
            if of_model:
                self.service.admit()
            answer = await work()
        except asyncio.CancelledError:
            self._count(method, "CANCELLED", started)
            raise
        except Exception as error:
            await self._abort(context, method, error, started)
            raise
        self._count(method, "OK", started)
        return kind() if answer is None else _message(answer, kind)

    async def _abort(self, context: Context, method: str, error: Exception, started: float) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        problem = problem_of(error)
        failed(error)
        if problem.is_fault:
            log.error("a fault while answering %s", method, exc_info=error)
        self._count(method, problem.row.grpc, started)
        await abort(context, problem)

    def _count(self, method: str, code: str, started: float) -> None:
        count(self.service.metrics, method, code, started, is_stream=method == "PlanStream")


async def _incoming(requests: AsyncIterator[pb.PlanStreamRequest]) -> AsyncIterator[Incoming]:
    async for request in requests:
        try:
            if request is None or request.WhichOneof("message") != "step":
                raise MalformedError("the session is open; from here on every message is a 'step'")
            yield _read(m.StepRequest, request.step)
        except VJEPA2ACError as error:
            yield error


def _read(kind: type[m.MessageT], message: Message) -> m.MessageT:
    return m.read(kind, to_plain(message))


def _message(answer: BaseModel, kind: type[MessageT]) -> MessageT:
    return to_message(answer.model_dump(exclude_none=True), kind)


def _left(context: Context) -> float | None:
    left = context.time_remaining()
    return None if left is None or left > 1e6 else max(0.0, left - WAY_BACK_S)
