"""A failure model that is known by arithmetic: the less a plan gains, the likelier it fails."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from planner.failure_model import FORMAT, SIGNS, FailureModel
from planner.presets import preset
from vjepa2_ac.config import to_dict

ON_GAIN = FailureModel(
    centre=(0.0,) * len(SIGNS),
    scale=(1.0,) * len(SIGNS),
    coefficients=tuple(-4.0 if name == "gain" else 0.0 for name in SIGNS),
    intercept=2.0,
    cost=to_dict(preset("fast").cost),
)


def file_of(folder: Path, *models: FailureModel) -> Path:
    """What `evaluate-confidence` would write."""
    path = folder / "confidence.json"
    path.write_text(json.dumps({"format": FORMAT, "fits": [{"failure": asdict(model)} for model in models]}))
    return path
