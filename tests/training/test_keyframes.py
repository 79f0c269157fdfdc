"""Moments of true worlds with keyframes in between, where a row's place and closedness say which row it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.data.test_keyframes import KEYFRAMES, TWICE
from tests.training.test_inversion import GRID, TOKENS
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import InputError
from vjepa2_ac.training.keyframes import KeyframePairs
from vjepa2_ac.training.latents import packed
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.trajectories import Trajectory

ROWS = len(TWICE)


def episode(closedness_R: list[float] = TWICE, stride: int = 1, fps: float | None = None) -> Trajectory:
    """Row r stands r grid steps along x, and shows r."""
    poses_R7 = np.zeros((len(closedness_R), 7))
    poses_R7[:, 0] = GRID * np.arange(len(closedness_R))
    poses_R7[:, 6] = closedness_R

    def read(rows_T: NDArray[np.int64]) -> dict[str, Any]:
        shown = torch.from_numpy(rows_T).float()[:, None, None].expand(-1, TOKENS, 4)
        return {"latents_TND": packed(shown)}

    return Trajectory("an episode", poses_R7, None, stride, fps or 4.0 * stride, None, read)


def drawn(trajectory: Trajectory, samples: int = 4000, event_share: float = 0.0) -> NDArray[np.int64]:
    """Rows of the first moment, of the goal, and of the hand that was asked for."""
    batch = KeyframePairs([trajectory], WindowConfig(fps=4.0), Layout(samples), seed=0, event_share=event_share)[0]
    first_B, goal_B = batch["latents_BND"].float()[:, ::TOKENS, 0].unbind(1)
    hand_B2 = batch["poses_BT7"][..., 0] / GRID
    assert torch.equal(hand_B2[:, 0], first_B)
    return torch.stack((first_B, goal_B, hand_B2[:, 1]), dim=1).long().numpy()


def test_the_hand_asked_for_is_the_next_keyframes_or_the_goals_where_none_comes_before() -> None:
    for first, goal, hand in drawn(episode()):
        between = [row for row in KEYFRAMES if first < row <= goal]
        assert hand == (between[0] if between else goal)


def test_at_most_two_keyframes_lie_before_a_goal_and_none_between_it_and_a_later_moment() -> None:
    came = drawn(episode())
    for first, goal, _ in came:
        assert first != goal
        low, high = min(first, goal), max(first, goal)
        assert sum(low < row <= high for row in KEYFRAMES) <= (2 if goal > first else 0)
    crossed = {sum(first < row <= goal for row in KEYFRAMES) for first, goal, _ in came}
    assert crossed == {0, 1, 2}


def test_pairs_may_be_drawn_so_that_a_keyframe_lies_between() -> None:
    came = drawn(episode(), event_share=1.0)
    crossed = [[row for row in KEYFRAMES if first < row <= goal] for first, goal, _ in came]
    assert {len(rows) for rows in crossed} == {1, 2}
    assert came[:, 2].tolist() == [rows[0] for rows in crossed]
    assert set(came[:, 0]) == set(range(KEYFRAMES[-1]))
    assert set(came[:, 1]) == set(range(KEYFRAMES[0], ROWS))
    often, seldom = (
        np.mean([g > f and any(f < k <= g for k in KEYFRAMES) for f, g, _ in rows])
        for rows in (drawn(episode(), event_share=0.8), drawn(episode()))
    )
    assert seldom < 0.6
    assert often == pytest.approx(0.8 + 0.2 * seldom, abs=0.02)


def test_pairs_across_keyframes_need_an_episode_with_one() -> None:
    with pytest.raises(InputError, match="event_share is set, but in no episode does the gripper"):
        drawn(episode(3 * [0.0]), event_share=0.5)


def test_every_moment_may_be_the_first_and_every_one_but_the_first_a_goal() -> None:
    came = drawn(episode())
    assert set(came[:, 0]) == set(came[:, 1]) == set(range(ROWS))


def test_rows_between_those_of_a_window_count_as_time() -> None:
    fine = np.repeat(TWICE, 4).tolist()  # sixteen rows a second
    assert {hand for first, goal, hand in drawn(episode(fine, stride=4)) if hand not in (first, goal)} == {
        4 * row for row in KEYFRAMES
    }
    brief = 20 * [0.0] + 8 * [1.0] + 24 * [0.0]  # closed for half a second
    assert all(hand == goal for _, goal, hand in drawn(episode(brief, stride=4)))


def test_rows_may_be_seconds_apart() -> None:
    assert {hand for first, goal, hand in drawn(episode([0.0, 0.0, 1.0, 1.0, 0.0], fps=0.5)) if hand < goal} == {2}


def test_an_episode_whose_rate_no_whole_stride_brings_to_the_windows_has_its_own_seconds() -> None:
    closed = 10 * [0.0] + 7 * [1.0] + 9 * [0.0]  # at five rows a second for 1.4 s
    hands = {hand for first, goal, hand in drawn(episode(closed, stride=2, fps=5.0)) if hand not in (first, goal)}
    assert hands == {10, 17}


def test_without_keyframes_any_other_moment_is_the_goal_which_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    came = {(first, goal) for first, goal, hand in drawn(episode(3 * [0.0])) if hand == goal}
    assert came == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert "so there is no keyframe to learn" in capsys.readouterr().err
    drawn(episode())
    assert not capsys.readouterr().err


def test_held_out_episodes_without_keyframes_do_not_mean_that_there_is_none_to_learn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    KeyframePairs([episode(3 * [0.0])], WindowConfig(fps=4.0), Layout(1), seed=0, held_out=True)
    assert not capsys.readouterr().err
