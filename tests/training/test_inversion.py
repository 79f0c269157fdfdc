"""Moments of true worlds in which a latent is where the hand is, so that the way between two can be read off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import EpisodeError, InputError
from vjepa2_ac.models.build import build
from vjepa2_ac.models.inverse_model import NUMBERS, InverseModel, InverseModelConfig
from vjepa2_ac.training.inversion import Alike, Inversion, MomentPairs
from vjepa2_ac.training.latents import packed
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.trajectories import Trajectory

TOKENS = 2
GRID = 1 / 64  # [m] between places that bf16 holds exactly
SHOWN = torch.tensor([8.0, 8.0, 8.0, 4.0])  # of position and closedness, so that both are of the size latents are


def wandering(number: int, rows: int = 12, *, broken: bool = False) -> Trajectory:
    """A hand on the points of a grid; its height says the episode, its closedness the row."""
    poses_R7 = np.zeros((rows, 7))
    poses_R7[:, :2] = GRID * np.random.default_rng(number).integers(-8, 9, (rows, 2))
    poses_R7[:, 2] = GRID * number
    poses_R7[:, 6] = np.arange(rows) / 32
    latents_RND = (SHOWN * torch.tensor(poses_R7[:, NUMBERS]).float())[:, None].expand(-1, TOKENS, -1)

    def read(rows_T: NDArray[np.int64]) -> dict[str, Any]:
        if broken:
            raise EpisodeError(f"episode {number}", "its video ends early")
        return {"latents_TND": packed(latents_RND[torch.from_numpy(rows_T)])}

    return Trajectory(f"episode {number}", poses_R7, None, 1, 4.0, None, read)


def pairs_of(
    trajectories: list[Trajectory], layout: Layout | None = None, seed: int = 0, alike: Alike = "pairs"
) -> MomentPairs:
    return MomentPairs(trajectories, WindowConfig(), layout or Layout(8), seed, alike)


EPISODES = [wandering(number) for number in range(5)]


# --- which moments come ----------------------------------------------------------------------------------------------


def test_the_same_number_gives_the_same_batch_and_processes_share_it() -> None:
    whole = pairs_of(EPISODES, Layout(4))
    halves = [pairs_of(EPISODES, Layout(2, processes=2, rank=rank)) for rank in (0, 1)]
    for number in (7, 0):
        for name in ("poses_BT7", "latents_BND"):
            assert torch.equal(whole[number][name], pairs_of(EPISODES, Layout(4))[number][name])
            assert torch.equal(whole[number][name], torch.cat([half[number][name] for half in halves]))
    assert not torch.equal(whole[0]["poses_BT7"], whole[1]["poses_BT7"])
    assert not torch.equal(whole[0]["poses_BT7"], pairs_of(EPISODES, Layout(4), seed=1)[0]["poses_BT7"])


def test_a_pair_is_two_moments_of_one_episode() -> None:
    batch = pairs_of(EPISODES, Layout(200))[0]
    first_B7, second_B7 = batch["poses_BT7"].unbind(1)
    assert torch.equal(first_B7[:, 2], second_B7[:, 2])
    assert (first_B7[:, 6] != second_B7[:, 6]).all()
    assert batch["latents_BND"].shape == (200, 2 * TOKENS, 4)
    shown_BT4 = batch["latents_BND"].float().unflatten(1, (2, TOKENS))[:, :, 0] / SHOWN
    assert torch.equal(shown_BT4, batch["poses_BT7"][..., NUMBERS])
    assert batch["bad"] == {}


def test_any_two_moments_of_an_episode_may_come_in_either_order() -> None:
    poses_BT7 = pairs_of([wandering(0, rows=3)], Layout(200))[0]["poses_BT7"]
    came, times = (32 * poses_BT7[..., 6]).int().unique(dim=0, return_counts=True)
    assert came.tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert times.min() > 200 / 6 / 2


@pytest.mark.parametrize("alike", ["pairs", "frames"])
def test_long_episodes_come_in_proportion_to_what_is_alike(alike: Alike) -> None:
    lengths = torch.tensor([2, 3, 8])
    episodes = [wandering(number, int(rows)) for number, rows in enumerate(lengths)]
    batch = pairs_of(episodes, Layout(2000), alike=alike)[0]
    came = (batch["poses_BT7"][:, 0, 2] / GRID).int().bincount(minlength=3) / 2000
    due = lengths * (lengths - 1) / 2 if alike == "pairs" else lengths
    torch.testing.assert_close(came, due / due.sum(), atol=0.03, rtol=0)  # three standard deviations


def test_an_episode_that_cannot_be_decoded_is_named_and_another_drawn() -> None:
    batch = pairs_of([wandering(0), wandering(1, broken=True), wandering(2)], Layout(30))[0]
    assert batch["bad"] == {"episode 1": "its video ends early"}
    assert (batch["poses_BT7"][:, 0, 2] / GRID).unique().tolist() == [0, 2]
    assert len(batch["poses_BT7"]) == 30


def test_what_cannot_be_sampled_is_said() -> None:
    with pytest.raises(InputError, match=r"episodes in a row cannot be decoded:\n  episode 0: its video ends early$"):
        pairs_of([wandering(0, broken=True)])[0]
    with pytest.raises(InputError, match="none of 3 episodes has two frames"):
        pairs_of([wandering(number, rows=1) for number in range(3)])


def test_an_episode_of_one_frame_is_left_alone() -> None:
    poses_BT7 = pairs_of([wandering(1, rows=1), wandering(2, rows=2)], Layout(20))[0]["poses_BT7"]
    assert (poses_BT7[:, 0, 2] / GRID).unique().tolist() == [2]


# --- what is learned from them ---------------------------------------------------------------------------------------


class ReadOff(nn.Module):
    """Tells the true way, missed by `error` [m, m, m, stroke]; remembers what it was asked."""

    def __init__(self, error: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)) -> None:
        super().__init__()
        self.error, self.asked = torch.tensor(error), list[tuple[Tensor, ...]]()

    def forward(self, *asked: Tensor) -> Tensor:
        self.asked.append(asked)
        seen_BND, goal_BND, _ = asked
        return (goal_BND - seen_BND)[:, 0] / SHOWN + self.error


def inversion(inverse: Any) -> Inversion:
    """On latents alone, so that no encoder is asked."""
    return Inversion(inverse, encoder=None)  # type: ignore[arg-type]


def test_who_knows_the_way_has_no_loss() -> None:
    losses = inversion(ReadOff())(pairs_of(EPISODES)[0], 1)
    assert losses["loss"] == losses["centimetres"] == losses["closedness"] == 0


def test_a_loss_is_the_mean_error_of_the_four_numbers_in_units_that_weigh_alike() -> None:
    losses = inversion(ReadOff(error=(0.03, 0.0, -0.04, -0.2)))(pairs_of(EPISODES)[0], 1)
    assert float(losses["loss"]) == pytest.approx((0.07 / 0.05 + 0.2 / 0.25) / 4)
    assert float(losses["centimetres"]) == pytest.approx(5.0)
    assert float(losses["closedness"]) == pytest.approx(0.2)


def test_the_way_from_the_first_moment_to_the_second_is_asked() -> None:
    reader, batch = ReadOff(), pairs_of(EPISODES)[0]
    inversion(reader)(batch, 1)
    ((seen_BND, goal_BND, pose_B7),) = reader.asked
    assert torch.equal(pose_B7, batch["poses_BT7"][:, 0])
    assert torch.equal(seen_BND[:, 0] / SHOWN, pose_B7[:, NUMBERS])
    assert torch.equal(goal_BND[:, 0] / SHOWN, batch["poses_BT7"][:, 1, NUMBERS])


def test_an_inverse_model_learns_the_way() -> None:
    shape = InverseModelConfig(
        grid=(1, TOKENS), embed_dim=4, channels=32, layers=0, points=2, kept=16, hidden_dim=64, dropout=0.0
    )
    learner, batches = inversion(build(InverseModel, shape)), pairs_of(EPISODES, Layout(32))
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    before = missed(learner, batches)
    for number in range(60):
        optimizer.zero_grad()
        learner(batches[number], number)["loss"].backward()
        optimizer.step()
    for error, at_first in zip(missed(learner, batches), before, strict=True):
        assert error < 0.1 * at_first


def missed(learner: Inversion, batches: MomentPairs) -> tuple[float, float]:
    """By how much, in pairs it never learned from: [cm], [stroke]."""
    losses = learner(batches[1000], 1)
    return float(losses["centimetres"]), float(losses["closedness"])
