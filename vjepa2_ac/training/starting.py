"""Weights to start from: taken where they fit and mean the same, refused where they do not."""

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
from vjepa2_ac.training.run import Run

UNSEEN = ("num_heads", "use_rope")  # what weights mean by these, their shapes do not tell


def start_pretraining(learner: Pretraining, start: str) -> None:
    """Take the weights of an earlier run's last state, or of a release or official file (all of one encoder)."""
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
    """Take the weights of another predictor, which saw latents that were normalised alike."""
    loaded = load(start, parts=("predictor",), optional=("encoder",), precision="fp32")
    assert loaded.predictor is not None
    if loaded.normalize_latents != normalize:
        raise CheckpointError(
            f"{start} was trained on {'normalised' if loaded.normalize_latents else 'raw'} latents; "
            f"--set loss.normalize={str(loaded.normalize_latents).lower()}"
        )
    # These begin doing nothing, or next to it, so a predictor with them may start from weights without.
    fresh = predictor.state_dict()
    may_begin = ("condition_encoder", "local_mixing", "copy_gate")
    added = {key: fresh[key] for key in fresh if "modulation" in key or key.startswith(may_begin)}
    _take(predictor, {**added, **loaded.predictor.state_dict()}, loaded.predictor.config, start, "predictor")
    _tell_of_encoders(loaded.encoder, encoder, start, source, processes)


def start_inverse(
    inverse: InverseModel, part: str, start: str, encoder: AnyEncoder, source: str, *, processes: Processes
) -> None:
    """Take the weights of another inverse; for the part `keyframes`, of what finds keyframes where that is there."""
    loaded = load(start, parts=("inverse",), optional=("keyframes", "encoder"), precision="fp32")
    known = loaded.keyframes if part == "keyframes" and loaded.keyframes else loaded.inverse
    assert known is not None
    _take(inverse, known.state_dict(), known.config, start, "inverse")
    _tell_of_encoders(loaded.encoder, encoder, start, source, processes)


@contextmanager
def _fitting(learner: Pretraining, encoder: object, predictor: object, start: str) -> Iterator[None]:
    """Refuse weights of other settings: those that would fit at once, the others where they turn out not to."""
    parts = {"encoder": (learner.encoder.config, encoder), "predictor": (learner.predictor.config, predictor)}
    differ = {part: _differences(*both) for part, both in parts.items()}
    told = [f"{part}: {'; '.join(said for _, said in each)}" for part, each in differ.items() if each]
    refusal = CheckpointError(f"{start} does not fit the recipe's {', nor its '.join(told) or 'variant'}")
    if any(name in UNSEEN for each in differ.values() for name, _ in each):
        raise refusal
    try:
        yield
    except RuntimeError as error:  # of names and shapes, which the settings tell better
        raise refusal from error


def _take(
    network: ACPredictor | InverseModel, weights: dict[str, Tensor], config: object, start: str, part: str
) -> None:
    """Begin with the weights that were found at `start`, of a network of this config."""
    differ = _differences(network.config, config)
    if not any(name in UNSEEN for name, _ in differ):
        with suppress(RuntimeError):  # of names and shapes, which the settings tell better
            network.load_state_dict(weights)
            return
    raise CheckpointError(
        f"{start} does not fit the recipe's {part}; take the recipe that made it, or --set {part}.…=…: "
        + "; ".join(told for _, told in differ)
    )


def _tell_of_encoders(
    there: AnyEncoder | None, here: AnyEncoder, start: str, source: str, processes: Processes
) -> None:
    """Say that the weights at `start` have learned from the latents of another encoder than the one from `source`."""
    if there is not None and processes.is_first and len({hash_of(each, torch.bfloat16) for each in (there, here)}) > 1:
        print(
            f"note: what {start} holds has learned on another encoder than {source}: it begins with "
            "latents that mean something else to it",
            file=sys.stderr,
        )


def _differences(here: object, there: object) -> list[tuple[str, str]]:
    """The settings of two networks that are not the same, by name and in words."""
    ours, theirs = to_dict(here), to_dict(there)
    return [
        (name, f"{name} is {theirs[name]} there, {ours[name]} here")
        for name in ours
        if name in theirs and ours[name] != theirs[name]
    ]
