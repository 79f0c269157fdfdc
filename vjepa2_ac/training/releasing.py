"""The release that a run ends in: the trained models, those given to it, and a record of the training."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vjepa2_ac import __version__
from vjepa2_ac.checkpoints.release import save
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.build import build
from vjepa2_ac.precision import choose_dtype
from vjepa2_ac.training import recipes
from vjepa2_ac.training.inputs import Inputs
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.recipes import Recipe
from vjepa2_ac.training.run_folder import Run


def release(
    run: Run,
    recipe: Recipe,
    facts: dict[str, Any],
    models: dict[str, Any],
    preprocessing: Preprocessing,
    normalize_latents: bool,
    processes: Processes,
    given: dict[str, Any] | None = None,
) -> None:
    """Write the trained `models`, in the recipe's precision, and those `given`, unchanged; the first process does.

    Under FSDP2 the trained models are read back from the newest state, which holds them unsharded.
    """
    if processes.is_first:
        if recipe.engine.sharded and processes.count > 1:
            models = _gathered(run, models)
        models = {name: model.to(choose_dtype(recipe.release, "cpu")) for name, model in models.items()}
        save(
            run.release,
            preprocessing=preprocessing,
            normalize_latents=normalize_latents,
            metadata=facts,
            **{**(given or {}), **models},
        )
    processes.wait()


def facts_of(recipe: Recipe, inputs: Inputs) -> dict[str, Any]:
    """What a release records of its training."""
    told = ("encoder", "model", "start")
    read = {name: said for name, said in asdict(inputs).items() if said is not None and name in told}
    return {
        "trained with": f"vjepa2-ac {__version__}",
        "about": recipe.about,
        "updates": recipe.engine.steps,
        "data": inputs.data,
        **read,
        "recipe": recipes.text_of(recipe),
    }


def _gathered(run: Run, models: dict[str, Any]) -> dict[str, Any]:
    """The models unsharded, with the weights of the newest state."""
    found = run.newest()
    if found is None:
        raise ConfigError("there is no state to release")
    state = found[1]["learner"]
    whole: dict[str, Any] = {}
    for name, model in models.items():
        inside = {"encoder": "target", "masked_predictor": "predictor", "keyframes": "inverse"}.get(name, name)
        mine = {key.removeprefix(f"{inside}."): value for key, value in state.items() if key.startswith(f"{inside}.")}
        if mine:
            whole[name] = build(type(model), model.config)
            whole[name].load_state_dict(mine)
        else:  # a frozen encoder was never sharded
            whole[name] = model
    return whole
