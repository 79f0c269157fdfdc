"""What /openapi.json says beyond the routes' own words: request bodies, refusals, and the token."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from server import messages as m
from server.errors import FAULT, TABLE
from vjepa2_ac import __version__

REF = "#/components/schemas/{model}"
REQUESTS = (
    m.PlanRequest,
    m.EnergyRequest,
    m.RolloutRequest,
    m.RegisterGoalRequest,
    m.OpenSessionRequest,
    m.StepRequest,
)
PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {
            "type": "string",
            "description": "stable; one of " + ", ".join(r.code for r in (*TABLE.values(), FAULT)),
        },
        "detail": {"type": "string", "description": "what came and what is expected, in a sentence"},
        "field": {"type": "string", "description": "the field that is to blame"},
        "retry_after_s": {"type": "number", "description": "nothing was done; ask again after this long"},
        "request_id": {"type": "string", "description": "under which the log has it"},
    },
}
ABOUT = """From what a camera sees, where the hand is, and a picture of what should be true, to a chunk of moves.

A **pose** is `x y z` [m], `roll pitch yaw` [rad] and gripper closedness (0 open … 1 closed) in the robot's base frame;
an **action** is the difference of two successive poses, 0.25 s apart.
"""


def body_of(kind: type[m.Message], has_pictures: bool = False) -> dict[str, Any]:
    """The description of a request's body."""
    schema = {"$ref": REF.format(model=kind.__name__)}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if has_pictures:
        picture = {"type": "array", "items": {"type": "string", "format": "binary"}}
        names = ("pictures",) if kind is m.RegisterGoalRequest else ("observation", "goal")
        parts = {"request": schema, **dict.fromkeys(names, picture)}
        content["multipart/form-data"] = {"schema": {"type": "object", "properties": parts}}
    return {"requestBody": {"required": True, "content": content}}


def refusals() -> dict[int | str, dict[str, Any]]:
    """The responses that every route may give."""
    schema = {"$ref": REF.format(model="Problem")}
    return {"default": {"description": "A problem", "content": {"application/problem+json": {"schema": schema}}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="vjepa2-ac planning service", version=__version__, description=ABOUT, routes=app.routes
        )
        _, definitions = models_json_schema([(kind, "validation") for kind in REQUESTS], ref_template=REF)
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas |= {name: schema for name, schema in definitions["$defs"].items() if name not in schemas}
        schemas["Problem"] = PROBLEM
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}, {}]
        app.openapi_schema = document
    return app.openapi_schema
