"""Model keywords as the reference writes them, read into this project's configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from vjepa2_ac.config import from_dict

ConfigT = TypeVar("ConfigT")

WITHOUT_EFFECT = {
    "use_sdpa": (True, False),  # two ways to compute the same attention
    "use_mask_tokens": (True,),  # masked predictors here always have them
    "out_layers": None,  # an argument of the call here
}
SIZE_OF_THE_STORED_MASK = {"num_frames", "tubelet_size", "uniform_power"}  # the action-conditioned predictor has none
ALWAYS_ROTARY = {"use_rope": (True,)}  # V-JEPA 2.1 has no other positions


def config_of(cls: type[ConfigT], keywords: Mapping[str, Any]) -> ConfigT:
    """The configuration that a case's keywords mean; an unexpected keyword is an error, never ignored."""
    ignored: dict[str, Any] = dict(WITHOUT_EFFECT)
    if cls.__name__ == "ACPredictorConfig":
        ignored |= dict.fromkeys(SIZE_OF_THE_STORED_MASK)
    if cls.__name__.endswith("V21Config"):
        ignored |= ALWAYS_ROTARY
    for key, values in ignored.items():
        assert key not in keywords or values is None or keywords[key] in values, f"{key}={keywords[key]}"
    return from_dict(cls, {key: value for key, value in keywords.items() if key not in ignored}, "manifest.json")
