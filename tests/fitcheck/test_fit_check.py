"""The whole command, on episodes on disk and a tiny model of the real classes."""

from __future__ import annotations

import errno
import json
import os
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.data.folders import change_metadata, folder_of, recording, video_of
from tests.fitcheck.worlds import walk
from vjepa2_ac.checkpoints import save
from vjepa2_ac.cli import run
from vjepa2_ac.data.episodes import BadEpisodes
from vjepa2_ac.data.video import write_video
from vjepa2_ac.data.writer import write_episode
from vjepa2_ac.errors import ConfigError, EpisodeError, InputError, TooManyBadEpisodesError
from vjepa2_ac.fitcheck.commands import _learned_from
from vjepa2_ac.fitcheck.encoded_tracks import see, segments
from vjepa2_ac.fitcheck.pairs import find_pairs
from vjepa2_ac.fitcheck.questions import FitCheckConfig
from vjepa2_ac.fitcheck.report import CONTROL, Subject, control_subject, doubts, fit_check
from vjepa2_ac.fitcheck.tracks import read_tracks
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.inverse_model import InverseModel, InverseModelConfig
from vjepa2_ac.world_model import WorldModel

SIZE = (32, 32)
QUICK = ["--moments", "4", "--candidates", "4", "--horizon", "2", "--precision", "fp32", "--read-out-steps", "5"]


def write_model(
    folder: Path,
    seed: int,
    width: int = 24,
    *,
    fps: float = 4.0,
    with_inverse: bool = False,
    metadata: dict[str, Any] | None = None,
) -> Path:
    inverse = InverseModelConfig(grid=(2, 2), embed_dim=width, channels=8, layers=1, points=2, hidden_dim=8)
    save(
        folder,
        encoder=build(Encoder, EncoderConfig(img_size=SIZE, embed_dim=width, depth=1, num_heads=2), seed=seed),
        predictor=build(
            ACPredictor,
            ACPredictorConfig(img_size=SIZE, embed_dim=width, predictor_embed_dim=24, depth=1, num_heads=2, fps=fps),
            seed=seed,
        ),
        inverse=build(InverseModel, inverse, seed=seed) if with_inverse else None,
        preprocessing=Preprocessing(img_size=SIZE),
        metadata=metadata,
    )
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "one", seed=0)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("simulated"), "test")


def write_scenes(root: Path, split: str, *, away: float = 0.0) -> Path:
    """Six episodes as the simulator writes them, each with a pair of branches; their objects are `away` [m] or more."""
    for number in range(6):
        facts: dict[str, Any] = {"seed": number, "split": split}
        truth = {"object_position": np.full((12, 3), away + 0.1 * number), "is_held": np.arange(12) > 5}
        write_episode(recording(3 * number, rows=12, facts=facts, truth=truth), root)
        for side in (1, 2):
            poses_N7 = np.zeros((4, 7))
            poses_N7[:, 6] = 0.5 + (0.1 if side == 1 else -0.1) * np.arange(4)
            changes: dict[str, Any] = {"poses_N7": poses_N7, "facts": facts | {"branch": f"{number}-0", "left_at": 3}}
            changes["truth"] = {"object_position": np.full((4, 3), away), "is_held": np.zeros(4, dtype=bool)}
            changes["commands_N7"] = poses_N7
            write_episode(recording(3 * number + side, rows=4, **changes), root)
    return root


def test_scenes_of_two_splits_with_equal_seeds_make_pairs_of_their_own(tmp_path: Path) -> None:
    for split in ("test", "shift"):
        write_scenes(tmp_path / split, split)
    tracks = read_tracks(tmp_path, camera="left", fps=4, scenes=12, seed=0, bad=BadEpisodes(0))
    pairs = find_pairs(tracks, 20, np.random.default_rng(0))
    assert len(pairs) == 12
    assert all(tracks[first].group == tracks[second].group for first, second in pairs)


def test_read_outs_may_learn_from_other_episodes_whose_latents_are_kept(
    simulated: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, cache = write_scenes(tmp_path / "train", "train"), tmp_path / "cache"
    command = ["fit-check", str(simulated), "--model", str(model), *QUICK, "--read-out-from", str(train)]
    command += ["--cache", str(cache)]
    assert run([*command, "--out", str(tmp_path / "one")]) == 0
    own = report_of(tmp_path / "one")["models"][str(model)]["readout"]
    assert (own["learned_from"], own["scenes"], own["judged_on"]) == (120, 6, 120)
    kept = sorted(cache.rglob("*.npy"))
    assert len(kept) == 2 * 18  # of the model and of the random encoder
    monkeypatch.setattr("vjepa2_ac.training.store.Store.put", None)  # nothing is encoded twice
    assert run([*command, "--out", str(tmp_path / "two")]) == 0
    assert report_of(tmp_path / "one") == report_of(tmp_path / "two")


def test_a_model_is_examined_at_the_rate_that_it_has_learned_from(
    simulated: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = write_model(tmp_path / "slow", seed=0, fps=2.0)
    for told, rate in (["--compare", str(model)], 2.0), (["--fps", "4"], 4.0):
        assert run(["fit-check", str(simulated), "--model", str(slow), *told, "--out", str(tmp_path), *QUICK]) == 0
        assert report_of(tmp_path)["config"]["fps"] == rate
        said = f"note: {model} has learned from 4 frames a second, and is examined at 2 as {slow} is"
        assert (said in capsys.readouterr().err) is ("--compare" in told)


def test_what_is_held_out_may_not_be_learned_from(simulated: Path, model: Path, tmp_path: Path) -> None:
    command = ["fit-check", str(simulated), "--model", str(model), "--read-out-from", str(simulated)]
    assert run([*command, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path), *QUICK]) == 2


def test_a_folder_without_a_frame_to_learn_from_is_refused(
    simulated: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_scenes(tmp_path / "train", "train", away=2.0)
    command = ["fit-check", str(simulated), "--model", str(model), "--read-out-from", str(train)]
    assert run([*command, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out"), *QUICK]) == 2
    assert f"cannot learn from {train}: in none of its frames the object is within reach" in capsys.readouterr().err


def test_episodes_that_a_model_has_learned_from_are_counted(tmp_path: Path) -> None:
    folders = [ref.folder for ref in folder_of(tmp_path / "lab", 3)]
    (tmp_path / "two.txt").write_text("".join(f"{folder}\n" for folder in folders[:2]))
    for data, known in ((tmp_path / "lab", 3), (tmp_path / "two.txt", 2), (tmp_path / "elsewhere", 0)):
        told = {"data": str(tmp_path / "gone"), "inverse": {"data": str(data)}}
        assert _learned_from(told, tmp_path / "lab") == known


def test_what_a_colleagues_model_has_learned_from_need_not_be_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path / "lab", 1)
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed.txt").write_text(f"{tmp_path / 'lab'}\n")
    stat, access = Path.stat, os.access

    def refuse(path: Path, **how: Any) -> os.stat_result:  # a chmod would not keep root out
        if "closed" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: "closed" not in str(path) and access(path, mode))
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    for data in (tmp_path / "closed" / "data", tmp_path / "closed.txt"):
        assert _learned_from({"data": str(data)}, tmp_path / "lab") == 0


def test_a_model_that_has_learned_from_what_judges_it_is_named(
    simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = write_model(tmp_path / "learned", seed=0, metadata={"data": str(simulated)})
    assert run(["fit-check", str(simulated), "--model", str(learned), "--out", str(tmp_path / "out"), *QUICK]) == 0
    assert f"18 of these episodes are not held out: {learned} has learned" in capsys.readouterr().err


def report_of(out: Path) -> Any:
    return json.loads((out / "fit-check.json").read_text(encoding="utf-8"))


def test_pictures_have_room_for_the_name_of_a_model(simulated: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / ("run-" * 60)).symlink_to(model)
    command = ["fit-check", str(simulated), "--model", str(tmp_path / ("run-" * 60)), "--out", str(tmp_path), *QUICK]
    with warnings.catch_warnings(action="error", category=UserWarning):  # of matplotlib, which gives the layout up
        assert run(command) == 0


def test_a_report_has_numbers_pictures_and_a_table(
    simulated: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "$_{$").symlink_to(model)
    model = tmp_path / "$_{$"  # would be a formula, and a wrong one, where its name is drawn
    assert run(["fit-check", str(simulated), "--model", str(model), "--out", str(tmp_path), *QUICK]) == 0
    report = report_of(tmp_path)
    own, control = report["models"][str(model)], report["models"][CONTROL]
    assert own["drift"]["open_loop"][0]["value"] > 0
    assert len(own["drift"]["open_loop"]) == 2
    assert 0 <= own["pairs"]["ranked_right"][0]["value"] <= 1
    assert own["readout"]["linear"]["object"]["value"] > 0
    assert "no predictor was trained" in control["drift"]["not measured"]
    assert control["readout"]["linear"]["hand"]["value"] > 0  # what is asked of the encoder alone
    assert report["episodes"] | {"source": ""} == {
        "source": "", "episodes": 18, "scenes": 6, "frames": 120, "pairs": 6, "gripper transitions": 0, "left out": {},
        "pairs whose grippers end alike": 0,
        "frames with the object out of reach": 0, "read-outs learn from": None,
    }  # fmt: skip
    for name in ("drift", "axes", "figures"):
        assert cv2.imread(str(tmp_path / f"{name}.png")) is not None
    shown = capsys.readouterr().out
    assert "ranked right at the end" in shown
    assert f"{model}: meets" in shown.replace("\n", "")
    verdicts = {each["goal"]: each for each in report["goals"][str(model)]}
    hand = verdicts["hand, best read-out [cm]"]
    assert hand["at most"] == 1.0
    assert hand["value"] == min(own["readout"][kind]["hand"]["value"] for kind in ("linear", "attentive", "points"))
    assert hand["met"] == (hand["value"] <= 1.0)
    unknown = verdicts["one-step error with false actions ÷ with true ones: gripper zeroed where it moves"]
    assert unknown["met"] is None
    assert unknown["not measured"] == "the gripper never moves"
    assert "✗" in shown
    assert "no predictor was trained" in shown


def test_the_same_seed_gives_the_same_report(simulated: Path, model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run(["fit-check", str(simulated), "--model", str(model), "--out", str(tmp_path / name), *QUICK]) == 0
    assert (tmp_path / "one" / "fit-check.json").read_text() == (tmp_path / "two" / "fit-check.json").read_text()


def test_two_models_stand_side_by_side_with_what_changed(
    simulated: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, control = (
        write_model(tmp_path / "other", seed=1, with_inverse=True),
        write_model(tmp_path / "control", seed=2),
    )
    arguments = ["--model", str(model), "--compare", str(other), "--control", str(control), "--out", str(tmp_path)]
    assert run(["fit-check", str(simulated), *arguments, *QUICK]) == 0
    models = report_of(tmp_path)["models"]
    assert list(models) == [str(model), str(other), f"{CONTROL} (control)"]
    assert models[str(model)]["located"] == {"not measured": "the model has no inverse"}
    assert models[str(other)]["located"]["told"]["hand"]["value"] > 0
    assert "change" in capsys.readouterr().out


def test_of_several_models_the_one_that_sees_no_numbers_is_named(
    simulated: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = write_model(tmp_path / "spoilt", seed=1)
    weights = load_file(spoilt / "model.safetensors")
    save_file(weights | {"encoder.norm.weight": torch.full((24,), torch.nan)}, spoilt / "model.safetensors")
    command = ["fit-check", str(simulated), "--model", str(model), "--compare", str(spoilt), *QUICK]
    assert run([*command, "--out", str(tmp_path)]) == 2
    assert f"{spoilt}: the model's latents are no numbers" in capsys.readouterr().err


def test_a_real_robots_folder_says_what_it_cannot_tell(model: Path, tmp_path: Path) -> None:
    folder_of(tmp_path / "real", episodes=4, rows=12, facts={}, truth={})
    out = tmp_path / "out"
    assert run(["fit-check", str(tmp_path / "real"), "--model", str(model), "--out", str(out), *QUICK]) == 0
    own = report_of(out)["models"][str(model)]
    assert own["pairs"] == {"not measured": "no two episodes left the same state and ended with another closedness"}
    assert "where the object is" in own["readout"]["linear"]["object"]["not measured"]
    assert own["readout"]["attentive"]["hand"]["value"] > 0
    assert "what the hand holds" in own["ranking"]["gripper"]["object in hand"]["not measured"]


def test_a_control_of_another_shape_is_refused(model: Path, tmp_path: Path) -> None:
    wide = WorldModel.open(write_model(tmp_path / "wide", seed=0, width=48), precision="fp32")
    with pytest.raises(ConfigError, match=r"prepared as for the model: embed_dim is 48 there, 24 here$"):
        control_subject(wide, WorldModel.open(model, precision="fp32"))


def test_what_is_refused_leaves_no_empty_folder(simulated: Path, model: Path, tmp_path: Path) -> None:
    for refused in (["--model", str(tmp_path)], ["--model", str(model), "--control", str(tmp_path)]):
        assert run(["fit-check", str(simulated), *refused, "--out", str(tmp_path / "out")]) == 2
        assert not (tmp_path / "out").exists()


def test_an_empty_name_of_a_model_is_wrong_usage(
    simulated: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # an empty path is this folder, which holds no model
    for named in (["--model", ""], ["--model", str(model), "--compare", ""]):
        assert run(["fit-check", str(simulated), *named, *QUICK]) == 2


def test_a_control_of_another_budget_or_origin_is_doubted() -> None:
    model = {"encoder": "runs/encoder/release", "updates": 2500, "data": "train"}
    assert doubts(model | {"encoder": "random:runs/encoder/release"}, model) == []
    assert len(doubts(model, model)) == 1
    assert (
        "updates 600, the model with 2500" in doubts({"encoder": "random:x", "updates": 600, "data": "train"}, model)[0]
    )


def test_a_folder_without_episodes_is_unusable_input(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(["fit-check", str(tmp_path), "--model", str(model), "--out", str(out)]) == 2
    assert not out.exists()


def test_bad_episodes_are_named_and_never_replaced(tmp_path: Path) -> None:
    refs = folder_of(tmp_path, episodes=3, rows=6)
    (refs[1].folder / "trajectory.h5").write_bytes(b"rubbish")
    bad = BadEpisodes(1)
    config = FitCheckConfig()
    tracks = read_tracks(tmp_path, camera="left", fps=config.fps, scenes=50, seed=0, bad=bad)
    assert len(tracks) == 2
    assert list(bad.reasons) == [refs[1].name]


def undecodable(video: Path) -> None:
    """A video of 12 frames that opens, with zeros in its middle."""
    write_video(video, np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8), 4.0)
    data = bytearray(video.read_bytes())
    data[len(data) // 3 : 2 * len(data) // 3] = bytes(2 * len(data) // 3 - len(data) // 3)
    video.write_bytes(data)


def test_a_video_that_does_not_decode_is_left_out_and_named(model: Path, tmp_path: Path) -> None:
    refs = folder_of(tmp_path / "real", episodes=4, rows=12, facts={}, truth={})
    undecodable(video_of(refs[2]))
    command = ["fit-check", str(tmp_path / "real"), "--model", str(model), "--out", str(tmp_path / "out"), *QUICK]
    assert run(command) == 0
    told = report_of(tmp_path / "out")["episodes"]
    assert told["episodes"] == 3
    assert list(told["left out"]) == [refs[2].name]


def test_videos_that_do_not_decode_are_too_many_episodes_and_no_models_fault(model: Path, tmp_path: Path) -> None:
    for ref in folder_of(tmp_path, episodes=4, rows=12, facts={}, truth={})[:2]:
        undecodable(video_of(ref))
    subject, config = Subject("a model", WorldModel.open(model, precision="fp32")), FitCheckConfig(bad_episodes=1)
    with pytest.raises(TooManyBadEpisodesError, match=r"^2 episodes cannot be used, the limit is 1"):
        fit_check([subject], tmp_path, config)


def test_where_no_video_decodes_nothing_is_measured() -> None:
    def fail() -> Any:
        raise EpisodeError("first", "10000001.mp4 cannot be decoded")

    track = replace(walk(0), frames=fail)
    world: Any = SimpleNamespace()
    with pytest.raises(InputError, match=r"no usable episode\n  first: 10000001.mp4 cannot be decoded"):
        see([track], world, BadEpisodes(1))


def test_models_are_asked_about_the_same_episodes_or_not_at_all(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = folder_of(tmp_path / "real", episodes=4, rows=12, facts={}, truth={})
    world, encode = WorldModel.open(model, precision="fp32"), WorldModel.encode
    seen = iter(range(8))

    def encode_and_lose(self: WorldModel, frames: Any) -> Any:
        if next(seen) == 3:  # the last episode of the first model
            video_of(refs[1]).unlink()
        return encode(self, frames)

    monkeypatch.setattr(WorldModel, "encode", encode_and_lose)
    config = FitCheckConfig(moments=4, candidates=4, horizon=2, steps=1)
    with pytest.raises(InputError, match=rf"^after: {refs[1].name} decoded before and does not any more: "):
        fit_check([Subject("before", world), Subject("after", world)], tmp_path / "real", config)


def test_scenes_come_whole_with_their_branches(simulated: Path) -> None:
    tracks = read_tracks(simulated, camera="left", fps=4.0, scenes=2, seed=0, bad=BadEpisodes(0))
    assert len(tracks) == 6
    assert len({track.group for track in tracks}) == 2
    assert sum(track.branch is not None for track in tracks) == 4


def test_repaints_are_known_as_parts(tmp_path: Path) -> None:
    for number, facts in enumerate(({"seed": 1}, {"seed": 1, "kind": "repaint", "left_at": 2})):
        write_episode(recording(number, rows=9, facts=facts), tmp_path)
    tracks = read_tracks(tmp_path, camera="left", fps=4.0, scenes=1, seed=0, bad=BadEpisodes(0))
    assert [track.is_part for track in tracks] == [False, True]
    assert not any(tracks[segment.track].is_part for segment in segments(tracks, 1))


def test_the_word_simulation_in_another_recorders_metadata_means_nothing(tmp_path: Path) -> None:
    for ref in folder_of(tmp_path, episodes=2):
        change_metadata(ref, simulation="Isaac")
    tracks = read_tracks(tmp_path, camera="left", fps=4.0, scenes=2, seed=0, bad=BadEpisodes(0))
    assert [(track.branch, track.is_part) for track in tracks] == 2 * [(None, False)]
    assert len({track.group for track in tracks}) == 2


def test_faster_recordings_are_thinned_to_the_models_rate(tmp_path: Path) -> None:
    folder_of(tmp_path, episodes=1, rows=40, fps=15.0)
    (track,) = read_tracks(tmp_path, camera="left", fps=4.0, scenes=1, seed=0, bad=BadEpisodes(0))
    assert len(track) == 10 == len(track.frames())
    assert track.fps == 3.75


def test_an_empty_folder_has_no_tracks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no usable episode"):
        read_tracks(tmp_path, camera="left", fps=4.0, scenes=1, seed=0, bad=BadEpisodes(0))
