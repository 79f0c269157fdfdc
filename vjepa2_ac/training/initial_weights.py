"""Weights to start a run from (`--start`): loaded where they fit the recipe's networks, refused where they do not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

from vjepa2_ac.checkpoints.loading import load
from vjepa2_ac.config import to_dict
from vjepa2_ac.errors import CheckpointError, InputError
from vjepa2_ac.models.ac_predictor import ACPredictor
from vjepa2_ac.models.inverse_model import InverseModel
from vjepa2_ac.models.stills import AnyEncoder
from vjepa2_ac.training import recipes
from vjepa2_ac.training.latents import hash_of
from vjepa2_ac.training.pretraining import Pretraining
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.recipes import PretrainRecipe
from vjepa2_ac.training.run_folder import Run

UNSEEN = ("num_heads", "use_rope")  # settings that change what weights mean, but not their shapes


def start_pretraining(learner: Pretraining, start: str) -> None:
    """Load the weights of an earlier run's newest state, or of a release or official file.

    A release or official file holds one encoder: the encoder and its moving average both start from that.
    """
    if (Path(start) / "states").is_dir():
        began = recipes.read(Run(Path(start)).recipe)
        if not isinstance(began, PretrainRecipe):
            raise CheckpointError(f"{start} is no run of `vjepa2-ac pretrain`, which alone learns an encoder")
        found = Run(Path(start)).newest()
        if found is None:
            raise InputError(f"the run {start} has no usable state")
        with _fitting(learner, began.encoder_config(), began.predictor_config(), start):
            learner.load_state_dict(found[1]["learner"])
    else:
        loaded = load(start, parts=("encoder", "masked_predictor"))
        assert loaded.encoder is not None
        assert loaded.masked_predictor is not None
        with _fitting(learner, loaded.encoder.config, loaded.masked_predictor.config, start):
            for network in (learner.encoder, learner.target):
                network.load_state_dict(loaded.encoder.state_dict())
            learner.predictor.load_state_dict(loaded.masked_predictor.state_dict())


def start_predictor(
    predictor: ACPredictor, start: str, encoder: AnyEncoder, source: str, *, normalize: bool, processes: Processes
) -> None:
    """Load the weights of another predictor; CheckpointError where its latents were normalised otherwise."""
    loaded = load(start, parts=("predictor",), optional=("encoder",), precision="fp32")
    assert loaded.predictor is not None
    if loaded.normalize_latents != normalize:
        raise CheckpointError(
            f"{start} was trained on {'normalised' if loaded.normalize_latents else 'raw'} latents; "
            f"--set loss.normalize={str(loaded.normalize_latents).lower()}"
        )
    # New parts of these kinds change nothing at first, or next to nothing, so the weights may be without them.
    fresh = predictor.state_dict()
    may_begin = ("condition_encoder", "local_mixing", "copy_gate")
    added = {key: fresh[key] for key in fresh if "modulation" in key or key.startswith(may_begin)}
    _take(predictor, {**added, **loaded.predictor.state_dict()}, loaded.predictor.config, start, "predictor")
    _tell_of_encoders(loaded.encoder, encoder, start, source, processes)


def start_inverse(
    inverse: InverseModel, part: str, start: str, encoder: AnyEncoder, source: str, *, processes: Processes
) -> None:
    """Load the weights of another inverse; for the part `keyframes`, of a keyframe network where there is one."""
    loaded = load(start, parts=(), optional=("inverse", "keyframes", "encoder"), precision="fp32")
    known = (loaded.keyframes if part == "keyframes" else None) or loaded.inverse
    if known is None:
        raise CheckpointError(f"{start} holds no inverse{' or keyframes' if part == 'keyframes' else ''} to start from")
    _take(inverse, known.state_dict(), known.config, start, "inverse")
    _tell_of_encoders(loaded.encoder, encoder, start, source, processes)


@contextmanager
def _fitting(learner: Pretraining, encoder: object, predictor: object, start: str) -> Iterator[None]:
    """CheckpointError for weights of other settings: of UNSEEN ones at once, of others when loading fails."""
    parts = {"encoder": (learner.encoder.config, encoder), "predictor": (learner.predictor.config, predictor)}
    differ = {part: _differences(*both) for part, both in parts.items()}
    told = [f"{part}: {'; '.join(said for _, said in each)}" for part, each in differ.items() if each]
    refusal = CheckpointError(f"{start} does not fit the recipe's {', nor its '.join(told) or 'variant'}")
    if any(name in UNSEEN for each in differ.values() for name, _ in each):
        raise refusal
    try:
        yield
    except RuntimeError as error:  # it lists names and shapes; the settings that differ say more
        raise refusal from error


def _take(
    network: ACPredictor | InverseModel, weights: dict[str, Tensor], config: object, start: str, part: str
) -> None:
    """Load weights found at `start`, of a network with this config; CheckpointError where they do not fit."""
    differ = _differences(network.config, config)
    if not any(name in UNSEEN for name, _ in differ):
        with suppress(RuntimeError):  # it lists names and shapes; the settings that differ say more
            network.load_state_dict(weights)
            return
    raise CheckpointError(
        f"{start} does not fit the recipe's {part}; take the recipe that made it, or --set {part}.…=…: "
        + "; ".join(told for _, told in differ)
    )


def _tell_of_encoders(
    there: AnyEncoder | None, here: AnyEncoder, start: str, source: str, processes: Processes
) -> None:
    """Print a note where the weights at `start` were trained on another encoder than the one from `source`."""
    if there is not None and processes.is_first and len({hash_of(each, torch.bfloat16) for each in (there, here)}) > 1:
        print(
            f"note: what {start} holds has learned on another encoder than {source}: it begins with "
            "latents that mean something else to it",
            file=sys.stderr,
        )


def _differences(here: object, there: object) -> list[tuple[str, str]]:
    """The settings in which two networks differ: the name of each, and a phrase with both values."""
    ours, theirs = to_dict(here), to_dict(there)
    return [
        (name, f"{name} is {theirs[name]} there, {ours[name]} here")
        for name in ours
        if name in theirs and ours[name] != theirs[name]
    ]
