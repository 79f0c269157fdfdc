"""The ASGI application: routes, errors, documentation, and the gate in front of them."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from server.auth import TokenCheck
from server.console.router import add_console
from server.http import openapi, routes, socket
from server.http.gate import Gate
from server.http.problems import on_error, on_http_error
from server.service import PlanningService
from vjepa2_ac.errors import VJEPA2ACError

STATIC = Path(__file__).parent / "static"


def create_app(service: PlanningService, token_check: TokenCheck) -> ASGIApp:
    """The REST interface of a service."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(routes.router)
    app.include_router(socket.router)
    for kind in (VJEPA2ACError, Exception):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(HTTPException, on_http_error)
    _document(app)
    add_console(app)
    gate: ASGIApp = Gate(app, token_check, service.metrics, service.settings, service.traces)
    if service.settings.allowed_origins:
        gate = CORSMiddleware(
            gate,
            allow_origins=service.settings.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    return gate


def _document(app: FastAPI) -> None:
    """The OpenAPI document and a page that shows it; nothing is loaded from elsewhere."""

    async def document(request: Request) -> Response:
        return JSONResponse(openapi.describe(app))

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "docs.html")

    app.add_route("/openapi.json", document, include_in_schema=False)
    app.add_route("/docs", page, include_in_schema=False)
    app.mount("/docs/static", StaticFiles(directory=STATIC))
