"""The generated stubs are those of the proto files, and messages say the same as JSON does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from pydantic import BaseModel

from server import messages as m
from vjepa2_ac.pb import planning_pb2 as pb
from vjepa2_ac.wire import to_message, to_plain

ROOT = Path(__file__).parent.parent
GENERATED = ("planning_pb2.py", "planning_pb2.pyi", "planning_pb2_grpc.py")


def test_stubs_are_up_to_date(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([ROOT / "proto" / "generate", tmp_path], check=True, env=environment, capture_output=True)
    for name in GENERATED:
        fresh = (tmp_path / "vjepa2_ac" / "pb" / name).read_text()
        assert fresh == (ROOT / "vjepa2_ac" / "pb" / name).read_text(), f"{name} is old; run proto/generate"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (m.PlanRequest, pb.PlanRequest),
        (m.PlanResponse, pb.PlanResponse),
        (m.Observation, pb.Observation),
        (m.GoalReference, pb.GoalReference),
        (m.PlanOptions, pb.PlanOptions),
        (m.Confidence, pb.Confidence),
        (m.Clipping, pb.Clipping),
        (m.RegisterGoalRequest, pb.RegisterGoalRequest),
        (m.Goal, pb.Goal),
        (m.Goals, pb.ListGoalsResponse),
        (m.OpenSessionRequest, pb.OpenSessionRequest),
        (m.Session, pb.Session),
        (m.Sessions, pb.ListSessionsResponse),
        (m.StepRequest, pb.StreamObservation),
        (m.StepResponse, pb.StepResponse),
        (m.StreamProblem, pb.StreamProblem),
        (m.Exploration, pb.Exploration),
        (m.Calibration, pb.Calibration),
        (m.EnergyRequest, pb.EnergyRequest),
        (m.EnergyResponse, pb.EnergyResponse),
        (m.RolloutRequest, pb.RolloutRequest),
        (m.RolloutResponse, pb.RolloutResponse),
        (m.ModelInfo, pb.ModelInfo),
        (m.Models, pb.ListModelsResponse),
        (m.ServerInfo, pb.ServerInfo),
    ],
)
def test_both_wires_have_the_same_fields(kind: type[BaseModel], message: type) -> None:
    assert set(kind.model_fields) == {field.name for field in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]


def test_a_message_becomes_a_dictionary_and_comes_back() -> None:
    plain = {
        "observation": {"picture": b"png", "pose": [0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0], "id": "7"},
        "goal": {"pictures": [b"a", b"b"]},
        "options": {"seed": 5, "camera_turn": [0.0, 0.0, 0.5]},
    }
    assert to_plain(to_message(plain, pb.PlanRequest)) == plain


def test_nested_lists_stand_for_themselves() -> None:
    candidates = [[[0.0] * 7, [0.1] * 7], [[0.2] * 7, [0.3] * 7]]
    message = to_message({"candidates": candidates}, pb.EnergyRequest)
    assert to_plain(message)["candidates"] == candidates


def test_what_is_absent_is_left_out_and_zero_is_not() -> None:
    assert "seed" not in to_plain(pb.PlanOptions())
    assert to_plain(pb.PlanOptions(seed=0)) == {"seed": 0}


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="no field 'sede'"):
        to_message({"sede": 1}, pb.PlanOptions)


def test_optional_fields_are_optional_on_the_wire() -> None:
    for field in pb.PlanOptions.DESCRIPTOR.fields:
        assert field.has_presence or field.type == FieldDescriptor.TYPE_MESSAGE, field.name
