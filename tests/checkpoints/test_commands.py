from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
import torch

from tests.checkpoints import samples
from vjepa2_ac.checkpoints import load
from vjepa2_ac.cli import run
from vjepa2_ac.errors import DownloadError

SET = ["--set", "encoder.num_heads=2", "--set", "masked_predictor.num_heads=4", "--set", "encoder.img_size=[32, 32]"]


def test_inspect_says_what_a_file_is_and_what_is_left_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    assert run(["inspect", str(file), *SET]) == 0
    told = capsys.readouterr().out
    parameters = sum(parameter.numel() for parameter in samples.encoder().parameters())
    assert "V-JEPA 2 training file" in told
    assert f"would load encoder: Encoder, {parameters:,} parameters" in told
    assert "opt: the optimiser's state" in told
    assert "frames are prepared as 'hub', 32 x 32" in told
    assert "latents" not in told, "there is no predictor to take any"


@pytest.mark.parametrize(("normalize", "said"), [(True, "normalised"), (False, "raw")])
def test_inspect_says_which_latents_a_predictor_takes(
    normalize: bool, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = samples.release(tmp_path / "r", normalize_latents=normalize)
    assert run(["inspect", str(folder)]) == 0
    assert f"the predictor takes {said} latents" in capsys.readouterr().out


def test_inspect_answers_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = samples.release(tmp_path / "r", dtype=torch.bfloat16)
    assert run(["inspect", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["loads"] is True
    assert [model["name"] for model in told["models"]] == ["encoder", "predictor", "masked_predictor", "classifier"]
    assert told["models"][0]["dtypes"] == ["bf16"]
    assert told["models"][0]["config"]["embed_dim"] == 24
    assert sum(entry["bytes"] for entry in told["entries"]) < told["bytes"]


def test_inspect_shows_an_inverse_with_its_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = samples.locating(tmp_path / "r")
    assert run(["inspect", str(folder)]) == 0
    parameters = sum(parameter.numel() for parameter in samples.inverse().parameters())
    assert f"would load inverse: InverseModel, {parameters:,} parameters" in capsys.readouterr().out
    assert run(["inspect", str(folder), "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert [model["name"] for model in models] == ["encoder", "predictor", "inverse"]
    assert models[2]["config"]["grid"] == [4, 4]


def test_inspect_says_why_a_file_would_not_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = samples.encoder().state_dict()
    del state["norm.bias"]
    file = samples.pretraining(tmp_path / "a.pt", target_encoder=state)
    assert run(["inspect", str(file), *SET]) == 1
    told = capsys.readouterr().out
    assert "would not load: " in told
    assert "lacks norm.bias" in told
    assert "target_encoder" in told, "what it holds is still said"


def test_inspect_shows_what_a_file_says_as_it_stands_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.pt"
    torch.save({"encoder": {}, "note": "[/warm] start", "of [lab]": 3, "bell": "\x1b[31mred"}, file)
    assert run(["inspect", str(file)]) == 1
    told = capsys.readouterr().out
    assert "[/warm] start" in told
    assert "of [lab]" in told
    assert "\x1b" not in told
    assert r"'\x1b[31mred'" in told


def test_inspect_counts_bare_tensors_as_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(samples.encoder().state_dict(), tmp_path / "a.pt")
    assert run(["inspect", str(tmp_path / "a.pt"), "--json", *SET[:2], *SET[4:]]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["parameters"] == sum(parameter.numel() for parameter in samples.encoder().parameters())


def test_what_is_no_weights_file_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pt").write_bytes(b"\xff\xd8\xff")
    assert run(["inspect", str(tmp_path / "a.pt")]) == 2
    assert "a JPEG picture" in capsys.readouterr().err


def test_convert_changes_format_and_precision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    target = tmp_path / "r"
    command = ["convert", str(file), str(target), "--to", "release", "--dtype", "bf16", "--which", "encoder", *SET]
    assert run(command) == 0
    assert capsys.readouterr().out.startswith(f"{target}: encoder, masked_predictor, ")
    assert samples.same(load(target).encoder, samples.encoder(seed=7).to(torch.bfloat16))
    assert run(command) == 2
    assert "--force" in capsys.readouterr().err
    assert run([*command, "--force"]) == 0


def test_convert_writes_what_transformers_reads(tmp_path: Path) -> None:
    file = samples.pretraining(tmp_path / "a.pt")
    assert run(["convert", str(file), str(tmp_path / "hf"), "--to", "huggingface", *SET]) == 0
    assert samples.same(load(tmp_path / "hf").masked_predictor, samples.masked())


@pytest.mark.parametrize("setting", ["encoder", "encoder.num_heads", "num_heads=2", ".num_heads=2"])
def test_a_misspelt_setting_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str) -> None:
    assert run(["inspect", str(samples.pretraining(tmp_path / "a.pt")), "--set", setting]) == 2
    assert "expected MODEL.KEY=VALUE" in capsys.readouterr().err


def test_download_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download", "--list"]) == 0
    assert "vjepa2-ac-vitg" in capsys.readouterr().out


def test_download_shows_the_licence_and_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["download", "vitl", "--out", str(tmp_path)]) == 1
    assert "MIT licence" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_download_fetches_into_the_cache_where_load_finds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    (tmp_path / "server").mkdir()
    samples.pretraining(tmp_path / "server/vitl.pt")
    monkeypatch.setenv("VJEPA2_AC_HOME", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=os.fspath(tmp_path / "server"))) as web:
        Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{web.server_address[1]}"
        assert run(["download", "vitl", "--base-url", url, "--yes"]) == 0
        assert "fetched" in capsys.readouterr().out
        web.shutdown()
    assert samples.same(load("vitl", overrides=samples.HINTS).encoder, samples.encoder())


def test_download_of_an_unknown_name_says_what_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download", "vjepa2-ac-vitG"]) == 2
    assert "did you mean 'vjepa2-ac-vitg'" in capsys.readouterr().err
    assert run(["download"]) == 2


def test_a_failed_download_is_an_error_and_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DownloadError("no")

    monkeypatch.setattr("vjepa2_ac.checkpoints.download.fetch", fail)
    assert run(["download", "vitl", "--yes", "--out", str(tmp_path)]) == 2
