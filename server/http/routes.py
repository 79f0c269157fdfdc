"""Every route of the REST interface."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from server import messages as m
from server.http.openapi import body_of, links_to, refusals
from server.http.reading import read_request, until_hang_up
from server.service import PlanningService

router = APIRouter(responses=refusals())


async def the_service(request: Request) -> PlanningService:
    """The service that this app stands in front of. A plain function would be called in a thread, for each request."""
    service: PlanningService = request.app.state.service
    return service


Service = Annotated[PlanningService, Depends(the_service)]


def methods_at(path: str) -> list[str]:
    """Every method that some route here answers at `path`."""
    found = [route for route in router.routes if isinstance(route, APIRoute) and route.path_regex.match(path)]
    return sorted({method for route in found for method in route.methods or ()})


def answered(message: BaseModel, status: int = 200) -> Response:
    """A message as JSON, without what is not there."""
    return Response(message.model_dump_json(exclude_none=True), status, media_type="application/json")


async def _ask(request: Request, work: Coroutine[Any, Any, BaseModel], status: int = 200) -> Response:
    return answered(await until_hang_up(request, work), status)


async def _read(request: Request, service: PlanningService, kind: type[m.MessageT]) -> m.MessageT:
    return await read_request(request, kind, service.settings.idle_connection_s)


async def _admit(request: Request, service: PlanningService, kind: type[m.MessageT]) -> m.MessageT:
    """A request for the model, of which nothing is read when it would be refused anyway."""
    service.admit()
    return await _read(request, service, kind)


@router.post(
    "/v1/plan",
    tags=["planning"],
    response_model=m.PlanResponse,
    openapi_extra=body_of(m.PlanRequest, "observation", "goal"),
)
async def plan(request: Request, service: Service) -> Response:
    """Plan an action chunk from an observation towards a goal."""
    return await _ask(request, service.plan(await _admit(request, service, m.PlanRequest)))


@router.post(
    "/v1/energy",
    tags=["planning"],
    response_model=m.EnergyResponse,
    openapi_extra=body_of(m.EnergyRequest, "observation", "goal"),
)
async def energy(request: Request, service: Service) -> Response:
    """Score given action sequences by the published energy, without searching."""
    return await _ask(request, service.energy(await _admit(request, service, m.EnergyRequest)))


@router.post(
    "/v1/rollout",
    tags=["planning"],
    response_model=m.RolloutResponse,
    openapi_extra=body_of(m.RolloutRequest, "observation", "goal"),
)
async def rollout(request: Request, service: Service) -> Response:
    """Imagine where given action sequences lead."""
    return await _ask(request, service.rollout(await _admit(request, service, m.RolloutRequest)))


@router.post(
    "/v1/goals",
    tags=["goals"],
    response_model=m.Goal,
    status_code=201,
    responses=links_to("goal_id", ("/v1/goals/{goal_id}", "delete")),
    openapi_extra=body_of(m.RegisterGoalRequest, "pictures"),
)
async def register_goal(request: Request, service: Service) -> Response:
    """Encode a goal once and keep it under the hash of its pictures. The same pictures are the same goal."""
    return await _ask(request, service.register_goal(await _admit(request, service, m.RegisterGoalRequest)), 201)


@router.get("/v1/goals", tags=["goals"], response_model=m.Goals)
async def list_goals(service: Service) -> Response:
    """List all registered goals."""
    return answered(m.Goals(goals=[service.goals.describe(goal) for goal in service.goals.registered.items().values()]))


@router.delete("/v1/goals/{goal_id}", tags=["goals"], status_code=204, response_class=Response)
async def delete_goal(goal_id: str, service: Service) -> Response:
    """Delete a goal. Sessions that pursue it keep it."""
    service.goals.registered.remove(goal_id)
    return Response(status_code=204)


@router.post(
    "/v1/sessions",
    tags=["sessions"],
    response_model=m.Session,
    status_code=201,
    responses=links_to(
        "session_id",
        ("/v1/sessions/{session_id}", "get"),
        ("/v1/sessions/{session_id}/step", "post"),
        ("/v1/sessions/{session_id}", "delete"),
    ),
    openapi_extra=body_of(m.OpenSessionRequest, "goal"),
)
async def open_session(request: Request, service: Service) -> Response:
    """Open a session: it pursues a goal's pictures one after the other, each search starting from the previous plan."""
    return await _ask(request, service.open_session(await _read(request, service, m.OpenSessionRequest)), 201)


@router.get("/v1/sessions", tags=["sessions"], response_model=m.Sessions)
async def list_sessions(service: Service) -> Response:
    """List all open sessions."""
    return answered(m.Sessions(sessions=[service.describe(each) for each in service.sessions.items().values()]))


@router.get("/v1/sessions/{session_id}", tags=["sessions"], response_model=m.Session)
async def get_session(session_id: str, service: Service) -> Response:
    """Show the progress of a session."""
    return answered(service.describe(service.sessions.get(session_id)))


@router.delete("/v1/sessions/{session_id}", tags=["sessions"], status_code=204, response_class=Response)
async def close_session(session_id: str, service: Service) -> Response:
    """Close a session."""
    service.sessions.remove(session_id)
    return Response(status_code=204)


@router.post(
    "/v1/sessions/{session_id}/step",
    tags=["sessions"],
    response_model=m.StepResponse,
    openapi_extra=body_of(m.StepRequest, "observation"),
)
async def step_session(session_id: str, request: Request, service: Service) -> Response:
    """Get what to do next, after the first action of the previous plan was made. Do not repeat after a time-out."""
    return await _ask(request, service.step(session_id, await _admit(request, service, m.StepRequest)))


@router.post(
    "/v1/sessions/{session_id}/calibration",
    tags=["sessions"],
    response_model=m.Calibration,
    openapi_extra=body_of(m.CalibrationRequest, "before", "after"),
)
async def calibrate_session(session_id: str, request: Request, service: Service) -> Response:
    """Estimate from exploratory moves how the camera is turned. The session's later plans take it into account."""
    return await _ask(request, service.calibrate(session_id, await _admit(request, service, m.CalibrationRequest)))


@router.get("/v1/sessions/{session_id}/calibration", tags=["sessions"], response_model=m.Calibration)
async def get_calibration(session_id: str, service: Service) -> Response:
    """Show how the session's camera is turned, as estimated from its exploratory moves."""
    return answered(service.calibration(session_id))


@router.delete("/v1/sessions/{session_id}/calibration", tags=["sessions"], status_code=204, response_class=Response)
async def delete_calibration(session_id: str, service: Service) -> Response:
    """Delete the calibration. The session plans again as when it was opened."""
    await service.forget_calibration(session_id)
    return Response(status_code=204)


@router.get("/v1/models", tags=["about"], response_model=m.Models)
async def list_models(service: Service) -> Response:
    """Show the service's model, its version and its state."""
    return answered(service.models())


@router.get("/v1/info", tags=["about"], response_model=m.ServerInfo)
async def info(service: Service) -> Response:
    """Show conventions, limits and versions."""
    return answered(service.info())


@router.get("/livez", tags=["health"], response_class=PlainTextResponse)
@router.get("/v2/health/live", tags=["health"], response_class=PlainTextResponse, include_in_schema=False)
async def alive() -> Response:
    """Return 200 as long as the process answers, with or without a model."""
    return PlainTextResponse("alive\n")


@router.get("/readyz", tags=["health"], response_class=PlainTextResponse)
@router.get("/v2/health/ready", tags=["health"], response_class=PlainTextResponse, include_in_schema=False)
async def ready(service: Service) -> Response:
    """Return 200 when plans can be requested, otherwise 503 and the reason."""
    reason = service.unready
    return PlainTextResponse("ready\n") if reason is None else PlainTextResponse(reason + "\n", 503)


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
async def metrics(service: Service) -> Response:
    """Return all counters and timings in the text format of Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
