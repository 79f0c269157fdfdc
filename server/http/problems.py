"""Errors as `application/problem+json` (RFC 9457), with a stable `code` and the field that is to blame."""

from __future__ import annotations

import json
import logging
import math
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server.errors import Problem, problem_of
from server.http.routes import methods_at
from server.logs import request_id
from server.traces import failed

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
CODES = {404: "no_such_route", 405: "method_not_allowed", 400: "malformed_request"}


def problem_response(problem: Problem) -> Response:
    """The HTTP response that reports a problem."""
    body = {
        "type": f"urn:vjepa2-ac:problem:{problem.row.code}",
        "title": problem.row.title,
        "status": problem.row.http,
        "code": problem.row.code,
        "detail": problem.detail,
        "field": problem.field,
        "retry_after_s": problem.retry_after_s,
        "request_id": request_id.get(),
    }
    headers = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s)))
    if problem.row.http == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.row.http == HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"  # the rest of the request is not waited for
    return _response(body, problem.row.http, headers)


async def on_error(request: Request, error: Exception) -> Response:
    """The response to any error of a route; a fault's traceback goes to the log."""
    problem = problem_of(error)
    failed(error)
    if problem.is_fault:
        log.error("a fault while answering %s %s", request.method, request.url.path, exc_info=error)
    return problem_response(problem)


async def on_http_error(request: Request, error: Exception) -> Response:
    """The response where no route answers."""
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "http_error")
    explanations = {
        404: f"there is nothing at {request.url.path}; /docs lists what there is",
        405: f"{request.url.path} does not know the method {request.method}",
    }
    body = {
        "type": f"urn:vjepa2-ac:problem:{code}",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "code": code,
        "detail": explanations.get(error.status_code, error.detail),
        "request_id": request_id.get(),
    }
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (methods := methods_at(request.url.path)):
        headers["Allow"] = ", ".join(methods)  # of all routes at this path; the router names the first one's alone
    return _response(body, error.status_code, headers)


def _response(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    content = {key: value for key, value in body.items() if value is not None}
    return Response(json.dumps(content, ensure_ascii=False), status, headers, MEDIA_TYPE)
