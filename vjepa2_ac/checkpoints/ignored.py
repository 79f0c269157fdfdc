"""What is left aside when a file is read, and why. Everything else must have its place in a model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

ENCODERS = ("target_encoder", "ema_encoder", "encoder")  # entries that can be asked for, in order of preference

TRAINING_STATE = {  # entries of official files that are no models
    "opt": "the optimiser's state, only needed to go on training there",
    "optimizer": "the optimiser's state, only needed to go on training there",
    "scaler": "the gradient scaler's state, only needed to go on training there",
    "epoch": "how far the training was",
    "itr": "how far the training was",
    "iter": "how far the training was",
    "step": "how far the training was",
    "loss": "the training loss when the file was written",
    "lr": "the learning rate when the file was written",
    "batch_size": "how the training was run",
    "world_size": "how the training was run",
    "best_acc_per_classifier": "how well each probe of a sweep did",
    "classifiers": "further probes of a sweep; the first is read",
}

POSITION_TABLES = {  # tensors of models with rotary positions
    "pos_embed": "a table of absolute positions, unused by a model with rotary positions",
    "predictor_pos_embed": "a table of absolute positions, unused by a model with rotary positions",
}

OTHER_ENCODER = "the other copy of the encoder; ask for it with which='{name}' (--which {name})"
UNKNOWN_VALUE = "a plain value, part of no model"
UNKNOWN_ENTRY = "no model of this project is kept under this name"


@dataclass(frozen=True, slots=True)
class Ignored:
    """One key that was left aside, and the reason."""

    key: str
    reason: str


def why_entry_is_ignored(name: str, value: object) -> Ignored:
    """Why an entry that is none of the chosen models is left aside."""
    if name in TRAINING_STATE:
        return Ignored(name, TRAINING_STATE[name])
    if name in ENCODERS:
        return Ignored(name, OTHER_ENCODER.format(name=name))
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return Ignored(name, UNKNOWN_VALUE if is_plain else UNKNOWN_ENTRY)


def without_position_tables(
    state: dict[str, Tensor], entry: str, *, use_rope: bool
) -> tuple[dict[str, Tensor], list[Ignored]]:
    """A model's tensors without the position table it does not use."""
    if not use_rope:
        return state, []
    ignored = [Ignored(f"{entry}.{name}", POSITION_TABLES[name]) for name in state if name in POSITION_TABLES]
    return {name: tensor for name, tensor in state.items() if name not in POSITION_TABLES}, ignored
