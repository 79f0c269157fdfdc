from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.checkpoints import samples
from vjepa2_ac.checkpoints import convert, inspect, load, save
from vjepa2_ac.checkpoints.contents import Joined
from vjepa2_ac.checkpoints.kinds import Kind, kind_of
from vjepa2_ac.checkpoints.safetensors import write_tensors
from vjepa2_ac.errors import CheckpointError, ConfigError, NotEnoughDiskError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor
from vjepa2_ac.models.encoder import Encoder
from vjepa2_ac.models.inverse_model import InverseModel
from vjepa2_ac.models.masked_predictor import MaskedPredictor


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    loaded = load(samples.release(tmp_path / "r", metadata={"trained_on": "a test", "steps": 3}))
    for model, wanted in (
        (loaded.encoder, samples.encoder()),
        (loaded.predictor, samples.acting()),
        (loaded.masked_predictor, samples.masked()),
        (loaded.classifier, samples.classifier()),
    ):
        assert samples.same(model, wanted)
        assert model.config == wanted.config
    assert loaded.preprocessing == Preprocessing(name="centre", img_size=(32, 32))
    assert loaded.metadata["steps"] == 3


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_an_inverse_is_kept_beside_its_world_model(tmp_path: Path, dtype: torch.dtype | None) -> None:
    loaded = load(samples.locating(tmp_path / "r", dtype))
    assert samples.same(loaded.inverse, samples.inverse().to(dtype or torch.float32))
    assert samples.same(loaded.predictor, samples.acting().to(dtype or torch.float32))
    assert loaded.inverse is not None
    assert loaded.inverse.config == samples.INVERSE
    assert load(samples.release(tmp_path / "s")).inverse is None


def test_bf16_keeps_half_the_bytes_and_the_nearest_numbers(tmp_path: Path) -> None:
    exact, half = samples.release(tmp_path / "a"), samples.release(tmp_path / "b", dtype=torch.bfloat16)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (exact, half)]
    assert sizes[1] < 0.6 * sizes[0]
    assert samples.same(load(half).encoder, samples.encoder().to(torch.bfloat16))


def test_any_reader_of_safetensors_reads_a_release(tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(samples.release(tmp_path / "r") / "model.safetensors")
    assert torch.equal(tensors["encoder.norm.weight"], samples.encoder().norm.weight)


def test_the_same_models_make_the_same_bytes(tmp_path: Path) -> None:
    one, other = samples.release(tmp_path / "a"), samples.release(tmp_path / "b")
    for name in ("config.json", "model.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_release_replaces_another_whole(tmp_path: Path) -> None:
    folder = samples.release(tmp_path / "r")
    (folder / "left over").touch()
    save(folder, encoder=samples.encoder(seed=9), preprocessing=Preprocessing())
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert [file.name for file in tmp_path.iterdir()] == ["r"]
    assert samples.same(load(folder).encoder, samples.encoder(seed=9))


@pytest.mark.parametrize("taken", ["notes/thesis.tex", "notes", "link"])
@pytest.mark.parametrize("config", [False, True])
def test_a_save_replaces_nothing_but_a_model(tmp_path: Path, taken: str, *, config: bool) -> None:
    (tmp_path / "notes").mkdir()
    if config:
        (tmp_path / "notes" / "config.json").write_text("{}")  # of some other program
    (tmp_path / "notes" / "thesis.tex").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    with pytest.raises(CheckpointError, match="is no folder of a model, so nothing replaces it"):
        samples.release(tmp_path / taken)
    assert (tmp_path / "notes" / "thesis.tex").read_text() == "years of work"


def test_a_failed_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = samples.release(tmp_path / "r")
    monkeypatch.setattr("vjepa2_ac.checkpoints.safetensors._bytes", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(folder, encoder=samples.encoder(seed=9), preprocessing=Preprocessing())
    assert [file.name for file in tmp_path.iterdir()] == ["r"]
    assert samples.same(load(folder).encoder, samples.encoder())


def test_a_release_that_cannot_take_its_place_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename = samples.release(tmp_path / "r"), Path.rename

    def refused(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith(".replaced"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(CheckpointError, match="cannot be written: Permission denied"):
        save(folder, encoder=samples.encoder(seed=9), preprocessing=Preprocessing())
    assert [file.name for file in tmp_path.iterdir()] == ["r"]
    assert samples.same(load(folder).encoder, samples.encoder())


def test_a_full_disk_is_noticed_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vjepa2_ac.checkpoints.writing.SPARE", 10**18)
    with pytest.raises(NotEnoughDiskError, match="GB free"):
        samples.release(tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def test_foreign_models_and_metadata_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a Linear cannot be kept in a release"):
        save(tmp_path / "r", encoder=nn.Linear(2, 2), preprocessing=Preprocessing())
    with pytest.raises(CheckpointError, match=r"a MaskedPredictor cannot .* as its predictor; expected ACPredictor"):
        save(tmp_path / "r", encoder=samples.encoder(), predictor=samples.masked(), preprocessing=Preprocessing())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="metadata"):
        samples.release(tmp_path / "r", metadata={"now": object()})


# --- conversion ------------------------------------------------------------------------------------------------------


def test_an_official_file_becomes_a_release_without_its_optimiser(tmp_path: Path) -> None:
    optimiser = {"state": {0: {"exp_avg": torch.zeros(1_000_000)}}}
    file = samples.pretraining(tmp_path / "a.pt", opt=optimiser)
    convert(file, tmp_path / "r", "release", overrides=samples.HINTS)
    before, after = load(file, overrides=samples.HINTS), load(tmp_path / "r")
    assert samples.same(before.encoder, after.encoder)
    assert samples.same(before.masked_predictor, after.masked_predictor)
    assert before.encoder.config == after.encoder.config
    assert before.preprocessing == after.preprocessing
    assert after.metadata["converted_from"] == "a.pt"
    assert after.metadata["encoder_entry"] == "target_encoder"
    convert(tmp_path / "r", tmp_path / "bf16", "release", dtype="bf16")
    assert load(tmp_path / "bf16").metadata["converted_from"] == "a.pt"
    assert sum(part.stat().st_size for part in (tmp_path / "r").iterdir()) < 0.1 * file.stat().st_size


def test_an_existing_folder_is_replaced_only_when_forced(tmp_path: Path) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    folder = samples.release(tmp_path / "r")
    with pytest.raises(CheckpointError, match="exists; give another name, or --force"):
        convert(file, folder, "release", overrides=samples.HINTS)
    assert load(folder).predictor is not None
    convert(file, folder, "release", overrides=samples.HINTS, force=True)
    assert load(folder).predictor is None


def test_a_probe_joins_its_encoder(tmp_path: Path) -> None:
    torch.save({"classifiers": [samples.wrapped(samples.classifier())]}, tmp_path / "probe.pt")
    convert(
        tmp_path / "probe.pt", tmp_path / "p", "release", overrides={"classifier": {"num_heads": 2, "norm_eps": 1e-6}}
    )
    file = samples.pretraining(tmp_path / "a.pt")
    convert(file, tmp_path / "r", "release", beside=[tmp_path / "p"], overrides=samples.HINTS)
    loaded = load(tmp_path / "r")
    assert samples.same(loaded.encoder, samples.encoder())
    assert samples.same(loaded.classifier, samples.classifier())
    with pytest.raises(CheckpointError, match=r"both .* hold the encoder"):
        convert(file, tmp_path / "s", "release", beside=[tmp_path / "r"], overrides=samples.HINTS)


def test_an_encoder_that_joins_says_how_frames_are_prepared_for_it(tmp_path: Path) -> None:
    small, wide = Preprocessing(name="centre", img_size=(32, 32)), Preprocessing(name="droid", img_size=(64, 64))
    save(tmp_path / "e", encoder=samples.encoder(), preprocessing=small)
    save(tmp_path / "w", encoder=samples.encoder(), predictor=samples.acting(), preprocessing=wide)
    torch.save({"classifiers": [samples.wrapped(samples.classifier())]}, tmp_path / "probe.pt")
    convert(tmp_path / "w", tmp_path / "predictor", "release", without=["encoder"])
    for source, expected in (("probe.pt", small), ("predictor", replace(small, name="droid"))):
        overrides = {"classifier": {"num_heads": 2}} if source == "probe.pt" else None
        convert(tmp_path / source, tmp_path / f"{source}+e", "release", beside=[tmp_path / "e"], overrides=overrides)
        assert load(tmp_path / f"{source}+e").preprocessing == expected


def test_a_conversion_replaces_models_alone_and_never_what_it_reads(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    file, probe = samples.pretraining(lab / "a.pt"), samples.release(tmp_path / "probe")
    with pytest.raises(CheckpointError, match=r"lies in .*lab, which would be replaced"):
        convert(file, lab, "release", overrides=samples.HINTS, force=True)
    with pytest.raises(CheckpointError, match=r"lies in .*probe, which would be replaced"):
        convert(file, probe, "release", overrides=samples.HINTS, beside=[probe], force=True)
    assert load(probe).classifier is not None
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").touch()
    with pytest.raises(CheckpointError, match="no folder of a model"):
        convert(file, tmp_path / "notes", "release", overrides=samples.HINTS, force=True)
    (tmp_path / "empty").mkdir()
    convert(file, tmp_path / "empty", "release", overrides=samples.HINTS, force=True)
    assert [file.is_file(), (tmp_path / "notes" / "thesis.tex").is_file()] == [True, True]


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    samples.release(tmp_path / "one")
    (tmp_path / "link").symlink_to(tmp_path / "one")
    (tmp_path / "nowhere").symlink_to(tmp_path / "new")
    for name in ("link", "nowhere"):
        samples.release(tmp_path / name, dtype=torch.bfloat16)
        assert (tmp_path / name).is_symlink()
        assert samples.same(load(tmp_path / name).encoder, samples.encoder().to(torch.bfloat16))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new", "nowhere", "one"]


def test_where_nothing_can_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot be written: (Not a directory|File exists)"):
        samples.release(tmp_path / "file" / "r")


def test_a_file_of_weights_that_its_config_does_not_describe_is_refused(tmp_path: Path) -> None:
    folder = samples.release(tmp_path / "r")
    assert load(folder / "model.safetensors").encoder is not None
    (folder / "model.safetensors").rename(folder / "old.safetensors")
    samples.release(tmp_path / "s", dtype=torch.bfloat16)
    (tmp_path / "s" / "model.safetensors").rename(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"old\.safetensors is none of the weights"):
        load(folder / "old.safetensors")


def test_what_is_joined_must_fit_and_brings_what_belongs_to_it(tmp_path: Path) -> None:
    size = (32, 32)
    save(tmp_path / "e", encoder=samples.encoder(), preprocessing=Preprocessing(name="hub", img_size=size))
    models = {"encoder": samples.encoder(), "predictor": samples.acting()}
    save(tmp_path / "w", **models, preprocessing=Preprocessing(name="droid", img_size=size))
    convert(tmp_path / "w", tmp_path / "p", "release", without=["encoder"])
    convert(tmp_path / "e", tmp_path / "joined", "release", beside=[tmp_path / "p"])
    assert load(tmp_path / "joined").preprocessing == Preprocessing(name="droid", img_size=size)
    both = {
        "encoder": Encoder(replace(samples.ENCODER, embed_dim=48)),
        "masked_predictor": MaskedPredictor(replace(samples.MASKED, embed_dim=48)),
    }
    save(tmp_path / "both", **both, preprocessing=Preprocessing(img_size=size))
    convert(tmp_path / "both", tmp_path / "wide", "release", without=["encoder"])
    with pytest.raises(CheckpointError, match=r"for tokens 48 wide, the encoder .* gives 24"):
        convert(tmp_path / "e", tmp_path / "never", "release", beside=[tmp_path / "wide"])


def test_what_is_joined_must_be_for_as_many_tokens(tmp_path: Path) -> None:
    size = (32, 32)
    save(tmp_path / "e", encoder=samples.encoder(), preprocessing=Preprocessing(img_size=size))
    others = {
        "predictor": ACPredictor(replace(samples.ACTING, img_size=(64, 64))),
        "inverse": InverseModel(replace(samples.INVERSE, grid=(8, 8))),
        "masked_predictor": MaskedPredictor(replace(samples.MASKED, img_size=(64, 64))),
    }
    for name, model in others.items():
        large = Encoder(replace(samples.ENCODER, img_size=(64, 64)))
        save(tmp_path / name, encoder=large, **{name: model}, preprocessing=Preprocessing(img_size=(64, 64)))  # type: ignore[arg-type]
        convert(tmp_path / name, tmp_path / f"{name} alone", "release", without=["encoder"])
        with pytest.raises(CheckpointError, match=rf"the {name} is for 8 x 8 tokens of a frame, .* gives 4 x 4"):
            convert(tmp_path / "e", tmp_path / "never", "release", beside=[tmp_path / f"{name} alone"])


@pytest.mark.parametrize("metadata", [["a"], "abc", 3])
def test_metadata_that_are_none_are_refused(tmp_path: Path, metadata: Any) -> None:
    file = samples.release(tmp_path / "r") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"metadata": metadata}))
    with pytest.raises(CheckpointError, match="metadata must be facts by name"):
        load(tmp_path / "r")


def test_numbers_that_no_weights_are_kept_in_are_refused(tmp_path: Path) -> None:
    folder = samples.release(tmp_path / "r")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["encoder.norm.weight"] = tensors["encoder.norm.weight"].to(torch.int8)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="a type of number that no weights are kept in"):
        load(folder)


def test_a_tensor_of_no_model_is_refused(tmp_path: Path) -> None:
    folder = samples.release(tmp_path / "r")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file(tensors | {"encodr.norm.weight": torch.ones(24)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"holds encodr\.norm\.weight, which belongs to no model in config\.json"):
        load(folder)


def test_pieces_of_unlike_precision_are_written_in_one_that_holds_both(tmp_path: Path) -> None:
    half, whole = torch.randn(2, 3).bfloat16(), torch.randn(2, 3)
    write_tensors(tmp_path / "a.safetensors", {"qkv": Joined((half, whole))})
    (found,) = safetensors.torch.load_file(tmp_path / "a.safetensors").values()
    assert torch.equal(found, torch.cat((half.float(), whole)))


def test_a_predictor_takes_along_which_latents_it_knows(tmp_path: Path) -> None:
    prepared = Preprocessing(name="centre", img_size=(32, 32))
    models = {"encoder": samples.encoder(), "predictor": samples.acting()}
    save(tmp_path / "raw", **models, preprocessing=prepared, normalize_latents=False)
    convert(tmp_path / "raw", tmp_path / "predictor", "release", without=["encoder"])
    save(tmp_path / "encoder", encoder=samples.encoder(), preprocessing=prepared)
    convert(tmp_path / "encoder", tmp_path / "joined", "release", beside=[tmp_path / "predictor"])
    assert [load(tmp_path / name).normalize_latents for name in ("raw", "encoder", "joined")] == [False, True, False]


def test_a_release_that_does_not_say_which_latents_has_normalised_ones(tmp_path: Path) -> None:
    file = samples.release(tmp_path / "r") / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in config.items() if key != "normalize_latents"}))
    assert load(tmp_path / "r").normalize_latents
    file.write_text(json.dumps(config | {"normalize_latents": "no"}))
    with pytest.raises(CheckpointError, match="normalize_latents is 'no'; expected true or false"):
        load(tmp_path / "r")


@pytest.mark.parametrize(
    ("said", "otherwise", "complaint"),
    [
        ("normalize_latents", "normalise_latents", r"unknown 'normalise_latents'; did you mean normalize_latents\?"),
        ("preprocessing", "preprocesing", r"unknown 'preprocesing'; did you mean preprocessing\?"),
        ("preprocessing", None, "does not say how frames are prepared"),
    ],
)
def test_what_a_release_says_of_itself_is_neither_overlooked_nor_guessed(
    tmp_path: Path, said: str, otherwise: str | None, complaint: str
) -> None:
    file = samples.release(tmp_path / "r", normalize_latents=False) / "config.json"
    config = json.loads(file.read_text())
    value = config.pop(said)
    file.write_text(json.dumps(config | ({otherwise: value} if otherwise else {})))
    with pytest.raises(CheckpointError, match=complaint):
        load(tmp_path / "r")


def test_an_unknown_word_about_a_model_is_refused(tmp_path: Path) -> None:
    file = samples.release(tmp_path / "r") / "config.json"
    config = json.loads(file.read_text())
    config["models"]["encoder"]["conifg"] = {}
    file.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"encoder has an unknown 'conifg'; did you mean config\?"):
        load(tmp_path / "r")


def test_an_inverse_can_be_left_out_and_joined_again(tmp_path: Path) -> None:
    folder = samples.locating(tmp_path / "r")
    convert(folder, tmp_path / "model", "release", without=["inverse"])
    convert(folder, tmp_path / "inverse", "release", without=["encoder", "predictor"])
    convert(tmp_path / "model", tmp_path / "joined", "release", beside=[tmp_path / "inverse"])
    alone, joined = load(tmp_path / "model"), load(tmp_path / "joined")
    assert alone.inverse is None
    assert "inverse" not in alone.metadata  # how it was learned goes and comes with it
    assert (joined.metadata["updates"], joined.metadata["inverse"]) == (5, {"updates": 7})
    assert samples.same(joined.inverse, samples.inverse())
    assert samples.same(joined.predictor, samples.acting())


def test_the_names_of_classes_come_and_go_with_their_classifier(tmp_path: Path) -> None:
    names = {"id2label": {"0": "push"}, "label2id": {"push": 0}}
    whole = samples.release(tmp_path / "whole", metadata=names)
    convert(whole, tmp_path / "probe", "release", without=["encoder", "predictor", "masked_predictor"])
    convert(whole, tmp_path / "plain", "release", without=["classifier"])
    convert(tmp_path / "plain", tmp_path / "joined", "release", beside=[tmp_path / "probe"])
    said = {folder: load(tmp_path / folder).metadata for folder in ("probe", "plain", "joined")}
    assert [folder for folder, metadata in said.items() if metadata.items() >= names.items()] == ["probe", "joined"]
    assert not names.keys() & said["plain"].keys()


def test_models_can_be_left_out(tmp_path: Path) -> None:
    folder = samples.release(tmp_path / "r")
    convert(folder, tmp_path / "s", "release", without=["masked_predictor", "classifier"])
    assert list(json.loads((tmp_path / "s/config.json").read_text())["models"]) == ["encoder", "predictor"]
    with pytest.raises(CheckpointError, match="holds no masked_predictor that could be left out"):
        convert(tmp_path / "s", tmp_path / "t", "release", without=["masked_predictor"])


def test_nothing_is_written_of_a_file_that_does_not_fit(tmp_path: Path) -> None:
    file = samples.pretraining(
        tmp_path / "a.pt", target_encoder=samples.encoder().state_dict() | {"odd": torch.ones(1)}
    )
    with pytest.raises(CheckpointError, match="unknown odd"):
        convert(file, tmp_path / "r", "release", overrides=samples.HINTS)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("first_byte", [0x00, 0x50, 0x80])
def test_whatever_the_length_of_its_table_a_release_is_known_for_what_it_is(tmp_path: Path, first_byte: int) -> None:
    """0x80 begins pickles too, and 0x50 zip archives."""
    for letters in range(1, 2000):
        file = tmp_path / "model.safetensors"
        write_tensors(file, {letters * "x": torch.zeros(2)})
        if file.read_bytes()[0] == first_byte:
            break
    assert file.read_bytes()[0] == first_byte
    assert kind_of(file) is Kind.SAFETENSORS


NESTED = b"[" * 200_000 + b"]" * 200_000  # deeper than Python reads


@pytest.mark.parametrize(
    "table",
    [
        b'{"a":{"dtype":"F32","shape":["one"],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":["0",4]}}',
        b'{"a":' + NESTED + b"}",
    ],
    ids=["shape", "place", "nested"],
)
def test_a_table_that_makes_no_sense_is_damaged(tmp_path: Path, table: bytes) -> None:
    file = samples.release(tmp_path / "r") / "model.safetensors"
    file.write_bytes(len(table).to_bytes(8, "little") + table + bytes(4))
    for read in (load, inspect):
        with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: its header cannot be read"):
            read(tmp_path / "r")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_settings_nested_too_deeply_are_damaged(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vjepa2"}')
    (tmp_path / name).write_bytes(NESTED)
    with pytest.raises(CheckpointError, match=f"{name} is damaged: "):
        load(tmp_path)
