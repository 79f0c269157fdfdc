"""What is drawn of a plan lies where the plan says: in centimetres, y to the left."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from planner.single.answer import Answer
from planner.single.landscape import PLANES, Landscape, Map
from planner.single.picture import _draw_gripper, _draw_map, _draw_path, _draw_trace, _goal_title, draw
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
    assert [axes.get_title() for axes in (above, aside)] == ["path from above", "path from the side"]
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in (above, aside)] == [
        ("y [cm]", "x [cm]"),
        ("x [cm]", "z [cm]"),
    ]
    assert above.get_aspect() == aside.get_aspect() == 1
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


def test_a_plan_that_stays_is_drawn_no_larger_than_life() -> None:
    axes, still = Figure().subplots(), np.zeros((1, 7))
    _draw_path(axes, replace(ANSWER, plan=replace(PLAN, wanted=still, targets=np.array([HOME]))), *PLANES[1])
    np.testing.assert_allclose((axes.get_xlim(), axes.get_ylim()), [(35, 45), (25, 35)])


def test_the_cost_is_drawn_after_each_iteration_and_beside_that_of_doing_nothing() -> None:
    known, unknown = Figure().subplots(1, 2)
    _draw_trace(known, replace(PLAN, trace=np.array([0.9, 0.75]), iterations=2))
    np.testing.assert_allclose(drawn(known, "best so far"), [(1, 0.9), (2, 0.75)])
    np.testing.assert_allclose(drawn(known, "doing nothing")[:, 1], 1.0)
    _draw_trace(unknown, replace(PLAN, idle_cost=np.nan))
    assert [line.get_label() for line in unknown.get_lines()] == ["best so far"]


def test_the_gripper_is_drawn_over_time_with_what_its_options_cost() -> None:
    axes = Figure().subplots()
    _draw_gripper(axes, replace(PLAN, gripper_costs={"keep": 0.75, "close": 0.5}), np.array([*HOME[:6], 0.25]))
    np.testing.assert_allclose(axes.get_lines()[0].get_xydata(), [(0, 0.25), (0.25, 0), (0.5, 1)])  # [s]
    assert [text.get_text() for text in axes.texts] == ["best cost if\nkeep 0.75000\nclose 0.50000"]


def test_what_is_seen_is_drawn_left_of_the_goal_that_is_planned_towards() -> None:
    seen, wanted = (np.zeros((32, 32, 3), np.uint8) for _ in range(2))
    seen[:24, :, 0], wanted[:24, :, 2] = 255, 255  # red and blue, which no other panel is
    first, second = (Shown("a.png", decode(png(frame), "a test", 1 << 14)) for frame in (seen, wanted))
    whole = draw(replace(ANSWER, question=replace(QUESTION, observation=first, goals=(first, second))))
    drawn_HW3 = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    left, right = (np.argwhere((drawn_HW3 == colour).all(axis=-1)) for colour in ((0, 0, 255), (255, 0, 0)))
    assert min(len(left), len(right)) > 1000
    assert left[:, 1].max() < right[:, 1].min()


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
    np.testing.assert_allclose(drawn(axes, "staying"), [(0, 0)])
    assert axes.get_xlim() == ((11.25, -11.25) if which == 0 else (-11.25, 11.25))
    assert axes.get_ylim() == (-11.25, 11.25)
    (image,) = axes.get_images()
    np.testing.assert_allclose(image.get_array(), energies_PP - 0.5)
    assert (image.origin, image.get_extent()) == ("lower", [-11.25, 11.25, -11.25, 11.25])
    assert (axes.get_xlabel(), axes.get_ylabel()) == (("Δy [cm]", "Δx [cm]"), ("Δx [cm]", "Δz [cm]"))[which]
    assert axes.get_title() == f"energy of the first move, from {('above', 'the side')[which]}"
    assert [each.get_ylabel() for each in axes.figure.axes] == [axes.get_ylabel(), "above 0.50000"]


def test_one_of_several_goals_says_which() -> None:
    assert _goal_title(ANSWER) == "goal 2 of 3"
    assert _goal_title(replace(ANSWER, question=replace(QUESTION, goals=(SEEN,), sub_goal=0))) == "goal"
