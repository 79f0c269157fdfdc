"""What requests may say, checked where it comes in."""

from __future__ import annotations

from typing import Any

import pytest

from server import messages as m
from vjepa2_ac.errors import FieldError


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        (m.RolloutRequest, {"with_latents": 1}, "with_latents: 1; expected a valid boolean"),
        (m.CalibrationRequest, {"yaw_only": 0}, "yaw_only: 0; expected a valid boolean"),
        (m.CalibrationRequest, {"moves": [{}] * 33}, "moves: 33 of them; expected at most 32 items"),
        (m.RegisterGoalRequest, {"pictures": [b""] * 17}, "pictures: 17 of them; expected at most 16 items"),
        (m.Observation, {"age_ms": -101.0}, "age_ms: -101.0; expected greater than or equal to -100"),
        (m.PlanRequest, {"deadline_ms": 3_600_001}, "deadline_ms: 3600001; expected less than or equal to 3600000"),
        (m.PlanRequest, {"options": {"samples": 2}}, "options.samples: 2; expected greater than or equal to 3"),
        (m.PlanRequest, {"options": {"seed": 2**63}}, f"options.seed: {2**63}; expected less than {2**63}"),
    ],
)
def test_what_a_field_may_not_hold_is_refused(kind: type[m.Message], content: dict[str, Any], words: str) -> None:
    with pytest.raises(FieldError) as caught:
        m.read(kind, content)
    assert str(caught.value) == words
