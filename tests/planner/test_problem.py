from __future__ import annotations

import pytest
import torch

from planner.problem import Stopwatch, stack, turn_until
from tests.planner.problems import problem
from tests.planner.worlds import HOME, Clock
from vjepa2_ac.errors import DeadlineError, InputError
from vjepa2_ac.world_model import History


def test_another_iteration_is_allowed_while_the_longest_so_far_would_fit() -> None:
    clock = Clock()
    watch = Stopwatch(clock, deadline=1.0)
    for length in (0.25, 0.375):
        assert watch.allows()
        clock.now += length
        watch.lap()
    assert watch.allows()  # 0.625 + 0.375 ends just in time
    clock.now += 0.01
    assert not watch.allows()


def test_what_comes_after_an_iteration_must_fit_too() -> None:
    clock = Clock()
    watch = Stopwatch(clock, deadline=1.0)
    clock.now = 0.25
    watch.lap()
    assert watch.allows(3)  # 0.25 + 3 · 0.25 ends just in time
    assert not watch.allows(4)


def test_an_iteration_that_imagined_a_part_of_its_candidates_may_be_followed_by_a_whole_one() -> None:
    clock = Clock()
    watch = Stopwatch(clock, deadline=1.0)
    clock.now = 0.2
    watch.lap(share=0.25)  # all of them would have taken 0.8
    assert watch.allows()
    clock.now = 0.21
    assert not watch.allows()


def test_without_a_deadline_there_is_always_time() -> None:
    assert Stopwatch(lambda: 1e9).allows()


def test_a_late_first_iteration_is_an_error_and_a_late_second_one_is_not() -> None:
    clock = Clock()
    watch = Stopwatch(clock, deadline=1.0)
    clock.now = 0.5
    watch.lap()
    clock.now = 1.5
    watch.lap()
    late = Stopwatch(clock, deadline=2.0)
    clock.now = 2.5
    with pytest.raises(DeadlineError, match="500 ms to the deadline"):
        late.lap()


def test_who_waits_shares_the_time_and_the_last_one_has_what_is_left() -> None:
    clock = Clock()
    clock.now = 1.0
    assert turn_until(3.0, clock, share=0.25) == 1.5
    assert turn_until(None, clock, share=0.25) is None
    assert turn_until(0.3, pytest.fail, share=1) == 0.3  # to the bit, and without reading the clock


def test_histories_of_different_length_are_not_stacked() -> None:
    past = History(torch.zeros(1, 2, 16, 7), torch.zeros(1, 2, 7), torch.zeros(1, 2, 7))
    device = torch.device("cpu")
    history = stack([problem(HOME, history=past), problem(HOME, history=past)], device)[3]
    assert history is not None
    assert history.latents_BTND.shape == (2, 2, 16, 7)
    with pytest.raises(InputError, match="one length"):
        stack([problem(HOME, history=past), problem(HOME)], device)
