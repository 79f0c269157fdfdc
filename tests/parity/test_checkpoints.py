"""The recorded checkpoint files give the recorded answers through the loader users call."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.parity.golden import FOLDER, NETWORK_TOLERANCE, Case, cases
from vjepa2_ac.checkpoints import Loaded, load

HINTS = ("num_heads", "img_size", "num_frames")  # what the shapes of unreleased sizes do not tell

CASES = [case for case in cases() if isinstance(case.weights, str) and ".pt:" in case.weights]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@torch.no_grad()
def test_an_entry_of_a_checkpoint_gives_its_recorded_answer(case: Case) -> None:
    file, entry, _prefix = str(case.weights).split(":")
    loaded = _load(file, entry, case)
    inputs = {name: torch.from_numpy(array) for name, array in case.inputs().items()}
    if case.kind == "encoder":
        assert loaded.encoder is not None
        answer = loaded.encoder(inputs["x"])
    elif case.kind == "ac_predictor":
        assert loaded.predictor is not None
        answer = loaded.predictor(inputs["x"], inputs["actions"], inputs["states"], inputs.get("extrinsics"))
    elif case.kind == "predictor":
        assert loaded.masked_predictor is not None
        index = case.config.get("mask_index", 1)
        answer = loaded.masked_predictor(inputs["x"], inputs["mask_x"], inputs["mask_y"], mask_index=index)
    else:
        pytest.fail(f"no checkpoint test for cases of kind '{case.kind}'")
    torch.testing.assert_close(answer, torch.from_numpy(case.output("y")), atol=NETWORK_TOLERANCE, rtol=0)


@pytest.mark.parametrize("file", sorted({str(case.weights).partition(":")[0] for case in CASES}))
def test_a_checkpoint_says_why_it_leaves_things_aside(file: str) -> None:
    from vjepa2_ac.checkpoints.reading import read

    names = {str(case.weights).split(":")[1]: case for case in CASES if str(case.weights).startswith(file)}
    hints = {_part(case): _hints(case) for case in names.values()}
    contents = read(FOLDER / file, overrides=hints)
    assert {"opt", "epoch"} <= {ignored.key for ignored in contents.ignored}
    assert all(ignored.reason for ignored in contents.ignored)


def _load(file: str, entry: str, case: Case) -> Loaded:
    """The file, with what this case says of its model; other models of the file keep theirs from their own cases."""
    hints = {_part(other): _hints(other) for other in CASES if str(other.weights).startswith(f"{file}:")}
    hints[_part(case)] = _hints(case)
    which = entry if entry.endswith("encoder") else None
    return load(FOLDER / file, which=which, parts=(_part(case),), overrides=hints)


def _part(case: Case) -> str:
    return {"encoder": "encoder", "ac_predictor": "predictor", "predictor": "masked_predictor"}.get(
        case.kind, case.kind
    )


def _hints(case: Case) -> dict[str, Any]:
    model = case.config["model"]
    absent = ("num_frames",) if case.kind == "ac_predictor" else ()  # any number of steps goes in there
    return {key: model[key] for key in HINTS if key in model and key not in absent}
