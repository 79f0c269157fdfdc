"""A training run from its first word to its release: recipe, data, models, loop, result."""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vjepa2_ac import __version__
from vjepa2_ac.checkpoints.loading import load
from vjepa2_ac.checkpoints.places import home
from vjepa2_ac.checkpoints.release import save
from vjepa2_ac.config import to_dict
from vjepa2_ac.data.episodes import BadEpisodes
from vjepa2_ac.errors import CheckpointError, ConfigError, InputError
from vjepa2_ac.files import make_folder
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21
from vjepa2_ac.models.inverse_model import InverseModel
from vjepa2_ac.models.masked_predictor import MaskedPredictor
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21
from vjepa2_ac.models.stills import AnyEncoder
from vjepa2_ac.precision import choose_dtype
from vjepa2_ac.training import recipes
from vjepa2_ac.training.clips import ClipBatches, cache_footage, find_footage, recorded
from vjepa2_ac.training.engine import fit
from vjepa2_ac.training.inversion import Inversion, MomentPairs
from vjepa2_ac.training.keyframes import KeyframePairs
from vjepa2_ac.training.latents import FrameEncoder, hash_of
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.posttraining import PostTraining
from vjepa2_ac.training.pretraining import Pretraining
from vjepa2_ac.training.processes import Processes, joined
from vjepa2_ac.training.recipes import InvertRecipe, PretrainRecipe, Recipe, TrainRecipe
from vjepa2_ac.training.run import Run, written_aside
from vjepa2_ac.training.store import fingerprint
from vjepa2_ac.training.trajectories import (
    SamplingConfig,
    Trajectory,
    TrajectoryBatches,
    cached_trajectories,
    recorded_trajectories,
)

UNTRAINED = "random:"  # before an encoder's name: the same shape, its weights drawn from the recipe's seed
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
UNSEEN = ("num_heads", "use_rope")  # what weights mean by these, their shapes do not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run reads, besides its recipe; kept in `run.json` so that `--resume` needs nothing said again."""

    data: str
    encoder: str | None = None  # of post-training
    model: str | None = None  # the world model that an inverse is for
    start: str | None = None  # weights to start from, in place of fresh ones
    cache: str | None = None  # where latents and frames are kept


def pretrain(recipe: PretrainRecipe, inputs: Inputs, run: Run, *, resume: bool = False, device: str = "auto") -> Path:
    """Pretrain an encoder; the folder of its release comes back.

    The release holds the average of the encoder, which is what is used, and the masked predictor.
    """
    with joined(device) as processes:
        _look(run, recipe, processes, resume=resume)
        learner = _pretraining(recipe, _beginning(inputs, run, resume=resume))
        batches = _clips(recipe, inputs, processes)
        bad = BadEpisodes(recipe.clips.bad_videos)
        _begin(run, recipe, inputs, batches, processes, resume=resume)
        fit(learner, batches, recipe.engine, recipe.optimizer, run, processes, "pretraining", bad)
        shape = recipe.encoder_config()
        models: dict[str, Any] = {"encoder": learner.target, "masked_predictor": learner.predictor}
        facts, preprocessing = _facts(recipe, inputs), Preprocessing(img_size=shape.img_size)
        _release(run, recipe, facts, models, preprocessing, True, processes)
        return run.release


def train(recipe: TrainRecipe, inputs: Inputs, run: Run, *, resume: bool = False, device: str = "auto") -> Path:
    """Train an action-conditioned predictor on a frozen encoder; the folder of their release comes back."""
    with joined(device) as processes:
        _look(run, recipe, processes, resume=resume)
        encoder, preprocessing = _frozen_encoder(recipe, inputs)
        predictor = _predictor(recipe, _beginning(inputs, run, resume=resume), encoder, preprocessing, processes)
        frames = _seeing(encoder, preprocessing, recipe, processes, normalize=recipe.loss.normalize)
        learner = PostTraining(predictor, recipe.loss, recipe.engine.steps, frames)
        batches = _windows(recipe, inputs, frames, predictor, processes)
        bad = BadEpisodes(recipe.sampling.bad_episodes)
        _begin(run, recipe, inputs, batches, processes, encoder, resume=resume)
        fit(learner, batches, recipe.engine, recipe.optimizer, run, processes, "training", bad)
        models = {"encoder": encoder, "predictor": predictor}
        _release(run, recipe, _facts(recipe, inputs), models, preprocessing, recipe.loss.normalize, processes)
        return run.release


def invert(recipe: InvertRecipe, inputs: Inputs, run: Run, *, resume: bool = False, device: str = "auto") -> Path:
    """Train the inverse of a world model, or what finds its keyframes, on its frozen encoder.

    The folder of a release that also holds the world model as it was comes back.
    """
    with joined(device) as processes:
        _look(run, recipe, processes, resume=resume)
        source = load(inputs.model or "default", parts=("encoder", "predictor"), optional=("inverse", "keyframes"))
        encoder, preprocessing = cast("AnyEncoder", source.encoder), source.preprocessing
        frames = _seeing(encoder, preprocessing, recipe, processes, normalize=source.normalize_latents)
        inverse = _inverse(recipe, _beginning(inputs, run, resume=resume), encoder, processes)
        learner = Inversion(inverse, frames)
        sampling = SamplingConfig(bad_episodes=recipe.bad_episodes)
        trajectories = _trajectories(recipe, sampling, inputs, frames, processes)
        layout = _layout(recipe, processes)
        drawing = (trajectories, recipe.window, layout, recipe.engine.seed, recipe.alike)
        batches = KeyframePairs(*drawing, recipe.event_share) if recipe.asks == "keyframe" else MomentPairs(*drawing)
        bad = BadEpisodes(recipe.bad_episodes)
        _begin(run, recipe, inputs, batches, processes, encoder, resume=resume)
        fit(learner, batches, recipe.engine, recipe.optimizer, run, processes, "inverting", bad)
        given: dict[str, Any] = {"encoder": encoder, "predictor": source.predictor}
        given |= {"inverse": source.inverse, "keyframes": source.keyframes}
        models = {recipe.part: learner.inverse}
        of_the_model = {name: fact for name, fact in source.metadata.items() if name not in ("source", "layout")}
        facts = of_the_model | {recipe.part: _facts(recipe, inputs)}
        _release(run, recipe, facts, models, preprocessing, source.normalize_latents, processes, given)
        return run.release


def begun(run: Run) -> tuple[Recipe, Inputs]:
    """The recipe and the inputs of a run that is to be resumed."""
    if not run.recipe.is_file() or not run.inputs.is_file():
        raise InputError(f"nothing to resume: {run.folder} holds no run")
    return recipes.read(run.recipe), Inputs(**json.loads(run.inputs.read_text())["inputs"])


# --- pretraining -----------------------------------------------------------------------------------------------------


def _pretraining(recipe: PretrainRecipe, inputs: Inputs) -> Pretraining:
    shape, seed = recipe.encoder_config(), recipe.engine.seed
    encoder: Encoder | EncoderV21
    predictor: MaskedPredictor | MaskedPredictorV21
    if isinstance(shape, EncoderConfig):
        encoder = build(Encoder, shape, seed=seed)
        predictor = build(MaskedPredictor, cast("Any", recipe.predictor_config()), seed=seed + 1)
    else:
        encoder = build(EncoderV21, shape, seed=seed)
        predictor = build(MaskedPredictorV21, cast("Any", recipe.predictor_config()), seed=seed + 1)
    learner = Pretraining(encoder, predictor, recipe.loss, recipe.engine.steps)
    learner.expect(recipe.clips.frames_per_clip)
    if inputs.start is not None:
        _start_pretraining_from(learner, inputs.start)
    return learner


def _start_pretraining_from(learner: Pretraining, start: str) -> None:
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


def _clips(recipe: PretrainRecipe, inputs: Inputs, processes: Processes) -> ClipBatches:
    clips, img_size = recipe.clips, recipe.encoder_config().img_size
    footage = find_footage(Path(inputs.data), clips.cameras)
    if clips.cache:
        draws = cache_footage(footage, clips, _cache(inputs), processes)
    else:
        draws = [recorded(item, clips) for item in footage]
    names = [item.name for item in footage]
    return ClipBatches(
        draws, clips, recipe.masks, img_size, recipe.grid, _layout(recipe, processes), recipe.engine.seed, names
    )


# --- post-training ---------------------------------------------------------------------------------------------------


def _seeing(
    encoder: AnyEncoder,
    preprocessing: Preprocessing,
    recipe: TrainRecipe | InvertRecipe,
    processes: Processes,
    *,
    normalize: bool,
) -> FrameEncoder:
    """What encodes frames: a copy, in the precision of the run; the release keeps the encoder as it was given."""
    precision = recipe.engine.precision
    return FrameEncoder(copy.deepcopy(encoder), preprocessing, processes.device, precision, normalize=normalize)


def _frozen_encoder(recipe: TrainRecipe, inputs: Inputs) -> tuple[AnyEncoder, Preprocessing]:
    source = inputs.encoder or "default"
    shape = source.removeprefix(UNTRAINED)
    loaded = load(shape, parts=("encoder",), precision="fp32")
    assert loaded.encoder is not None
    encoder = loaded.encoder
    if shape != source:
        encoder = build(cast("Any", type(encoder)), cast("Any", encoder.config), seed=recipe.engine.seed)
        encoder = encoder.to(DTYPES[recipe.release]).float()  # as the release will hold it: its latents stay the same
    preprocessing = loaded.preprocessing
    if recipe.preprocessing is not None:
        preprocessing = Preprocessing(name=recipe.preprocessing, img_size=preprocessing.img_size)
    return encoder, preprocessing


def _predictor(
    recipe: TrainRecipe, inputs: Inputs, encoder: AnyEncoder, preprocessing: Preprocessing, processes: Processes
) -> ACPredictor:
    config = recipe.predictor_config(encoder.config, preprocessing.img_size)
    predictor = build(ACPredictor, config, seed=recipe.engine.seed)
    if inputs.start is not None:
        loaded = load(inputs.start, parts=("predictor",), optional=("encoder",), precision="fp32")
        assert loaded.predictor is not None
        if loaded.normalize_latents != recipe.loss.normalize:
            raise CheckpointError(
                f"{inputs.start} was trained on {'normalised' if loaded.normalize_latents else 'raw'} latents; "
                f"--set loss.normalize={str(loaded.normalize_latents).lower()}"
            )
        # These begin doing nothing, or next to it, so a predictor with them may start from weights without.
        fresh = predictor.state_dict()
        may_begin = ("condition_encoder", "local_mixing", "copy_gate")
        added = {key: fresh[key] for key in fresh if "modulation" in key or key.startswith(may_begin)}
        weights = {**added, **loaded.predictor.state_dict()}
        _take(predictor, weights, loaded.predictor.config, inputs.start, "predictor")
        _tell_of_encoders(loaded.encoder, encoder, inputs.start, inputs.encoder, processes)
    return predictor


def _windows(
    recipe: TrainRecipe, inputs: Inputs, frames: FrameEncoder, predictor: ACPredictor, processes: Processes
) -> TrajectoryBatches:
    return TrajectoryBatches(
        _trajectories(recipe, recipe.sampling, inputs, frames, processes),
        recipe.window,
        recipe.sampling,
        _layout(recipe, processes),
        recipe.engine.seed,
        extrinsics=predictor.config.use_extrinsics,
    )


def _trajectories(
    recipe: TrainRecipe | InvertRecipe,
    sampling: SamplingConfig,
    inputs: Inputs,
    frames: FrameEncoder,
    processes: Processes,
) -> list[Trajectory]:
    source, window, copies = Path(inputs.data), recipe.window, recipe.copies
    if not recipe.cache:
        return recorded_trajectories(source, window, sampling, processes, copies=copies, batch=recipe.engine.batch)
    cache, every_frame = _cache(inputs), recipe.cache_every_frame
    return cached_trajectories(
        source, window, sampling, frames, cache, processes, every_frame=every_frame, copies=copies
    )


# --- inversion -------------------------------------------------------------------------------------------------------


def _inverse(recipe: InvertRecipe, inputs: Inputs, encoder: AnyEncoder, processes: Processes) -> InverseModel:
    config = recipe.inverse_config(encoder.config.grid, encoder.config.embed_dim)
    inverse = build(InverseModel, config, seed=recipe.engine.seed)
    if inputs.start is not None:
        loaded = load(inputs.start, parts=("inverse",), optional=("keyframes", "encoder"), precision="fp32")
        known = loaded.keyframes if recipe.part == "keyframes" and loaded.keyframes else loaded.inverse
        assert known is not None
        _take(inverse, known.state_dict(), known.config, inputs.start, "inverse")
        _tell_of_encoders(loaded.encoder, encoder, inputs.start, inputs.model, processes)
    return inverse


# --- all -------------------------------------------------------------------------------------------------------------


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
    there: AnyEncoder | None, here: AnyEncoder, start: str, source: str | None, processes: Processes
) -> None:
    """Say that the weights at `start` have learned from the latents of another encoder than the one from `source`."""
    if there is not None and processes.is_first and len({hash_of(each, torch.bfloat16) for each in (there, here)}) > 1:
        print(
            f"note: what {start} holds has learned on another encoder than {source or 'default'}: it begins with "
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


def _look(run: Run, recipe: Recipe, processes: Processes, *, resume: bool) -> None:
    """Refuse a folder or a recipe that cannot be used before hours are spent on encoding; nothing is written yet."""
    if processes.is_first:
        run.check(resume=resume)
        if not resume:  # what began before this was asked goes on
            recipe.check()
        began_with = json.loads(run.inputs.read_text())["processes"] if resume else processes.count
        if began_with != processes.count:
            raise InputError(
                f"the run in {run.folder} began with {began_with} processes and goes on with as many, here are "
                f"{processes.count}: which samples share an update would change"
            )
    processes.wait()


def _beginning(inputs: Inputs, run: Run, *, resume: bool) -> Inputs:
    """The inputs without the weights to start from where the run has states to go on from: they may be gone by now."""
    return replace(inputs, start=None) if resume and run.states() else inputs


def _begin(
    run: Run,
    recipe: Recipe,
    inputs: Inputs,
    batches: ClipBatches | TrajectoryBatches | MomentPairs,
    processes: Processes,
    encoder: AnyEncoder | None = None,
    *,
    resume: bool,
) -> None:
    """The first process writes down what the run is; on resuming it is there already.

    InputError where videos, episodes or the frozen encoder are no longer those that it began with.
    """
    if processes.is_first:
        make_folder(run.folder)
        learned_from = _fingerprint(batches, encoder)
        dtype = choose_dtype(recipe.engine.precision, processes.device)
        precision = next(name for name in DTYPES if DTYPES[name] is dtype)
        if resume:
            began = json.loads(run.inputs.read_text())  # in which older versions wrote down less
            began_with = began.get("learned_from", {})
            changed = [name for name in began_with if began_with[name] != learned_from[name]]
            if "encoder" in changed:
                raise InputError(
                    f"the encoder that the run in {run.folder} began with is no longer what is found at "
                    f"{inputs.encoder or inputs.model or 'default'}: every latent would change"
                )
            if changed and set(changed) <= {"poses", "videos"}:
                raise InputError(
                    f"the {' and '.join(changed)} in {inputs.data} are no longer those that the run in {run.folder} "
                    "began with"
                )
            if changed:
                raise InputError(
                    f"{inputs.data} is not what the run in {run.folder} began with: {began_with['items']} usable "
                    f"videos or episodes then, {learned_from['items']} now; which come when would change"
                )
            is_done = max((step for step, _ in run.states()), default=0) >= recipe.engine.steps
            if (before := began.get("precision", precision)) != precision and not is_done:
                print(
                    f"the run in {run.folder} began in {before} and goes on in {precision}, which is what this machine "
                    "is fast at: it will not end in the same weights",
                    file=sys.stderr,
                )
        else:
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
    processes.wait()


def _fingerprint(batches: ClipBatches | TrajectoryBatches | MomentPairs, encoder: AnyEncoder | None) -> dict[str, Any]:
    """How many videos or episodes are drawn from, and which, wherever they lie.

    Of episodes also the poses, how large the videos are, and what sees them.
    """
    found = {} if encoder is None else {"encoder": hash_of(encoder, torch.float32)}
    if isinstance(batches, ClipBatches):
        items, names = len(batches.draws), batches.names
    else:
        items, names = len(batches.trajectories), [trajectory.name for trajectory in batches.trajectories]
        poses = hashlib.sha256()
        for trajectory in batches.trajectories:
            poses.update(np.ascontiguousarray(trajectory.poses_R7).tobytes())
        found["poses"] = poses.hexdigest()
        found["videos"] = fingerprint({"bytes": [trajectory.video_bytes for trajectory in batches.trajectories]})
    return {"items": items, "names": fingerprint({"names": [Path(name).name for name in names]}), **found}


def _layout(recipe: Recipe, processes: Processes) -> Layout:
    return Layout(recipe.engine.batch, processes.count, processes.rank)


def _cache(inputs: Inputs) -> Path:
    return Path(inputs.cache).expanduser() if inputs.cache else home() / "training-cache"


def _facts(recipe: Recipe, inputs: Inputs) -> dict[str, Any]:
    """What a release says of how it was trained."""
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


def _release(
    run: Run,
    recipe: Recipe,
    facts: dict[str, Any],
    models: dict[str, Any],
    preprocessing: Preprocessing,
    normalize_latents: bool,
    processes: Processes,
    given: dict[str, Any] | None = None,
) -> None:
    """Write the models that came out, and those `given`, which stay as they are.

    Under FSDP2 the last state is read back, which holds what came out whole.
    """
    if processes.is_first:
        if recipe.engine.sharded and processes.count > 1:
            models = _gathered(run, models)
        models = {name: model.to(DTYPES[recipe.release]) for name, model in models.items()}
        save(
            run.release,
            preprocessing=preprocessing,
            normalize_latents=normalize_latents,
            metadata=facts,
            **{**(given or {}), **models},
        )
    processes.wait()


def _gathered(run: Run, models: dict[str, Any]) -> dict[str, Any]:
    """The models whole, from the newest state."""
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
