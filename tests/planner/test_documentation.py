"""docs/planning.md names every setting with its true default."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.calibration import CalibrationConfig
from planner.mpc import ControlConfig
from planner.planning import PlannerConfig
from planner.presets import PRESETS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()
DOCUMENTED = dict(re.findall(r"^\| `([a-z_.]+)` \| `([^`]*)` \|", DOCUMENT, flags=re.MULTILINE))
SAID_IN_WORDS = {"method", "search"}  # which search; the search that a calibration asks with


def settings(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value) and not (prefix == "" and isinstance(config, CalibrationConfig)):
            yield from settings(value, f"{prefix}{entry.name}.")
        elif f"{prefix}{entry.name}" not in SAID_IN_WORDS:
            yield f"{prefix}{entry.name}", value


@pytest.mark.parametrize(
    "config", [PlannerConfig(), ControlConfig(), CalibrationConfig()], ids=lambda c: type(c).__name__
)
def test_every_setting_is_documented_with_its_default(config: Any) -> None:
    for name, value in settings(config):
        assert DOCUMENTED.get(name) == json.dumps(value), name


def test_nothing_is_documented_that_is_not_there() -> None:
    known = {name for config in (PlannerConfig(), ControlConfig(), CalibrationConfig()) for name, _ in settings(config)}
    assert set(DOCUMENTED) <= known


@pytest.mark.parametrize("name", ["fast", "balanced"])
def test_presets_take_as_many_candidates_as_documented(name: str) -> None:
    row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}`"))
    assert row.endswith(f"| {PRESETS[name].search.most_evaluations} |")
