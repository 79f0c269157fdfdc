"""A plan as text for people: what to do, step by step, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.single.answer import Answer
from vjepa2_ac.client.answers import Confidence, Plan
from vjepa2_ac.poses import PARTS, Array

WIDTH = 9  # of a column


def table(answer: Answer) -> str:
    """Actions and targets, cost, confidence, and whatever there is to warn of."""
    return "\n".join(_lines(answer))


def _lines(answer: Answer) -> Iterator[str]:
    plan, asked = answer.plan, answer.question
    which = f" ({asked.sub_goal + 1} of {len(asked.goals)})" if len(asked.goals) > 1 else ""
    yield f"from {asked.observation.source} towards {asked.goal.source}{which}"
    yield f"model {plan.model['name']} {plan.model['version']}" + (f" at {answer.server}" if answer.server else "")
    yield ""
    yield "action" + "".join(f"{'Δ' + part:>{WIDTH}}" for part in PARTS) + "   m, rad, closedness"
    yield from (_row(h, action) for h, action in enumerate(plan.actions))
    yield "target" + "".join(f"{part:>{WIDTH}}" for part in PARTS)
    yield _row("now", asked.pose)
    yield from (_row(h, target) for h, target in enumerate(plan.targets))
    yield ""
    yield f"cost        {_cost(plan)}"
    yield f"search      {_search(plan)}"
    yield f"confidence  {_confidence(plan)}"
    if plan.failure_probability is not None:
        yield f"failure     expected with a probability of {plan.failure_probability:.2f}"
    if plan.gripper_costs:
        yield "gripper     " + " · ".join(f"{name} {cost:.6f}" for name, cost in plan.gripper_costs.items())
    for clip in plan.clipped:
        yield (
            f"clipped     step {clip['step']}: {clip['part']} {clip['asked']:+.4f} became {clip['allowed']:+.4f} "
            f"({clip['rule']})"
        )
    for warning in plan.warnings:
        yield f"warning     {warning}"


def _row(name: int | str, numbers_7: Array) -> str:
    return f"{name!s:>6}" + "".join(f"{number:>{WIDTH}.4f}" for number in numbers_7)


def _cost(plan: Plan) -> str:
    if not math.isfinite(plan.idle_cost):
        return f"{plan.cost:.6f}"
    gain = 100 * plan.confidence.gain
    return (
        f"{plan.cost:.6f}, {abs(gain):.1f} % {'below' if gain >= 0 else 'above'} doing nothing ({plan.idle_cost:.6f})"
    )


def _search(plan: Plan) -> str:
    why = {"converged": "the elites agreed", "deadline": "the deadline"}.get(plan.stop_reason, "all its iterations")
    took = plan.timings_ms
    return (
        f"{plan.iterations} iterations, {plan.evaluations} candidates, stopped by {why}; seed {plan.seed}; "
        f"{took.get('search', math.nan):.0f} ms of {took.get('total', math.nan):.0f} ms"
    )


def _verdict(signs: Confidence) -> str:
    if signs.view_unfamiliar:
        return "view unfamiliar"
    return (
        "goal reached" if signs.goal_reached else "goal out of reach" if signs.goal_out_of_reach else "worth its move"
    )


def _confidence(plan: Plan) -> str:
    signs = plan.confidence
    unsure, lost = signs.goal_uncertainty, signs.cycle_error
    located = "" if unsure is None else f", goal located within {100 * unsure:.1f} cm"
    located += "" if lost is None else f", contradicting itself by {100 * lost:.1f} cm"
    return (
        f"{_verdict(signs)}; elites within {100 * signs.elite_spread:.2f} cm, flatness {signs.flatness:.4f}, "
        f"gripper contrast {signs.gripper_contrast:.4f}{located}"
    )
