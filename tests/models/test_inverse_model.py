"""The inverse model: the hand's move between two frames, read from where feature points lie in each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.small import draw, lively
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.models.build import build
from vjepa2_ac.models.hand_location import Observations, cycle_error, locate
from vjepa2_ac.models.inverse_model import UNITS, InverseModel, InverseModelConfig

B, N, D = 4, 6, 20
SHAPE: dict[str, Any] = {"grid": (2, 3), "embed_dim": D, "channels": 8, "points": 3, "kept": 5, "hidden_dim": 24}


KINDS = pytest.mark.parametrize("kind", [{}, {"change_points": 2}], ids=["points", "points and change points"])


def fresh(seed: int = 0, **changes: Any) -> InverseModel:
    return build(InverseModel, InverseModelConfig(**SHAPE | changes), seed=seed).eval()


def make(**changes: Any) -> InverseModel:
    return lively(InverseModel(InverseModelConfig(**SHAPE | changes)))


def asked() -> tuple[Tensor, Tensor, Tensor]:
    """What is seen, the goal, and the pose."""
    return draw(B, N, D), draw(B, N, D, seed=1), 0.3 * draw(B, 7, seed=2)


@torch.inference_mode()
def test_a_fresh_model_answers_each_request_with_centimetres_and_some_of_a_stroke() -> None:
    move_B4 = fresh()(*asked())
    assert move_B4.shape == (B, 4)
    for numbers, unit in ((slice(0, 3), 0.05), (slice(3, 4), 0.5)):  # [m], [stroke]
        assert 0.1 * unit < move_B4[:, numbers].abs().mean() < unit


@torch.inference_mode()
def test_what_the_last_layer_says_is_in_the_models_units() -> None:
    model = make()
    model.move.weight.zero_()
    model.move.bias.fill_(1.0)
    torch.testing.assert_close(model(*asked()), torch.tensor(UNITS).expand(B, 4))


@torch.inference_mode()
def test_frames_are_seen_alike_and_their_points_compared_beside_the_pose_in_its_units() -> None:
    model, (seen, goal, pose) = make(), asked()
    points_B, points_of_goal_B = model.encode_frames(torch.cat((seen, goal))).chunk(2)
    at = torch.stack((*(pose[:, :3] / 0.1).unbind(1), pose[:, 6]), dim=1)
    numbers = torch.cat((points_B, points_of_goal_B - points_B, at), dim=1)
    hidden = F.silu(model.hidden2(F.silu(model.hidden1(numbers))))
    torch.testing.assert_close(model.features(points_B, points_of_goal_B, pose), hidden)
    torch.testing.assert_close(model.moves(hidden), model(seen, goal, pose))


@torch.inference_mode()
def test_change_points_are_looked_for_in_the_first_frames_features_and_how_the_goals_differ() -> None:
    model, (seen, goal, pose) = make(change_points=2), asked()
    assert model.changes is not None
    points_B, points_of_goal_B = (model.points(frame).flatten(1) for frame in (seen, goal))
    features, of_goal = model.points.features(seen), model.points.features(goal)
    changes = model.changes(torch.cat((features, of_goal - features), dim=2))
    assert changes.shape == (B, 2, 2 + SHAPE["kept"])
    at = torch.stack((*(pose[:, :3] / 0.1).unbind(1), pose[:, 6]), dim=1)
    numbers = torch.cat((points_B, points_of_goal_B - points_B, changes.flatten(1), at), dim=1)
    hidden = F.silu(model.hidden2(F.silu(model.hidden1(numbers))))
    torch.testing.assert_close(model(seen, goal, pose), model.moves(hidden))


class SeeingAgain(InverseModel):
    """Sees each frame anew for every question."""

    def encode_frames(self, latents_BND: Tensor) -> Tensor:
        return latents_BND

    def features(self, seen_BX: Tensor, goal_BX: Tensor, pose_B7: Tensor) -> Tensor:
        return super().features(super().encode_frames(seen_BX), super().encode_frames(goal_BX), pose_B7)


@KINDS
@torch.inference_mode()
def test_a_hand_is_located_by_frames_seen_once_as_by_frames_seen_for_every_question(kind: dict[str, Any]) -> None:
    model, again, (seen, goal, pose) = make(**kind), lively(SeeingAgain(InverseModelConfig(**SHAPE | kind))), asked()
    again.load_state_dict(model.state_dict())
    for told, plain in zip(
        locate(model, Observations(seen, pose), goal[0]), locate(again, Observations(seen, pose), goal[0]), strict=True
    ):
        torch.testing.assert_close(told, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(cycle_error(model, seen, pose, goal), cycle_error(again, seen, pose, goal))


@KINDS
@torch.inference_mode()
def test_requests_do_not_see_each_other(kind: dict[str, Any]) -> None:
    model, together = make(**kind), asked()
    alone_14 = model(*(part[1:2] for part in together))
    torch.testing.assert_close(model(*together)[1:2], alone_14, atol=1e-6, rtol=0)


@KINDS
@torch.inference_mode()
@pytest.mark.parametrize("part", [0, 1], ids=["what is seen", "the goal"])
@pytest.mark.parametrize("token", range(N))
def test_every_token_of_both_frames_counts(kind: dict[str, Any], part: int, token: int) -> None:
    model, before, after = make(**kind), asked(), asked()
    after[part][:, token] += draw(D, seed=5)
    assert ((model(*after) - model(*before)).abs().amax(dim=1) > 1e-4).all()


@torch.inference_mode()
def test_the_same_tokens_elsewhere_are_another_place() -> None:
    model, (seen, goal, pose) = make(), asked()
    assert not torch.allclose(model(seen, goal.flip(1), pose), model(seen, goal, pose), atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize(("number", "counts"), list(enumerate([True, True, True, False, False, False, True])))
def test_position_and_gripper_count_and_rotation_does_not(number: int, counts: bool) -> None:
    model, (seen, goal, pose) = make(), asked()
    turned = pose.clone()
    turned[:, number] += 0.2
    assert torch.equal(model(seen, goal, turned), model(seen, goal, pose)) is not counts


@KINDS
@torch.inference_mode()
def test_only_training_forgets_a_share_of_what_is_seen(kind: dict[str, Any]) -> None:
    model, sure = make(**kind), make(**kind, dropout=0.0)
    assert torch.equal(model(*asked()), model(*asked()))
    assert torch.equal(sure.train()(*asked()), sure(*asked()))
    assert not torch.equal(model.train()(*asked()), model(*asked()))


@KINDS
def test_every_weight_can_learn(kind: dict[str, Any]) -> None:
    model = make(**kind)
    model(*asked()).abs().sum().backward()
    assert [name for name, weight in model.named_parameters() if not weight.grad.any()] == []


@KINDS
def test_the_same_seed_draws_the_same_weights(kind: dict[str, Any]) -> None:
    first, again, other = (fresh(seed, **kind).state_dict() for seed in (3, 3, 4))
    drawn = [name for name in first if name.endswith("weight") and "norms" not in name]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


@KINDS
def test_maps_begin_flat(kind: dict[str, Any]) -> None:
    assert fresh(**kind).state_dict()["points.embed.weight"].std().item() == pytest.approx((3 * D) ** -0.5, rel=0.2)
    if kind:
        of_changes = fresh(**kind).state_dict()["changes.embed.weight"]
        assert of_changes.std().item() == pytest.approx((3 * 2 * SHAPE["channels"]) ** -0.5, rel=0.2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((draw(B, N + 1, D), *asked()[1:]), r"expected latents \[4, 6, 20\], got \[4, 7, 20\]"),
        ((asked()[0], draw(B, N, D + 1), asked()[2]), r"expected goals \[4, 6, 20\], got \[4, 6, 21\]"),
        ((asked()[0], draw(1, N, D), asked()[2]), r"expected goals \[4, 6, 20\], got \[1, 6, 20\]"),
        ((*asked()[:2], draw(B, 6)), r"expected poses \[4, 7\], got \[4, 6\]"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments: tuple[Tensor, ...], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()(*arguments)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("grid", (0, 3), "positive"),
        ("hidden_dim", 0, "hidden_dim must be positive, got 0"),
        ("hidden_dim", -1, "hidden_dim must be positive, got -1"),
        ("channels", 12, "multiple of 8"),
        ("change_points", -1, "change_points is at least 0, got -1"),
        ("dropout", 1.0, "dropout lies within 0…1, got 1.0"),
        ("dropout", -0.1, "dropout lies within"),
    ],
)
def test_nonsense_settings_are_refused(name: str, value: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        InverseModelConfig(**{name: value})
