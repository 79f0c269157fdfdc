"""Errors as google.rpc.Status with the same code, field and hint that REST gives."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from server.errors import Problem
from server.logs import request_id

DOMAIN = "vjepa2-ac"
DETAILS = "grpc-status-details-bin"


def status_of(problem: Problem) -> Status:
    """The google.rpc.Status of a problem, with the request's id."""
    details: list[Message] = [
        ErrorInfo(reason=problem.row.code.upper(), domain=DOMAIN),
        RequestInfo(request_id=request_id.get()),
    ]
    if problem.field:
        violation = BadRequest.FieldViolation(field=problem.field, description=problem.detail)
        details.append(BadRequest(field_violations=[violation]))
    if problem.retry_after_s is not None:
        details.append(RetryInfo(retry_delay=Duration(nanos=0, seconds=0)))
        details[-1].retry_delay.FromNanoseconds(int(problem.retry_after_s * 1e9))  # type: ignore[attr-defined]
    status = Status(code=code_of(problem).value[0], message=problem.detail)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def code_of(problem: Problem) -> grpc.StatusCode:
    """The gRPC status code of a problem."""
    return grpc.StatusCode[problem.row.grpc]


async def abort(context: grpc.aio.ServicerContext, problem: Problem) -> None:  # type: ignore[type-arg]
    """End a call with a problem."""
    trailing = (("x-request-id", request_id.get()), (DETAILS, status_of(problem).SerializeToString()))
    await context.abort(code_of(problem), problem.detail, trailing)
