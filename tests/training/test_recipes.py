from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest

from vjepa2_ac.checkpoints.loading import load
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21Config
from vjepa2_ac.models.sizes import ENCODERS, ENCODERS_V21
from vjepa2_ac.training import recipes
from vjepa2_ac.training.recipes import InvertRecipe, PretrainRecipe, TrainRecipe


@pytest.mark.parametrize("name", recipes.names())
def test_every_packaged_recipe_is_valid_and_survives_being_saved(name: str, tmp_path: Path) -> None:
    recipe = recipes.read(name)
    (tmp_path / "recipe.yaml").write_text(recipes.text_of(recipe))
    assert recipes.read(tmp_path / "recipe.yaml") == recipe
    assert recipe.about


@pytest.mark.parametrize("size", [("l", "vit-large"), ("h", "vit-huge"), ("g", "vit-giant-xformers")])
def test_released_sizes_are_those_of_the_released_models(size: tuple[str, str]) -> None:
    recipe = recipes.read(f"pretrain-vit{size[0]}-256")
    assert isinstance(recipe, PretrainRecipe)
    ours, released = recipe.encoder_config(), ENCODERS[size[1]]
    assert (ours.embed_dim, ours.depth, ours.num_heads) == (released.embed_dim, released.depth, released.num_heads)
    assert int(ours.embed_dim * ours.mlp_ratio) == int(released.embed_dim * released.mlp_ratio)


def test_the_default_models_recipes_make_what_ships() -> None:
    ships = load("default", parts=("encoder", "predictor", "inverse", "keyframes"))
    assert ships.encoder is not None
    assert ships.predictor is not None
    assert ships.inverse is not None
    assert ships.keyframes is not None
    encoder = ships.encoder.config
    for name, made in {
        "default-train": ships.predictor,
        "default-train-rollout": ships.predictor,
        "default-invert": ships.inverse,
        "default-invert-views": ships.inverse,
        "default-keyframes": ships.keyframes,
    }.items():
        recipe = recipes.read(name)
        if isinstance(recipe, TrainRecipe):
            assert recipe.predictor_config(encoder, encoder.img_size) == made.config
        else:
            assert isinstance(recipe, InvertRecipe)
            assert recipe.inverse_config(encoder.grid, encoder.embed_dim) == made.config


def test_the_dense_variant_predicts_four_levels() -> None:
    recipe = recipes.read("pretrain-v21-vitgigantic")
    assert isinstance(recipe, PretrainRecipe)
    predictor = recipe.predictor_config()
    assert isinstance(predictor, MaskedPredictorV21Config)
    assert predictor.n_output_distillation == 4
    gigantic = ENCODERS_V21["vit-gigantic-xformers"]
    assert int(recipe.encoder_config().embed_dim * recipe.encoder_config().mlp_ratio) == int(
        gigantic.embed_dim * gigantic.mlp_ratio
    )


def test_the_droid_recipe_has_the_published_numbers() -> None:
    recipe = recipes.read("droid")
    assert isinstance(recipe, TrainRecipe)
    rates = [recipe.optimizer.learning_rate(step, recipe.engine.steps) for step in (4500, 90_000, 94_500)]
    assert rates == [4.25e-4, 4.25e-4, 0.0]
    assert recipe.loss.rollout_steps == 2
    assert not recipe.cache


@pytest.mark.parametrize("name", [name for name in recipes.names() if name.startswith("cooldown-")])
def test_a_published_cooldown_ends_at_four_fifths_of_its_straight_line(name: str) -> None:
    recipe = recipes.read(name)
    assert isinstance(recipe, PretrainRecipe)
    steps, rates = recipe.engine.steps, recipe.optimizer  # the reference runs all its schedules over 1.25 times the run
    last = rates.learning_rate(steps, steps)
    assert last == pytest.approx(rates.lr + (1e-6 - rates.lr) / 1.25)


def test_settings_change_a_recipe_by_full_or_short_name() -> None:
    recipe = recipes.read("tiny-train", ["engine.steps=7", "lr=1e-4", "predictor.depth=2", "cache=false"])
    assert isinstance(recipe, TrainRecipe)
    assert (recipe.engine.steps, recipe.optimizer.lr, recipe.predictor["depth"], recipe.cache) == (7, 1e-4, 2, False)


def test_a_mapping_changes_of_a_section_what_it_names_and_leaves_the_rest_of_the_recipe() -> None:
    whole = recipes.read("default-train", ["optimizer={lr: 1e-4, warmup: 9}", "predictor={depth: 2}"])
    assert whole == recipes.read("default-train", ["optimizer.lr=1e-4", "optimizer.warmup=9", "predictor.depth=2"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stepz=7", "did you mean 'steps'"),
        ("engine.stepz=7", "did you mean 'steps'"),
        ("engin.steps=7", "did you mean 'engine'"),
        ("predictor.dept=7", "did you mean 'depth'"),
        ("zzz=7", "TrainRecipe has no 'zzz'; it has about, predictor, "),
        ("frames_per_clip.x=7", "TrainRecipe has no 'frames_per_clip'"),
        ("about.x=7", "about has no settings inside"),
        ("steps", "key=value"),
        ("steps=many", "whole number"),
        ("lr=-1", "negative"),
        ("betas=[2,2]", "betas lie within"),
        ("window.cameras=[left", "no value in YAML"),
        ("sampling={pair_share: 0.5, pair_share: 0}", "no value in YAML: 'pair_share' is said twice"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.read("tiny-train", [setting])


def test_a_short_name_that_two_sections_have_must_say_which() -> None:
    with pytest.raises(ConfigError, match=r"--set stretch: say which, loss\.stretch or optimizer\.stretch"):
        recipes.read("tiny-pretrain", ["stretch=2.0"])


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'droid'"):
        recipes.read("droit")
    with pytest.raises(ConfigError, match="no recipe 'zzz'; there are cooldown-"):
        recipes.read("zzz")


def test_a_recipe_says_what_it_is_for() -> None:
    assert recipes.about("tiny-invert")[0] == "invert"
    for name in recipes.names():
        kind, words = recipes.about(name)
        assert kind == next(kind for kind, cls in recipes.KINDS.items() if isinstance(recipes.read(name), cls))
        assert words == words.strip() != ""


def test_a_recipe_file_may_extend_a_packaged_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: tiny-train\nabout: mine\nengine: {steps: 3}\n")
    recipe = recipes.read(mine)
    assert recipe.engine.steps == 3
    assert recipe.engine.batch == recipes.read("tiny-train").engine.batch


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"engine: {steps: 3}\nabout: mine\nengine: {batch: 2}\n", "'engine' is said twice"),
        (b"engine: {steps: 3, steps: 4}\n", "'steps' is said twice"),
        (b"engine: {1: 3}\n", "EngineConfig has no '1'"),
        (b"predictor: {on: 3}\n", "ACPredictorConfig has no 'True'"),  # as YAML 1.1 reads it
        (b"kind: [train]\n", "kind must be one of"),
        (b"kind: walk\n", "kind must be one of pretrain, train, invert, got 'walk'"),
        (b"about: caf\xe9\n", "is not YAML"),
        (b"optimizer: {lr: .nan}\n", "lr must be a number, got nan"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_words(text: bytes, message: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_bytes(b"extends: tiny-train\n" + text)
    with pytest.raises(ConfigError, match=message):
        recipes.read(mine)


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nnn cannot be read: File name too long"):
        recipes.read(300 * "n")
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: tiny-train\n")
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(InputError, match=r"mine\.yaml cannot be read: Permission denied"):
        recipes.read(mine)


def test_a_setting_may_be_said_again_where_another_one_is_taken_over(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: tiny-train\nengine: {<<: {steps: 3, batch: 2}, steps: 4}\n")
    recipe = recipes.read(mine)
    assert (recipe.engine.steps, recipe.engine.batch) == (4, 2)


def test_numbers_that_yaml_takes_for_text_are_numbers_wherever_they_stand(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: tiny-train\noptimizer: {lr: 1e-3, betas: [9e-1, .99]}\n")
    rates = recipes.read(mine).optimizer
    assert (rates.lr, rates.betas) == (1e-3, (0.9, 0.99))


def test_a_recipe_that_another_extends_is_looked_for_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, elsewhere = tmp_path / "ours" / "mine.yaml", tmp_path / "elsewhere"
    for folder, steps in ((mine.parent, 3), (elsewhere, 4)):
        folder.mkdir()
        (folder / "base.yaml").write_text(f"extends: tiny-train\nengine: {{steps: {steps}}}\n")
    mine.write_text("extends: base.yaml\n")
    monkeypatch.chdir(elsewhere)
    assert recipes.read(mine).engine.steps == 3
    (mine.parent / "base.yaml").unlink()
    assert recipes.read(mine).engine.steps == 4  # else where one works


@pytest.mark.parametrize("parent", ["{folder}/mine.yaml", "mine.yaml", "../{name}/mine.yaml"])
def test_recipes_that_extend_each_other_are_refused(parent: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"extends: {parent.format(folder=tmp_path, name=tmp_path.name)}\n")
    with pytest.raises(ConfigError, match="circle"):
        recipes.read(mine)


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("tiny-train", "seed=20261129123456", "a seed lies between 0 and 4294967295"),
        ("tiny-train", "loss.exponent=0", "exponent is above 0"),
        ("tiny-train", "copies=-1", "copies is at least 0"),
        ("tiny-train", "window.frameskip=2", "window.frameskip must be 1"),
        ("tiny-train", "predictor.depth=0", "depth"),
        ("default-train", "loss.normalize=false", "copy_gate is for normalised latents"),
        ("tiny-invert", "copies=-1", "copies is at least 0"),
        ("tiny-keyframes", "event_share=1.5", "event_share is a share"),
        ("tiny-keyframes", "event_share=-0.1", "event_share is a share"),
        ("tiny-pretrain", "masks=[]", "at least one mask"),
        ("pretrain-vitl-256", "clips.frames_per_clip=15", "frames_per_clip must divide by 2"),
        ("tiny-pretrain", "predictor.embed_dim=7", "predictor.embed_dim is 7, but the encoder makes it 48"),
        (
            "tiny-pretrain",
            "predictor.img_size=[32, 64]",
            r"img_size is \[32, 64\], but the encoder makes it \(32, 32\)",
        ),
        ("tiny-pretrain", "loss.exponent=-1", "exponent is above 0"),
        ("tiny-pretrain", "masks=[{temporal_scale: [1, 2]}]", "shares of the clip's steps"),
        ("tiny-pretrain", "masks=[{max_context_share: 0}]", "shares of the clip's steps"),
        ("tiny-pretrain", "masks=[{max_keep: 0}]", "max_keep is at least 1"),
        ("tiny-pretrain", "masks=[{spatial_scale: [0.01, 0.5]}]", "blocks of 0 of .* tokens may hide none"),
        ("tiny-pretrain", "masks=[{aspect_ratio: [0.75, .inf]}]", "aspect_ratio must be two rising positive numbers"),
        ("tiny-pretrain", "clips.scale=[0, 1]", "scale goes from a positive number"),
        ("tiny-pretrain", "clips.scale=[0.3, .inf]", r"scale goes from a positive number to .* got \(0.3, inf\)"),
        ("tiny-pretrain", "clips.ratio=[2, 1]", "ratio goes from a positive number"),
        ("tiny-pretrain", "encoder.tubelet_size=0", "tubelet_size must be positive"),
        ("default-pretrain", "encoder.tubelet_size=0", "tubelet_size must be positive, got 0"),
        (
            "default-pretrain",
            "encoder.num_frames=1",
            "learns from clips; an encoder of num_frames 1 takes single pictures",
        ),
        ("pretrain-v21-vitl", "encoder.tubelet_size=0", "tubelet_size must be positive"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_once(name: str, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.read(name, [setting])


def test_what_follows_from_the_encoder_may_be_said_again() -> None:
    again = recipes.read("tiny-pretrain", ["predictor.img_size=[32, 32]", "predictor.embed_dim=48"])
    assert isinstance(again, PretrainRecipe)
    plain = recipes.read("tiny-pretrain")
    assert isinstance(plain, PretrainRecipe)
    assert again.predictor_config() == plain.predictor_config()


def test_pairs_begin_in_no_odd_batch() -> None:
    for setting, is_refused in (("batch=5", True), ("batch=4", False)):
        recipe = recipes.read("tiny-train", ["pair_share=0.5", setting])
        with pytest.raises(ConfigError, match=r"an even engine\.batch, got 5") if is_refused else nullcontext():
            recipe.check()
    recipes.read("tiny-train", ["batch=5"]).check()


def test_an_inverse_begins_with_no_length_of_clips() -> None:
    recipe = recipes.read("default-invert", ["window.frames_per_clip=2"])  # as a run may hold it that began before
    with pytest.raises(ConfigError, match="frames_per_clip is for predictors"):
        recipe.check()


def test_a_predictor_of_moves_as_the_camera_sees_them_is_called_so() -> None:
    for camera_frame in (False, True):
        recipe = recipes.read("droid", [f"window.camera_frame={camera_frame}"])
        assert isinstance(recipe, TrainRecipe)
        assert recipe.predictor_config(ENCODERS["vit-giant-xformers"], (256, 256)).camera_frame is camera_frame


def test_a_predictor_is_told_the_rate_that_it_learns_at() -> None:
    recipe = recipes.read("droid", ["window.fps=5"])
    assert isinstance(recipe, TrainRecipe)
    assert recipe.predictor_config(ENCODERS["vit-giant-xformers"], (256, 256)).fps == 5
    recipe = recipes.read("droid", ["predictor.fps=5"])
    assert isinstance(recipe, TrainRecipe)
    with pytest.raises(ConfigError, match=r"predictor\.fps is 5, but window\.fps makes it 4"):
        recipe.predictor_config(ENCODERS["vit-giant-xformers"], (256, 256))


def test_recipes_of_runs_before_copies_were_called_so_are_read_where_there_are_none(tmp_path: Path) -> None:
    own, path = recipes.read("tiny-train"), tmp_path / "recipe.yaml"
    text = recipes.text_of(own)
    assert "copies: 0" in text
    path.write_text(text.replace("copies: 0", "colour_jitter: 0"))
    assert recipes.read(path) == own
    path.write_text(text.replace("copies: 0", "colour_jitter: 1"))
    with pytest.raises(ConfigError, match="colour_jitter is called copies now"):
        recipes.read(path)


def test_an_inverse_begins_in_no_camera_frame() -> None:
    with pytest.raises(ConfigError, match="camera_frame is for predictors"):
        recipes.read("default-invert", ["window.camera_frame=true"]).check()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("tiny-pretrain", ["engine.sharded=true"], "muon needs whole matrices"),
        ("tiny-train", ["engine.sharded=true"], "muon needs whole matrices"),
        ("tiny-invert", [], "an inverse has none: take adamw"),
        ("tiny-keyframes", [], "an inverse has none: take adamw"),
    ],
)
def test_a_run_begins_with_no_muon_that_cannot_train(name: str, settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.read(name, ["optimizer.name=muon", *settings]).check()
