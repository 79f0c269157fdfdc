"""What is drawn of a plan lies where the plan says: in centimetres, y to the left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from planner.single.answer import Answer
from planner.single.landscape import PLANES, Landscape, Map
from planner.single.picture import _draw_map, _draw_path, _goal_title
from planner.single.question import Question, Shown
from tests.planner.test_table import PLAN
from tests.planner.worlds import HOME, paint
from vjepa2_ac.client.pictures import png
from vjepa2_ac.pictures import decode

WANTED = np.array([[0.1, 0.0, -0.02, 0.0, 0.0, 0.0, 0.0], [0.0, -0.05, 0.0, 0.0, 0.0, 0.0, 1.0]])
SEEN = Shown("now.png", decode(png(paint(HOME)), "a test", 1 << 14))
QUESTION = Question(observation=SEEN, pose=np.array(HOME), goals=(SEEN, SEEN, SEEN), sub_goal=1)
ANSWER = Answer(question=QUESTION, plan=replace(PLAN, wanted=WANTED))


def drawn(axes: Axes, label: str) -> np.ndarray:
    (line,) = (line for line in axes.get_lines() if line.get_label() == label)
    return np.asarray(line.get_xydata())


def test_paths_lead_from_the_hand_to_where_the_search_wanted_and_where_the_plan_leads() -> None:
    above, aside = Figure().subplots(1, 2)
    for axes, plane in zip((above, aside), PLANES, strict=True):
        _draw_path(axes, ANSWER, *plane)
    np.testing.assert_allclose(drawn(above, "plan"), [(0, 40), (0, 45), (-2.5, 45)], atol=1e-9)  # y across, x up
    np.testing.assert_allclose(drawn(above, "found by the search"), [(0, 40), (0, 50), (-5, 50)], atol=1e-9)
    np.testing.assert_allclose(drawn(above, "hand now"), [(0, 40)], atol=1e-9)
    np.testing.assert_allclose(drawn(aside, "found by the search"), [(40, 30), (50, 28), (50, 28)], atol=1e-9)
    assert above.get_xlim()[0] > above.get_xlim()[1]  # from behind the robot, y grows to the left
    assert aside.get_xlim()[0] < aside.get_xlim()[1]
    for axes in (above, aside):
        for line in axes.get_lines():
            for (low, high), values in zip(
                (sorted(axes.get_xlim()), axes.get_ylim()), np.asarray(line.get_xydata()).T, strict=True
            ):
                assert low < values.min() <= values.max() < high


def test_what_was_not_clipped_is_drawn_once() -> None:
    axes = Figure().subplots()
    _draw_path(axes, replace(ANSWER, plan=replace(PLAN, wanted=PLAN.actions)), *PLANES[0])
    assert [line.get_label() for line in axes.get_lines()] == ["plan", "hand now"]


@pytest.mark.parametrize(
    ("which", "lowest", "planned"), [(0, (-7.5, 0.0), (0.0, 10.0)), (1, (-7.5, 0.0), (10.0, -2.0))]
)
def test_a_map_shows_where_its_lowest_energy_and_the_plan_are(
    which: int, lowest: tuple[float, float], planned: tuple[float, float]
) -> None:
    energies_PP = np.ones((3, 3))
    energies_PP[1, 0] = 0.5  # row: up, column: across
    maps = tuple(Map(seen_from=a, across=b, up=c, energies_PP=energies_PP) for a, b, c in PLANES)
    offsets_P = np.array([-0.075, 0.0, 0.075])
    landscape = Landscape(offsets_P=offsets_P, maps=maps, plan_energy=0.5, idle_energy=1.0)
    axes = Figure().subplots()
    _draw_map(axes, landscape, which, ANSWER.plan)
    np.testing.assert_allclose(drawn(axes, "lowest"), [lowest])
    np.testing.assert_allclose(drawn(axes, "planned"), [planned])
    assert axes.get_xlim() == ((11.25, -11.25) if which == 0 else (-11.25, 11.25))
    assert axes.get_ylim() == (-11.25, 11.25)


def test_one_of_several_goals_says_which() -> None:
    assert _goal_title(ANSWER) == "goal 2 of 3"
    assert _goal_title(replace(ANSWER, question=replace(QUESTION, goals=(SEEN,), sub_goal=0))) == "goal"
