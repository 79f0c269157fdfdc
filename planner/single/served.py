"""Planning by asking a service; nothing here imports torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from planner.single.answer import Answer
from planner.single.landscape import around
from planner.single.question import Question, Wishes
from vjepa2_ac.client import PlannerClient, PlannerError
from vjepa2_ac.errors import ConfigError

TOKEN = "VJEPA2_AC_TOKEN"  # environment variable with the token that a guarded service asks for
SIZES = ("samples", "iterations", "horizon")


def plan_by_service(
    question: Question,
    url: str,
    *,
    token: str | None,
    ca: Path | None,
    timeout_s: float,
    points: int,
) -> Answer:
    """The plan of the service at `url`, and the energies around it, on maps of `points` moves a side."""
    wishes, goals = question.wishes, [goal.picture.data for goal in question.goals]
    seen = question.observation.picture.data
    options = options_of(wishes)
    with PlannerClient(url, token=token, ca=ca, timeout_s=timeout_s) as client:
        plan = client.plan(
            seen, question.pose, goals, sub_goal=question.sub_goal, deadline_ms=wishes.deadline_ms, **options
        )
        score = partial(client.energy, seen, question.pose, goals, sub_goal=question.sub_goal)
        try:
            landscape = around(plan.wanted, points, score)
        except PlannerError as error:
            raise PlannerError(
                f"the plan was made, but not the {points} x {points} maps around it: {error}; --grid says how large "
                "they are, 0 for none, and --timeout-s how long to wait",
                code=error.code,
                request_id=error.request_id,
            ) from None
    return Answer(question=question, plan=plan, landscape=landscape, server=url)


def options_of(wishes: Wishes) -> dict[str, Any]:
    """The wishes as options of a request to a service; everything else is set by its operator."""
    named = {"preset": wishes.preset, "budget_ms": wishes.budget_ms, "dry_run": wishes.dry_run or None}
    return {
        "seed": wishes.seed,
        **{name: value for name, value in named.items() if value},
        **sizes_of(wishes.preset, wishes.settings),
    }


def sizes_of(preset: str | None, settings: Sequence[str]) -> dict[str, int]:
    """The sizes of the search that settings `NAME=VALUE` ask of a service. Raises ConfigError for any other setting."""
    sizes, search = dict[str, int](), "paper" if preset == "paper" else "search"
    for text in settings:
        name, _, value = text.partition("=")
        section, _, size = name.strip().rpartition(".")
        if section != search or size not in SIZES or not value.strip().isdecimal():
            known = ", ".join(f"{search}.{size}" for size in SIZES)
            raise ConfigError(f"--set {text}: of a service's settings, only {known} can be changed, to whole numbers")
        sizes[size] = int(value)
    return sizes


def read_token(path: Path | None) -> str | None:
    """The first token in the file or, without a file, that of the environment, if it has one.

    Raises ConfigError for a file that cannot be read or holds no token.
    """
    if path is None:
        return os.environ.get(TOKEN)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read: {error}") from None
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise ConfigError(f"the token file {path} holds no token")
    return tokens[0]
