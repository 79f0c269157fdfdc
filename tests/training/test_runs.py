"""The commands from end to end, at the smallest size: episodes → encoder → predictor → a model that loads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.data import folders
from tests.data.folders import hazardous
from tests.data.test_hazards import UNUSABLE
from tests.parity.golden import FOLDER
from tests.training import episodes
from tests.training.test_engine import assert_same, final
from vjepa2_ac import cli
from vjepa2_ac.checkpoints.loading import load
from vjepa2_ac.data import layout
from vjepa2_ac.data.layout import EpisodeRef, find_episodes
from vjepa2_ac.data.video import open_video, write_video
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.run_folder import Run
from vjepa2_ac.world_model import WorldModel

FLAT = ("--set", "warmup=0", "--set", "anneal=0")  # what is learned in a few updates has no time for more


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("episodes")
    episodes.branches(root)
    return episodes.folder(root, close=True)


@pytest.fixture(scope="module")
def encoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "encoder"
    cache = out.parent / "cache"
    command = ["pretrain", "--data", str(data), "--recipe", "tiny-pretrain", "--out", str(out), "--cache", str(cache)]
    assert cli.run(command) == 0
    return out / "release"


def train(data: Path, encoder: Path, out: Path, *more: str) -> int:
    given = ["--data", str(data), "--encoder", str(encoder), "--out", str(out), "--cache", str(out.parent / "cache")]
    return cli.run(["train", *given, "--recipe", "tiny-train", *FLAT, *more])


def test_pretraining_ends_in_a_release_of_the_average(encoder: Path) -> None:
    loaded = load(encoder)
    assert loaded.encoder is not None
    assert loaded.masked_predictor is not None
    run = Run(encoder.parent)
    found = run.newest()
    assert found is not None
    norm = found[1]["learner"]["target.norm.weight"].bfloat16()
    assert torch.equal(loaded.encoder.state_dict()["norm.weight"].bfloat16(), norm)
    lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert any((run.folder / "tensorboard").iterdir())


def test_training_ends_in_a_release_that_loads(data: Path, encoder: Path, tmp_path: Path) -> None:
    sampled = ("pair_share=0.5", "event_share=0.5", "contrast_weight=8")
    assert train(data, encoder, tmp_path / "run", *(word for said in sampled for word in ("--set", said))) == 0
    loaded = load(tmp_path / "run" / "release")
    assert loaded.predictor is not None
    assert loaded.predictor.config.modulation == "adaln"
    assert loaded.preprocessing == load(encoder).preprocessing
    assert "tiny" in loaded.metadata["about"] or loaded.metadata["updates"] == 20


@pytest.mark.parametrize(("release", "rounded"), [("bf16", True), ("fp32", False)])
def test_a_release_in_fp32_holds_its_encoder_in_fp32_whatever_the_run_computes_in(
    data: Path, encoder: Path, tmp_path: Path, release: str, rounded: bool
) -> None:
    settings = ("--set", "steps=1", "--set", "precision=bf16", "--set", f"release={release}")
    assert train(data, Path(f"random:{encoder}"), tmp_path / "run", *settings) == 0
    kept = load(tmp_path / "run" / "release", parts=("encoder",)).encoder
    assert kept is not None
    weights = kept.state_dict()["blocks.0.attn.qkv.weight"].float()
    assert torch.equal(weights, weights.bfloat16().float()) is rounded


@pytest.mark.parametrize("normalize", [True, False])
def test_a_release_is_opened_with_the_latents_it_was_trained_on(
    data: Path, encoder: Path, tmp_path: Path, normalize: bool
) -> None:
    settings = ("steps=2", f"loss.normalize={normalize}", f"predictor.copy_gate={normalize}", "precision=fp32")
    assert train(data, encoder, tmp_path / "run", *(word for each in settings for word in ("--set", each))) == 0
    source = load(encoder, parts=("encoder",), precision="fp32")
    assert source.encoder is not None
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    trained_on = FrameEncoder(source.encoder, source.preprocessing, torch.device("cpu"), "fp32", normalize=normalize)
    model = WorldModel.open(tmp_path / "run" / "release", precision="fp32", device="cpu")
    assert torch.equal(model.encode(frames), trained_on(frames))


def test_latents_from_disk_train_as_those_encoded_on_the_way(data: Path, encoder: Path, tmp_path: Path) -> None:
    for cache in ("true", "false"):
        settings = [f"cache={cache}", "precision=fp32", "steps=6", "log_every=6"]
        more = [word for setting in settings for word in ("--set", setting)]
        assert train(data, encoder, tmp_path / cache, *more) == 0
    losses = [json.loads(Run(tmp_path / cache).log.read_text().splitlines()[-1]) for cache in ("true", "false")]
    assert losses[0]["loss"] == pytest.approx(losses[1]["loss"], rel=5e-3)  # bf16 keeps three digits of a latent


def test_a_run_that_was_stopped_goes_on_by_resume(data: Path, encoder: Path, tmp_path: Path) -> None:
    assert train(data, encoder, tmp_path / "whole") == 0
    assert train(data, encoder, tmp_path / "parts") == 0
    (tmp_path / "parts" / "states" / "00000020.pt").unlink()  # as if killed after update 10
    assert cli.run(["train", "--resume", "--out", str(tmp_path / "parts")]) == 0
    assert_same(final(tmp_path / "whole"), final(tmp_path / "parts"))


def test_two_commands_do_not_work_on_one_run(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with held_by_another_process(out):  # as for the hours in which latents are encoded, before any file is there
        assert train(data, encoder, out) == 2
        assert f"another process is at work on the run in {out}" in capsys.readouterr().err
    assert train(data, encoder, out) == 0
    resume = ["train", "--resume", "--out", str(out)]
    with held_by_another_process(out):
        assert cli.run(resume) == 2
        assert f"another process is at work on the run in {out}" in capsys.readouterr().err
    assert cli.run(resume) == 0


@contextmanager
def held_by_another_process(out: Path) -> Iterator[None]:
    holding = (
        "import sys; from pathlib import Path; from vjepa2_ac.training.run_folder import Run\n"
        "with Run(Path(sys.argv[1])).held(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holding, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate()


def test_what_is_refused_before_it_has_begun_leaves_no_folder(data: Path, encoder: Path, tmp_path: Path) -> None:
    assert train(data, encoder, tmp_path / "run", "--set", "anneal=99") == 2
    assert train(data / "nothing", encoder, tmp_path / "run") == 2
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_without_the_weights_it_started_from_once_it_has_states(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, whole, parts = (tmp_path / name for name in ("first", "whole", "parts"))
    assert train(data, encoder, first) == 0
    for out in (whole, parts):
        assert train(data, encoder, out, "--start", str(first / "release")) == 0
    (parts / "states" / "00000020.pt").unlink()
    first.rename(tmp_path / "away")
    assert cli.run(["train", "--resume", "--out", str(parts)]) == 0
    assert_same(final(whole), final(parts))
    shutil.rmtree(parts / "states")  # as if killed before the first
    assert cli.run(["train", "--resume", "--out", str(parts)]) == 2
    assert f"{first / 'release'}" in capsys.readouterr().err
    (tmp_path / "away").rename(first)
    assert cli.run(["train", "--resume", "--out", str(parts)]) == 0
    assert_same(final(whole), final(parts))
    assert load(parts / "release").metadata["start"] == str(first / "release")


def test_a_run_goes_on_as_it_began_or_not_at_all(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(data, mine)
    assert train(mine, encoder, tmp_path / "run") == 0
    resume = ["train", "--resume", "--out", str(tmp_path / "run")]
    for more in (["--encoder", str(encoder)], ["--recipe", "tiny-train"], ["--start", "default"], ["--set", "steps=9"]):
        assert cli.run([*resume, *more]) == 2
        assert f"leave out {more[0]}" in capsys.readouterr().err
    ref = next(iter(find_episodes(mine)))
    kept = (video := folders.video_of(ref)).read_bytes()
    rows = len(folders.rows_of(ref, layout.GRIPPER))
    write_video(video, open_video(video).frames([0]).repeat(rows, axis=0), 4.0)
    assert cli.run(resume) == 2
    assert "the videos in" in capsys.readouterr().err
    video.write_bytes(kept)
    folders.change_rows(ref, layout.GRIPPER, 1 - folders.rows_of(ref, layout.GRIPPER))
    assert cli.run(resume) == 2
    assert "the poses in" in capsys.readouterr().err
    shutil.rmtree(ref.folder)
    assert cli.run(resume) == 2
    assert "is not what the run in" in capsys.readouterr().err
    assert cli.run([*resume, "--data", str(data)]) == 0  # the same episodes elsewhere


def test_a_run_goes_on_with_the_encoder_that_it_began_with(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out, inverse = tmp_path / "encoder", tmp_path / "run", tmp_path / "inverse"
    shutil.copytree(encoder, mine)
    assert train(data, mine, out) == 0
    told = ["--data", str(data), "--model", str(out / "release"), "--cache", str(tmp_path / "cache")]
    assert cli.run(["invert", *told, "--recipe", "tiny-invert", *FLAT, "--set", "steps=1", "--out", str(inverse)]) == 0
    for command, folder, model in (("train", out, mine), ("invert", inverse, out / "release")):
        weights = load_file(model / "model.safetensors")
        name = next(name for name in weights if name.startswith("encoder."))
        save_file(weights | {name: 2 * weights[name]}, model / "model.safetensors", {"format": "pt"})  # trained anew
        assert cli.run([command, "--resume", "--out", str(folder)]) == 2
        assert f"is no longer what is found at {model}" in capsys.readouterr().err


def test_a_run_that_goes_on_in_another_precision_says_so(
    data: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    monkeypatch.setattr("vjepa2_ac.precision.is_fast_at_bf16", lambda _: True)
    assert train(data, encoder, out) == 0
    resume = ["train", "--resume", "--out", str(out)]
    assert cli.run(resume) == 0
    assert "goes on in" not in capsys.readouterr().err
    monkeypatch.setattr("vjepa2_ac.precision.is_fast_at_bf16", lambda _: False)
    assert cli.run(resume) == 0
    assert "goes on in" not in capsys.readouterr().err  # it has nowhere to go
    last = out / "states" / "00000020.pt"
    last.unlink()
    assert cli.run(resume) == 0
    assert f"the run in {out} began in bf16 and goes on in fp32" in capsys.readouterr().err
    Run(out).inputs.write_text(Run(out).inputs.read_text().replace('"precision": "bf16",', ""))  # as older versions did
    last.unlink()
    assert cli.run(resume) == 0
    assert "goes on in" not in capsys.readouterr().err


def test_a_run_goes_on_with_as_many_processes_as_it_began_with(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train(data, encoder, out) == 0
    facts = json.loads(Run(out).inputs.read_text())
    Run(out).inputs.write_text(json.dumps(facts | {"processes": 2}))
    assert cli.run(["train", "--resume", "--out", str(out)]) == 2
    assert "began with 2 processes" in capsys.readouterr().err


def test_a_pretraining_goes_on_with_the_same_videos_or_not_at_all(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out = tmp_path / "mine", tmp_path / "run"
    shutil.copytree(data, mine)
    told = ["pretrain", "--out", str(out), "--cache", str(tmp_path / "cache")]
    assert cli.run([*told, "--data", str(mine), "--recipe", "tiny-pretrain", "--set", "steps=2"]) == 0
    assert cli.run([*told, "--resume", "--data", str(data)]) == 0  # the same elsewhere
    kept = (video := folders.video_of(next(iter(find_episodes(mine))))).read_bytes()
    write_video(video, open_video(video).frames([0]).repeat(len(open_video(video)), axis=0), 4.0)
    assert cli.run([*told, "--resume"]) == 2
    assert "the videos in" in capsys.readouterr().err
    video.write_bytes(kept)
    shutil.rmtree(next(iter(find_episodes(mine))).folder)
    episodes.folder(mine, [77])  # as many as before
    assert cli.run([*told, "--resume"]) == 2
    assert "is not what the run in" in capsys.readouterr().err
    facts = json.loads(Run(out).inputs.read_text())
    del facts["learned_from"]["names"], facts["learned_from"]["videos"]  # as an older version began it
    Run(out).inputs.write_text(json.dumps(facts))
    assert cli.run([*told, "--resume", "--data", str(data)]) == 0


def test_what_a_run_should_not_begin_with_is_refused_unless_it_began_before(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ("--set", "steps=2", "--set", "pair_share=1")
    assert train(data, encoder, tmp_path / "run", *fit, "--set", "anneal=3") == 2
    assert "do not fit into 2" in capsys.readouterr().err
    assert train(data, encoder, tmp_path / "run", *fit, "--set", "batch=3") == 2
    assert "two by two: an even engine.batch, got 3" in capsys.readouterr().err
    assert train(data, encoder, tmp_path / "run", *FLAT, "--set", "contrast_weight=8") == 2
    assert "contrast_weight is 8, but counts only in batches of pairs" in capsys.readouterr().err
    assert train(data, encoder, tmp_path / "run", *fit) == 0
    recipe = Run(tmp_path / "run").recipe
    took = recipe.read_text().replace("anneal: 0", "anneal: 3").replace("batch: 4", "batch: 3")
    took = took.replace("pair_share: 1", "pair_share: 0").replace("contrast_weight: 0", "contrast_weight: 8")
    recipe.write_text(took)  # as older versions did
    assert cli.run(["train", "--resume", "--out", str(tmp_path / "run")]) == 0


def test_weights_that_the_last_update_made_infinite_are_not_released(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("steps=1", "optimizer.name=adamw", "lr=1e39", "precision=fp32")  # more than float32 holds
    assert train(data, encoder, tmp_path / "run", *(word for said in settings for word in ("--set", said))) == 2
    assert cli.run(["train", "--resume", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("is not finite after update 1 of") == 2
    assert not (tmp_path / "run" / "release").exists()


def test_a_cooldown_starts_from_a_pretraining(data: Path, encoder: Path, tmp_path: Path) -> None:
    for start in (encoder, encoder.parent):
        out = str(tmp_path / start.name)
        cache = str(tmp_path / "cache")
        more = ["--set", "steps=2", "--set", "schedule=linear_decay", "--cache", cache]
        command = ["pretrain", "--data", str(data), "--recipe", "tiny-pretrain", "--start", str(start), "--out", out]
        assert cli.run([*command, *more]) == 0


def test_a_control_trains_on_a_random_encoder_of_the_same_shape(data: Path, encoder: Path, tmp_path: Path) -> None:
    assert train(data, Path(f"random:{encoder}"), tmp_path / "control", "--set", "steps=2") == 0
    trained, control = load(encoder, parts=("encoder",)), load(tmp_path / "control" / "release")
    assert control.metadata["encoder"] == f"random:{encoder}"
    assert control.preprocessing == trained.preprocessing
    assert trained.encoder is not None
    assert control.encoder is not None
    assert control.encoder.config == trained.encoder.config
    pairs = zip(control.encoder.parameters(), trained.encoder.parameters(), strict=True)
    assert not all(torch.equal(one.bfloat16(), other.bfloat16()) for one, other in pairs)


def test_what_a_control_was_trained_on_serves_all_that_goes_on_from_it(
    data: Path, encoder: Path, tmp_path: Path
) -> None:
    release, cache = tmp_path / "control" / "release", tmp_path / "cache"
    settings = ("--set", "steps=1", "--set", "precision=fp32")
    assert train(data, Path(f"random:{encoder}"), release.parent, "--set", "cache=true", *settings) == 0
    known = {each.relative_to(cache) for each in cache.rglob("*.npy")}
    told = ["--data", str(data), "--model", str(release), "--cache", str(cache), "--out", str(tmp_path / "inverse")]
    assert cli.run(["invert", *told, "--recipe", "tiny-invert", *FLAT, *settings]) == 0
    assert known
    assert {each.relative_to(cache) for each in cache.rglob("*.npy")} == known


def test_a_folder_as_real_droid_comes_trains_and_says_what_it_left_out(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refs = hazardous(tmp_path / "droid")  # nine episodes; the last two cannot be used, but one by its right camera
    shifted = ["--set", "window.cameras=[left,right]", "--set", "steps=2", "--set", "log_every=2"]
    for cache in ("true", "false"):
        assert train(tmp_path / "droid", encoder, tmp_path / cache, *shifted, "--set", f"cache={cache}") == 0
        told = capsys.readouterr().err
        short, bare = (re.escape(named(refs, name, tmp_path)) for name in ("video far too short", "no metadata"))
        assert re.search(rf"\n1 episodes are left out:\n  {bare}: metadata_\*.json is missing", told)
        assert re.search(rf"\nof 1 episodes, not all of the cameras are used:\n  {short}: .* 20 frames", told)
        assert not any(named(refs, name, tmp_path) in told for name in refs if name not in UNUSABLE)
        assert load(tmp_path / cache / "release").predictor is not None


def named(refs: dict[str, EpisodeRef], name: str, root: Path) -> str:
    """As messages call it."""
    return str(refs[name].folder.relative_to(root / "droid"))


def test_more_bad_episodes_than_allowed_end_the_run(encoder: Path, tmp_path: Path) -> None:
    hazardous(tmp_path / "droid")
    assert train(tmp_path / "droid", encoder, tmp_path / "run", "--set", "sampling.bad_episodes=1") != 0


def test_a_predictor_can_start_from_weights_with_less_in_them_and_not_from_those_with_more(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = ("predictor.modulation=none", "predictor.local_mixing=false", "predictor.copy_gate=false")
    plain = [word for setting in (*without, "steps=2") for word in ("--set", setting)]
    assert train(data, encoder, tmp_path / "plain", *plain) == 0
    assert train(data, encoder, tmp_path / "tuned", "--start", str(tmp_path / "plain" / "release")) == 0
    capsys.readouterr()
    assert train(data, encoder, tmp_path / "less", "--start", str(tmp_path / "tuned" / "release"), *plain) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "modulation is adaln there, none here; local_mixing is True there, False here; copy_gate is True" in said


def test_a_predictor_that_starts_on_another_encoder_than_it_has_learned_on_says_so(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, short = tmp_path / "first", ("--set", "steps=1")
    assert train(data, encoder, first, *short) == 0
    capsys.readouterr()
    for source, is_another in ((encoder, False), (first / "release", False), (f"random:{encoder}", True)):
        out = tmp_path / f"from {is_another} {Path(source).parent.name}"
        assert train(data, Path(source), out, "--start", str(first / "release"), *short) == 0
        said = f"note: what {first / 'release'} holds has learned on another encoder than {source}: "
        assert (said in capsys.readouterr().err) is is_another


def test_a_predictor_does_not_start_from_weights_that_fit_and_mean_something_else(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = ("--set", "loss.normalize=false", "--set", "predictor.copy_gate=false")
    assert train(data, encoder, tmp_path / "raw", *raw, "--set", "steps=1") == 0
    capsys.readouterr()
    for settings, told in (
        (("--set", "predictor.num_heads=1"), "num_heads is 2 there, 1 here"),
        (("--set", "predictor.use_rope=false"), "use_rope is True there, False here"),
        (("--set", "loss.normalize=true"), "was trained on raw latents; --set loss.normalize=false"),
    ):
        start = ("--start", str(tmp_path / "raw" / "release"))
        assert train(data, encoder, tmp_path / "tuned", *start, *raw, *settings) == 2
        assert told in " ".join(capsys.readouterr().err.split())
    assert train(data, encoder, tmp_path / "tuned", *start, *raw, "--set", "steps=1") == 0


def test_a_pretraining_does_not_start_from_weights_that_fit_and_mean_something_else(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for start in (encoder, encoder.parent):
        for part in ("encoder", "predictor"):
            told = ["--recipe", "tiny-pretrain", "--start", str(start), "--set", f"{part}.num_heads=1"]
            assert cli.run(["pretrain", "--data", str(data), "--out", str(tmp_path / "run"), *told]) == 2
            assert f"does not fit the recipe's {part}: num_heads is 2 there" in capsys.readouterr().err


def test_what_a_pretraining_cannot_start_from_is_said_by_its_settings_or_as_another_kind_of_run(
    data: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, encoder, tmp_path / "steps", "--set", "steps=1") == 0
    capsys.readouterr()
    command = ["pretrain", "--data", str(data), "--recipe", "tiny-pretrain", "--out", str(tmp_path / "run"), "--start"]
    for start in (encoder, encoder.parent):
        assert cli.run([*command, str(start), "--set", "encoder.embed_dim=72"]) == 2
        said = "recipe's encoder: embed_dim is 48 there, 72 here, nor its predictor: embed_dim is 48 there, 72 here"
        assert said in capsys.readouterr().err
    assert cli.run([*command, str(tmp_path / "steps")]) == 2
    assert f"{tmp_path / 'steps'} is no run of `vjepa2-ac pretrain`" in capsys.readouterr().err
    assert cli.run([*command, str(encoder), "--set", "variant=v2.1", "--set", "encoder.depth=12"]) == 2
    assert "does not fit the recipe's" in capsys.readouterr().err


def test_the_recorded_droid_episode_trains_with_extrinsics_and_in_the_camera_frame(
    encoder: Path, tmp_path: Path
) -> None:
    settings = ("predictor.use_extrinsics=true", "camera_frame=true", "preprocessing=droid", "cameras=[left, right]")
    more = [word for setting in (*settings, "steps=3", "frames_per_clip=2") for word in ("--set", setting)]
    assert train(FOLDER / "droid_episode", encoder, tmp_path / "run", *more) == 0
    loaded = load(tmp_path / "run" / "release")
    assert loaded.predictor is not None
    assert loaded.predictor.config.use_extrinsics
    assert loaded.preprocessing.name == "droid"


def test_the_dense_variant_trains(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "dense.yaml"
    recipe.write_text(
        "extends: tiny-pretrain\nabout: dense\nvariant: v2.1\n"
        "encoder: {depth: 12, use_silu: false}\npredictor: {use_silu: false}\nengine: {steps: 2}\n"
        "loss: {context_ramp: null}\n"
    )
    assert cli.run(["pretrain", "--data", str(data), "--recipe", str(recipe), "--out", str(tmp_path / "run")]) == 0
    assert {"hidden", "visible"} <= json.loads(Run(tmp_path / "run").log.read_text()).keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "--data"),
        (["train", "--data", "nowhere", "--recipe", "tiny-pretrain"], "vjepa2-ac pretrain"),
        (["train", "--resume", "--out", "nowhere"], "nothing to resume"),
        (["pretrain", "--data", "nowhere", "--recipe", "tiny-pretrain", "--out", "{tmp}/x"], "no such folder"),
        (["pretrain", "--data", "nowhere", "--set", "stepz=1"], "did you mean 'steps'"),
        (
            ["pretrain", "--data", "{tmp}", "--recipe", "tiny-pretrain", "--out", "{tmp}/taken/x"],
            "taken/x cannot be made",
        ),
        (
            ["pretrain", "--data", "{data}", "--recipe", "tiny-pretrain", "--cache", "{tmp}/taken"],
            "cannot be made a folder",
        ),
        (["recipes", "droit"], "did you mean 'droid'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    words: list[str],
    message: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    words = [word.format(tmp=tmp_path, data=data) for word in words]
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]  # nothing was begun


def test_recipes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recipes"]) == 0
    assert "default-train  (train)" in capsys.readouterr().out
    assert cli.run(["recipes", "droid"]) == 0
    assert "lr: 0.000425" in capsys.readouterr().out
