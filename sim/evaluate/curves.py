"""Costs over an episode as a small inline SVG: what was measured, what had been imagined, and when goals passed."""

from __future__ import annotations

from html import escape

from sim.evaluate.episode import Record

WIDTH, HEIGHT, EDGE = 260, 90, 4
MEASURED, IMAGINED, PASSED = "#2b6cb0", "#dd8a1f", "#40be5a"


def costs(record: Record) -> str:
    """The SVG of an episode's costs; empty where its driver has none."""
    turns = record["turns"]
    real = [(step, turn["cost"]) for step, turn in enumerate(turns) if turn["cost"] is not None]
    last = max(1, len(turns))
    # What a plan imagines is due at the end of its horizon.
    imagined = [
        (min(last, step + turn["horizon"]), turn["imagined_cost"])
        for step, turn in enumerate(turns)
        if turn["imagined_cost"] is not None
    ]
    if not real:
        return ""
    top = max(cost for _, cost in [*real, *imagined]) or 1.0
    # The last goal is passed again in every later step; the first time counts.
    first = {goal: step for step in reversed(range(len(turns))) for goal, _ in turns[step]["passed"]}
    lines = [
        f'<line x1="{_x(step, last)}" x2="{_x(step, last)}" y1="0" y2="{HEIGHT}" stroke="{PASSED}"/>'
        for step in sorted(set(first.values()))
    ]
    drawn = [_line(imagined, last, top, IMAGINED, "4 3"), _line(real, last, top, MEASURED, "")]
    label = f'<text x="{EDGE}" y="12" font-size="10" fill="currentColor">{escape(f"{top:.3g}")}</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="cost over steps">{"".join(lines)}{"".join(drawn)}{label}</svg>'
    )


def _line(points: list[tuple[int, float]], last: int, top: float, colour: str, dashes: str) -> str:
    where = " ".join(f"{_x(step, last)},{_y(cost, top)}" for step, cost in points)
    return f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-dasharray="{dashes}"/>'


def _x(step: int, last: int) -> float:
    return round(EDGE + (WIDTH - 2 * EDGE) * step / last, 1)


def _y(cost: float, top: float) -> float:
    return round(HEIGHT - EDGE - (HEIGHT - 3 * EDGE) * cost / top, 1)
