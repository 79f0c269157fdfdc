"""The gate that every gRPC call passes: it gives the call an id, checks its token, and sets its time limits.

Health checks need no token, as over REST. Calls that are refused are counted and logged like those that pass.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from server.auth import TokenCheck
from server.errors import MalformedError, TooSlowError, UnauthenticatedError, problem_of
from server.intake import head_came_at
from server.logs import new_request_id, request_id
from server.metrics import Metrics
from server.rpc.count import count
from server.rpc.problems import abort
from server.traces import Span, Traces, failed, set_current_span

OPEN = "/grpc.health.v1.Health/"
OURS = "/vjepa2_ac.v1."  # calls that are traced
Refuse = Callable[[Any, Exception], Awaitable[None]]  # from a call's context and why


class Gate(grpc.aio.ServerInterceptor):
    """An interceptor in front of everything, reflection included."""

    def __init__(
        self, token_check: TokenCheck, patience_s: float, metrics: Metrics, traces: Traces | None = None
    ) -> None:
        self.token_check, self.patience_s, self.metrics, self.traces = token_check, patience_s, metrics, traces

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call, or one that refuses it."""
        metadata = dict(handler_call_details.invocation_metadata or ())
        request_id.set(new_request_id(_text(metadata.get("x-request-id"))))
        head_came_at.set(time.monotonic())
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(OPEN):
            return handler
        name = handler_call_details.method.rpartition("/")[2]
        refuse = partial(self._refuse, name, time.monotonic(), handler.response_streaming)
        try:
            self.token_check.refuse_unknown(_text(metadata.get("authorization")))
        except UnauthenticatedError as error:
            return _refusing(handler, partial(refuse, error=error))
        handler = _tolerant(handler, refuse)
        if self.traces is not None and handler_call_details.method.startswith(OURS):
            handler = _traced(handler, partial(self._begin, self.traces, handler_call_details.method, metadata))
        return _patient(handler, self.patience_s, refuse)

    async def _refuse(self, method: str, started: float, is_stream: bool, context: Any, error: Exception) -> None:
        """Count and end a call that does not get as far as the service."""
        problem = problem_of(error)
        failed(error)
        count(self.metrics, method, problem.row.grpc, started, is_stream=is_stream)
        await abort(context, problem)

    def _begin(self, traces: Traces, method: str, metadata: dict[str, str | bytes]) -> Span:
        """The span of a call, as a child of the caller's own."""
        name = method.removeprefix("/")
        service, _, call = name.partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": call}
        carrier = {key: text for key, value in metadata.items() if (text := _text(value)) is not None}
        return traces.begin(name, carrier, {**attributes, "vjepa2_ac.request_id": request_id.get()})


def _tolerant(handler: Any, refuse: Refuse) -> Any:
    """The handler, which refuses bytes that are no message, where gRPC would report a fault; streams get None."""

    def deserialize(data: bytes) -> Any:
        try:
            return handler.request_deserializer(data)
        except DecodeError:
            return None

    async def answer(request: Any, context: Any) -> Any:
        if request is None:
            await refuse(context, MalformedError("the bytes that came are no message of this call"))
        return await handler.unary_unary(request, context)

    return handler._replace(request_deserializer=deserialize, unary_unary=handler.unary_unary and answer)


def _patient(handler: Any, patience_s: float, refuse: Refuse) -> Any:
    """The handler, which waits at most `patience_s` for a single request, or for each answer of a stream to be taken.

    gRPC waits without end for the request before it calls a handler of single requests; so it is told that requests
    come as a stream. It also waits without end for a caller who never reads; so answers are written here, with a limit,
    instead of yielded to it.
    """

    async def answer(requests: Any, context: Any) -> Any:
        try:
            async with asyncio.timeout(patience_s):
                request = await anext(aiter(requests), None)
        except TimeoutError:
            await refuse(context, TooSlowError(f"the request did not come within {patience_s:g} s"))
        return await handler.unary_unary(request, context)

    async def answers(requests: Any, context: Any) -> None:
        async with aclosing(handler.stream_stream(requests, context)) as stream:
            async for each in stream:
                taken = asyncio.ensure_future(context.write(each))
                taken.add_done_callback(_seen)  # nobody awaits it if the call ends first, its caller gone
                if not (await asyncio.wait({taken}, timeout=patience_s))[0]:
                    break
                await taken
            else:
                return
        await taken  # no refusal can be sent before; only this write is kept meanwhile
        await abort(context, problem_of(TooSlowError(f"an answer was not taken within {patience_s:g} s")))

    if handler.stream_stream:
        return handler._replace(stream_stream=answers)
    return grpc.stream_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)


def _seen(done: asyncio.Future[Any]) -> None:
    """Retrieve an error, if there is one, so that asyncio does not log it as never retrieved."""
    if not done.cancelled():
        done.exception()


def _traced(handler: Any, begin: Callable[[], Span]) -> Any:
    """The handler, with a span around each call; a call has a task of its own, so the span is not unset after it."""

    async def answer(request: Any, context: Any) -> Any:
        span = begin()
        set_current_span(span)
        try:
            return await handler.unary_unary(request, context)
        finally:
            span.end()

    async def answers(requests: Any, context: Any) -> AsyncIterator[Any]:
        span = begin()
        set_current_span(span)
        try:
            async with aclosing(handler.stream_stream(requests, context)) as stream:
                async for each in stream:
                    yield each
        finally:
            span.end()

    return handler._replace(unary_unary=handler.unary_unary and answer, stream_stream=handler.stream_stream and answers)


def _refusing(handler: Any, refuse: Callable[[Any], Awaitable[None]]) -> Any:
    """A handler of the same kind that only refuses."""

    async def refuse_single(request: Any, context: Any) -> Any:
        await refuse(context)

    async def refuse_stream(request: Any, context: Any) -> Any:
        await refuse(context)
        yield  # makes this a stream; never reached

    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    behaviour = refuse_stream if handler.response_streaming else refuse_single
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def _text(value: str | bytes | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value
