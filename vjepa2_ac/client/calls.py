"""The calls of the service and what goes into them, the same for every wire and for sync and async.

`METHODS` says of each call where it lives in REST and gRPC, and whether making it twice is harmless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from vjepa2_ac.client.answers import Array, Goal
from vjepa2_ac.client.pictures import Picture, picture_bytes
from vjepa2_ac.errors import InputError


@dataclass(frozen=True, slots=True)
class Method:
    """Where a call lives on each wire."""

    verb: str
    path: str
    rpc: str
    answer: str  # the message that comes back
    is_repeatable: bool = True


METHODS = {
    "plan": Method("POST", "/v1/plan", "Plan", "PlanResponse"),
    "energy": Method("POST", "/v1/energy", "Energy", "EnergyResponse"),
    "rollout": Method("POST", "/v1/rollout", "Rollout", "RolloutResponse"),
    "register_goal": Method("POST", "/v1/goals", "RegisterGoal", "Goal"),
    "list_goals": Method("GET", "/v1/goals", "ListGoals", "ListGoalsResponse"),
    "delete_goal": Method("DELETE", "/v1/goals/{goal_id}", "DeleteGoal", "DeleteGoalResponse"),
    "open_session": Method("POST", "/v1/sessions", "OpenSession", "Session", is_repeatable=False),
    "get_session": Method("GET", "/v1/sessions/{session_id}", "GetSession", "Session"),
    # A step that was made moves the session on: made twice, it would count as two observations.
    "step": Method("POST", "/v1/sessions/{session_id}/step", "StepSession", "StepResponse", is_repeatable=False),
    "calibrate": Method("POST", "/v1/sessions/{session_id}/calibration", "CalibrateSession", "Calibration"),
    "get_calibration": Method("GET", "/v1/sessions/{session_id}/calibration", "GetCalibration", "Calibration"),
    "delete_calibration": Method(
        "DELETE", "/v1/sessions/{session_id}/calibration", "DeleteCalibration", "DeleteCalibrationResponse"
    ),
    "close_session": Method("DELETE", "/v1/sessions/{session_id}", "CloseSession", "CloseSessionResponse"),
    "models": Method("GET", "/v1/models", "ListModels", "ListModelsResponse"),
    "info": Method("GET", "/v1/info", "GetServerInfo", "ServerInfo"),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call: which, and its fields in the words of the wire, pictures as bytes."""

    name: str
    fields: dict[str, Any]

    @property
    def method(self) -> Method:
        """Where it lives."""
        return METHODS[self.name]

    def after(self, waited_s: float) -> Call:
        """The same call so much later: an observation has aged meanwhile."""
        seen = self.fields.get("observation", {})
        if "age_ms" not in seen:
            return self
        aged = {**seen, "age_ms": seen["age_ms"] + 1e3 * waited_s}
        return replace(self, fields={**self.fields, "observation": aged})


class Options(TypedDict, total=False):
    """How to search; options left out take the service's values."""

    preset: str  # fast, balanced, keyframes or paper
    samples: int
    iterations: int
    horizon: int
    budget_ms: float
    seed: int
    dry_run: bool
    camera_turn: ArrayLike  # [3] roll pitch yaw [rad]
    camera_about: ArrayLike  # [3] x y z [m]


class ObservationDetails(TypedDict, total=False):
    """Optional details of an observation."""

    observation_id: str  # repeated in the answer
    age_s: float  # [s] since the picture was taken
    commanded: ArrayLike  # [7] where the hand was told to be; a session forgets a plan that was not followed


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """One exploratory move: the picture and the pose before and after it."""

    before: Picture
    after: Picture
    pose_before: ArrayLike  # [7]
    pose_after: ArrayLike  # [7]


GoalLike = Picture | Goal | str | Sequence[Picture]
"""A picture, several as sub-goals in order, or a registered goal (the `Goal` or its id)."""


def observation(frame: Picture, pose: ArrayLike, details: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an observation."""
    _refuse_unknown("detail of an observation", details, ObservationDetails)
    fields: dict[str, Any] = {"picture": picture_bytes(frame), "pose": numbers(pose, "pose")}
    if (name := details.get("observation_id")) is not None:
        fields["id"] = name
    if (age_s := details.get("age_s")) is not None:
        fields["age_ms"] = 1e3 * numbers([age_s], "age_s")[0]
    if (commanded := details.get("commanded")) is not None:
        fields["commanded"] = numbers(commanded, "commanded")
    return fields


def goal(what: GoalLike) -> dict[str, Any]:
    """The fields of a goal."""
    if isinstance(what, Goal):
        return {"id": what.goal_id}
    if isinstance(what, str) and not Path(what).suffix:  # an id has none: a file's name is no goal's
        return {"id": what}
    return {"pictures": pictures(what)}


def pictures(what: Picture | str | Sequence[Picture]) -> list[bytes]:
    """The bytes of one picture or of several; an array [T, H, W, 3] is several."""
    if isinstance(what, (bytes, Path, str)) or (isinstance(what, np.ndarray) and what.ndim == 3):
        return [picture_bytes(what)]
    try:
        several = iter(what)
    except TypeError:
        raise InputError(f"a goal is a picture, several of them, or one that was registered; got {what!r}") from None
    return [picture_bytes(each) for each in several]


def explored(moves: Sequence[Exploration]) -> list[dict[str, Any]]:
    """The fields of exploratory moves."""
    return [
        {
            "before": picture_bytes(move.before),
            "after": picture_bytes(move.after),
            "pose_before": numbers(move.pose_before, "pose_before"),
            "pose_after": numbers(move.pose_after, "pose_after"),
        }
        for move in moves
    ]


def options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the options that were given."""
    _refuse_unknown("option", given, Options)
    fields = {name: plain(value) for name, value in given.items() if value is not None}
    for name in ("camera_turn", "camera_about"):
        if name in fields:
            fields[name] = numbers(fields[name], name)
    return fields


def candidates(actions: ArrayLike) -> list[list[list[float]]]:
    """Action sequences [S, H, 7] as lists."""
    array = _array(actions, "what was given as candidates")
    if array.ndim != 3 or array.shape[2] != 7:
        raise InputError(f"candidates have shape {list(array.shape)}; expected [candidates, horizon, 7]")
    nested: list[list[list[float]]] = array.tolist()
    return nested


def numbers(values: ArrayLike, what: str) -> list[float]:
    """A row of numbers as a list."""
    array = _array(values, what)
    if array.ndim != 1:
        raise InputError(f"{what} has shape {list(array.shape)}; expected one row of numbers")
    row: list[float] = array.tolist()
    return row


def without_none(**fields: Any) -> dict[str, Any]:
    """The fields that were given."""
    return {name: plain(value) for name, value in fields.items() if value is not None}


def plain(value: Any) -> Any:
    """A number of numpy as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _array(values: ArrayLike, what: str) -> Array:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is not made of numbers: {error}") from None


def _refuse_unknown(what: str, given: Mapping[str, Any], known: type) -> None:
    """Raise InputError for a name that would be left out without a word."""
    if unknown := given.keys() - known.__annotations__.keys():
        names = ", ".join(known.__annotations__)
        raise InputError(f"there is no {what} {', '.join(sorted(unknown))}; there are {names}")
