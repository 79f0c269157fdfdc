from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from timm.optim import muon
from torch import nn

from tests.models.small import draw
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.build import build
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.training import recipes
from vjepa2_ac.training.optimizer import OptimizerConfig, make_optimizer, parameter_groups, set_rates


def small_predictor() -> MaskedPredictor:
    return MaskedPredictor(
        MaskedPredictorConfig(img_size=(32, 32), patch_size=16, predictor_embed_dim=24, depth=1, num_heads=2)
    )


def test_biases_and_vectors_do_not_decay_and_mask_tokens_do() -> None:
    model = small_predictor()
    decaying, spared = parameter_groups(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert "mask_tokens.0" in {names[id(p)] for p in decaying["params"]}
    assert {names[id(p)].rpartition(".")[2] for p in spared["params"]} == {"bias", "weight"}
    assert all(p.ndim == 1 for p in spared["params"])
    assert spared["weight_decay"] == 0.0


def test_what_is_frozen_is_not_optimised() -> None:
    model = small_predictor()
    model.predictor_embed.requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(model)) == len(list(model.parameters())) - 2


def test_rates_follow_the_schedule_and_spare_what_does_not_decay() -> None:
    config = OptimizerConfig(lr=1.0, start_lr=0.0, warmup=10, anneal=10, weight_decay=0.5, final_weight_decay=0.5)
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    assert [set_rates(optimizer, config, step, 100) for step in (5, 50, 100)] == [0.5, 1.0, 0.0]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]


@pytest.mark.parametrize("schedule", ["warmup_cosine", "linear_decay"])
def test_a_stretched_schedule_is_cut_where_the_run_ends(schedule: str) -> None:
    given = {
        "schedule": schedule,
        "lr": 1.0,
        "final_lr": 0.0,
        "warmup": 0,
        "weight_decay": 1.0,
        "final_weight_decay": 0.0,
    }
    whole, cut = OptimizerConfig(**given), OptimizerConfig(**given, stretch=1.25)  # type: ignore[arg-type]
    for step in (1, 5, 7):
        assert cut.learning_rate(step, 7) == whole.learning_rate(step, 8)  # 8.75, of which the reference takes 8
        assert cut.decay(step, 7) == whole.decay(step, 8)


def test_a_rise_and_a_fall_that_do_not_fit_into_the_run_are_refused() -> None:
    config = OptimizerConfig(warmup=3, anneal=5)
    config.check(8)
    with pytest.raises(ConfigError, match="warmup of 3 and an anneal of 5 updates do not fit into 7"):
        config.check(7)
    replace(config, schedule="warmup_cosine").check(7)  # which has no anneal


@pytest.mark.parametrize("name", recipes.names())
def test_a_weight_decay_holds_to_the_end_where_none_is_set_for_the_end(name: str) -> None:
    given = ["weight_decay=0.01"]
    if "invert" in name or "keyframes" in name:  # which say what they end with
        assert recipes.read(name, given).optimizer.final_weight_decay == 0.04
        given.append("final_weight_decay=null")
    recipe = recipes.read(name, given)
    steps = recipe.engine.steps
    assert {recipe.optimizer.decay(step, steps) for step in (1, steps // 2, steps)} == {0.01}


@pytest.mark.parametrize(
    ("recipe", "lr", "above"),
    [
        ("pretrain-vitl-256", 1e-4, "final_lr is higher: 0.000525, with an lr of 0.0001; set optimizer.final_lr, too"),
        ("default-train", 1e-4, "final_lr is higher: 0.001"),
        ("droid", 1e-5, "start_lr is higher: 7.5e-05"),
    ],
)
def test_a_rate_that_would_begin_or_end_above_its_peak_is_refused(recipe: str, lr: float, above: str) -> None:
    with pytest.raises(ConfigError, match=above):
        recipes.read(recipe, [f"lr={lr}"]).check()
    recipes.read(recipe, [f"lr={lr}", "final_lr=0", "start_lr=0"]).check()


@pytest.mark.parametrize("unused", [("schedule=linear_decay",), ("warmup=0", "final_lr=1", "anneal=0")])
def test_a_rate_that_is_never_reached_may_be_any(unused: tuple[str, ...]) -> None:
    recipes.read("droid", ["lr=1e-5", *unused]).check()


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_may_begin_and_reaches_its_peak(name: str) -> None:
    recipes.read(name).check()


def modulated_predictor() -> ACPredictor:
    shape = {"img_size": (32, 32), "embed_dim": 20, "predictor_embed_dim": 24, "depth": 2, "num_heads": 2}
    return build(ACPredictor, ACPredictorConfig(**shape, modulation="adaln", local_mixing=True))  # type: ignore[arg-type]


def test_muon_trains_the_matrices_of_blocks_and_adamw_the_rest() -> None:
    model = modulated_predictor()
    model.action_encoder.requires_grad_(False)
    hidden, *others = make_optimizer(model, OptimizerConfig(name="muon", adamw_lr_scale=0.25)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    inner = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    by_muon = {f"predictor_blocks.{i}.{name}.weight" for i in range(2) for name in inner}
    by_muon |= {f"local_mixing.{i}.convolution.weight" for i in range(2)}
    assert {names[id(p)] for p in hidden["params"]} == by_muon
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {names[id(p)] for group in others for p in group["params"]} == trained - by_muon
    assert all(group["use_fallback"] for group in others)


def test_muon_and_adamw_beside_it_take_what_the_recipe_says() -> None:
    config = OptimizerConfig(name="muon", momentum=0.8, betas=(0.7, 0.8), eps=1e-3, weight_decay=0.5)
    optimizer = make_optimizer(modulated_predictor(), config)
    set_rates(optimizer, config, 0, 10)
    hidden, decaying, spared = optimizer.param_groups
    assert (hidden["momentum"], hidden["nesterov"]) == (0.8, True)
    assert all((group["betas"], group["eps"]) == ((0.7, 0.8), 1e-3) for group in (decaying, spared))
    assert [group["weight_decay"] for group in (hidden, decaying, spared)] == [0.5, 0.5, 0.0]


def test_muon_moves_a_matrix_about_equally_far_in_most_directions_and_adamw_has_its_own_rate() -> None:
    model = modulated_predictor()
    config = OptimizerConfig(
        name="muon",
        lr=1e-2,
        adamw_lr_scale=0.25,
        warmup=0,
        anneal=0,
        weight_decay=0.0,
        final_weight_decay=0.0,
        eps=1e-16,  # far below every gradient here, so that a first step is as long as the rate
    )
    optimizer = make_optimizer(model, config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    inputs = (draw(4, 8, 20), draw(4, 2, 7, seed=1), draw(4, 2, 7, seed=2))
    assert set_rates(optimizer, config, 1, 10) == 1e-2
    model(*inputs).square().mean().backward()
    optimizer.step()
    name, after = "predictor_blocks.0.attn.qkv.weight", dict(model.named_parameters())
    gradient = after[name].grad
    assert gradient is not None
    moved, slope = (torch.linalg.svdvals(part.detach()) for part in (after[name] - before[name], gradient))
    length = 1e-2 * 0.2 * 72**0.5  # of 72 x 24, as long as AdamW's steps are on average
    assert slope.max() > 10 * slope.median()
    assert length * 0.7 < moved.median() < moved.max() < length * 1.3
    step = (model.predictor_proj.bias - before["predictor_proj.bias"]).abs()
    torch.testing.assert_close(step, torch.full_like(step, 0.25e-2), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("fast", "off"), [(True, 2e-2), (False, 1e-4)])
def test_muon_orthogonalises_in_float32_where_bf16_is_slow(
    monkeypatch: pytest.MonkeyPatch, fast: bool, off: float
) -> None:
    monkeypatch.setattr("vjepa2_ac.training.optimizer.is_fast_at_bf16", lambda device: fast)
    model = modulated_predictor()
    config = OptimizerConfig(name="muon", lr=1.0, weight_decay=0.0, final_weight_decay=0.0, momentum=0.0)
    optimizer = make_optimizer(model, config)
    set_rates(optimizer, replace(config, warmup=0, anneal=0), 1, 10)
    weight = model.predictor_blocks[0].attn.qkv.weight
    before, weight.grad = weight.detach().clone(), draw(*weight.shape)
    optimizer.step()
    moved = (before - weight.detach()) / (0.2 * max(weight.shape) ** 0.5)  # as far as AdamW would on average
    coefficients = muon.resolve_ns_coefficients("quintic", muon._COEFFICIENTS)
    steps = muon.zeropower_via_newtonschulz(draw(*weight.shape), 5, coefficients, dtype=torch.float64).float()
    miss = (moved - steps).abs().max() / steps.abs().max()
    assert 1e-2 * off < miss < off, miss


def test_a_frozen_weight_never_moves() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad = False
    before = layer.weight.clone()
    optimizer = make_optimizer(layer, OptimizerConfig())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"schedule": "cosine"},
        {"lr": -1.0},
        {"stretch": 0.5},
        {"stretch": math.inf},
        {"final_lr": math.inf},
        {"weight_decay": math.inf},
        {"eps": math.inf},
        {"clip_grad": 0.0},
        {"name": "adam"},
        {"momentum": 1.0},
        {"adamw_lr_scale": 0.0},
        {"name": "muon", "lr": 1e39},
        {"name": "muon", "start_lr": 1e39},
        {"name": "muon", "lr": 1.0, "adamw_lr_scale": 1e39},
    ],
)
def test_nonsense_is_refused(nonsense: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        OptimizerConfig(**nonsense)  # type: ignore[arg-type]  # nonsense on purpose
