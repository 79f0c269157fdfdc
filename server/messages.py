"""What goes over the wires, with the names, shapes and units that every wire shares.

REST reads and writes these as JSON; gRPC translates its messages from and to the same fields (`vjepa2_ac.wire`), so a
request means the same and is refused in the same words whichever way it came. `proto/planning.proto` mirrors them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, WithJsonSchema

from planner.limits import CLOCKS_APART
from server.errors import MalformedError
from vjepa2_ac.errors import FieldError
from vjepa2_ac.pictures import WANTED

Number = Annotated[float, Field(strict=True, allow_inf_nan=True)]  # what is not finite gets a better sentence later
Flag = Annotated[bool, Field(strict=True)]  # neither 0 nor "no": the robot may stand still or move by it
Vector = list[Number]
MessageT = TypeVar("MessageT", bound="Message")


def _whole(value: Any) -> Any:
    """What may be read as a whole number: 3.0 is one in JSON, a text or a truth is none."""
    if isinstance(value, (bool, str)):
        raise ValueError("a valid integer")
    return value


WHOLE = BeforeValidator(_whole)


def _bytes(value: Any) -> Any:
    """Bytes as they are, or from the base64 that JSON writes them in (a `data:` URL is fine too)."""
    if not isinstance(value, str):
        return value
    text = value.partition(";base64,")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is not base64") from None


Bytes = Annotated[
    bytes,
    BeforeValidator(_bytes),
    PlainSerializer(lambda data: base64.b64encode(data).decode(), when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": "PNG or JPEG"}),
]


class Message(BaseModel):
    """Fields by name; a name that is not known is refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


# --- words ---------------------------------------------------------------------------------------------------------


class Observation(Message):
    """What the camera sees and where the hand is."""

    picture: Bytes = Field(b"", description="PNG or JPEG: base64 in JSON, a separate part in multipart requests")
    pose: Vector = Field(default_factory=list, description="[7]: x y z [m], roll pitch yaw [rad], gripper 0 … 1")
    id: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="chosen by the caller; repeated in the answer"
    )
    age_ms: Annotated[Number, Field(ge=-1e3 * CLOCKS_APART)] | None = Field(
        None, description="[ms] since the picture was taken; may be a little below 0 where clocks differ"
    )
    commanded: Vector | None = Field(
        None,
        description="[7]: where the hand was told to be. For a single plan: where actions start, at most one action "
        "from `pose`. For a session's step: if it is not the last plan's first target, that plan was not followed",
    )


class GoalReference(Message):
    """What should be true: one picture, several as sub-goals in order, or the id of a registered goal."""

    pictures: list[Bytes] = Field(default_factory=list, max_length=16)
    id: str | None = None


class PlanOptions(Message):
    """How to search. Options left out are as in the preset, and a preset left out is the service's."""

    preset: str | None = Field(None, description="fast, balanced, keyframes or paper")
    samples: Annotated[int, Field(ge=3, le=100_000), WHOLE] | None = Field(
        None, description="candidates in each population"
    )
    iterations: Annotated[int, Field(ge=1, le=1000), WHOLE] | None = None
    horizon: Annotated[int, Field(ge=1, le=1000), WHOLE] | None = Field(
        None, description="number of actions in the chunk"
    )
    budget_ms: Annotated[Number, Field(gt=0, le=3_600_000)] | None = Field(
        None, description="[ms]: chooses samples, iterations and horizon for this time"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63), WHOLE] | None = Field(
        None, description="the same seed gives the same plan"
    )
    dry_run: Flag | None = Field(None, description="plan and report, but ask the robot to stay where it is")
    camera_turn: Vector | None = Field(
        None, description="[3] roll pitch yaw [rad] from the model's frame to the robot's base"
    )
    camera_about: Vector | None = Field(
        None, description="[3] x y z [m] of the point that the turn leaves in place; the base's origin if omitted"
    )


Deadline = Annotated[Number, Field(gt=0, le=3_600_000)]


class PlanRequest(Message):
    """A request for a single plan; nothing is remembered."""

    observation: Observation = Field(default_factory=lambda: Observation())
    goal: GoalReference = Field(default_factory=lambda: GoalReference())
    sub_goal: Annotated[int, Field(ge=0), WHOLE] | None = Field(
        None, description="which picture of a goal with several, counted from 0"
    )
    options: PlanOptions = Field(default_factory=lambda: PlanOptions())
    deadline_ms: Deadline | None = Field(
        None, description="[ms] from arrival; the best plan found by then is the answer"
    )


class Model(Message):
    """The model that answered."""

    name: str
    version: str


class Confidence(Message):
    """How far a plan can be trusted."""

    elite_spread: float = Field(description="[m] how far apart the first moves of the elites are")
    gain: float = Field(description="share by which the plan's cost is below that of doing nothing")
    flatness: float = Field(description="near 1: moves hardly matter")
    gripper_contrast: float = Field(
        description="share by which the cost of the gripper's best option is below that of the next; 0 with one option"
    )
    goal_uncertainty: float | None = Field(
        None,
        description="[m] how far off the hand in the goal is expected to be located; absent if the model does not "
        "locate it, or if it is no number",
    )
    goal_reached: bool = Field(
        description="the cost of doing nothing is that of an achieved goal; false if not known what such goals cost"
    )
    cycle_error: float | None = Field(
        None,
        description="[m] by how much the model's ways to the hand in the goal and back contradict each other; "
        "absent if the model does not locate it, or if it is no number",
    )
    goal_out_of_reach: bool = Field(
        description="not known to be reached, yet no move within reach comes nearer, and the gripper is not to change; "
        "a robot should not move"
    )
    view_unfamiliar: bool = Field(
        description="the model does not know such a view, judging by `cycle_error`; a robot should not move"
    )


class Clipping(Message):
    """One value of an action, changed for safety."""

    step: int = Field(description="of the plan, counted from 0")
    part: str = Field(description="x, y, z, roll, pitch, yaw or gripper")
    rule: str = Field(description="step limit, distance, workspace or gripper range")
    asked: float = Field(description="the value as planned, or as an earlier rule left it [m, rad, closedness]")
    allowed: float = Field(description="the value by this rule, which a later rule may change again")


class PlanResponse(Message):
    """An action chunk, where it leads, and how far it can be trusted."""

    plan_id: str = Field(description="names the plan in logs")
    observation_id: str | None = Field(None, description="the `id` of the observation, where one was given")
    model: Model
    dt_s: float = Field(description="[s] from one action to the next")
    actions: list[Vector] = Field(description="[horizon][7], inside the safety envelope")
    targets: list[Vector] = Field(description="[horizon][7], the absolute poses that the actions lead to")
    wanted: list[Vector] = Field(description="[horizon][7], actions as found, before they were made safe")
    cost: float = Field(description="cost of the plan, by which it was searched; lower is better")
    idle_cost: float | None = Field(None, description="cost of doing nothing")
    trace: list[float] = Field(description="best cost after each iteration")
    confidence: Confidence
    failure_probability: float | None = Field(
        None, description="0 … 1, probability that the plan's episode will fail; absent if not known"
    )
    stop_reason: Literal["converged", "iterations", "deadline"]
    seed: int
    iterations: int = Field(description="iterations that were finished")
    evaluations: int = Field(description="number of candidates imagined")
    gripper_costs: dict[str, float] = Field(
        description="cost of the best plan with each gripper option, by name; empty if these are not tried one by one"
    )
    clipped: list[Clipping] = Field(description="values that were changed for safety")
    warnings: list[str]
    timings_ms: dict[str, float] = Field(description="[ms] by stage")
    dry_run: bool = Field(description="the robot is asked to stay where it is; `wanted` says what was found")


# --- goals and sessions --------------------------------------------------------------------------------------------


class RegisterGoalRequest(Message):
    """A goal to encode once and keep."""

    pictures: list[Bytes] = Field(default_factory=list, max_length=16)


class Goal(Message):
    """A registered goal; its id is the hash of its pictures."""

    goal_id: str
    sub_goals: int = Field(description="number of its pictures")
    expires_in_s: float = Field(description="[s] until it is forgotten, unless it is used before then")


class Goals(Message):
    """All registered goals."""

    goals: list[Goal]


class OpenSessionRequest(Message):
    """A session to open, which pursues the goal's pictures one after the other."""

    goal: GoalReference = Field(default_factory=lambda: GoalReference())
    options: PlanOptions = Field(default_factory=lambda: PlanOptions())


class Session(Message):
    """An open session."""

    session_id: str
    status: Literal["going", "done", "timed out"]
    sub_goal: int = Field(description="the one pursued now, counted from 0")
    sub_goals: int = Field(description="number of the goal's pictures")
    steps: int = Field(description="number of plans handed out")
    expires_in_s: float = Field(description="[s] until it is closed, unless it is used before then")


class Sessions(Message):
    """All open sessions."""

    sessions: list[Session]


class StepRequest(Message):
    """The present observation, after the first action of the previous plan was made."""

    observation: Observation = Field(default_factory=lambda: Observation())
    deadline_ms: Deadline | None = None


class Exploration(Message):
    """One exploratory move: the picture and the pose before and after it."""

    before: Bytes = Field(b"", description="PNG or JPEG: base64 in JSON, a separate part in multipart requests")
    after: Bytes = Field(b"", description="PNG or JPEG, as for `before`")
    pose_before: Vector = Field(default_factory=list, description="[7]: x y z [m], roll pitch yaw [rad], gripper 0 … 1")
    pose_after: Vector = Field(default_factory=list, description="[7]")


class CalibrationRequest(Message):
    """Exploratory moves to estimate the camera's turn from; the session's later plans take it into account."""

    moves: list[Exploration] = Field(default_factory=list, max_length=32)
    yaw_only: Flag | None = Field(None, description="assume that the camera keeps its height and tilt; true if omitted")


class Calibration(Message):
    """How a session's camera is turned, compared with the camera that the model knows."""

    session_id: str
    camera_turn: Vector = Field(description="[3] roll pitch yaw [rad] from the model's frame to the robot's base")
    about: Vector = Field(description="[3] x y z [m] of the point that the turn leaves in place")
    residual: float = Field(description="share of the motion that the turn leaves unexplained; near 1: a bad view")
    moves: int = Field(description="number of moves that the turn was estimated from")
    warnings: list[str]


class PassedGoal(Message):
    """A sub-goal that was passed, and how."""

    sub_goal: int = Field(description="counted from 0")
    verdict: str = Field(description="achieved, or settled: its cost fell far enough and no longer falls")


class StepResponse(Message):
    """What to do next. Without a plan, the robot stays where it is."""

    session_id: str
    observation_id: str | None = Field(None, description="the `id` of the observation, where one was given")
    status: Literal["going", "done", "timed out"]
    sub_goal: int = Field(description="the one pursued now, counted from 0")
    cost: float = Field(description="of the present picture, with respect to that sub-goal")
    passed: list[PassedGoal] = Field(description="sub-goals passed since the last step that was answered")
    plan: PlanResponse | None = None
    dropped: int = Field(0, description="in a stream, number of waiting observations that this one replaced")


class StreamProblem(Message):
    """What was wrong with one observation of a stream; the stream goes on."""

    code: str
    detail: str
    field: str | None = None
    observation_id: str | None = None
    retry_after_s: float | None = None
    dropped: int = Field(0, description="number of waiting observations that this one replaced")


# --- without searching ---------------------------------------------------------------------------------------------


class EnergyRequest(Message):
    """Action sequences to score."""

    observation: Observation = Field(default_factory=lambda: Observation())
    goal: GoalReference = Field(default_factory=lambda: GoalReference())
    sub_goal: Annotated[int, Field(ge=0), WHOLE] | None = None
    candidates: list[list[Vector]] = Field(default_factory=list, description="[candidates][horizon][7]")
    deadline_ms: Deadline | None = None


class EnergyResponse(Message):
    """Published energies: how far from the goal candidates are imagined to end, by latents alone; lower is nearer."""

    model: Model
    energies: list[float] = Field(description="[candidates]")
    idle_energy: float = Field(description="energy of the observation itself")
    timings_ms: dict[str, float] = Field(description="[ms] by stage")


class RolloutRequest(Message):
    """Action sequences to imagine."""

    observation: Observation = Field(default_factory=lambda: Observation())
    candidates: list[list[Vector]] = Field(default_factory=list, description="[candidates][horizon][7]")
    goal: GoalReference = Field(default_factory=lambda: GoalReference())
    sub_goal: Annotated[int, Field(ge=0), WHOLE] | None = None
    with_latents: Flag | None = None
    deadline_ms: Deadline | None = None


class Tensor(Message):
    """An array of numbers: little-endian, the last axis fastest."""

    shape: list[int]
    dtype: Literal["float32"] = "float32"
    data: Bytes


class RolloutResponse(Message):
    """Where the candidates lead, step by step."""

    model: Model
    poses: list[list[Vector]] = Field(description="[candidates][horizon][7]")
    energies: list[Vector] = Field(description="[candidates][horizon], empty without a goal")
    latents: Tensor | None = Field(None, description="[candidates, horizon, tokens, dim]")
    timings_ms: dict[str, float] = Field(description="[ms] by stage")


# --- about the service ---------------------------------------------------------------------------------------------


class ModelInfo(Message):
    """A model and whether it is ready."""

    name: str
    version: str
    state: Literal["loading", "ready", "failed"]
    reason: str | None = None
    details: dict[str, str]


class Models(Message):
    """The models of this service."""

    models: list[ModelInfo]


class ServerInfo(Message):
    """Conventions, limits and versions: what a caller needs to know once."""

    version: str
    api: str
    dt_s: float = Field(description="[s] from one action to the next")
    conventions: dict[str, str]
    limits: dict[str, float] = Field(
        description="of the safety envelope, of requests and of what is kept; infinite ones are left out"
    )
    presets: list[str]
    versions: dict[str, str] = Field(description="of the software that answers depend on")


def read(kind: type[MessageT], content: Any) -> MessageT:
    """The request that `content` describes. Raises MalformedError or FieldError, which names the field."""
    if not isinstance(content, Mapping):
        raise MalformedError(f"the request is {type(content).__name__}; expected fields by name, as in {{…}}")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise _refusal(first) from None


def _refusal(first: Any) -> FieldError:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "extra_forbidden":
        return FieldError(field, "there is no such field", "a name of the documentation")
    if "base64" in first["msg"]:
        return FieldError(field, "this is not base64", WANTED)
    expected = first["msg"]
    for opening in ("Input should be ", "Value error, ", "String should have ", "List should have "):
        expected = expected.removeprefix(opening)
    if first["type"] in ("too_long", "string_too_long"):
        return FieldError(field, f"{len(first['input'])} of them", expected.partition(" after validation")[0])
    came = f"{first['input']!r:.60}" if not isinstance(first["input"], (bytes, dict, list)) else "another kind of value"
    return FieldError(field, came, expected)
