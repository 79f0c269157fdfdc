"""Each section on a world whose answers are known: a perfect model, one that ignores actions, one that ignores the
gripper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.fitcheck.worlds import (
    IGNORES_ACTIONS,
    IGNORES_GRIPPER,
    PERFECT,
    ROWS,
    PoseWorld,
    branches,
    encoded,
    walk,
)
from vjepa2_ac.data.episodes import BadEpisodes
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.fitcheck.axes import AXES, along_axes
from vjepa2_ac.fitcheck.controls import controls, derange
from vjepa2_ac.fitcheck.drift import drift
from vjepa2_ac.fitcheck.encoded_tracks import see, segments
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured
from vjepa2_ac.fitcheck.located import NEAR, find_keyframes, find_locate_questions, locate
from vjepa2_ac.fitcheck.pairs import Pairs, find_pairs, judge_pairs, parted
from vjepa2_ac.fitcheck.questions import FitCheckConfig, choose
from vjepa2_ac.fitcheck.ranking import any_gripper, choose_moments, percentile, rank, same_norm
from vjepa2_ac.fitcheck.report import Subject, examine
from vjepa2_ac.fitcheck.whereabouts import whereabouts
from vjepa2_ac.models.hand_location import EARLIER_OBSERVATIONS

WALKS = [walk(number) for number in range(6)]
SEEN = encoded(WALKS)
ASKED = choose(WALKS, FitCheckConfig(moments=40))


def value(found: Estimate | NotMeasured) -> float:
    assert isinstance(found, Estimate), found
    return found.value


def test_a_perfect_model_does_not_drift() -> None:
    found = drift(PERFECT, SEEN, ASKED.rollouts, horizon=8)
    for estimates in (found.open_loop, found.teacher_forced):
        assert [each.value for each in estimates] == pytest.approx([0.0] * 8, abs=1e-4)


def test_a_model_that_ignores_actions_is_as_good_as_copying() -> None:
    found = drift(IGNORES_ACTIONS, SEEN, ASKED.rollouts, horizon=8)
    for estimates in (found.open_loop, found.teacher_forced):
        assert [each.value for each in estimates] == pytest.approx([1.0] * 8, abs=1e-4)


def test_a_perfect_model_ranks_the_true_action_first() -> None:
    found = rank(PERFECT, SEEN, ASKED.ranking, candidates=64, seed=0)
    assert value(found.move) == 0.0
    assert {case: value(each) for case, each in found.gripper.items()} == dict.fromkeys(found.gripper, 0.0)


def test_a_model_that_ignores_actions_ranks_them_by_chance() -> None:
    found = rank(IGNORES_ACTIONS, SEEN, ASKED.ranking, candidates=64, seed=0)
    assert value(found.move) == 50.0
    assert value(found.gripper["gripper moves"]) == 50.0


def test_the_gripper_is_judged_alone() -> None:
    found = rank(IGNORES_GRIPPER, SEEN, ASKED.ranking, candidates=64, seed=0)
    assert value(found.move) == 0.0
    assert value(found.gripper["object in hand"]) == 50.0


def test_moments_that_are_ranked_have_a_move_and_each_of_four_grips_a_quarter() -> None:
    number = np.arange(161)
    poses_R7 = np.zeros((161, 7))
    poses_R7[1:, 1] = np.cumsum(np.where(number[:-1] % 2, 0.011, 0.009))  # [m]
    poses_R7[1:, 6] = np.cumsum(np.where(number[:-1] // 2 % 2, 0.11, 0.09) * (-1.0) ** (number[:-1] // 4))  # [stroke]
    tracks = [walk(0, rows=161, poses_R7=poses_R7, held_R=number // 8 % 2 == 0)]
    found = choose_moments(tracks, segments(tracks, 1), 16, np.random.default_rng(0))
    assert len(found.move) == 16
    assert all(start % 2 for _, start in found.move)
    cases = [(start // 2 % 2, start // 8 % 2) for _, start in found.gripper]
    assert [cases.count(case) for case in ((0, 0), (0, 1), (1, 0), (1, 1))] == [4, 4, 4, 4]


def test_a_model_that_imagines_no_numbers_for_some_moves_is_refused_not_ranked() -> None:
    diverged = PoseWorld(lambda actions: actions.where(actions[..., :1] < 0, torch.nan))
    for ask in (
        lambda: along_axes(diverged, SEEN, ASKED.moments, seed=0),
        lambda: rank(diverged, SEEN, ASKED.ranking, 10, seed=0),
        lambda: controls(diverged, SEEN, ASKED.moments, ASKED.transitions, seed=0),
    ):
        with pytest.raises(InputError, match="costs are no numbers"):
            ask()


def test_a_model_that_sees_no_numbers_is_refused() -> None:
    blind: Any = SimpleNamespace(encode=lambda frames: torch.full((ROWS, 1, 7), torch.nan), dtype=torch.float32)
    with pytest.raises(InputError, match="latents are no numbers"):
        see(WALKS[:1], blind, BadEpisodes(0))


def test_candidates_are_as_long_as_the_true_action() -> None:
    true_BA = np.array([[0.03, 0.0, 0.04, 0.0, 0.2, 0.0, 0.5]])
    others_BSA = same_norm(true_BA, np.zeros(1), 500, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(others_BSA[..., :3], axis=-1), 0.05)
    np.testing.assert_allclose(np.linalg.norm(others_BSA[..., 3:6], axis=-1), 0.2)
    assert (others_BSA[..., 6] == 0.5).all()
    np.testing.assert_allclose(others_BSA[..., :3].mean(axis=1), 0, atol=0.01)


def test_gripper_candidates_stay_within_what_it_can_do() -> None:
    others_BSA = any_gripper(np.full((1, 7), 0.1), np.array([0.7]), 500, np.random.default_rng(0))
    assert (others_BSA[..., :6] == 0.1).all()
    assert -0.7 <= others_BSA[..., 6].min() < -0.6
    assert 0.2 < others_BSA[..., 6].max() <= 0.3 + 1e-9


def test_candidates_that_cost_the_same_count_half() -> None:
    assert percentile(np.array([2.0]), np.array([[1.0, 2.0, 3.0, 4.0]])) == [37.5]


def test_a_model_that_ignores_actions_does_not_notice_false_ones() -> None:
    found = controls(IGNORES_ACTIONS, SEEN, ASKED.moments, ASKED.transitions, seed=0)
    assert value(found.shuffled) == 1.0
    assert value(found.gripper_zeroed) == 1.0


def test_a_model_that_reads_actions_does_notice() -> None:
    blurred = PoseWorld(lambda actions: 0.9 * actions)
    found = controls(blurred, SEEN, ASKED.moments, ASKED.transitions, seed=0)
    assert value(found.shuffled) > 5
    assert value(found.gripper_zeroed) > 5
    gripper = controls(IGNORES_GRIPPER, SEEN, ASKED.moments, ASKED.transitions, seed=0).gripper_zeroed
    assert value(gripper) == pytest.approx(1.0)


def test_no_action_keeps_its_place_when_they_are_shuffled() -> None:
    for seed in range(5):
        rows_BA = np.arange(7.0)[:, None].repeat(2, axis=1)
        deranged_BA = derange(rows_BA, seed)
        assert (deranged_BA != rows_BA).all()
        assert sorted(deranged_BA[:, 0]) == list(range(7))


@pytest.mark.parametrize(
    ("model", "right", "apart"), [(PERFECT, 1.0, 1.0), (IGNORES_GRIPPER, 0.5, 0.0)], ids=["perfect", "ignores gripper"]
)
def test_pairs_tell_who_knows_what_the_gripper_does(model: PoseWorld, right: float, apart: float) -> None:
    tracks = [*WALKS, *branches(0), *branches(1)]
    pairs = find_pairs(tracks, 10, np.random.default_rng(0))
    assert pairs == [(6, 7), (8, 9)]
    found = judge_pairs(model, encoded(tracks), pairs, horizon=8)
    assert [each.value for each in found.ranked_right] == pytest.approx([right] * 4)
    assert [each.value for each in found.separation] == pytest.approx([apart] * 4, abs=1e-5)


def test_a_pair_whose_grippers_end_alike_is_none() -> None:
    opened, closed = branches(0)
    kept_R7 = closed.poses_R7.copy()
    kept_R7[-1, 6] = opened.closedness[-1] + 0.09
    told_R7 = kept_R7.copy()
    told_R7[-1, 6] = opened.closedness[-1] + 0.11
    for poses_R7, found in ((kept_R7, []), (told_R7, [(0, 1)])):
        tracks = [opened, replace(closed, poses_R7=poses_R7)]
        assert parted(tracks) == [(0, 1)]
        assert find_pairs(tracks, 10, np.random.default_rng(0)) == found


def test_parts_of_episodes_are_asked_about_as_pairs_only() -> None:
    repaint = walk(9, is_part=True)
    tracks = [*WALKS, *branches(0), repaint]
    assert {segment.track for segment in segments(tracks, 1)} == set(range(6))


def test_the_imagined_valley_of_a_perfect_model_lies_at_the_truth() -> None:
    found = along_axes(PERFECT, SEEN, ASKED.moments, seed=0)
    for axis in AXES:
        assert value(found[axis].lowest_off_by) == 0.0
        imagined = found[axis].imagined
        assert not isinstance(imagined, NotMeasured)
        # A latent is seven numbers, one of which is off by the offset.
        np.testing.assert_allclose(imagined[5:], found[axis].offsets[5:] / 7, atol=1e-5)


def test_a_gripper_is_imagined_no_further_than_its_ends_but_always_as_it_was() -> None:
    tracks = [walk(0, poses_R7=np.outer(np.ones(14), [0, 0, 0, 0, 0, 0, -0.001]))]  # open, as measured
    found = along_axes(PERFECT, encoded(tracks), segments(tracks, 1), seed=0)["gripper"]
    assert not isinstance(found.imagined, NotMeasured)
    np.testing.assert_allclose(found.imagined, [*[np.nan] * 5, *(found.offsets[5:] / 7)], atol=2e-4)
    assert value(found.lowest_off_by) == 0.0


def test_real_frames_that_differ_in_anything_else_are_not_compared() -> None:
    rows = np.arange(20)

    def z_of(change: Callable[[NDArray[np.float64]], object] = lambda poses_R7: None, **others: Any) -> Any:
        poses_R7 = np.zeros((20, 7))
        poses_R7[:, 2] = 0.015 * (rows % 2)
        change(poses_R7)
        return along_axes(None, encoded([walk(0, rows=20, poses_R7=poses_R7, **others)]), [], seed=0)["z"]

    apart = [place for place, count in enumerate(z_of().real_pairs) if count]
    assert apart == [4, 5, 6]

    def elsewhere(number: int, by: float) -> Callable[[NDArray[np.float64]], object]:
        return lambda poses_R7: poses_R7.__setitem__((rows % 2 == 1, number), by)

    for number, little, much in ((0, 0.009, 0.011), (1, 0.009, 0.011), (4, 0.09, 0.11), (6, 0.09, 0.11)):
        assert not isinstance(z_of(elsewhere(number, little)).real, NotMeasured)
        assert isinstance(z_of(elsewhere(number, much)).real, NotMeasured)
    turned_on = z_of(lambda poses_R7: poses_R7.__setitem__((slice(None), 3), np.where(rows % 2, np.pi, -np.pi)))
    assert not isinstance(turned_on.real, NotMeasured)
    for moved, is_still in ((0.009, True), (0.011, False)):
        objects_R3 = np.stack([moved * (rows % 2), 0 * rows, 0 * rows], axis=1)
        assert isinstance(z_of(objects_R3=objects_R3).real, NotMeasured) != is_still


def test_a_handful_of_real_frames_is_too_few_to_average() -> None:
    for alike, is_enough in ((4, False), (5, True)):
        poses_R7 = np.zeros((alike + 1, 7))
        poses_R7[-1, 0] = 0.03
        found = along_axes(None, encoded([walk(0, rows=alike + 1, poses_R7=poses_R7, held_R=None)]), [], seed=0)["x"]
        assert found.real_pairs[7] == alike
        assert found.real_pairs[5] == alike * (alike - 1) // 2  # no two of those alike are compared twice
        assert isinstance(found.real, NotMeasured) != is_enough


def test_real_frames_that_differ_along_one_axis_say_what_the_offset_costs() -> None:
    steps = np.tile(np.linspace(0, 0.09, 7), 4)
    poses_R7 = np.zeros((len(steps), 7))
    poses_R7[:, 2] = steps
    seen = encoded([walk(0, rows=len(steps), poses_R7=poses_R7, held_R=None)])
    found = along_axes(None, seen, [], seed=0)
    real = found["z"].real
    assert not isinstance(real, NotMeasured)
    np.testing.assert_allclose(real, np.abs(found["z"].offsets) / 7, atol=1e-6)
    assert isinstance(found["x"].real, NotMeasured)
    assert isinstance(found["z"].imagined, NotMeasured)


def test_what_is_read_from_imagined_frames_is_off_by_what_was_not_imagined() -> None:
    def reader(latents_QND: Tensor) -> dict[str, NDArray[np.float64]]:
        numbers_Q7 = latents_QND[:, 0].double().numpy()
        return {"hand": numbers_Q7[:, :3], "object": numbers_Q7[:, :3] + 0.02, "closedness": numbers_Q7[:, 6:]}

    tracks = [walk(number, objects_R3=walk(number).poses_R7[:, :3] + 0.02) for number in range(4)]
    asked = segments(tracks, 3)
    found = whereabouts(IGNORES_ACTIONS, encoded(tracks), asked, 3, reader)
    assert [round(each.value, 4) for name in found.real for each in found.real[name]] == [0.0] * 9
    poses_BT7 = encoded(tracks).poses(asked, 3)
    ways_BH = np.linalg.norm(poses_BT7[:, 1:, :3] - poses_BT7[:, :1, :3], axis=-1)
    for name in ("hand", "object"):
        assert [each.value for each in found.imagined[name]] == pytest.approx(100 * ways_BH.mean(axis=0), rel=1e-4)
    turned_BH = np.abs(poses_BT7[:, 1:, 6] - poses_BT7[:, :1, 6])
    assert [each.value for each in found.imagined["closedness"]] == pytest.approx(turned_BH.mean(axis=0), rel=1e-4)


def test_an_inverse_that_sees_every_move_is_never_off() -> None:
    found = locate(PERFECT, SEEN, ASKED.located)
    assert not isinstance(found, NotMeasured)
    for errors in (found.alone, found.told):
        assert value(errors.hand) == pytest.approx(0.0, abs=1e-6)
        assert value(errors.hand_nearby) == pytest.approx(0.0, abs=1e-6)
        assert errors.closedness.value == pytest.approx(0.0, abs=1e-6)
        assert errors.hand.count == len(ASKED.located)


def test_an_inverse_that_sees_no_move_is_off_by_the_whole_way() -> None:
    found = locate(IGNORES_ACTIONS, SEEN, ASKED.located)
    assert not isinstance(found, NotMeasured)
    assert found.alone.hand.value == pytest.approx(found.way.value, rel=1e-5)
    assert 0 < value(found.alone.hand_nearby) < NEAR < found.alone.hand.value
    without_gripper = locate(IGNORES_GRIPPER, SEEN, ASKED.located)
    assert not isinstance(without_gripper, NotMeasured)
    assert without_gripper.alone.hand.value == pytest.approx(0.0, abs=1e-6)
    assert without_gripper.alone.closedness.value == found.alone.closedness.value > 0


@pytest.mark.parametrize(("aside", "lost"), [(0.0, 0.0), (0.014, 0.0), (0.016, 1.0)])
def test_what_an_inverse_adds_to_every_way_shows_twice_between_there_and_back(aside: float, lost: float) -> None:
    found = locate(PoseWorld(lambda moves: moves + aside * torch.eye(7)[1]), SEEN, ASKED.located)
    assert not isinstance(found, NotMeasured)
    assert value(found.cycle) == pytest.approx(2 * aside, abs=1e-6)
    assert value(found.lost) == lost


def test_an_inverse_is_told_of_the_moments_before_and_never_of_the_goal() -> None:
    world = PoseWorld(torch.zeros_like)
    found = locate(world, SEEN, ASKED.located)
    assert not isinstance(found, NotMeasured)
    assert found.told.hand.value < 0.7 * found.alone.hand.value
    assert len(world.told) > len(ASKED.located) / 2
    for earlier, now_7, goal_7 in world.told:
        assert 1 <= len(earlier) <= EARLIER_OBSERVATIONS
        assert not any(torch.equal(pose_7, goal_7) or torch.equal(pose_7, now_7) for pose_7 in earlier.poses_T7)


def test_locate_questions_compare_different_moments_of_whole_episodes() -> None:
    tracks = [walk(0), *branches(1), walk(2, rows=1), walk(3, is_part=True)]
    found = find_locate_questions(tracks, 50, np.random.default_rng(0))
    assert len(found) == 50
    assert all(question.track == 0 and question.now != question.goal for question in found)
    assert find_locate_questions(tracks[1:], 50, np.random.default_rng(0)) == []


def test_keyframes_that_are_asked_for_lie_before_their_goals() -> None:
    closedness_R = np.array(6 * [0.0] + 6 * [0.6] + 6 * [0.1] + 6 * [0.7])
    poses_R7 = np.zeros((24, 7))
    poses_R7[:, 6] = closedness_R
    tracks = [walk(0, rows=24, poses_R7=poses_R7), walk(1, is_part=True), walk(2, poses_R7=np.zeros((14, 7)))]
    found = find_keyframes(tracks, 300, np.random.default_rng(0))
    assert len(found) == 300
    assert {question.track for question in found} == {0}
    for _, now, goal, hand, since in found:
        passed = sum(row <= now for row in (6, 12, 18))
        assert hand == (6, 12, 18)[passed]
        assert since == (0, 6, 12)[passed]
        assert hand <= goal < (18, 24, 24)[passed]
    assert find_keyframes(tracks[1:], 50, np.random.default_rng(0)) == []


@pytest.mark.parametrize(("fps", "lasts"), [(4.0, False), (2.5, True)])
def test_a_keyframe_lasts_a_second_whatever_a_tracks_rate(fps: float, lasts: bool) -> None:
    poses_R7 = np.zeros((24, 7))
    poses_R7[10:14, 6] = 1.0
    track = walk(0, poses_R7=poses_R7, fps=fps)
    hands = {question.hand for question in find_keyframes([track], 100, np.random.default_rng(0))}
    assert hands == ({10, 14} if lasts else set())


def test_of_parts_alone_is_measured_what_needs_no_whole_episode() -> None:
    tracks, config = [*branches(1), *branches(2)], FitCheckConfig(moments=4)
    asked = choose(tracks, config)
    column = examine(Subject("perfect", PERFECT), encoded(tracks), asked, config, lambda steps=1, note="": None)
    assert isinstance(column.pairs, Pairs)
    for section in (column.drift, column.ranking, column.controls, column.located, column.keyframes):
        assert section == NotMeasured("all episodes are parts of others, branches or repaints")


def test_a_model_that_takes_goals_for_keyframes_is_off_by_the_way_between() -> None:
    found = locate(PERFECT, SEEN, ASKED.keyframes, keyframe=True)
    assert not isinstance(found, NotMeasured)
    tracks = SEEN.tracks
    ways = [tracks[track].poses_R7[[hand, goal], :3] for track, _, goal, hand, _ in ASKED.keyframes]
    expected = np.mean([np.linalg.norm(there_3 - goal_3) for there_3, goal_3 in ways])
    assert found.alone.hand.value == pytest.approx(expected, rel=1e-5)
    assert expected > 0.01


def test_a_model_that_finds_no_keyframes_is_not_asked() -> None:
    class Plain(PoseWorld):
        finds_keyframes = False

    assert isinstance(locate(Plain(), SEEN, ASKED.keyframes, keyframe=True), NotMeasured)


def test_what_nobody_knows_is_not_measured() -> None:
    tracks = [walk(0, held_R=None)]
    found = rank(PERFECT, encoded(tracks), choose(tracks, FitCheckConfig(moments=8)).ranking, 8, seed=0)
    assert isinstance(found.gripper["object in hand"], NotMeasured)
    assert isinstance(found.gripper["gripper moves"], Estimate)


def test_a_hand_of_which_nobody_knows_what_it_holds_is_not_called_empty() -> None:
    tracks = [walk(0, held_R=None), walk(1)]
    moments = choose(tracks, FitCheckConfig(moments=16)).ranking
    cases = rank(PERFECT, encoded(tracks), moments, 8, seed=0).gripper
    empty, held = cases["hand empty"], cases["object in hand"]
    assert isinstance(empty, Estimate)
    assert isinstance(held, Estimate)
    known = [segment for segment in moments.gripper if segment.track == 1]
    assert empty.count + held.count == len(known) < len(moments.gripper)


def test_questions_are_the_same_for_the_same_seed() -> None:
    config = FitCheckConfig(moments=10)
    assert choose(WALKS, config) == choose(WALKS, config)
    assert choose(WALKS, config) != choose(WALKS, FitCheckConfig(moments=10, seed=1))


@pytest.mark.parametrize("fps", [0.0, -4.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(fps: float) -> None:
    with pytest.raises(ConfigError, match="a finite fps > 0"):
        FitCheckConfig(fps=fps)
