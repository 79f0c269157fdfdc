"""The public `transformers` port as a second witness: same weights in both, same answers; and its files both ways."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers

from tests.checkpoints import samples
from vjepa2_ac.checkpoints import convert, load, save
from vjepa2_ac.errors import CheckpointError, NotEnoughDiskError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.pooler import AttentiveClassifier

WITNESS_TOLERANCE = 1e-5  # both compute in float32, in another order

SETTINGS: dict[str, Any] = {
    "patch_size": 16,
    "crop_size": 64,
    "frames_per_clip": 4,
    "hidden_size": 48,
    "num_attention_heads": 3,
    "num_hidden_layers": 3,
    "mlp_ratio": 48 / 11,
    "pred_hidden_size": 36,
    "pred_num_attention_heads": 3,
    "pred_num_hidden_layers": 2,
    "pred_num_mask_tokens": 4,
    "num_pooler_layers": 2,
    "num_labels": 7,
    "layer_norm_eps": 1e-6,
}

# None of them equals the port's defaults, nor ours.
UNLIKE: dict[str, Any] = {
    "patch_size": 8,
    "tubelet_size": 4,
    "frames_per_clip": 8,
    "in_chans": 2,
    "num_hidden_layers": 11,  # which takes two digits
    "qkv_bias": False,
    "layer_norm_eps": 1e-2,
    "pred_mlp_ratio": 2.5,
    "pred_zero_init_mask_tokens": False,
    "id2label": {0: "push", 1: "pull"},
    "label2id": {"push": 0, "pull": 1},
    "num_labels": 2,
}


def theirs(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A random model of the port's."""
    config = transformers.VJEPA2Config(**(SETTINGS | changes))
    return samples.random(getattr(transformers, kind)(config), seed)


def clip(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 4, 64, 64, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_the_encoder_gives_the_ports_answer(tmp_path: Path) -> None:
    port = theirs("VJEPA2Model")
    port.save_pretrained(tmp_path)
    ours = load(tmp_path).encoder(clip())
    wanted = port(clip().transpose(1, 2), skip_predictor=True).last_hidden_state
    torch.testing.assert_close(ours, wanted, atol=WITNESS_TOLERANCE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1])
def test_the_masked_predictor_gives_the_ports_answer(tmp_path: Path, seed: int) -> None:
    port = theirs("VJEPA2Model", seed)
    port.save_pretrained(tmp_path)
    order_BN = torch.rand(2, 32, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
    context_BK, target_BM = order_BN[:, :20], order_BN[:, 20:29]
    loaded = load(tmp_path)
    visible_BKD = loaded.encoder(clip(seed)).gather(1, context_BK.unsqueeze(-1).expand(-1, -1, 48))
    ours = loaded.masked_predictor(visible_BKD, context_BK, target_BM, mask_index=1)
    wanted = port(clip(seed).transpose(1, 2), context_mask=[context_BK], target_mask=[target_BM])
    torch.testing.assert_close(ours, wanted.predictor_output.last_hidden_state, atol=WITNESS_TOLERANCE, rtol=0)


@torch.no_grad()
def test_the_classifier_gives_the_ports_answer(tmp_path: Path) -> None:
    port = theirs("VJEPA2ForVideoClassification")
    port.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    ours = loaded.classifier(loaded.encoder(clip()))
    torch.testing.assert_close(ours, port(clip().transpose(1, 2)).logits, atol=WITNESS_TOLERANCE, rtol=0)


@torch.no_grad()
def test_the_port_loads_what_we_write_and_agrees(tmp_path: Path) -> None:
    save(
        tmp_path / "r",
        encoder=samples.encoder(),
        masked_predictor=samples.masked(),
        classifier=samples.classifier(),
        preprocessing=Preprocessing(name="hub", img_size=(32, 32)),
    )
    convert(tmp_path / "r", tmp_path / "hf", "huggingface")
    port, info = transformers.VJEPA2ForVideoClassification.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not any(info[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    video = torch.randn(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = samples.classifier()(samples.encoder()(video))
    torch.testing.assert_close(ours, port.eval()(video.transpose(1, 2)).logits, atol=WITNESS_TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", ["VJEPA2Model", "VJEPA2ForVideoClassification"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_and_back_again_is_bit_for_bit_the_same(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    port = theirs(kind).to(dtype)
    port.save_pretrained(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "r", "release")
    convert(tmp_path / "r", tmp_path / "b", "huggingface")
    one, other = (safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) and one[name].dtype is other[name].dtype for name in one)
    again = transformers.VJEPA2Config.from_pretrained(tmp_path / "b")
    kept = {*SETTINGS, "tubelet_size", "in_chans", "qkv_bias", "pred_mlp_ratio", "id2label"}
    if kind == "VJEPA2Model":
        kept -= {"num_labels", "id2label", "num_pooler_layers"}  # they describe a classifier
    assert {key: getattr(again, key) for key in kept} == {key: getattr(port.config, key) for key in kept}


@torch.no_grad()
def test_no_setting_is_taken_for_granted(tmp_path: Path) -> None:
    port = theirs("VJEPA2ForVideoClassification", **UNLIKE)
    port.save_pretrained(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "r", "release")
    convert(tmp_path / "r", tmp_path / "b", "huggingface")
    video = torch.randn(2, 2, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    loaded = load(tmp_path / "r")
    assert loaded.preprocessing == Preprocessing(name="hub", img_size=(64, 64))
    assert loaded.classifier.config.norm_eps == loaded.masked_predictor.config.norm_eps == 1e-2
    ours = loaded.classifier(loaded.encoder(video))
    torch.testing.assert_close(ours, port(video.transpose(1, 2)).logits, atol=WITNESS_TOLERANCE, rtol=0)
    again = transformers.VJEPA2Config.from_pretrained(tmp_path / "b")
    kept = SETTINGS.keys() | UNLIKE.keys() | {"label2id", "architectures"}
    assert {key: getattr(again, key) for key in kept} == {key: getattr(port.config, key) for key in kept}


@pytest.mark.parametrize(("dtype", "said"), [(None, None), ("bf16", "bfloat16"), ("fp32", "float32")])
def test_a_folder_says_its_precision_where_it_has_one(tmp_path: Path, dtype: str | None, said: str | None) -> None:
    mixed = samples.encoder()
    mixed.norm.to(torch.bfloat16)
    save(tmp_path / "r", encoder=mixed, preprocessing=Preprocessing(img_size=(32, 32)))
    convert(tmp_path / "r", tmp_path / "hf", "huggingface", dtype=dtype)
    assert json.loads((tmp_path / "hf/config.json").read_text()).get("dtype") == said


def test_our_models_survive_the_other_layout_bit_for_bit(tmp_path: Path) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    convert(file, tmp_path / "hf", "huggingface", overrides=samples.HINTS)
    before, after = load(file, overrides=samples.HINTS), load(tmp_path / "hf")
    assert samples.same(before.encoder, after.encoder)
    assert samples.same(before.masked_predictor, after.masked_predictor)
    assert before.encoder.config == after.encoder.config
    assert before.masked_predictor.config == after.masked_predictor.config


def test_the_ports_own_folder_to_folder_is_bit_for_bit_the_same(tmp_path: Path) -> None:
    theirs("VJEPA2Model").save_pretrained(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b", "huggingface")
    one, other = (safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_in_several_files_load(tmp_path: Path) -> None:
    port = theirs("VJEPA2Model")
    port.save_pretrained(tmp_path / "whole")
    port.save_pretrained(tmp_path / "split", max_shard_size="100KB")
    assert len(list((tmp_path / "split").glob("*.safetensors"))) > 1
    whole, split = load(tmp_path / "whole"), load(tmp_path / "split")
    assert samples.same(whole.encoder, split.encoder)
    assert samples.same(whole.masked_predictor, split.masked_predictor)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": []}', '{"weight_map": null}'])
def test_a_damaged_list_of_shards_is_refused(tmp_path: Path, text: str) -> None:
    theirs("VJEPA2Model").save_pretrained(tmp_path, max_shard_size="100KB")
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"index\.json is damaged: it lists no weight_map"):
        load(tmp_path)


def test_a_folder_without_tensors_is_refused(tmp_path: Path) -> None:
    theirs("VJEPA2Model").save_pretrained(tmp_path, max_shard_size="100KB")
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(CheckpointError, match=r"index\.json is damaged: its weight_map names no file"):
        load(tmp_path)
    safetensors.torch.save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"{tmp_path} holds no tensors"):
        load(tmp_path)


def test_of_one_file_and_shards_the_file_is_read_as_the_port_does(tmp_path: Path) -> None:
    """`save_pretrained` leaves the one file where it was when it writes shards beside it."""
    one, other = theirs("VJEPA2Model"), theirs("VJEPA2Model")
    with torch.no_grad():
        other.encoder.layernorm.bias.add_(1)
    one.save_pretrained(tmp_path)
    other.save_pretrained(tmp_path, max_shard_size="100KB")
    read_there = type(one).from_pretrained(tmp_path).encoder.layernorm.bias
    assert torch.equal(read_there, one.encoder.layernorm.bias)
    assert torch.equal(load(tmp_path).encoder.norm.bias, read_there)
    with pytest.raises(CheckpointError, match="is none of the weights"):
        load(sorted(tmp_path.glob("model-*"))[0])


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    theirs("VJEPA2Model").save_pretrained(tmp_path, max_shard_size="100KB")
    shard = sorted(tmp_path.glob("*.safetensors"))[0]
    shard.unlink()
    with pytest.raises(CheckpointError, match=shard.name):
        load(tmp_path)


@pytest.mark.parametrize(
    ("drop", "add", "sentence"),
    [
        ("encoder.layer.1.attention.key.weight", None, r"lacks encoder\.layer\.1\.attention\.key\.weight"),
        ("encoder.layernorm.bias", None, r"encoder .* lacks norm\.bias"),
        (None, "encoder.surprise", r"holds encoder\.surprise, which has no place"),
    ],
)
def test_a_folder_that_lacks_or_adds_a_tensor_is_refused(
    tmp_path: Path, drop: str | None, add: str | None, sentence: str
) -> None:
    theirs("VJEPA2Model").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    if drop:
        del tensors[drop]
    if add:
        tensors[add] = torch.ones(1)
    safetensors.torch.save_file(tensors, file)
    with pytest.raises(CheckpointError, match=sentence):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; only 'gelu' is known"),
        ({"hidden_size": "wide"}, "hidden_size must be a whole number above 0, got 'wide'"),
        ({"hidden_size": 0}, "hidden_size must be a whole number above 0, got 0"),
        ({"patch_size": [16, 8]}, r"patch_size must be a whole number above 0, got \[16, 8\]"),
        ({"mlp_ratio": 0}, "mlp_ratio must be a number above 0, got 0"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps must be a number above 0, got 'small'"),
        ({"hidden_size": 96}, r"encoder does not fit .* wrong shape"),
        ({"num_hidden_layers": 4}, r"encoder .* lacks blocks\.3"),
    ],
)
def test_a_config_that_contradicts_its_weights_is_refused(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    theirs("VJEPA2Model").save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=sentence):
        load(tmp_path)


def test_a_patch_may_be_told_side_by_side(tmp_path: Path) -> None:
    theirs("VJEPA2Model").save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"patch_size": [16, 16]}))
    assert load(tmp_path).encoder.config.patch_size == 16


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_frames": 1}, "an encoder of single pictures"),
        ({"use_rope": False}, "positions that are not rotary"),
        ({"use_silu": True}, "a gated MLP"),
        ({"img_size": (32, 64)}, "pictures that are not square"),
    ],
)
def test_what_the_port_cannot_express_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    config = replace(EncoderConfig(embed_dim=24, depth=1, num_heads=2), **changes)
    save(tmp_path / "r", encoder=Encoder(config), preprocessing=Preprocessing())
    with pytest.raises(CheckpointError, match=sentence):
        convert(tmp_path / "r", tmp_path / "hf", "huggingface")
    assert not (tmp_path / "hf").exists()


def test_an_acting_predictor_has_no_place_in_the_port(tmp_path: Path) -> None:
    folder = samples.release(tmp_path / "r")
    with pytest.raises(CheckpointError, match=r"no place for its predictor \(ACPredictor\); leave it out"):
        convert(folder, tmp_path / "hf", "huggingface")
    convert(folder, tmp_path / "hf", "huggingface", without=["predictor"])
    assert samples.same(load(tmp_path / "hf").classifier, samples.classifier())


def test_an_inverse_has_no_place_in_the_port(tmp_path: Path) -> None:
    folder = samples.locating(tmp_path / "r")
    with pytest.raises(CheckpointError, match=r"no place for its inverse \(InverseModel\); leave it out"):
        convert(folder, tmp_path / "hf", "huggingface", without=["predictor"])
    assert not (tmp_path / "hf").exists()
    convert(folder, tmp_path / "hf", "huggingface", without=["predictor", "inverse"])
    assert samples.same(load(tmp_path / "hf").encoder, samples.encoder())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"norm_eps": 1e-5}, "another norm_eps in the predictor"),
        ({"qkv_bias": False}, "another qkv_bias in the predictor"),
        ({"use_silu": True}, "a gated MLP"),
        ({"use_rope": False}, "positions that are not rotary"),
        ({"img_size": (64, 64)}, "another picture size in the predictor"),
        ({"return_all_tokens": True}, "a predictor that returns all tokens"),
    ],
)
def test_other_settings_in_the_predictor_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    masked = MaskedPredictor(replace(samples.MASKED, **changes))
    save(tmp_path / "m", encoder=samples.encoder(), masked_predictor=masked, preprocessing=Preprocessing())
    with pytest.raises(CheckpointError, match=sentence):
        convert(tmp_path / "m", tmp_path / "hf", "huggingface")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_heads": 4}, "another number of heads"),
        ({"norm_eps": 1e-5}, "another norm_eps in the classifier"),
        ({"mlp_ratio": 2.0}, "a classifier whose mlp_ratio is not 4"),
        ({"qkv_bias": False}, "this kind of classifier"),
        ({"complete_block": False}, "this kind of classifier"),
    ],
)
def test_other_settings_in_the_classifier_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    classifier = AttentiveClassifier(replace(samples.CLASSIFIER, **changes))
    save(tmp_path / "c", encoder=samples.encoder(), classifier=classifier, preprocessing=Preprocessing())
    with pytest.raises(CheckpointError, match=sentence):
        convert(tmp_path / "c", tmp_path / "hf", "huggingface")


def test_without_an_encoder_or_without_room_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = samples.release(tmp_path / "r")
    with pytest.raises(CheckpointError, match="holds no encoder, which Hugging Face's layout is built around"):
        convert(folder, tmp_path / "hf", "huggingface", without=["encoder", "predictor"])
    monkeypatch.setattr("vjepa2_ac.checkpoints.writing.SPARE", 10**18)
    with pytest.raises(NotEnoughDiskError, match="GB free"):
        convert(folder, tmp_path / "hf", "huggingface", without=["predictor"])
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_the_defaults_of_both_configs_mean_the_same_model(tmp_path: Path) -> None:
    """The port's config.json may leave out what equals its defaults: the released ViT-L."""
    from vjepa2_ac.checkpoints.huggingface import _configs, _Settings

    found = _configs(_Settings({"model_type": "vjepa2"}, "a test"), {})
    assert found == {"encoder": EncoderConfig(), "masked_predictor": MaskedPredictorConfig()}
