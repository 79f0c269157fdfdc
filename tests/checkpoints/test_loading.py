from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from tests.checkpoints import samples
from vjepa2_ac.checkpoints import Loaded, load, save
from vjepa2_ac.checkpoints.conversion import convert
from vjepa2_ac.checkpoints.official import read_state
from vjepa2_ac.checkpoints.reading import read
from vjepa2_ac.errors import CheckpointError, ConfigError, InputError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.anticipation import AnticipationClassifier, AnticipationClassifierConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.world_model import WorldModel

# --- what loads ------------------------------------------------------------------------------------------------------


def test_a_pretraining_file_gives_its_averaged_encoder_and_its_predictor(tmp_path: Path) -> None:
    loaded = load(samples.pretraining(tmp_path / "a.pt"), overrides=samples.HINTS)
    assert samples.same(loaded.encoder, samples.encoder())
    assert samples.same(loaded.masked_predictor, samples.masked())
    assert loaded.predictor is None
    assert loaded.classifier is None
    assert loaded.encoder.config == samples.ENCODER
    assert loaded.masked_predictor.config == samples.MASKED
    assert not loaded.encoder.training
    assert loaded.preprocessing == Preprocessing(name="hub", img_size=(32, 32))


def test_a_device_that_is_not_here_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"no device cuda: .* can use 0 CUDA devices here"):
        load("default", device="cuda")


def test_either_encoder_can_be_asked_for(tmp_path: Path) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    assert samples.same(load(file, which="encoder", overrides=samples.HINTS).encoder, samples.encoder(seed=7))
    with pytest.raises(CheckpointError, match="no encoder 'ema_encoder'; it has target_encoder, encoder"):
        load(file, which="ema_encoder", overrides=samples.HINTS)


def test_an_acting_file_gives_the_encoder_the_public_loader_gives(tmp_path: Path) -> None:
    file = samples.pretraining(tmp_path / "a.pt", predictor=samples.wrapped(samples.acting(), "module."))
    loaded = load(file, overrides=samples.ACTING_HINTS)
    assert samples.same(loaded.predictor, samples.acting())
    assert samples.same(loaded.encoder, samples.encoder(seed=7))
    assert loaded.predictor.config == samples.ACTING
    assert loaded.masked_predictor is None
    assert loaded.preprocessing.name == "droid"
    assert loaded.metadata["layout"] == "V-JEPA 2-AC training file"
    average = load(file, which="target_encoder", overrides=samples.ACTING_HINTS)
    assert samples.same(average.encoder, samples.encoder())
    assert average.metadata["encoder_entry"] == "target_encoder"


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "_orig_mod.", "module._orig_mod."])
def test_the_names_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    torch.save({"encoder": samples.wrapped(samples.encoder(), prefix)}, tmp_path / "a.pt")
    assert samples.same(load(tmp_path / "a.pt", overrides=samples.ENCODER_ALONE).encoder, samples.encoder())


def test_a_name_that_only_resembles_a_wrapper_stays(tmp_path: Path) -> None:
    torch.save({"encoder": {"submodule.weight": torch.ones(1)}}, tmp_path / "a.pt")
    assert list(read_state(tmp_path / "a.pt", "encoder")) == ["submodule.weight"]


def test_bare_tensors_of_one_model_load(tmp_path: Path) -> None:
    torch.save(samples.encoder().state_dict(), tmp_path / "a.pt")
    assert samples.same(load(tmp_path / "a.pt", overrides=samples.ENCODER_ALONE).encoder, samples.encoder())


@pytest.mark.parametrize(
    ("model", "name", "hints"),
    [
        (samples.acting, "predictor", {"num_heads": 4, "img_size": [32, 32], "patch_size": 8}),
        (samples.masked, "masked_predictor", {"num_heads": 4, "img_size": [32, 32]}),
        (samples.classifier, "classifier", {"num_heads": 2}),
    ],
)
def test_bare_tensors_of_what_stands_on_an_encoder_load(
    tmp_path: Path, model: Callable[[], torch.nn.Module], name: str, hints: dict[str, Any]
) -> None:
    torch.save(model().state_dict(), tmp_path / "a.pt")
    loaded = load(tmp_path / "a.pt", overrides={name: hints})
    assert samples.same(getattr(loaded, name), model())
    assert loaded.encoder is None
    assert loaded.preprocessing.img_size == tuple(hints.get("img_size", (256, 256)))


def test_a_distilled_file_gives_its_averaged_encoder_under_its_other_name(tmp_path: Path) -> None:
    shape = EncoderV21Config(img_size=(32, 32), patch_size=8, embed_dim=24, depth=12, num_heads=2)
    narrow = {"img_size": (32, 32), "patch_size": 8, "predictor_embed_dim": 48, "depth": 1, "num_heads": 4}
    masked = MaskedPredictorV21Config(**narrow, embed_dim=24, n_output_distillation=1, teacher_embed_dim=40)
    average, other, predictor = (
        samples.random(model) for model in (EncoderV21(shape), EncoderV21(shape), MaskedPredictorV21(masked))
    )
    with torch.no_grad():
        other.patch_embed.proj.bias.add_(1)
    entries = {"encoder": other, "predictor": predictor, "ema_encoder": average}
    torch.save({name: samples.wrapped(model) for name, model in entries.items()}, tmp_path / "a.pt")
    hints = {"encoder": {"num_heads": 2, "img_size": [32, 32]}, "masked_predictor": {"num_heads": 4}}
    loaded = load(tmp_path / "a.pt", overrides=hints)
    assert samples.same(loaded.encoder, average)
    assert samples.same(loaded.masked_predictor, predictor)
    assert loaded.encoder.config == replace(shape, n_output_distillation=1)
    assert loaded.masked_predictor.config == masked
    assert loaded.metadata["layout"] == "V-JEPA 2.1 training file"
    assert samples.same(load(tmp_path / "a.pt", which="encoder", overrides=hints).encoder, other)


def test_a_file_in_torchs_old_layout_loads(tmp_path: Path) -> None:
    state = {"encoder": samples.encoder().state_dict()}
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert samples.same(load(tmp_path / "a.pt", overrides=samples.ENCODER_ALONE).encoder, samples.encoder())


def test_only_what_lies_in_a_file_is_handed_back_to_it(tmp_path: Path) -> None:
    torch.save({"encoder": samples.encoder().state_dict()}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt", overrides=samples.ENCODER_ALONE).is_mapped
    assert not read(old_layout(tmp_path / "b.pt"), overrides=samples.ENCODER_ALONE).is_mapped


def test_of_several_probes_the_first_is_read(tmp_path: Path) -> None:
    probes = [samples.wrapped(samples.classifier(seed), "module.") for seed in (3, 4)]
    torch.save({"classifiers": probes, "opt": [{}], "epoch": 20}, tmp_path / "a.pt")
    loaded = load(tmp_path / "a.pt", overrides={"classifier": {"num_heads": 2, "norm_eps": 1e-6}})
    assert samples.same(loaded.classifier, samples.classifier())
    assert loaded.classifier.config == samples.CLASSIFIER
    assert loaded.encoder is None
    assert loaded.metadata["layout"] == "attentive probe file"


@pytest.mark.parametrize(("probes", "left"), [(1, ["epoch"]), (2, ["epoch", "classifiers"])])
def test_further_probes_are_said_to_be_left_aside(tmp_path: Path, probes: int, left: list[str]) -> None:
    states = [samples.wrapped(samples.classifier(seed), "module.") for seed in range(probes)]
    torch.save({"classifiers": states, "epoch": 20}, tmp_path / "probe-384.pt")
    contents = read(tmp_path / "probe-384.pt", overrides={"classifier": {"num_heads": 2}})
    assert [ignored.key for ignored in contents.ignored] == left
    assert contents.preprocessing == Preprocessing(name="hub", img_size=(384, 384))  # as the file's name says


@pytest.mark.parametrize(("verbs", "nouns"), [(4, 5), (0, 0)])
def test_an_anticipation_probe_loads(tmp_path: Path, verbs: int, nouns: int) -> None:
    config = AnticipationClassifierConfig(
        embed_dim=24, num_heads=2, depth=2, num_verbs=verbs, num_nouns=nouns, num_actions=6
    )
    probe = samples.random(AnticipationClassifier(config))
    torch.save({"classifiers": [samples.wrapped(probe, "module.")], "epoch": 20}, tmp_path / "a.pt")
    loaded = load(tmp_path / "a.pt", overrides={"classifier": {"num_heads": 2}})
    assert samples.same(loaded.classifier, probe)
    assert loaded.classifier.config == config


def test_a_predictor_trained_elsewhere_on_a_v21_encoder_loads_and_opens(tmp_path: Path) -> None:
    shape = EncoderV21Config(img_size=(32, 32), patch_size=8, embed_dim=24, depth=12, num_heads=2)
    encoder = samples.random(EncoderV21(shape))
    file = tmp_path / "a.pt"
    torch.save({"encoder": samples.wrapped(encoder), "predictor": samples.wrapped(samples.acting(), "module.")}, file)
    hints = {"encoder": {"num_heads": 2, "img_size": [32, 32]}, "predictor": {"num_heads": 4}}
    loaded = load(file, overrides=hints)
    assert loaded.metadata["layout"] == "V-JEPA 2.1-AC training file"
    assert loaded.encoder.config == shape
    assert samples.same(loaded.encoder, encoder)
    assert samples.same(loaded.predictor, samples.acting())
    convert(file, tmp_path / "release", "release", overrides=hints)
    opened = WorldModel.open(tmp_path / "release", precision="fp32", device="cpu")
    assert samples.same(opened.encoder, encoder)
    assert opened.preprocessing == Preprocessing(name="droid", img_size=(32, 32))


def test_parts_can_be_chosen(tmp_path: Path) -> None:
    loaded = load(samples.release(tmp_path / "r"), parts=("encoder",))
    assert loaded.encoder is not None
    assert loaded.predictor is None
    (tmp_path / "only").mkdir()
    file = samples.pretraining(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="holds no predictor; it holds encoder, masked_predictor"):
        load(file, parts=("predictor",), overrides=samples.HINTS)


def test_an_optional_part_may_be_missing_and_one_asked_for_may_not(tmp_path: Path) -> None:
    with_inverse, without = samples.locating(tmp_path / "a"), samples.release(tmp_path / "b")
    asked: dict[str, Any] = {"parts": ("encoder",), "optional": ("inverse",)}
    assert samples.same(load(with_inverse, **asked).inverse, samples.inverse())
    assert load(with_inverse, parts=("encoder",)).inverse is None
    found = load(without, **asked)
    assert found.inverse is None
    assert found.predictor is None
    assert samples.same(found.encoder, samples.encoder())
    with pytest.raises(CheckpointError, match="holds no inverse; it holds encoder, predictor, masked_predictor, class"):
        load(without, parts=("encoder", "inverse"))


@pytest.mark.parametrize(
    ("precision", "dtype"), [(None, torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_weights_come_in_the_precision_asked_for(tmp_path: Path, precision: str | None, dtype: torch.dtype) -> None:
    loaded = load(samples.release(tmp_path / "r"), precision=precision)
    assert {parameter.dtype for parameter in loaded.predictor.parameters()} == {dtype}


def test_a_file_may_be_replaced_while_its_model_is_in_use(tmp_path: Path) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    loaded = load(file, overrides=samples.HINTS)
    file.write_bytes(b"\0" * file.stat().st_size)  # in place, as a careless script would
    assert samples.same(loaded.encoder, samples.encoder())


def test_loaded_models_can_be_trained(tmp_path: Path) -> None:
    predictor = load(samples.release(tmp_path / "r")).predictor
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in predictor.parameters())


# --- names of sources ------------------------------------------------------------------------------------------------


def test_a_downloaded_model_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VJEPA2_AC_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="fetch it with 'vjepa2-ac download vitl'"):
        load("vitl")
    samples.pretraining(tmp_path / "vitl.pt")
    assert load("vitl", overrides=samples.HINTS).encoder is not None


def test_an_unknown_name_says_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file or folder vitgg; did you mean 'vitg'"):
        load("vitgg")


@pytest.mark.parametrize("name", ["~nobody of this name/vitl.pt", 300 * "x"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name} cannot be looked up"):
        load(name)


def test_a_missing_default_model_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vjepa2_ac.checkpoints.places.SHIPPED", tmp_path)
    with pytest.raises(CheckpointError, match="ships no default model"):
        load("default")


def test_the_shipped_model_is_called_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vjepa2_ac.checkpoints.places.SHIPPED", samples.release(tmp_path / "weights"))
    assert load("default").predictor is not None


def test_a_folder_called_default_is_opened_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vjepa2_ac.checkpoints.places.SHIPPED", samples.release(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    save(Path("default"), encoder=samples.encoder(seed=9), preprocessing=Preprocessing())
    for source in (Path("default"), "./default"):
        assert samples.same(load(source).encoder, samples.encoder(seed=9))
    assert samples.same(load("default").encoder, samples.encoder())


# --- what does not load: one sentence naming the file and the fault --------------------------------------------------


class Code:
    """Unpickled carelessly, it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def without(state: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in names}


def plain(data: bytes) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        file.write_bytes(data)

    return write


def cut(make: Callable[[Path], Path], keep: float) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        data = make(file).read_bytes()
        file.write_bytes(data[: int(len(data) * keep)])

    return write


def a_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("picture.txt", "not a tensor")


def compressed(file: Path) -> None:
    with zipfile.ZipFile(samples.pretraining(file.with_name("stored.pt"))) as stored:
        entries = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def old_layout(file: Path) -> Path:
    state = {"encoder": samples.encoder().state_dict()}
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file


def with_encoder(**changes: Any) -> Callable[[Path], None]:
    """A training file whose averaged encoder lacks (None) or has other tensors."""

    def write(file: Path) -> None:
        state = samples.encoder().state_dict() | changes
        samples.pretraining(file, target_encoder={key: value for key, value in state.items() if value is not None})

    return write


def saved(value: Any) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        torch.save(value, file)

    return write


BAD_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (plain(b""), "is empty"),
    "a JPEG": (plain(b"\xff\xd8\xff\xe0\x00\x10JFIF"), "a JPEG picture"),
    "a PNG": (plain(b"\x89PNG\r\n\x1a\n"), "a PNG picture"),
    "a zip": (a_zip, "a zip archive without tensors"),
    "a torch file with compressed tensors": (compressed, "packed again with compression; .* with 'zip -0 -r'"),
    "a gzip": (plain(b"\x1f\x8b\x08\x00"), "a gzip archive; unpack it first"),
    "a tar": (plain(b"\0" * 257 + b"ustar\x00"), "a tar archive"),
    "an error page": (
        plain(b"\n<!DOCTYPE html>\n<html><h1>404</h1>"),
        "a web page, perhaps saved by a failed download",
    ),
    "an error in XML": (plain(b'<?xml version="1.0"?><Error>AccessDenied</Error>'), "a web page"),
    "a git-lfs pointer": (plain(b"version https://git-lfs.github.com/spec/v1\noid sha256:1"), "a git-lfs pointer"),
    "text": (plain(b"weights, honestly"), "is not a weights file"),
    "cut in the middle": (cut(samples.pretraining, 0.5), "is cut short or damaged"),
    "cut at the end": (cut(samples.pretraining, 0.999), "is cut short or damaged"),
    "cut, old layout": (cut(old_layout, 0.5), "is cut short or damaged"),
    "cut early, old layout": (cut(old_layout, 0.01), "is cut short or damaged"),
    "a list": (saved([1, 2]), "holds a list; expected a dictionary"),
    "no models": (saved({"opt": {}, "epoch": 1}), "holds no encoder, predictor or classifiers; it holds opt, epoch"),
    "an empty dictionary": (saved({}), "holds nothing"),
    "foreign tensors": (saved({"conv1.weight": torch.ones(2)}), r"holds tensors \(conv1.weight, ...\) of no model"),
    "an entry that is no model": (saved({"encoder": 3}), "entry 'encoder' of .* holds an int"),
    "a missing tensor": (with_encoder(**{"blocks.1.norm2.bias": None}), r"encoder .* lacks blocks\.1\.norm2\.bias"),
    "no patch embedding": (with_encoder(**{"patch_embed.proj.weight": None}), r"lacks patch_embed\.proj\.weight"),
    "an extra tensor": (with_encoder(surprise=torch.ones(1)), "has the unknown surprise"),
    "a wrong shape": (
        with_encoder(**{"blocks.0.attn.proj.weight": torch.ones(24, 23)}),
        r"wrong shape of blocks\.0\.attn\.proj\.weight \[24, 23\] \(expected \[24, 24\]\)",
    ),
    "a wrong number of axes": (with_encoder(**{"patch_embed.proj.weight": torch.ones(24)}), "expected 4 axes"),
    "no channels": (with_encoder(**{"patch_embed.proj.weight": torch.ones(0, 3, 2, 8, 8)}), "none of them 0 long"),
    "a tensor on no device": (
        with_encoder(**{"norm.bias": torch.ones(24, device="meta")}),
        r"entry 'target_encoder' of .*: 'norm\.bias' is a tensor without numbers",
    ),
    "a sparse tensor": (with_encoder(**{"norm.bias": torch.ones(24).to_sparse()}), r"'norm\.bias' is a sparse tensor"),
    "two tensors of one name": (
        saved({"encoder": {"module.norm.bias": torch.ones(1), "norm.bias": torch.ones(1)}}),
        r"names 'norm\.bias' twice",
    ),
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_file_gets_one_sentence_naming_it(tmp_path: Path, fault: str) -> None:
    write, sentence = BAD_FILES[fault]
    file = tmp_path / "weights.pt"
    write(file)
    with pytest.raises(CheckpointError, match=sentence) as raised:
        load(file, overrides=samples.HINTS)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("old", [True, False])
def test_code_in_a_torch_file_is_refused_and_not_run(tmp_path: Path, old: bool) -> None:
    trace, file = tmp_path / "it ran", tmp_path / "a.pt"
    torch.save({"encoder": {}, "opt": Code(trace)}, file, _use_new_zipfile_serialization=not old)
    with pytest.raises(CheckpointError, match=r"a\.pt holds code \(posix\.mkdir\), which is never run"):
        load(file)
    assert not trace.exists()
    torch.load(file, weights_only=False)
    assert trace.exists(), "the trap itself must work, or this test shows nothing"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_bare_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace, file = tmp_path / "it ran", tmp_path / "a.pt"
    file.write_bytes(pickle.dumps(Code(trace), protocol=protocol))
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        load(file)
    assert not trace.exists()


def test_an_unreleased_size_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no released model is 24 channels wide.*say it with num_heads"):
        load(samples.pretraining(tmp_path / "a.pt"))


def test_overrides_are_checked(tmp_path: Path) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    with pytest.raises(ConfigError, match="has no 'num_head'; did you mean 'num_heads'"):
        load(file, overrides={"encoder": {"num_head": 2}})
    with pytest.raises(CheckpointError, match="no model is called 'enkoder'; did you mean encoder"):
        load(file, overrides={"enkoder": {"num_heads": 2}})
    with pytest.raises(CheckpointError, match=r"no model is called 'x'; there can be encoder, predictor, \w+, "):
        load(file, overrides={"x": {"num_heads": 2}})


def test_settings_of_a_model_that_a_file_does_not_hold_are_refused_and_who_needs_them_is_named(tmp_path: Path) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"^masked_predictor .* 48 channels wide.*say it with num_heads"):
        load(file, overrides=samples.ENCODER_ALONE)
    with pytest.raises(CheckpointError, match="holds no predictor; it holds encoder, masked_predictor"):
        load(file, overrides=samples.ACTING_HINTS)


def test_a_release_is_not_to_be_overridden(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="says itself what it holds"):
        load(samples.release(tmp_path / "r"), overrides=samples.HINTS)
    with pytest.raises(CheckpointError, match="says itself what it holds"):
        load(tmp_path / "r", which="encoder")


def test_an_encoder_is_not_to_be_chosen_where_there_is_none(tmp_path: Path) -> None:
    torch.save({"classifiers": [samples.wrapped(samples.classifier())]}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="has no encoder 'encoder'; it has none"):
        load(tmp_path / "a.pt", which="encoder")


def test_a_runs_folder_is_refused_with_the_place_of_its_release(tmp_path: Path) -> None:
    folder = samples.release(tmp_path / "run" / "release")
    with pytest.raises(CheckpointError, match=f"what it made is {folder}"):
        load(tmp_path / "run")


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    folder = samples.release(tmp_path / "r")
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read without a config\.json"):
        load(folder)
    with pytest.raises(CheckpointError, match=r"cannot be read without a config\.json"):
        load(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "alone.safetensors")
    with pytest.raises(CheckpointError, match=r"alone\.safetensors cannot be read without a config\.json"):
        load(folder / "alone.safetensors")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_file_that_cannot_be_read_is_not_said_to_be_damaged(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vjepa2"}')
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()  # as good as a file that may not be read
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is damaged: it is no JSON"),
        ("{", "is damaged: it is no JSON"),
        ("[]", "holds no settings by name"),
        ('{"model_type": "llama"}', r"is neither .* \(its model_type is 'llama'\)"),
        ("{}", r"is neither .* \(its model_type is None\)"),
    ],
)
def test_a_folder_with_a_strange_config_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    folder = samples.release(tmp_path / "r")
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"config\.json {fault}"):
        load(folder)


@pytest.mark.parametrize("keep", [0, 4, 50, 0.5, 0.999])
def test_a_cut_safetensors_file_is_refused(tmp_path: Path, keep: float) -> None:
    file = samples.release(tmp_path / "r") / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(tmp_path / "r")


def test_surplus_bytes_after_the_tensors_are_refused(tmp_path: Path) -> None:
    file = samples.release(tmp_path / "r") / "model.safetensors"
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(CheckpointError, match="holds more than its header says"):
        load(tmp_path / "r")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 99}, "has version 99; this installation reads 1"),
        ({"models": {}}, "names no models"),
        ({"models": {"enc": {}}}, "names a model 'enc'; there can be encoder"),
        ({"models": {"encoder": {"type": "Encodr"}}}, "unknown type 'Encodr'; expected Encoder"),
        ({"models": {"encoder": {"type": ["Encoder"]}}}, "unknown type .'Encoder'.; expected Encoder"),
        ({"models": {"predictor": {"type": "MaskedPredictor"}}}, "is of type 'MaskedPredictor'; expected ACPredictor"),
        ({"models": {"encoder": {"type": "Encoder", "config": {"depht": 2}}}}, "did you mean 'depth'"),
        (
            {"models": {"encoder": {"type": "Encoder", "config": {"depth": 3}}}},
            "holds predictor|does not fit|belongs to no",
        ),
        ({"preprocessing": {"name": "center"}}, "preprocessing"),
    ],
)
def test_a_release_whose_config_was_meddled_with_is_refused(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    file = samples.release(tmp_path / "r") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises((CheckpointError, ConfigError), match=sentence):
        load(tmp_path / "r")


def test_nothing_is_read_when_one_of_several_models_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vjepa2_ac.checkpoints.assemble.owned", lambda *_: pytest.fail("a weight was read"))
    predictor = samples.wrapped(samples.masked())
    file = samples.pretraining(tmp_path / "a.pt", predictor=without(predictor, "module.backbone.predictor_proj.bias"))
    with pytest.raises(CheckpointError, match=r"masked_predictor .* lacks predictor_proj\.bias"):
        load(file, overrides=samples.HINTS)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about what it meets in damaged pickles
@pytest.mark.parametrize("layout", ["official", "old layout", "release"])
def test_damaged_bytes_give_models_or_one_sentence(tmp_path: Path, layout: str) -> None:
    """A flipped byte inside a weight cannot be noticed; anywhere else it must not end in a fault."""
    random = Random(0)
    if layout == "release":
        source, hints = samples.release(tmp_path / "r"), None
        file = source / "model.safetensors"
    else:
        source = file = (samples.pretraining if layout == "official" else old_layout)(tmp_path / "a.pt")
        hints = samples.HINTS
    whole = file.read_bytes()
    sentences: list[str] = []
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[random.randrange(6000)] = random.randrange(256)
        file.write_bytes(damaged)
        try:
            load(source, overrides=hints)
        except InputError as error:
            sentences.append(str(error))
    assert len(sentences) > 10
    assert not any("\n" in sentence for sentence in sentences)


def test_loaded_is_what_it_says() -> None:
    assert Loaded(preprocessing=Preprocessing()).encoder is None


# --- memory ----------------------------------------------------------------------------------------------------------

MEASURE = """
import sys
from vjepa2_ac.checkpoints import load
def peak():  # [bytes] the most memory this process ever had, mapped files included
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
small, source, precision = sys.argv[1:]
load(small, precision=precision)  # what torch imports and sets up on first use
before = peak()
encoder = load(source, precision=precision).encoder
print(peak() - before, sum(p.numel() * p.element_size() for p in encoder.parameters()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("layout", "precision"), [("official", "bf16"), ("release", "fp32")])
def test_loading_takes_little_more_memory_than_the_weights(tmp_path: Path, layout: str, precision: str) -> None:
    """A ViT-S of 88 MB; an official file holds it twice, beside an optimiser of its size."""
    from vjepa2_ac.models.encoder import Encoder
    from vjepa2_ac.models.sizes import ENCODERS

    model = Encoder(ENCODERS["vit-small"])
    source = tmp_path / "a.pt"
    if layout == "official":
        state = model.state_dict()
        other = {name: tensor.clone() for name, tensor in state.items()}
        torch.save({"encoder": other, "opt": torch.zeros(20_000_000), "target_encoder": state}, source)
    else:
        from vjepa2_ac.checkpoints import save

        source = tmp_path / "r"
        save(source, encoder=model, preprocessing=Preprocessing())
    small = samples.release(tmp_path / "small")
    command = [sys.executable, "-c", MEASURE, str(small), str(source), precision]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, weights = map(int, run.stdout.split())
    assert grown < 1.15 * weights + 12e6, f"{grown / 1e6:.0f} MB for {weights / 1e6:.0f} MB of weights"
