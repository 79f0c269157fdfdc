from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Pose(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Actions(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Action]
    def __init__(self, values: _Optional[_Iterable[_Union[Action, _Mapping]]] = ...) -> None: ...

class Poses(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Pose]
    def __init__(self, values: _Optional[_Iterable[_Union[Pose, _Mapping]]] = ...) -> None: ...

class Numbers(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("picture", "pose", "id", "age_ms", "commanded")
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    POSE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    COMMANDED_FIELD_NUMBER: _ClassVar[int]
    picture: bytes
    pose: Pose
    id: str
    age_ms: float
    commanded: Pose
    def __init__(self, picture: _Optional[bytes] = ..., pose: _Optional[_Union[Pose, _Mapping]] = ..., id: _Optional[str] = ..., age_ms: _Optional[float] = ..., commanded: _Optional[_Union[Pose, _Mapping]] = ...) -> None: ...

class GoalReference(_message.Message):
    __slots__ = ("pictures", "id")
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    pictures: _containers.RepeatedScalarFieldContainer[bytes]
    id: str
    def __init__(self, pictures: _Optional[_Iterable[bytes]] = ..., id: _Optional[str] = ...) -> None: ...

class PlanOptions(_message.Message):
    __slots__ = ("preset", "samples", "iterations", "horizon", "budget_ms", "seed", "dry_run", "camera_turn", "camera_about")
    PRESET_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    CAMERA_TURN_FIELD_NUMBER: _ClassVar[int]
    CAMERA_ABOUT_FIELD_NUMBER: _ClassVar[int]
    preset: str
    samples: int
    iterations: int
    horizon: int
    budget_ms: float
    seed: int
    dry_run: bool
    camera_turn: Numbers
    camera_about: Numbers
    def __init__(self, preset: _Optional[str] = ..., samples: _Optional[int] = ..., iterations: _Optional[int] = ..., horizon: _Optional[int] = ..., budget_ms: _Optional[float] = ..., seed: _Optional[int] = ..., dry_run: _Optional[bool] = ..., camera_turn: _Optional[_Union[Numbers, _Mapping]] = ..., camera_about: _Optional[_Union[Numbers, _Mapping]] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("observation", "goal", "sub_goal", "options", "deadline_ms")
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    SUB_GOAL_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    observation: Observation
    goal: GoalReference
    sub_goal: int
    options: PlanOptions
    deadline_ms: float
    def __init__(self, observation: _Optional[_Union[Observation, _Mapping]] = ..., goal: _Optional[_Union[GoalReference, _Mapping]] = ..., sub_goal: _Optional[int] = ..., options: _Optional[_Union[PlanOptions, _Mapping]] = ..., deadline_ms: _Optional[float] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Confidence(_message.Message):
    __slots__ = ("elite_spread", "gain", "flatness", "gripper_contrast", "goal_reached", "goal_out_of_reach", "goal_uncertainty", "cycle_error", "view_unfamiliar")
    ELITE_SPREAD_FIELD_NUMBER: _ClassVar[int]
    GAIN_FIELD_NUMBER: _ClassVar[int]
    FLATNESS_FIELD_NUMBER: _ClassVar[int]
    GRIPPER_CONTRAST_FIELD_NUMBER: _ClassVar[int]
    GOAL_REACHED_FIELD_NUMBER: _ClassVar[int]
    GOAL_OUT_OF_REACH_FIELD_NUMBER: _ClassVar[int]
    GOAL_UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    CYCLE_ERROR_FIELD_NUMBER: _ClassVar[int]
    VIEW_UNFAMILIAR_FIELD_NUMBER: _ClassVar[int]
    elite_spread: float
    gain: float
    flatness: float
    gripper_contrast: float
    goal_reached: bool
    goal_out_of_reach: bool
    goal_uncertainty: float
    cycle_error: float
    view_unfamiliar: bool
    def __init__(self, elite_spread: _Optional[float] = ..., gain: _Optional[float] = ..., flatness: _Optional[float] = ..., gripper_contrast: _Optional[float] = ..., goal_reached: _Optional[bool] = ..., goal_out_of_reach: _Optional[bool] = ..., goal_uncertainty: _Optional[float] = ..., cycle_error: _Optional[float] = ..., view_unfamiliar: _Optional[bool] = ...) -> None: ...

class Clipping(_message.Message):
    __slots__ = ("step", "part", "rule", "asked", "allowed")
    STEP_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    step: int
    part: str
    rule: str
    asked: float
    allowed: float
    def __init__(self, step: _Optional[int] = ..., part: _Optional[str] = ..., rule: _Optional[str] = ..., asked: _Optional[float] = ..., allowed: _Optional[float] = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ("plan_id", "observation_id", "model", "dt_s", "actions", "targets", "wanted", "cost", "idle_cost", "trace", "confidence", "stop_reason", "seed", "iterations", "evaluations", "gripper_costs", "clipped", "warnings", "timings_ms", "dry_run", "failure_probability")
    class GripperCostsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DT_S_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    IDLE_COST_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    GRIPPER_COSTS_FIELD_NUMBER: _ClassVar[int]
    CLIPPED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    FAILURE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    observation_id: str
    model: Model
    dt_s: float
    actions: _containers.RepeatedCompositeFieldContainer[Action]
    targets: _containers.RepeatedCompositeFieldContainer[Pose]
    wanted: _containers.RepeatedCompositeFieldContainer[Action]
    cost: float
    idle_cost: float
    trace: _containers.RepeatedScalarFieldContainer[float]
    confidence: Confidence
    stop_reason: str
    seed: int
    iterations: int
    evaluations: int
    gripper_costs: _containers.ScalarMap[str, float]
    clipped: _containers.RepeatedCompositeFieldContainer[Clipping]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    timings_ms: _containers.ScalarMap[str, float]
    dry_run: bool
    failure_probability: float
    def __init__(self, plan_id: _Optional[str] = ..., observation_id: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., dt_s: _Optional[float] = ..., actions: _Optional[_Iterable[_Union[Action, _Mapping]]] = ..., targets: _Optional[_Iterable[_Union[Pose, _Mapping]]] = ..., wanted: _Optional[_Iterable[_Union[Action, _Mapping]]] = ..., cost: _Optional[float] = ..., idle_cost: _Optional[float] = ..., trace: _Optional[_Iterable[float]] = ..., confidence: _Optional[_Union[Confidence, _Mapping]] = ..., stop_reason: _Optional[str] = ..., seed: _Optional[int] = ..., iterations: _Optional[int] = ..., evaluations: _Optional[int] = ..., gripper_costs: _Optional[_Mapping[str, float]] = ..., clipped: _Optional[_Iterable[_Union[Clipping, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., dry_run: _Optional[bool] = ..., failure_probability: _Optional[float] = ...) -> None: ...

class RegisterGoalRequest(_message.Message):
    __slots__ = ("pictures",)
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    pictures: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, pictures: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Goal(_message.Message):
    __slots__ = ("goal_id", "sub_goals", "expires_in_s")
    GOAL_ID_FIELD_NUMBER: _ClassVar[int]
    SUB_GOALS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    goal_id: str
    sub_goals: int
    expires_in_s: float
    def __init__(self, goal_id: _Optional[str] = ..., sub_goals: _Optional[int] = ..., expires_in_s: _Optional[float] = ...) -> None: ...

class ListGoalsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGoalsResponse(_message.Message):
    __slots__ = ("goals",)
    GOALS_FIELD_NUMBER: _ClassVar[int]
    goals: _containers.RepeatedCompositeFieldContainer[Goal]
    def __init__(self, goals: _Optional[_Iterable[_Union[Goal, _Mapping]]] = ...) -> None: ...

class DeleteGoalRequest(_message.Message):
    __slots__ = ("goal_id",)
    GOAL_ID_FIELD_NUMBER: _ClassVar[int]
    goal_id: str
    def __init__(self, goal_id: _Optional[str] = ...) -> None: ...

class DeleteGoalResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("goal", "options")
    GOAL_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    goal: GoalReference
    options: PlanOptions
    def __init__(self, goal: _Optional[_Union[GoalReference, _Mapping]] = ..., options: _Optional[_Union[PlanOptions, _Mapping]] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("session_id", "status", "sub_goal", "sub_goals", "steps", "expires_in_s")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SUB_GOAL_FIELD_NUMBER: _ClassVar[int]
    SUB_GOALS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    status: str
    sub_goal: int
    sub_goals: int
    steps: int
    expires_in_s: float
    def __init__(self, session_id: _Optional[str] = ..., status: _Optional[str] = ..., sub_goal: _Optional[int] = ..., sub_goals: _Optional[int] = ..., steps: _Optional[int] = ..., expires_in_s: _Optional[float] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class StepSessionRequest(_message.Message):
    __slots__ = ("session_id", "observation", "deadline_ms")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    observation: Observation
    deadline_ms: float
    def __init__(self, session_id: _Optional[str] = ..., observation: _Optional[_Union[Observation, _Mapping]] = ..., deadline_ms: _Optional[float] = ...) -> None: ...

class PassedGoal(_message.Message):
    __slots__ = ("sub_goal", "verdict")
    SUB_GOAL_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    sub_goal: int
    verdict: str
    def __init__(self, sub_goal: _Optional[int] = ..., verdict: _Optional[str] = ...) -> None: ...

class StepResponse(_message.Message):
    __slots__ = ("session_id", "observation_id", "status", "sub_goal", "cost", "passed", "plan", "dropped")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SUB_GOAL_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    observation_id: str
    status: str
    sub_goal: int
    cost: float
    passed: _containers.RepeatedCompositeFieldContainer[PassedGoal]
    plan: PlanResponse
    dropped: int
    def __init__(self, session_id: _Optional[str] = ..., observation_id: _Optional[str] = ..., status: _Optional[str] = ..., sub_goal: _Optional[int] = ..., cost: _Optional[float] = ..., passed: _Optional[_Iterable[_Union[PassedGoal, _Mapping]]] = ..., plan: _Optional[_Union[PlanResponse, _Mapping]] = ..., dropped: _Optional[int] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Exploration(_message.Message):
    __slots__ = ("before", "after", "pose_before", "pose_after")
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    POSE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    POSE_AFTER_FIELD_NUMBER: _ClassVar[int]
    before: bytes
    after: bytes
    pose_before: Pose
    pose_after: Pose
    def __init__(self, before: _Optional[bytes] = ..., after: _Optional[bytes] = ..., pose_before: _Optional[_Union[Pose, _Mapping]] = ..., pose_after: _Optional[_Union[Pose, _Mapping]] = ...) -> None: ...

class CalibrateSessionRequest(_message.Message):
    __slots__ = ("session_id", "moves", "yaw_only")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    YAW_ONLY_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    moves: _containers.RepeatedCompositeFieldContainer[Exploration]
    yaw_only: bool
    def __init__(self, session_id: _Optional[str] = ..., moves: _Optional[_Iterable[_Union[Exploration, _Mapping]]] = ..., yaw_only: _Optional[bool] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("session_id", "camera_turn", "about", "residual", "moves", "warnings")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CAMERA_TURN_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    camera_turn: _containers.RepeatedScalarFieldContainer[float]
    about: _containers.RepeatedScalarFieldContainer[float]
    residual: float
    moves: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_id: _Optional[str] = ..., camera_turn: _Optional[_Iterable[float]] = ..., about: _Optional[_Iterable[float]] = ..., residual: _Optional[float] = ..., moves: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class GetCalibrationRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class DeleteCalibrationRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class DeleteCalibrationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamObservation(_message.Message):
    __slots__ = ("observation", "deadline_ms")
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    observation: Observation
    deadline_ms: float
    def __init__(self, observation: _Optional[_Union[Observation, _Mapping]] = ..., deadline_ms: _Optional[float] = ...) -> None: ...

class PlanStreamRequest(_message.Message):
    __slots__ = ("open", "step")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    open: OpenSessionRequest
    step: StreamObservation
    def __init__(self, open: _Optional[_Union[OpenSessionRequest, _Mapping]] = ..., step: _Optional[_Union[StreamObservation, _Mapping]] = ...) -> None: ...

class StreamProblem(_message.Message):
    __slots__ = ("code", "detail", "field", "observation_id", "retry_after_s", "dropped")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    code: str
    detail: str
    field: str
    observation_id: str
    retry_after_s: float
    dropped: int
    def __init__(self, code: _Optional[str] = ..., detail: _Optional[str] = ..., field: _Optional[str] = ..., observation_id: _Optional[str] = ..., retry_after_s: _Optional[float] = ..., dropped: _Optional[int] = ...) -> None: ...

class PlanStreamResponse(_message.Message):
    __slots__ = ("opened", "step", "problem")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    opened: Session
    step: StepResponse
    problem: StreamProblem
    def __init__(self, opened: _Optional[_Union[Session, _Mapping]] = ..., step: _Optional[_Union[StepResponse, _Mapping]] = ..., problem: _Optional[_Union[StreamProblem, _Mapping]] = ...) -> None: ...

class EnergyRequest(_message.Message):
    __slots__ = ("observation", "goal", "sub_goal", "candidates", "deadline_ms")
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    SUB_GOAL_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    observation: Observation
    goal: GoalReference
    sub_goal: int
    candidates: _containers.RepeatedCompositeFieldContainer[Actions]
    deadline_ms: float
    def __init__(self, observation: _Optional[_Union[Observation, _Mapping]] = ..., goal: _Optional[_Union[GoalReference, _Mapping]] = ..., sub_goal: _Optional[int] = ..., candidates: _Optional[_Iterable[_Union[Actions, _Mapping]]] = ..., deadline_ms: _Optional[float] = ...) -> None: ...

class EnergyResponse(_message.Message):
    __slots__ = ("model", "energies", "idle_energy", "timings_ms")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENERGIES_FIELD_NUMBER: _ClassVar[int]
    IDLE_ENERGY_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    model: Model
    energies: _containers.RepeatedScalarFieldContainer[float]
    idle_energy: float
    timings_ms: _containers.ScalarMap[str, float]
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., energies: _Optional[_Iterable[float]] = ..., idle_energy: _Optional[float] = ..., timings_ms: _Optional[_Mapping[str, float]] = ...) -> None: ...

class RolloutRequest(_message.Message):
    __slots__ = ("observation", "candidates", "goal", "sub_goal", "with_latents", "deadline_ms")
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    SUB_GOAL_FIELD_NUMBER: _ClassVar[int]
    WITH_LATENTS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    observation: Observation
    candidates: _containers.RepeatedCompositeFieldContainer[Actions]
    goal: GoalReference
    sub_goal: int
    with_latents: bool
    deadline_ms: float
    def __init__(self, observation: _Optional[_Union[Observation, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[Actions, _Mapping]]] = ..., goal: _Optional[_Union[GoalReference, _Mapping]] = ..., sub_goal: _Optional[int] = ..., with_latents: _Optional[bool] = ..., deadline_ms: _Optional[float] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("shape", "dtype", "data")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    data: bytes
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class RolloutResponse(_message.Message):
    __slots__ = ("model", "poses", "energies", "latents", "timings_ms")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    POSES_FIELD_NUMBER: _ClassVar[int]
    ENERGIES_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    model: Model
    poses: _containers.RepeatedCompositeFieldContainer[Poses]
    energies: _containers.RepeatedCompositeFieldContainer[Numbers]
    latents: Tensor
    timings_ms: _containers.ScalarMap[str, float]
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., poses: _Optional[_Iterable[_Union[Poses, _Mapping]]] = ..., energies: _Optional[_Iterable[_Union[Numbers, _Mapping]]] = ..., latents: _Optional[_Union[Tensor, _Mapping]] = ..., timings_ms: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "version", "state", "reason", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    state: str
    reason: str
    details: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ServerInfo(_message.Message):
    __slots__ = ("version", "api", "dt_s", "conventions", "limits", "presets", "versions")
    class ConventionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    API_FIELD_NUMBER: _ClassVar[int]
    DT_S_FIELD_NUMBER: _ClassVar[int]
    CONVENTIONS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    PRESETS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    api: str
    dt_s: float
    conventions: _containers.ScalarMap[str, str]
    limits: _containers.ScalarMap[str, float]
    presets: _containers.RepeatedScalarFieldContainer[str]
    versions: _containers.ScalarMap[str, str]
    def __init__(self, version: _Optional[str] = ..., api: _Optional[str] = ..., dt_s: _Optional[float] = ..., conventions: _Optional[_Mapping[str, str]] = ..., limits: _Optional[_Mapping[str, float]] = ..., presets: _Optional[_Iterable[str]] = ..., versions: _Optional[_Mapping[str, str]] = ...) -> None: ...
