"""Serves the console's files: the page at /console, and what it loads below that."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

HERE = Path(__file__).parent


def add_console(app: FastAPI) -> None:
    """Serve the page and its files. They hold nothing secret: what the page shows, it must ask for with a token."""

    async def page(request: Request) -> Response:
        return FileResponse(HERE / "page" / "console.html")

    app.add_route("/console", page, include_in_schema=False)
    app.mount("/console/samples", StaticFiles(directory=HERE / "samples"))
    app.mount("/console/page", StaticFiles(directory=HERE / "page"))
