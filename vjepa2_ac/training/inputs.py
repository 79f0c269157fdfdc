"""What a run reads: checked and recorded when it begins, and compared with that record when it is resumed."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vjepa2_ac import __version__
from vjepa2_ac.data.layout import find_episodes
from vjepa2_ac.errors import InputError
from vjepa2_ac.files import make_folder
from vjepa2_ac.models.stills import AnyEncoder
from vjepa2_ac.precision import resolve
from vjepa2_ac.training import recipes
from vjepa2_ac.training.clips import ClipBatches
from vjepa2_ac.training.inversion import MomentPairs
from vjepa2_ac.training.latents import hash_of
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.recipes import Recipe
from vjepa2_ac.training.run_folder import Run, written_aside
from vjepa2_ac.training.store import fingerprint
from vjepa2_ac.training.trajectories import TrajectoryBatches


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run reads, besides its recipe; kept in `run.json`, so `--resume` need not be told again."""

    data: str
    encoder: str | None = None  # the frozen encoder that `train` uses
    model: str | None = None  # the world model that an inverse is for
    start: str | None = None  # weights to start from, in place of fresh ones
    cache: str | None = None  # the folder of cached latents and frames
    held_out: str | None = None  # episodes not trained on, on which the loss is measured during the run


@contextmanager
def held_run(run: Run, recipe: Recipe, processes: Processes, *, resume: bool) -> Iterator[None]:
    """Hold the run's folder, as the only command at work on it, for as long as the context lasts.

    A folder, recipe or number of processes that will not do is refused before hours are spent on encoding.
    """
    with ExitStack() as stack:
        if processes.is_first:
            run.check(resume=resume)
            stack.enter_context(run.held())
            if not resume:  # runs that began before a check existed may go on
                recipe.check()
            began_with = json.loads(run.inputs.read_text())["processes"] if resume else processes.count
            if began_with != processes.count:
                raise InputError(
                    f"the run in {run.folder} began with {began_with} processes and goes on with as many, here are "
                    f"{processes.count}: which samples share an update would change"
                )
        processes.wait()
        yield


def refuse_learned(inputs: Inputs) -> None:
    """InputError where a held-out episode is also among those to train on."""
    if inputs.held_out is None:
        return
    learned = {ref.folder.resolve() for ref in find_episodes(Path(inputs.data))}
    both = [ref.name for ref in find_episodes(Path(inputs.held_out)) if ref.folder.resolve() in learned]
    if both:
        raise InputError(
            f"{len(both)} of the episodes held out at {inputs.held_out} are learned from, too, such as {both[0]}: "
            "what is lost on them would tell nothing of others"
        )


def record_or_compare(
    run: Run,
    recipe: Recipe,
    inputs: Inputs,
    batches: ClipBatches | TrajectoryBatches | MomentPairs,
    processes: Processes,
    encoder: AnyEncoder | None = None,
    *,
    resume: bool,
) -> None:
    """Record what the run is and reads; on resuming, compare what is found with that record.

    The first process does, the others wait. InputError where videos, episodes or the frozen encoder are no longer
    those that the run began with.
    """
    if processes.is_first:
        make_folder(run.folder)
        learned_from = _fingerprint(batches, encoder)
        precision = resolve(recipe.engine.precision, processes.device)
        if resume:
            began = json.loads(run.inputs.read_text())  # older versions recorded less
            _refuse_others(run, inputs, began.get("learned_from", {}), learned_from)
            _tell_of_precision(run, recipe, began.get("precision", precision), precision)
        else:
            _write_down(run, recipe, inputs, learned_from, precision, processes)
    processes.wait()


def _refuse_others(run: Run, inputs: Inputs, began: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with other data or another encoder than the run began with."""
    changed = [name for name in began if began[name] != now[name]]
    if "encoder" in changed:
        raise InputError(
            f"the encoder that the run in {run.folder} began with is no longer what is found at "
            f"{inputs.encoder or inputs.model or 'default'}: every latent would change"
        )
    if changed and set(changed) <= {"poses", "videos"}:
        raise InputError(
            f"the {' and '.join(changed)} in {inputs.data} are no longer those that the run in {run.folder} began with"
        )
    if changed:
        raise InputError(
            f"{inputs.data} is not what the run in {run.folder} began with: {began['items']} usable "
            f"videos or episodes then, {now['items']} now; which come when would change"
        )


def _tell_of_precision(run: Run, recipe: Recipe, began: str, now: str) -> None:
    """Print a note where the remaining updates will be computed in another precision."""
    is_done = max((step for step, _ in run.states()), default=0) >= recipe.engine.steps
    if began != now and not is_done:
        print(
            f"the run in {run.folder} began in {began} and goes on in {now}, which is what this machine "
            "is fast at: it will not end in the same weights",
            file=sys.stderr,
        )


def _write_down(
    run: Run, recipe: Recipe, inputs: Inputs, learned_from: dict[str, Any], precision: str, processes: Processes
) -> None:
    facts = {
        "inputs": asdict(inputs),
        "learned_from": learned_from,
        "command": shlex.join(sys.argv),
        "version": __version__,
        "torch": torch.__version__,
        "machine": platform.platform(),
        "device": str(processes.device),
        "precision": precision,
        "processes": processes.count,
    }
    with written_aside(run.inputs) as file:
        file.write(json.dumps(facts, indent=1).encode())
    with written_aside(run.recipe) as file:
        file.write(recipes.text_of(recipe).encode())


def _fingerprint(batches: ClipBatches | TrajectoryBatches | MomentPairs, encoder: AnyEncoder | None) -> dict[str, Any]:
    """What a run learns from, to be compared on resuming, wherever the data lie by then.

    The number of videos or episodes drawn from, and hashes of their names and of the videos' sizes; for episodes also
    hashes of the poses and of the frozen encoder's weights.
    """
    found = {} if encoder is None else {"encoder": hash_of(encoder, torch.float32)}
    if isinstance(batches, ClipBatches):
        items, names = len(batches.draws), [video.name for video in batches.found]
        sizes = [video.video_bytes for video in batches.found]
    else:
        items, names = len(batches.trajectories), [trajectory.name for trajectory in batches.trajectories]
        sizes = [trajectory.video_bytes for trajectory in batches.trajectories]
        poses = hashlib.sha256()
        for trajectory in batches.trajectories:
            poses.update(np.ascontiguousarray(trajectory.poses_R7).tobytes())
        found["poses"] = poses.hexdigest()
    found["names"] = fingerprint({"names": [Path(name).name for name in names]})
    return {"items": items, **found, "videos": fingerprint({"bytes": sizes})}


def read_recipe_and_inputs(run: Run) -> tuple[Recipe, Inputs]:
    """The recipe and the inputs of a run that is to be resumed."""
    if not run.recipe.is_file() or not run.inputs.is_file():
        raise InputError(f"nothing to resume: {run.folder} holds no run")
    return recipes.read(run.recipe), Inputs(**json.loads(run.inputs.read_text())["inputs"])


def without_start_if_resumed(inputs: Inputs, run: Run, *, resume: bool) -> Inputs:
    """The inputs, without `start` where the run goes on from a state: the weights it names may be gone by now."""
    return replace(inputs, start=None) if resume and run.states() else inputs
