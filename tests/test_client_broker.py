"""A control loop gets one action at a time, and never waits longer than it said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from vjepa2_ac.client import ChunkBroker, Confidence, LateError, Plan

SURE = Confidence(0.0, 1.0, 0.5, 0.0, False, False)


def chunk(first: int, length: int = 4) -> Plan:
    """Actions that are numbered from `first` on."""
    actions = np.repeat(np.arange(first, first + length, dtype=float)[:, None], 7, axis=1)
    return Plan(
        plan_id=str(first),
        model={},
        dt_s=0.25,
        actions=actions,
        targets=actions,
        wanted=actions,
        cost=0.0,
        idle_cost=1.0,
        trace=np.zeros(1),
        confidence=SURE,
        stop_reason="iterations",
        seed=0,
        iterations=1,
        evaluations=1,
    )


def scripted(*plans: Plan | Exception | None) -> Callable[[], Plan | None]:
    left = list(plans)

    def fetch() -> Plan | None:
        plan = left.pop(0)
        if isinstance(plan, Exception):
            raise plan
        return plan

    return fetch


def taken(broker: ChunkBroker) -> list[float]:
    actions = []
    while (move := broker.next()) is not None:
        actions.append(float(move.action[0]))
    return actions


def test_actions_come_one_at_a_time_until_nothing_is_left() -> None:
    with ChunkBroker(scripted(chunk(0, 3), chunk(10, 2), None), ahead=0) as broker:
        assert taken(broker) == [0.0, 1.0, 2.0, 10.0, 11.0]
        for _ in range(2):  # nor is anything fetched again
            assert broker.next() is None
            fetched()


def test_the_next_chunk_is_fetched_while_the_last_action_is_made() -> None:
    asked, may_answer, plans = threading.Event(), threading.Event(), [chunk(0), chunk(10), None]

    def fetch() -> Plan | None:
        if len(plans) < 3:
            asked.set()
            may_answer.wait(10)
        return plans.pop(0)

    broker = ChunkBroker(fetch, ahead=1)
    assert [broker.next().action[0] for _ in range(3)] == [0.0, 1.0, 2.0]  # type: ignore[union-attr]
    assert not asked.is_set()
    assert broker.next().action[0] == 3.0  # type: ignore[union-attr]
    assert asked.wait(10)
    may_answer.set()
    # One action was made since the picture of the second chunk was taken: its first action is past.
    assert broker.next().action[0] == 11.0  # type: ignore[union-attr]


def test_a_chunk_that_comes_too_late_is_dropped_and_another_one_fetched() -> None:
    may_answer, count = threading.Event(), [0]

    def fetch() -> Plan | None:
        count[0] += 1
        if count[0] == 2:
            may_answer.wait(10)
            return chunk(10, 1)  # for the moment that is past
        return chunk(20 if count[0] > 2 else 0, 3)

    broker = ChunkBroker(fetch, ahead=1)
    first = [broker.next().action[0] for _ in range(3)]  # type: ignore[union-attr]
    threading.Timer(0.05, may_answer.set).start()
    assert first == [0.0, 1.0, 2.0]
    assert broker.next().action[0] == 20.0  # type: ignore[union-attr]
    assert broker.dropped == 1


def test_a_chunk_whose_picture_is_too_old_is_dropped_though_no_move_was_made_meanwhile() -> None:
    slow, count = threading.Event(), [0]

    def fetch() -> Plan | None:
        count[0] += 1
        if count[0] == 1:
            slow.wait(0.2)
        return chunk(10 * count[0], 2)

    broker = ChunkBroker(fetch, oldest_s=0.1)
    assert broker.next().action[0] == 20.0  # type: ignore[union-attr]
    assert broker.dropped == 1


@pytest.mark.parametrize("told", [{"oldest_s": 0.3}, {"patience_s": 0.3}])
def test_a_loop_that_was_held_up_does_not_go_on_with_what_it_had(told: dict[str, float]) -> None:
    plans = [chunk(0), chunk(10)]
    broker = ChunkBroker(lambda: plans.pop(0), ahead=0, **told)  # type: ignore[arg-type]
    assert broker.next().action[0] == 0.0  # type: ignore[union-attr]
    time.sleep(0.2)
    assert broker.next().action[0] == 1.0  # type: ignore[union-attr]  # due just now
    time.sleep(0.9)
    assert broker.next().action[0] == 10.0  # type: ignore[union-attr]
    assert broker.dropped == 1


def test_a_chunk_that_waited_for_a_loop_that_was_held_up_is_dropped_too() -> None:
    plans = [chunk(0), chunk(10), chunk(20)]
    broker = ChunkBroker(lambda: plans.pop(0), ahead=3, oldest_s=0.3)
    assert [broker.next().action[0] for _ in range(2)] == [0.0, 1.0]  # type: ignore[union-attr]
    time.sleep(0.9)  # meanwhile the second chunk comes
    assert broker.next().action[0] == 20.0  # type: ignore[union-attr]


def fetched() -> None:
    """Wait for what is being fetched."""
    for thread in threading.enumerate():
        if thread.name == "chunk-broker":
            thread.join(10)


def test_moves_that_are_left_of_a_chunk_are_due_after_those_that_were_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    now, may_answer, plans = [0.0], threading.Event(), [chunk(0, 20), chunk(100, 20), chunk(200, 20)]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def fetch() -> Plan | None:
        if len(plans) < 3:
            may_answer.wait(10)
        return plans.pop(0)

    broker = ChunkBroker(fetch, ahead=20, oldest_s=1.0)
    assert [broker.next().action[0] for _ in range(9)] == list(range(9))  # type: ignore[union-attr]
    may_answer.set()  # eight moves were made since the second chunk's picture: the next one is due two seconds after it
    fetched()
    now[0] = 2.9
    assert broker.next().action[0] == 108.0  # type: ignore[union-attr]
    assert broker.dropped == 0


def test_a_loop_that_keeps_pace_is_given_all_of_a_long_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    now, plans = [0.0], [chunk(0, 20), chunk(20, 20)]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    broker = ChunkBroker(lambda: plans.pop(0), ahead=0, oldest_s=1.0)
    for number in range(20):
        now[0] = 0.25 * number + 0.9  # each is due a quarter of a second after the one before
        assert broker.next().action[0] == number  # type: ignore[union-attr]
    assert broker.dropped == 0


def test_a_closed_broker_fetches_no_more() -> None:
    plans = [chunk(0, 2), chunk(10)]
    with ChunkBroker(lambda: plans.pop(0), ahead=0, patience_s=0.05) as broker:
        assert broker.next().action[0] == 0.0  # type: ignore[union-attr]
    assert broker.next().action[0] == 1.0  # type: ignore[union-attr]
    with pytest.raises(LateError):
        broker.next()
    fetched()
    assert len(plans) == 1


def test_a_loop_does_not_wait_for_a_broker_that_is_closed() -> None:
    never = threading.Event()
    for closes_after_s in (0.0, 0.2):  # before, and while it waits
        with ChunkBroker(lambda: never.wait(5) and None, patience_s=30.0) as broker:
            threading.Timer(closes_after_s, broker.close).start()
            time.sleep(0.1)
            started = time.monotonic()
            with pytest.raises(LateError, match="has been closed") as caught:
                broker.next()
        assert caught.value.code == "closed"
        assert time.monotonic() - started < 10
    never.set()


def test_what_is_fetched_while_a_broker_is_closed_is_ignored() -> None:
    may_answer = threading.Event()
    broker = ChunkBroker(lambda: chunk(0) if may_answer.wait(10) else None, patience_s=0.05, oldest_s=60.0)
    with pytest.raises(LateError):
        broker.next()
    broker.close()
    may_answer.set()
    fetched()
    with pytest.raises(LateError):
        broker.next()


def test_no_move_of_an_earlier_chunk_is_made_once_nothing_is_left_to_do() -> None:
    plans = [chunk(0), None]
    broker = ChunkBroker(lambda: plans.pop(0), ahead=3)
    assert [broker.next().action[0] for _ in range(2)] == [0.0, 1.0]  # type: ignore[union-attr]
    fetched()
    assert broker.next() is None


def test_a_loop_that_has_run_dry_is_told_after_a_bounded_time() -> None:
    never = threading.Event()
    broker = ChunkBroker(lambda: never.wait(5) and None, patience_s=0.05)
    with pytest.raises(LateError, match="no plan came within"):
        broker.next()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "chunk-broker")  # a program may end
    never.set()


def test_an_error_of_the_fetch_belongs_to_the_loop_which_may_go_on() -> None:
    broker = ChunkBroker(scripted(ValueError("the camera is gone"), chunk(5, 1), None), ahead=0)
    with pytest.raises(ValueError, match="the camera is gone"):
        broker.next()
    assert taken(broker) == [5.0]


def test_an_error_waits_until_the_moves_before_it_are_made_and_nothing_is_fetched_over_it() -> None:
    plans = scripted(chunk(0), ValueError("the camera is gone"), chunk(20))
    broker = ChunkBroker(plans, ahead=3)
    assert [broker.next().action[0] for _ in range(2)] == [0.0, 1.0]  # type: ignore[union-attr]
    fetched()
    assert [broker.next().action[0] for _ in range(2)] == [2.0, 3.0]  # type: ignore[union-attr]
    fetched()
    with pytest.raises(ValueError, match="the camera is gone"):
        broker.next()
    assert broker.next().action[0] == 20.0  # type: ignore[union-attr]
