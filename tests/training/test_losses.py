from __future__ import annotations

import torch
from torch import Tensor

from vjepa2_ac.training.losses import action_conditioned_loss, contrast_loss, gap, normalized

TOKENS, WIDTH = 2, 3


class Shifts:
    """A world in which every action adds its first number to all latents; remembers what it was shown."""

    def __init__(self, error: float = 0.0) -> None:
        self.error, self.seen = error, list[Tensor]()

    def __call__(
        self, latents_BND: Tensor, actions_BTA: Tensor, poses_BTA: Tensor, extrinsics_BTE: Tensor | None = None, /
    ) -> Tensor:
        self.seen.append(latents_BND)
        moved = latents_BND.unflatten(1, (actions_BTA.shape[1], -1)) + actions_BTA[..., None, :1] + self.error
        return moved.flatten(1, 2)


def clip(frames: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    actions_BSA = torch.randn(2, frames - 1, 7, generator=torch.Generator().manual_seed(0))
    place_BT = torch.cat((torch.zeros(2, 1), actions_BSA[..., 0].cumsum(dim=1)), dim=1)
    latents_BND = place_BT[..., None, None].expand(-1, -1, TOKENS, WIDTH).flatten(1, 2)
    return latents_BND, actions_BSA, torch.zeros(2, frames, 7)


def test_a_perfect_predictor_has_no_loss() -> None:
    loss = action_conditioned_loss(Shifts(), *clip(), rollout_steps=4, normalize=False)
    assert loss.total < 1e-6


def test_errors_add_up_in_the_rollout_and_not_in_teacher_forcing() -> None:
    loss = action_conditioned_loss(Shifts(error=0.1), *clip(), rollout_steps=3, normalize=False)
    torch.testing.assert_close(loss.teacher_forcing, torch.tensor(0.1))
    torch.testing.assert_close(loss.rollout, torch.tensor((0.1 + 0.2 + 0.3) / 3))


def test_the_rollout_is_fed_its_own_first_prediction() -> None:
    world, (latents, actions, poses) = Shifts(error=0.1), clip()
    loss = action_conditioned_loss(world, latents, actions, poses, rollout_steps=2, normalize=False)
    torch.testing.assert_close(world.seen[1][:, TOKENS:], loss.forced_BND[:, :TOKENS])  # frame 1, not frame 2


def test_a_rollout_ends_with_the_clip() -> None:
    loss = action_conditioned_loss(Shifts(), *clip(frames=3), rollout_steps=10, normalize=False)
    assert loss.imagined_BND.shape[1] == 2 * TOKENS


def test_gradients_flow_through_the_whole_rollout() -> None:
    latents, actions, poses = clip()
    actions.requires_grad = True
    action_conditioned_loss(
        Shifts(error=0.1), latents, actions, poses, rollout_steps=3, normalize=False
    ).rollout.backward()
    assert actions.grad is not None
    assert (actions.grad[:, :3, 0] != 0).all()
    assert (actions.grad[:, 3:] == 0).all()


def test_levels_are_normalised_apart() -> None:
    latents = torch.randn(2, 4, 12) * torch.arange(1, 13)
    parts = normalized(latents, levels=3).unflatten(-1, (3, 4))
    torch.testing.assert_close(parts.mean(dim=-1), torch.zeros(2, 4, 3), atol=1e-6, rtol=0)


def test_a_gap_is_measured_in_float32() -> None:
    assert gap(torch.ones(2, dtype=torch.bfloat16), torch.zeros(2)).dtype == torch.float32


def test_contrast_sees_only_what_the_two_of_a_pair_differ_in() -> None:
    real_BND = torch.randn(4, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    shared_12ND = torch.randn(2, 1, TOKENS, WIDTH).expand(-1, 2, -1, -1).flatten(0, 1)
    assert contrast_loss(real_BND + shared_12ND, real_BND) < 1e-10
    imagined_BND = real_BND.clone()
    imagined_BND[0] += 0.5  # one of the first pair, everywhere; the second pair is right
    torch.testing.assert_close(contrast_loss(imagined_BND, real_BND), torch.tensor(0.5**2 / 2))


def test_who_ignores_the_command_pays_the_whole_real_difference() -> None:
    real_BND = torch.randn(2, TOKENS, WIDTH, generator=torch.Generator().manual_seed(2))
    alike_BND = real_BND.mean(dim=0, keepdim=True).expand(2, -1, -1)
    torch.testing.assert_close(contrast_loss(alike_BND, real_BND), (real_BND[0] - real_BND[1]).square().mean())
