from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vjepa2_ac.training.order import Layout, generator_of, shuffled


@given(items=st.integers(1, 50), seed=st.integers(0, 2**31), epoch=st.integers(0, 3))
@settings(max_examples=30)
def test_each_item_comes_once_an_epoch(items: int, seed: int, epoch: int) -> None:
    seen = [shuffled(items, seed, sample) for sample in range(epoch * items, (epoch + 1) * items)]
    assert sorted(seen) == list(range(items))


def test_epochs_have_orders_of_their_own() -> None:
    first, second = ([shuffled(20, 0, 20 * epoch + i) for i in range(20)] for epoch in (0, 1))
    assert first != second


def test_seeds_have_orders_of_their_own() -> None:
    first, second = ([shuffled(20, seed, i) for i in range(20)] for seed in (0, 1))
    assert first != second


@given(batch=st.integers(1, 8), processes=st.integers(1, 4), micro_batch=st.integers(0, 100))
@settings(max_examples=30)
def test_processes_share_the_samples_of_a_batch_without_gap_or_overlap(
    batch: int, processes: int, micro_batch: int
) -> None:
    parts = [Layout(batch, processes, rank).samples(micro_batch) for rank in range(processes)]
    whole = Layout(batch * processes).samples(micro_batch)
    assert [sample for part in parts for sample in part] == list(whole)


def test_the_generator_of_a_sample_is_its_own() -> None:
    draws = {
        float(generator_of(seed, sample, attempt).random())
        for seed in range(3)
        for sample in range(3)
        for attempt in (0, 1)
    }
    assert len(draws) == 18
    assert generator_of(1, 2).random() == generator_of(1, 2).random()
