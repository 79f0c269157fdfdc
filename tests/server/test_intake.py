"""Of what requests bring, what can be told without a service."""

from __future__ import annotations

from server.intake import Intake
from server.settings import Settings


def test_a_deadline_is_the_callers_or_the_wires_whichever_is_earlier() -> None:
    intake = Intake(Settings(), clock=lambda: 100.0)
    assert intake.deadline(2000.0, None, 99.0) == 101.0  # it counts from arrival
    assert intake.deadline(2000.0, 0.5, 99.0) == 100.5
    assert intake.deadline(200.0, 5.0) == 100.2
    assert intake.deadline(None, None) is None
