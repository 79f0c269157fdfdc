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
PICTURES = {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": 16}
PARTS = {
    "observation": {**PICTURES, "maxItems": 1},
    "goal": PICTURES,
    "pictures": PICTURES,
    "before": {**PICTURES, "maxItems": 32},
    "after": {**PICTURES, "maxItems": 32},
}
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEUlEQVR42mNgAIL/QMBAGQMAPEQf4XZV0ScAAAAASUVORK5CYII="
OBSERVATION = {"picture": PICTURE, "pose": [0.4, 0.0, 0.3, 3.14, 0.0, 0.0, 0.0]}
GOAL = {"pictures": [PICTURE]}
CANDIDATES = [[[0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, -0.05, 0.0, 0.0, 0.0, 1.0]]]
MOVES = [
    {"before": PICTURE, "after": PICTURE, "pose_before": start, "pose_after": end}
    for start, end in (
        ([0.40, 0.0, 0.3, 3.14, 0.0, 0.0, 0.0], [0.44, 0.0, 0.3, 3.14, 0.0, 0.0, 0.0]),
        ([0.44, 0.0, 0.3, 3.14, 0.0, 0.0, 0.0], [0.44, 0.04, 0.3, 3.14, 0.0, 0.0, 0.0]),
    )
]
EXAMPLES: dict[type[m.Message], dict[str, Any]] = {
    m.PlanRequest: {"observation": OBSERVATION, "goal": GOAL, "options": {"preset": "fast", "seed": 1}},
    m.EnergyRequest: {"observation": OBSERVATION, "goal": GOAL, "candidates": CANDIDATES},
    m.RolloutRequest: {"observation": OBSERVATION, "candidates": CANDIDATES},
    m.RegisterGoalRequest: GOAL,
    m.OpenSessionRequest: {"goal": GOAL, "options": {"preset": "fast"}},
    m.StepRequest: {"observation": OBSERVATION},
    m.CalibrationRequest: {"moves": MOVES},
}
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
        "detail": {"type": "string", "description": "what came and what was expected, in a sentence"},
        "field": {"type": "string", "description": "the field at fault"},
        "retry_after_s": {"type": "number", "description": "[s] to wait before asking again; nothing was done"},
        "request_id": {"type": "string", "description": "the request's id in the service's log"},
    },
}
ABOUT = """Send what the camera sees, where the hand is, and a picture of what should be true; get an action chunk.

A **pose** is `x y z` [m], `roll pitch yaw` [rad] and gripper closedness (0 open … 1 closed) in the robot's base frame;
an **action** is the difference of two successive poses, 0.25 s apart.
"""


def body_of(kind: type[m.Message], *pictures: str) -> dict[str, Any]:
    """The description of a request's body: JSON, or a form with that as `request` beside parts that are pictures."""
    schema = {"$ref": REF.format(model=kind.__name__)}
    form = {
        "type": "object",
        "properties": {"request": schema, **{name: PARTS[name] for name in pictures}},
        "additionalProperties": False,
    }
    content: dict[str, Any] = {
        "application/json": {"schema": schema, "example": EXAMPLES[kind]},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}


def links_to(name: str, *operations: tuple[str, str]) -> dict[int | str, dict[str, Any]]:
    """Where the id `name` of what was made (status 201) leads: operations as path and method."""
    links = {
        f"{method} {path}": {
            "operationRef": "#/paths/" + path.replace("~", "~0").replace("/", "~1") + "/" + method,
            "parameters": {name: f"$response.body#/{name}"},
        }
        for path, method in operations
    }
    return {201: {"links": links}}


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
        _, definitions = models_json_schema([(kind, "validation") for kind in EXAMPLES], ref_template=REF)
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas |= {name: schema for name, schema in definitions["$defs"].items() if name not in schemas}
        schemas["Problem"] = PROBLEM
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}, {}]
        app.openapi_schema = document
    return app.openapi_schema
