"""The WebSocket of a session: observations in, answers out, as JSON texts; the newest observation wins."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from server import messages as m
from server.errors import MalformedError, problem_of
from server.http.reading import parse_json
from server.service import PlanningService
from server.stream import Incoming, answer_newest
from server.traces import failed
from vjepa2_ac.errors import VJEPA2ACError

log = logging.getLogger(__name__)
router = APIRouter()
TRY_AGAIN, POLICY, FAULT = 1013, 1008, 1011  # closing codes of RFC 6455


@router.websocket("/v1/sessions/{session_id}/stream")
async def stream(socket: WebSocket, session_id: str) -> None:
    """Each text is a step request; each answer a step response, or `{"problem": …}` with one observation."""
    service: PlanningService = socket.app.state.service
    with contextlib.suppress(WebSocketDisconnect):  # whoever is gone wants neither answers nor a reason
        await socket.accept()
        try:
            service.sessions.get(session_id)
            async for answer in answer_newest(service, session_id, _incoming(socket)):
                text = answer.model_dump_json(exclude_none=True)
                await socket.send_text(f'{{"problem":{text}}}' if isinstance(answer, m.StreamProblem) else text)
            await socket.close()
        except WebSocketDisconnect:
            raise
        except Exception as error:
            problem = problem_of(error)
            failed(error)
            if problem.is_fault:
                log.error("a fault while answering a stream", exc_info=error)
            code = FAULT if problem.is_fault else TRY_AGAIN if problem.retry_after_s is not None else POLICY
            await socket.close(code, problem.detail.encode()[:120].decode(errors="ignore"))


async def _incoming(socket: WebSocket) -> AsyncIterator[Incoming]:
    """What comes. Raises WebSocketDisconnect when the caller hangs up."""
    while True:
        try:
            message = await socket.receive()
        except RuntimeError:  # it was closed while we waited
            return
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        yield _read(message.get("text"))


def _read(text: str | None) -> Incoming:
    try:
        if text is None:
            raise MalformedError("a binary message came; expected a step request as JSON text")
        return m.read(m.StepRequest, parse_json(text))
    except VJEPA2ACError as error:
        return error
