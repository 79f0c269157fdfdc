"""`vjepa2-ac invert` from end to end, at the smallest size: a world model and episodes → the same with its inverse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoints import samples
from tests.training import episodes
from tests.training.test_engine import assert_same, final
from vjepa2_ac import cli
from vjepa2_ac.checkpoints.loading import load
from vjepa2_ac.checkpoints.release import save
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.training.run_folder import Run
from vjepa2_ac.world_model import WorldModel

RECIPE = """
extends: default-invert
about: tiny
inverse: {channels: 8, layers: 1, points: 3, kept: 2, hidden_dim: 32}
optimizer: {warmup: 2, anneal: 5}
engine: {steps: 8, batch: 4, log_every: 4, save_every: 4}
"""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes, a world model, a recipe, and a run of it all."""
    root = tmp_path_factory.mktemp("room")
    episodes.folder(root / "data", range(3), close=True)
    samples.release(root / "model", normalize_latents=False)
    (root / "tiny.yaml").write_text(RECIPE)
    assert invert(root, root / "run") == 0
    return root


def invert(room: Path, out: Path, *settings: str, start: Path | None = None) -> int:
    given = ["--data", f"{room}/data", "--model", f"{room}/model", "--recipe", f"{room}/tiny.yaml"]
    more = [word for setting in settings for word in ("--set", setting)]
    more += [] if start is None else ["--start", str(start)]
    return cli.run(["invert", *given, "--out", str(out), "--cache", f"{room}/cache", *more])


def test_the_release_holds_the_world_model_as_it_was_and_its_inverse(room: Path) -> None:
    given, made = load(room / "model"), load(room / "run" / "release")
    assert samples.same(made.encoder, given.encoder)
    assert samples.same(made.predictor, given.predictor)
    assert made.preprocessing == given.preprocessing
    assert not made.normalize_latents
    assert made.inverse is not None
    assert (made.inverse.config.grid, made.inverse.config.embed_dim) == ((4, 4), 24)
    facts = made.metadata["inverse"]
    assert (facts["model"], facts["updates"]) == (f"{room}/model", 8)
    assert {**given.metadata, "inverse": facts, "source": made.metadata["source"]} == made.metadata
    found = Run(room / "run").newest()
    assert found is not None
    learned = {name.removeprefix("inverse."): weight.bfloat16() for name, weight in found[1]["learner"].items()}
    assert_same(dict(made.inverse.state_dict()), learned)


def test_an_opened_release_locates_the_hand_and_the_model_without_inverse_cannot(room: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    pose_17 = torch.tensor([[0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0]])
    located = []
    for folder in ("model", "run/release"):
        model = WorldModel.open(room / folder, precision="fp32", device="cpu")
        seen_1ND, goal_1ND = model.encode(frames).split(1)
        located.append(model.locate(seen_1ND, pose_17, goal_1ND))
    assert located[0] is None
    assert located[1] is not None
    assert located[1].hand_B4.shape == (1, 4)


def test_it_goes_on_from_an_inverse_that_has_learned_already(room: Path, tmp_path: Path) -> None:
    release, out = room / "run" / "release", tmp_path / "on"
    hardly = ("steps=1", "start_lr=1e-12", "lr=1e-12", "final_lr=0", "warmup=0", "anneal=0")
    assert invert(room, out, *hardly, start=release) == 0
    assert samples.same(load(out / "release").inverse, load(release).inverse)
    assert invert(room, tmp_path / "afresh", *hardly) == 0
    assert not samples.same(load(tmp_path / "afresh" / "release").inverse, load(release).inverse)
    facts = load(out / "release").metadata["inverse"]
    assert facts["start"] == str(release)


def test_an_inverse_that_goes_on_beside_another_encoder_than_its_own_says_so(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known, other = load(room / "run" / "release"), tmp_path / "other"
    save(other, encoder=samples.encoder(seed=9), inverse=known.inverse, preprocessing=known.preprocessing)
    for start, is_another in ((room / "run" / "release", False), (other, True)):
        capsys.readouterr()
        settings = ("steps=1", "warmup=0", "anneal=0")
        assert invert(room, tmp_path / f"another {is_another}", *settings, start=start) == 0
        said = f"note: what {start} holds has learned on another encoder than {room / 'model'}: "
        assert (said in capsys.readouterr().err) is is_another


def test_keyframes_are_learned_from_where_the_inverse_is_and_stand_beside_it(room: Path, tmp_path: Path) -> None:
    release = room / "run" / "release"
    asks, hardly = "asks=keyframe", ("steps=1", "start_lr=1e-12", "lr=1e-12", "final_lr=0", "warmup=0", "anneal=0")
    given = ["--data", f"{room}/data", "--model", str(release), "--recipe", f"{room}/tiny.yaml"]
    words = ["invert", *given, "--cache", f"{room}/cache", "--set", asks]
    begins = [word for setting in hardly for word in ("--set", setting)]
    assert cli.run([*words, *begins, "--start", str(release), "--out", f"{tmp_path}/begun"]) == 0
    begun = load(tmp_path / "begun" / "release")
    assert samples.same(begun.keyframes, load(release).inverse)
    assert cli.run([*words, "--start", str(release), "--out", f"{tmp_path}/learned"]) == 0
    learned = load(tmp_path / "learned" / "release")
    assert not samples.same(learned.keyframes, begun.keyframes)
    for name in ("encoder", "predictor", "inverse"):
        assert samples.same(getattr(learned, name), getattr(load(release), name))
    assert {"inverse", "keyframes"} < set(learned.metadata)
    on = [*words[:3], "--model", f"{tmp_path}/learned/release", *words[5:], *begins]
    assert cli.run([*on, "--start", f"{tmp_path}/learned/release", "--out", f"{tmp_path}/on"]) == 0
    assert samples.same(load(tmp_path / "on" / "release").keyframes, learned.keyframes)
    kept = [*on[: -len(begins)], *begins, "--set", "asks=goal", "--start", str(release), "--out", f"{tmp_path}/kept"]
    assert cli.run(kept) == 0
    assert samples.same(load(tmp_path / "kept" / "release").keyframes, learned.keyframes)


def test_keyframes_go_on_from_a_model_without_an_inverse(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", f"{room}/data", "--model", f"{room}/model", "--recipe", f"{room}/tiny.yaml", "--set"]
    words = ["invert", *given, "asks=keyframe", "--cache", f"{room}/cache"]
    assert cli.run([*words, "--out", f"{tmp_path}/first"]) == 0
    first, hardly = tmp_path / "first" / "release", ("steps=1", "start_lr=0", "lr=1e-12", "warmup=0", "anneal=0")
    on = [*words, *(word for setting in hardly for word in ("--set", setting)), "--start"]
    assert cli.run([*on, str(first), "--out", f"{tmp_path}/on"]) == 0
    assert samples.same(load(tmp_path / "on" / "release").keyframes, load(first).keyframes)
    assert cli.run([*on, f"{room}/model", "--out", f"{tmp_path}/none"]) == 2
    assert f"{room}/model holds no inverse or keyframes to start from" in capsys.readouterr().err
    assert invert(room, tmp_path / "inverse", start=first) == 2
    assert f"{first} holds no inverse to start from" in capsys.readouterr().err


def test_an_inverse_that_cannot_go_on_is_refused(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invert(room, tmp_path / "a", "inverse.hidden_dim=16", start=room / "run" / "release") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "does not fit the recipe's inverse; take the recipe that made it, or --set inverse.…" in said
    assert said.endswith("=…: hidden_dim is 32 there, 16 here")
    assert invert(room, tmp_path / "b", start=room / "model") == 2
    assert "holds no inverse" in capsys.readouterr().err


def test_a_run_that_was_stopped_goes_on_by_resume(room: Path, tmp_path: Path) -> None:
    assert invert(room, tmp_path / "parts") == 0
    (tmp_path / "parts" / "states" / "00000008.pt").unlink()  # as if killed after update 4
    assert cli.run(["invert", "--resume", "--out", str(tmp_path / "parts")]) == 0
    assert_same(final(room / "run"), final(tmp_path / "parts"))


def test_latents_from_disk_teach_as_those_encoded_on_the_way(room: Path, tmp_path: Path) -> None:
    for cache in ("true", "false"):
        assert invert(room, tmp_path / cache, f"cache={cache}", "precision=fp32") == 0
    # Of the first updates, before what bf16 rounds (it keeps three digits of a latent) has added up.
    losses = [json.loads(Run(tmp_path / cache).log.read_text().splitlines()[0]) for cache in ("true", "false")]
    assert losses[0]["loss"] == pytest.approx(losses[1]["loss"], rel=5e-3)


def test_a_world_model_trained_on_the_same_episodes_shares_their_latents(room: Path, tmp_path: Path) -> None:
    kept = sorted((room / "cache").rglob("*"))
    train = ["train", "--data", f"{room}/data", "--encoder", f"{room}/model", "--recipe", "tiny-train"]
    settings = ["--set", "steps=2", "--set", "warmup=1", "--set", "anneal=1", "--set", "loss.normalize=false"]
    settings += ["--set", "predictor.copy_gate=false"]
    assert cli.run([*train, *settings, "--out", str(tmp_path / "run"), "--cache", f"{room}/cache"]) == 0
    assert sorted((room / "cache").rglob("*")) == kept


def test_a_recipe_of_another_command_is_refused(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--recipe", "tiny-train", "--out", str(tmp_path)], ["--recipe", "tiny-pretrain"]):
        assert cli.run(["invert", "--data", f"{room}/data", *words]) == 2
        assert f"{words[1]} is for `vjepa2-ac {words[1][5:]}`, not invert" in capsys.readouterr().err
    assert cli.run(["train", "--resume", "--out", f"{room}/run"]) == 2
    assert "is for `vjepa2-ac invert`, not train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("inverse.grid=[3, 3]", "inverse.grid is [3, 3], but the encoder makes it (4, 4)"),
        ("inverse.embed_dim=9", "inverse.embed_dim is 9, but the encoder makes it 24"),
        ("inverse.chanels=8", "did you mean 'channels'"),
        ("inverse.dropout=1", "dropout lies within"),
        ("bad_episodes=-1", "bad_episodes is at least 0"),
        ("event_share=0.5", "event_share is a share, 0 … 1, and 0 unless asks is 'keyframe'"),
        ("window.frameskip=2", "window.frameskip must be 1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(
    room: Path, tmp_path: Path, setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invert(room, tmp_path / "run", setting) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_is_no_world_model_is_refused(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vjepa2_ac.checkpoints import save

    save(tmp_path / "alone", encoder=samples.encoder(), preprocessing=Preprocessing(img_size=(32, 32)))
    assert cli.run(["invert", "--data", f"{room}/data", "--model", f"{tmp_path}/alone", "--out", f"{tmp_path}/x"]) == 2
    assert "holds no predictor" in capsys.readouterr().err
    assert cli.run(["invert", "--model", f"{room}/model"]) == 2
    assert "vjepa2-ac invert --data FOLDER" in capsys.readouterr().err
