"""Two processes over gloo: the same weights as one process that sees the same samples."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.test_engine import ended, final, lines
from tests.training.toy import OPTIMIZER, ToyBatches, ToyLearner, start_two, train
from vjepa2_ac.data.episodes import BadEpisodes
from vjepa2_ac.errors import InputError, TooManyBadEpisodesError, TrainingError, VJEPA2ACError
from vjepa2_ac.training.engine import Batch, EngineConfig, fit
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.processes import joined
from vjepa2_ac.training.run_folder import Run

CONFIG = EngineConfig(steps=8, batch=2, accumulate=2, save_every=4, log_every=4, precision="fp32")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = Run(folder).newest()
    assert found is not None
    return dict(found[1]["learner"])


@pytest.mark.parametrize("sharded", [False, True], ids=["ddp", "fsdp2"])
def test_two_processes_learn_what_one_does(tmp_path: Path, sharded: bool) -> None:
    torch.set_num_threads(1)
    train(tmp_path / "one", replace(CONFIG, batch=4), learner=ToyLearner(dropout=0.0))
    two = replace(CONFIG, sharded=sharded)
    assert [ended(process) for process in start_two(tmp_path / "two", two)] == [0, 0]
    for name, weight in weights(tmp_path / "one").items():
        # Sums in another order, magnified by Adam where gradients are small.
        torch.testing.assert_close(weights(tmp_path / "two")[name], weight, atol=2e-3, rtol=0)
    assert lines(tmp_path / "two")[-1]["loss"] == pytest.approx(lines(tmp_path / "one")[-1]["loss"], rel=1e-3)


@pytest.mark.parametrize("sharded", [False, True], ids=["ddp", "fsdp2"])
def test_two_processes_resume_bit_for_bit(tmp_path: Path, sharded: bool) -> None:
    config = replace(CONFIG, sharded=sharded)
    assert [ended(process) for process in start_two(tmp_path, config)] == [0, 0]
    whole = final(tmp_path) if not sharded else weights(tmp_path)
    (tmp_path / "states" / "00000008.pt").unlink()
    assert [ended(process) for process in start_two(tmp_path, config)] == [0, 0]
    again = final(tmp_path) if not sharded else weights(tmp_path)
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []


def _judged(folder: Path, config: EngineConfig, name: str) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        layout = Layout(config.batch, processes.count, processes.rank)
        folder.mkdir(exist_ok=True)
        given = (config, OPTIMIZER, Run(folder), processes)
        fit(ToyLearner(dropout=0.0), ToyBatches(layout), *given, held_out=ToyBatches(layout, seed=1))


@pytest.mark.parametrize("sharded", [False, True], ids=["ddp", "fsdp2"])
def test_two_processes_judge_what_is_held_out_as_one_does_and_learn_the_same(tmp_path: Path, sharded: bool) -> None:
    often = replace(CONFIG, held_out_every=4, held_out_batches=3)
    _judged(tmp_path / "one", replace(often, batch=4), "")
    assert [
        ended(process) for process in start_two(tmp_path / "two", replace(often, sharded=sharded), work=_judged)
    ] == [0, 0]
    one, two = ([line for line in lines(tmp_path / run) if "held_out" in line] for run in ("one", "two"))
    assert [line["step"] for line in two] == [4, 8]
    assert [line["held_out"] for line in two] == [pytest.approx(line["held_out"], rel=1e-3) for line in one]
    assert [ended(process) for process in start_two(tmp_path / "alone", replace(CONFIG, sharded=sharded))] == [0, 0]
    judged, alone = weights(tmp_path / "two"), weights(tmp_path / "alone")
    assert [name for name in alone if not torch.equal(alone[name], judged[name])] == []


def _one_ends(folder: Path, config: EngineConfig, name: str) -> None:
    try:
        with joined("cpu") as processes:
            processes.wait()
            if not processes.is_first:
                raise InputError("this one cannot go on")
            processes.wait()
    except VJEPA2ACError as error:
        time.sleep(0 if processes.is_first else 0.5)  # it takes its time to say why
        last = "" if (folder / "1").exists() else ", but nobody had said why"
        (folder / str(processes.rank)).write_text(f"{type(error).__name__}: {error}{last}")


def test_a_process_that_ends_has_said_why_before_the_others_end_in_a_sentence(tmp_path: Path) -> None:
    assert [ended(process) for process in start_two(tmp_path, CONFIG, work=_one_ends)] == [0, 0]
    alone = "TrainingError: process 0 cannot go on alone: another one has ended, which says why"
    assert (tmp_path / "0").read_text() == alone


class Poisoned(ToyBatches):
    """The first of two micro-batches of update 3 is spoilt in the second process."""

    def __getitem__(self, micro_batch: int) -> Batch:
        batch = super().__getitem__(micro_batch)
        return {"x_BND": batch["x_BND"] * (math.nan if (self.layout.rank, micro_batch) == (1, 4) else 1)}


def _on_poison(folder: Path, config: EngineConfig, name: str) -> None:
    with joined("cpu") as processes:
        batches = Poisoned(Layout(config.batch, processes.count, processes.rank))
        with pytest.raises(TrainingError) as stopped:
            fit(ToyLearner(dropout=0.0), batches, config, OPTIMIZER, Run(folder), processes)
    (folder / str(processes.rank)).write_text(str(stopped.value))


def test_the_process_whose_loss_was_no_number_keeps_its_batch_and_the_others_none(tmp_path: Path) -> None:
    assert [ended(process) for process in start_two(tmp_path, CONFIG, work=_on_poison)] == [0, 0]
    assert [path.name for path in tmp_path.glob("bad_batch*")] == ["bad_batch.1.pt"]
    kept = torch.load(tmp_path / "bad_batch.1.pt", weights_only=True)
    assert kept["step"] == 3
    assert [bool(batch["x_BND"].isnan().any()) for batch in kept["batch"]] == [True, False]
    first, second = ((tmp_path / rank).read_text() for rank in "01")
    assert first == "the loss of update 3 is not a number (loss nan, size nan)"
    assert second == f"{first}; its batch is in {tmp_path / 'bad_batch.1.pt'}"


class Bad(ToyBatches):
    """Every process meets an episode of its own that cannot be read."""

    def __getitem__(self, micro_batch: int) -> Batch:
        bad = {f"episode {self.layout.rank}": "it does not decode"} if micro_batch == 2 else {}
        return {**super().__getitem__(micro_batch), "bad": bad}


def _on_bad(folder: Path, config: EngineConfig, name: str) -> None:
    with joined("cpu") as processes:
        batches = Bad(Layout(config.batch, processes.count, processes.rank))
        given = (ToyLearner(dropout=0.0), batches, config, OPTIMIZER)
        fit(*given, Run(folder / "two"), processes, bad=BadEpisodes(2))
        with pytest.raises(TooManyBadEpisodesError) as stopped:
            fit(*given, Run(folder / "one"), processes, bad=BadEpisodes(1))
    (folder / str(processes.rank)).write_text(str(stopped.value))


def test_what_cannot_be_read_is_counted_over_all_processes(tmp_path: Path) -> None:
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
    assert [ended(process) for process in start_two(tmp_path, CONFIG, work=_on_bad)] == [0, 0]
    for rank in "01":
        told = (tmp_path / rank).read_text().splitlines()
        assert told[0] == "2 episodes cannot be used, the limit is 1:"
        assert sorted(told[1:]) == [f"  episode {each}: it does not decode" for each in "01"]
