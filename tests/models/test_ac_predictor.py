from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.small import ac_predictor, draw
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig, KVCache
from vjepa2_ac.models.build import build
from vjepa2_ac.models.copy_gate import CopyGate
from vjepa2_ac.models.local_mixing import LocalMixing
from vjepa2_ac.training.losses import normalized

PATCHES = 12  # of one frame
SHAPE: dict[str, Any] = {"img_size": (24, 32), "patch_size": 8, "embed_dim": 20, "predictor_embed_dim": 64}
SHAPE |= {"depth": 2, "num_heads": 2}
VARIANTS = [{}, {"use_extrinsics": True}, {"use_rope": False}, {"modulation": "adaln"}, {"use_silu": True}]
VARIANTS += [{"local_mixing": True}, {"local_mixing": True, "use_extrinsics": True}, {"copy_gate": True}]


def given(batch: int, steps: int, *, extrinsics: bool = False) -> list[Tensor]:
    shapes = [(steps * PATCHES, 20), (steps, 7), (steps, 7)] + [(steps, 6)] * extrinsics
    return [draw(batch, *shape, seed=seed) for seed, shape in enumerate(shapes)]


def steps_of(model: ACPredictor, inputs: list[Tensor], cache: KVCache) -> Tensor:
    latents, *conditions = inputs
    predicted = []
    for t, frame in enumerate(latents.split(PATCHES, dim=1)):
        action, pose, *extrinsics = (part[:, t] for part in conditions)
        predicted.append(model.step(frame, action, pose, cache, *extrinsics))
    return torch.cat(predicted, dim=1)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@torch.inference_mode()
def test_step_by_step_with_a_cache_equals_all_at_once(variant: dict[str, Any]) -> None:
    model = ac_predictor(**variant)
    inputs = given(3, 4, extrinsics=model.config.use_extrinsics)
    torch.testing.assert_close(steps_of(model, inputs, model.empty_cache(3, 4)), model(*inputs), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_cache_may_be_kept_in_another_precision() -> None:
    model, inputs = ac_predictor(), given(2, 3)
    cache = model.empty_cache(2, 3, dtype=torch.bfloat16)
    predicted = steps_of(model, inputs, cache)
    assert {kept.dtype for past in cache.layers for kept in (past.keys, past.values)} == {torch.bfloat16}
    torch.testing.assert_close(predicted, model(*inputs), atol=5e-2, rtol=0)  # of numbers of order 1


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@torch.inference_mode()
def test_what_happens_later_does_not_change_earlier_predictions(variant: dict[str, Any]) -> None:
    model = ac_predictor(**variant)
    inputs = given(2, 3, extrinsics=model.config.use_extrinsics)
    before = model(*inputs)
    for part in inputs[1:]:
        part[:, 2] += 1.0
    inputs[0][:, 2 * PATCHES :] += 1.0
    after = model(*inputs)
    torch.testing.assert_close(before[:, : 2 * PATCHES], after[:, : 2 * PATCHES])
    assert (before[:, 2 * PATCHES :] - after[:, 2 * PATCHES :]).abs().max() > 0.1


@pytest.mark.parametrize("part", [0, 1, 2, 3])
@torch.inference_mode()
def test_every_input_matters_to_every_patch_of_its_step(part: int) -> None:
    model = ac_predictor(use_extrinsics=True)
    inputs = given(1, 2, extrinsics=True)
    before = model(*inputs)
    inputs[part] = inputs[part] + 1.0
    assert ((before - model(*inputs)).abs().amax(dim=-1) > 1e-3).all()


@torch.inference_mode()
def test_without_causality_the_past_sees_the_future_and_nothing_can_be_cached() -> None:
    model, inputs = ac_predictor(is_frame_causal=False), given(1, 2)
    before = model(*inputs)
    inputs[1][:, 1] += 1.0
    assert (before - model(*inputs))[:, :PATCHES].abs().max() > 1e-3
    with pytest.raises(InputError, match="cannot be cached"):
        model.empty_cache(1, 2)


@torch.inference_mode()
def test_candidates_share_a_history_and_leave_it_as_it_was() -> None:
    model, history = ac_predictor(), given(2, 2)
    cache = model.empty_cache(2, 3)
    steps_of(model, history, cache)
    actions, latents = draw(6, 7, seed=9), history[0][:, PATCHES:].repeat_interleave(3, dim=0)
    for _ in range(2):  # a second search starts from the same history
        shared = cache.expand(3)
        together = model.step(latents, actions, actions, shared)
        assert (cache.length, shared.length) == (2, 3)
        for i in range(6):
            alone = model.empty_cache(1, 3)
            steps_of(model, [part[i // 3 : i // 3 + 1] for part in history], alone)
            row = slice(i, i + 1)
            expected = model.step(latents[row], actions[row], actions[row], alone)
            torch.testing.assert_close(together[row], expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_one_history_is_shared_without_a_copy() -> None:
    model = ac_predictor()
    cache = model.empty_cache(1, 2)
    steps_of(model, given(1, 1), cache)
    assert cache.expand(500).layers[0].keys.data_ptr() == cache.layers[0].keys.data_ptr()


def test_gradients_through_a_cached_rollout_are_those_of_the_whole() -> None:
    model, gradients = ac_predictor(), []
    for is_cached in (True, False):
        latents, actions, poses = given(1, 3)
        actions.requires_grad_()
        inputs = [latents, actions, poses]
        predicted = steps_of(model, inputs, model.empty_cache(1, 3)) if is_cached else model(*inputs)
        predicted[:, -PATCHES:].square().sum().backward()
        gradients.append(actions.grad)
    torch.testing.assert_close(*gradients, atol=1e-3, rtol=1e-4)


def test_a_full_cache_refuses_another_step() -> None:
    model, (latents, actions, poses) = ac_predictor(), given(1, 1)
    cache = model.empty_cache(1, 1)
    model.step(latents, actions[:, 0], poses[:, 0], cache)
    with pytest.raises(InputError, match="made for 1 steps"):
        model.step(latents, actions[:, 0], poses[:, 0], cache)


@torch.inference_mode()
def test_a_last_step_reads_the_cache_and_leaves_it_as_it_was() -> None:
    model, inputs = ac_predictor(), given(2, 3)
    cache = model.empty_cache(2, 2)
    steps_of(model, [part.split(part.shape[1] // 3 * 2, dim=1)[0] for part in inputs], cache)
    frame, action, pose = (part[:, -part.shape[1] // 3 :] for part in inputs)
    predicted = model.step(frame, action[:, 0], pose[:, 0], cache, is_last=True)
    torch.testing.assert_close(predicted, model(*inputs)[:, -PATCHES:], atol=1e-5, rtol=0)
    assert (cache.length, cache.layers[0].keys.shape[2]) == (2, 2 * (2 + PATCHES))


@pytest.mark.parametrize(
    ("added", "names"),
    [({"modulation": "adaln"}, ("modulation", "condition_encoder")), ({"local_mixing": True}, ("local_mixing",))],
    ids=["modulation", "local mixing"],
)
@torch.inference_mode()
def test_what_is_freshly_added_to_a_predictor_changes_nothing(added: dict[str, Any], names: tuple[str, ...]) -> None:
    more = ACPredictor(ACPredictorConfig(**SHAPE, **added)).eval()
    plain = ACPredictor(ACPredictorConfig(**SHAPE)).eval()
    missing, unexpected = plain.load_state_dict(more.state_dict(), strict=False)
    assert not missing
    assert unexpected
    assert all(any(name in key for name in names) for key in unexpected)
    inputs = given(2, 2)
    torch.testing.assert_close(more(*inputs), plain(*inputs))


@torch.inference_mode()
def test_local_mixing_hears_the_eight_patches_around_and_nothing_else() -> None:
    mixing = LocalMixing(6, (3, 4), 2, norm_eps=1e-6).eval()
    mixing.convolution.weight.copy_(draw(6, 6, 3, 3))
    x_BND = draw(2, 2 * (2 + PATCHES), 6, seed=1)
    before = mixing(x_BND)
    for step, patch, around in ((0, 0, {0, 1, 4, 5}), (1, 6, {1, 2, 3, 5, 6, 7, 9, 10, 11})):
        changed = x_BND.clone()
        changed[:, step * 14 + 2 + patch] += draw(6, seed=2)
        moved_BN = (mixing(changed) - before).abs().amax(dim=-1) > 1e-6
        assert {int(at) for at in moved_BN[0].nonzero()} == {step * 14 + 2 + at for at in around}
        assert torch.equal(moved_BN[0], moved_BN[1])
    conditions = torch.tensor([0, 1, 14, 15])
    changed = x_BND.clone()
    changed[:, conditions] += 1.0
    heard = mixing(changed) - before
    torch.testing.assert_close(heard[:, conditions], torch.ones(2, 4, 6))
    heard[:, conditions] = 0.0
    assert not heard.any()


def test_local_mixing_learns_from_its_first_step() -> None:
    model = ACPredictor(ac_predictor(local_mixing=True).config)
    model(*given(2, 2)).square().mean().backward()
    for mixing in model.local_mixing:
        assert isinstance(mixing, LocalMixing)
        assert mixing.convolution.weight.grad is not None
        assert mixing.convolution.weight.grad.abs().amax(dim=(1, 2, 3)).min() > 0


@torch.inference_mode()
def test_a_predictor_that_begins_with_a_copy_gate_tells_nearly_what_it_told_without() -> None:
    gated = ACPredictor(ACPredictorConfig(**SHAPE, copy_gate=True)).eval()
    plain = ACPredictor(ACPredictorConfig(**SHAPE)).eval()
    missing, unexpected = plain.load_state_dict(gated.state_dict(), strict=False)
    assert not missing
    assert unexpected == ["copy_gate.share.weight", "copy_gate.share.bias"]
    latents, *conditions = given(2, 2)
    before = normalized(latents)
    new = normalized(plain(before, *conditions))
    torch.testing.assert_close(gated(before, *conditions) - new, 0.0474 * (before - new), atol=1e-3, rtol=0)


@torch.inference_mode()
def test_a_closed_copy_gate_leaves_each_patch_of_each_step_as_it_was() -> None:
    model, inputs = ac_predictor(copy_gate=True), given(2, 3)
    assert model.copy_gate is not None
    model.copy_gate.share.bias.fill_(-100.0)
    torch.testing.assert_close(model(*inputs), inputs[0])
    torch.testing.assert_close(steps_of(model, inputs, model.empty_cache(2, 3)), inputs[0])


def test_a_copy_gate_tells_patches_that_stay_from_patches_that_are_new() -> None:
    gate = CopyGate(8)
    gate.open()
    tokens, predicted, before = draw(1, 40, 8), draw(1, 40, 20, seed=1), normalized(draw(1, 40, 20, seed=2))
    is_new = tokens[..., :1] > 0
    truth = torch.where(is_new, normalized(predicted), before)
    optimizer = torch.optim.Adam(gate.parameters(), lr=0.3)
    for _ in range(200):
        optimizer.zero_grad()
        gap = (gate(tokens, predicted, before) - truth).abs().mean()
        gap.backward()
        optimizer.step()
    assert gap.item() < 0.05


def test_modulation_learns_from_its_first_step() -> None:
    model = ACPredictor(ac_predictor(modulation="adaln").config)
    model(*given(1, 2)).square().sum().backward()
    for block in model.predictor_blocks:
        assert block.modulation.weight.grad.abs().amax(dim=1).min() > 0


@torch.inference_mode()
def test_to_modulation_a_small_move_is_as_large_as_a_whole_pose() -> None:
    model = ACPredictor(ac_predictor(modulation="adaln").config)
    weight = model.condition_encoder[0].weight
    move, pose = torch.zeros(14), torch.zeros(14)
    move[0], pose[7] = 0.05, 1.0
    assert (weight @ move).norm().item() == pytest.approx((weight @ pose).norm().item(), rel=0.5)


@pytest.mark.parametrize("variant", [{}, {"modulation": "adaln"}, {"local_mixing": True}, {"copy_gate": True}], ids=str)
def test_recomputing_in_the_backward_pass_changes_no_gradient(variant: dict[str, Any]) -> None:
    gradients = []
    for recompute in (False, True):
        model = ac_predictor(use_activation_checkpointing=recompute, **variant).train()
        model(*given(1, 2)).square().sum().backward()
        gradients.append(model.predictor_embed.weight.grad)
    torch.testing.assert_close(*gradients)


def test_recomputing_keeps_as_little_of_a_layer_with_local_mixing_as_of_one_without() -> None:
    kept, numbers = list[Tensor](), list[int]()

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    for mixing in (False, True):
        model = ac_predictor(use_activation_checkpointing=True, local_mixing=mixing).train()
        ours = {parameter.data_ptr() for parameter in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(*given(1, 2))
        numbers.append(sum(tensor.numel() for tensor in kept if tensor.data_ptr() not in ours))
        kept.clear()
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize(("patch", "heads"), [(8, 2), (4, 1), (8, 4)])
@torch.inference_mode()
def test_small_patches_and_heads_work(patch: int, heads: int) -> None:
    model = ac_predictor(img_size=(32, 32), patch_size=patch, num_heads=heads)
    tokens = model.config.tokens_per_frame
    assert model(draw(1, tokens, 20), draw(1, 1, 7), draw(1, 1, 7)).shape == (1, tokens, 20)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({0: (1, 23, 20)}, r"expected latents \[1, 24, 20\] beside 2 steps, got \[1, 23, 20\]"),
        ({1: (1, 3, 7)}, "expected latents"),
        ({2: (1, 2, 6)}, r"expected poses \[1, 2, 7\]"),
        ({3: (1, 2, 6)}, "takes no extrinsics"),
        ({0: (24, 20)}, "expected latents"),
    ],
)
def test_shapes_that_contradict_each_other_are_refused(change: dict[int, tuple[int, ...]], complaint: str) -> None:
    inputs = given(1, 2)
    for part, shape in change.items():
        inputs[part : part + 1] = [torch.zeros(shape)]
    with pytest.raises(InputError, match=complaint):
        ac_predictor()(*inputs)


def test_a_missing_camera_is_noticed() -> None:
    with pytest.raises(InputError, match="takes extrinsics"):
        ac_predictor(use_extrinsics=True)(*given(1, 2))


def test_the_mask_is_no_part_of_the_weights() -> None:
    model = ac_predictor()
    assert not any("mask" in key or "rope" in key for key in model.state_dict())
    assert not list(model.buffers())


def test_a_condition_is_the_action_in_its_units_and_then_the_pose() -> None:
    model = build(ACPredictor, ACPredictorConfig(modulation="adaln", predictor_embed_dim=256, depth=1, num_heads=2))
    assert model.condition_encoder is not None
    first, _, second, _ = model.condition_encoder
    moved, turned, gripped, posed = (first.weight[:, part].std().item() * 14**0.5 for part in (0, 3, 6, 7))
    assert [moved * 0.05, turned * 0.25, gripped * 0.25, posed] == pytest.approx(4 * [1.0], rel=0.2)
    assert second.weight.std().item() == pytest.approx(256**-0.5, rel=0.05)
    action_B7, pose_B7 = draw(1, 1, 7), draw(1, 1, 7, seed=1)
    expected = model.condition_encoder(torch.cat((action_B7, pose_B7), dim=-1))
    torch.testing.assert_close(model._condition(action_B7, pose_B7), expected)
