"""The lines of the report: which figures a model is judged by, in order, and the goals set for the default model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from vjepa2_ac.fitcheck.axes import AXES
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured
from vjepa2_ac.fitcheck.located import NEAR, HandErrors, Locating
from vjepa2_ac.fitcheck.ranking import GRIPPER_CASES
from vjepa2_ac.fitcheck.readout import WIDTHS
from vjepa2_ac.fitcheck.report import Column
from vjepa2_ac.models.hand_location import EARLIER_OBSERVATIONS, FAMILIAR

Found = Estimate | NotMeasured
Pick = Callable[[Column], Found]
SectionT = TypeVar("SectionT")


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit on one figure."""

    at: Literal["most", "least"]
    limit: float

    def is_met(self, value: float) -> bool:
        """Whether a figure is within the limit; NaN is not."""
        return value <= self.limit if self.at == "most" else value >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.at == 'most' else '≥'} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the report."""

    words: str
    pick: Pick
    scale: float = 1.0  # from the estimate's unit to the one in `words`
    digits: int = 2
    goal: Goal | None = None
    claim: str = ""  # lines with the same claim share one goal: the best of them counts

    def of(self, column: Column) -> Found:
        """The figure that a model reached, in the unit named in `words`."""
        found = self.pick(column)
        return found.times(self.scale) if isinstance(found, Estimate) else found


def sections(horizon: int) -> dict[str, list[Figure]]:
    """All figures by heading, for rollouts of `horizon` steps."""
    return {
        "latent error ÷ copying the last frame": [
            Figure(words="1 step", pick=_open_loop(1), goal=Goal("most", 0.5)),
            Figure(words=f"{horizon} steps, open loop", pick=_open_loop(horizon), goal=Goal("most", 0.6)),
            Figure(words=f"1 step, {horizon} frames seen", pick=_teacher_forced(horizon)),
        ],
        "percentile of the true action (chance: 50)": [
            Figure(words="move, among others as long", pick=_move, digits=1, goal=Goal("most", 2)),
            *[Figure(words=f"gripper alone, {case}", pick=_gripper(case), digits=1) for case in GRIPPER_CASES],
        ],
        "one-step error with false actions ÷ with true ones": [
            Figure(words="actions shuffled", pick=_shuffled, goal=Goal("least", 2)),
            Figure(words="gripper zeroed where it moves", pick=_gripper_zeroed, goal=Goal("least", 1.25)),
        ],
        "counterfactual pairs: one state, opening or closing": [
            Figure(words="ranked right after 1 step [%]", pick=_right_first, scale=100, digits=1),
            Figure(words="ranked right at the end [%]", pick=_right_last, scale=100, digits=1, goal=Goal("least", 99)),
            Figure(words="separation at the end, imagined ÷ real", pick=_separation),
        ],
        "lowest imagined cost lies off the truth by": [
            Figure(words=f"{axis} [{'cm' if axis in 'xyz' else 'stroke'}]", pick=_off_by(axis), scale=_scale(axis))
            for axis in AXES
        ],
        "read-out error, beside that of always saying the mean": [
            _readout(kind, quantity) for kind in ("linear", "attentive", "points", "mean") for quantity in WIDTHS
        ],
        "read from imagined frames, by points": [
            Figure(words=f"hand after {steps} step{'s' if steps > 1 else ''} [cm]", pick=_imagined("hand", steps))
            for steps in sorted({1, horizon})
        ]
        + [
            Figure(words=f"object after {steps} step{'s' if steps > 1 else ''} [cm]", pick=_imagined("object", steps))
            for steps in sorted({1, horizon})
        ],
        "the hand in another frame, located by the inverse": _locating(lambda column: column.located),
        "the hand at the next keyframe before a goal": _locating(lambda column: column.keyframes),
    }


READ_OUT_GOALS = {"hand": Goal("most", 1.0), "object": Goal("most", 1.5)}  # [cm]


def _readout(kind: str, quantity: str) -> Figure:
    def pick(column: Column) -> Found:
        return _of(column.readout, lambda readout: readout.by_kind[kind][quantity])

    unit = "stroke" if quantity == "closedness" else "cm"
    return Figure(
        words=f"{quantity}, {kind} [{unit}]",
        pick=pick,
        digits=3 if quantity == "closedness" else 2,
        goal=None if kind == "mean" else READ_OUT_GOALS.get(quantity),
        claim=f"{quantity}, best read-out [{unit}]",
    )


def _scale(axis: str) -> float:
    return 1.0 if axis == "gripper" else 100.0  # [cm]


def _of(section: SectionT | NotMeasured, pick: Callable[[SectionT], Found]) -> Found:
    return section if isinstance(section, NotMeasured) else pick(section)


def _open_loop(steps: int) -> Pick:
    return lambda column: _of(column.drift, lambda drift: drift.open_loop[steps - 1])


def _teacher_forced(frames: int) -> Pick:
    return lambda column: _of(column.drift, lambda drift: drift.teacher_forced[frames - 1])


def _move(column: Column) -> Found:
    return _of(column.ranking, lambda ranking: ranking.move)


def _gripper(case: str) -> Pick:
    return lambda column: _of(column.ranking, lambda ranking: ranking.gripper[case])


def _shuffled(column: Column) -> Found:
    return _of(column.controls, lambda controls: controls.shuffled)


def _gripper_zeroed(column: Column) -> Found:
    return _of(column.controls, lambda controls: controls.gripper_zeroed)


def _right_first(column: Column) -> Found:
    return _of(column.pairs, lambda pairs: pairs.ranked_right[0])


def _right_last(column: Column) -> Found:
    return _of(column.pairs, lambda pairs: pairs.ranked_right[-1])


def _separation(column: Column) -> Found:
    return _of(column.pairs, lambda pairs: pairs.separation[-1])


def _off_by(axis: str) -> Pick:
    return lambda column: column.axes[axis].lowest_off_by


def _locating(section: Callable[[Column], Locating | NotMeasured]) -> list[Figure]:
    def pick(of: Callable[[Locating], Found]) -> Pick:
        return lambda column: _of(section(column), of)

    def errors(told: str, of: Callable[[Locating], HandErrors]) -> list[Figure]:
        near = f"hand, less than {100 * NEAR:g} cm away{told} [cm]"
        return [
            Figure(words=f"hand{told} [cm]", pick=pick(lambda located: of(located).hand), scale=100),
            Figure(words=near, pick=pick(lambda located: of(located).hand_nearby), scale=100),
            Figure(words=f"closedness{told} [stroke]", pick=pick(lambda located: of(located).closedness), digits=3),
        ]

    return [
        *errors("", lambda located: located.alone),
        *errors(f", told of {EARLIER_OBSERVATIONS} earlier observations", lambda located: located.told),
        Figure(words="by which it contradicts itself [cm]", pick=pick(lambda located: located.cycle), scale=100),
        Figure(words=f"… more than {100 * FAMILIAR:g} cm [%]", pick=pick(lambda located: located.lost), scale=100),
        Figure(words="said to be where it was [cm]", pick=pick(lambda located: located.way), scale=100),
    ]


def _imagined(quantity: str, steps: int) -> Pick:
    missing = NotMeasured("the episodes do not say where the object is")

    def pick(column: Column) -> Found:
        return _of(
            column.whereabouts,
            lambda found: found.imagined[quantity][steps - 1] if quantity in found.imagined else missing,
        )

    return pick
