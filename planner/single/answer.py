"""The answer to a question: a plan with the fields of a served one, whether made in this process or by a service."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from planner.single.landscape import Landscape
from planner.single.question import Question
from vjepa2_ac.client.answers import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan, what was asked for it, and the energies around it."""

    question: Question
    plan: Plan
    landscape: Landscape | None = None
    server: str | None = None  # URL of the service that planned; None: this process did

    def to_json(self) -> str:
        """JSON with the fields of a served plan, what was asked, and the maps."""
        asked = self.question
        content = {
            **_plain(self.plan),
            "observation": {
                "source": asked.observation.source,
                "sha256": asked.observation.picture.sha256,
                "pose": asked.pose.tolist(),
            },
            "goal": {
                "sources": [goal.source for goal in asked.goals],
                "sha256": [goal.picture.sha256 for goal in asked.goals],
                "sub_goal": asked.sub_goal,
            },
            "asked": asdict(asked.wishes),
            "server": self.server,
            "landscape": None if self.landscape is None else self.landscape.plain(),
        }
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def _plain(plan: Plan) -> dict[str, Any]:
    content = {}
    for entry in fields(plan):
        value = getattr(plan, entry.name)
        content[entry.name] = value.tolist() if isinstance(value, np.ndarray) else value
    content["confidence"] = asdict(plan.confidence)
    content["idle_cost"] = plan.idle_cost if math.isfinite(plan.idle_cost) else None
    return content
