from __future__ import annotations

import numpy as np
import pytest

from vjepa2_ac.data.keyframes import keyframes_of

# Open, closing in two steps around something, held, let go in one, open; then a second time without holding anything.
TWICE = 4 * [0.0] + [0.25] + 6 * [0.4] + 6 * [0.0] + [0.5] + 6 * [1.0] + 6 * [0.0]
KEYFRAMES = [5, 11, 18, 24]


def test_a_keyframe_is_where_the_gripper_has_come_to_another_closedness_for_good() -> None:
    assert keyframes_of(np.array(TWICE), rate=4.0) == KEYFRAMES


@pytest.mark.parametrize(
    ("closedness_R", "why"),
    [
        (12 * [0.3], "it rests"),
        (5 * [0.0] + 3 * [1.0] + 8 * [0.0], "it is closed for less than a second"),
        (8 * [0.0] + 4 * [1.0], "the episode ends before a second is over"),
        ([0.02 * row for row in range(12)], "it never rests"),
        (6 * [0.0] + 8 * [0.08], "it hardly changes"),
    ],
)
def test_what_does_not_last_is_no_keyframe(closedness_R: list[float], why: str) -> None:
    assert keyframes_of(np.array(closedness_R), rate=4.0) == [], why


@pytest.mark.parametrize(
    ("closedness_R", "keyframes"),
    [
        ([0.0] + 5 * [1.0], [1]),  # from one row to the next, and a second to the end
        ([0.0, 0.0] + 5 * [1.0] + 5 * [0.0], [2, 7]),  # from the first of five rows to the last is a second
        ([0.0, 0.0] + 4 * [1.0] + 5 * [0.0], []),
        ([0.0, 0.0, 1.0, 0.96, 1.04, 1.0, 0.96], [2]),  # which grippers measure that rest
    ],
)
def test_a_change_lasts_where_the_gripper_rests_for_a_second(closedness_R: list[float], keyframes: list[int]) -> None:
    assert keyframes_of(np.array(closedness_R), rate=4.0) == keyframes


def test_a_keyframe_is_never_the_last_row_however_far_apart_rows_are() -> None:
    assert keyframes_of(np.array([0.0, 1.0]), rate=0.5) == []
    assert keyframes_of(np.array([0.0, 1.0, 1.0]), rate=0.5) == [1]


def test_a_finer_recording_has_the_same_keyframes() -> None:
    assert keyframes_of(np.repeat(TWICE, 4), rate=16.0) == [4 * row for row in KEYFRAMES]
