"""The three training commands, each from its recipe to its release: networks, data, training loop, result."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

from vjepa2_ac.checkpoints.loading import load
from vjepa2_ac.checkpoints.places import RANDOM, home
from vjepa2_ac.data.episodes import BadEpisodes
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
from vjepa2_ac.training.clips import ClipBatches, cache_videos, find_videos, recorded
from vjepa2_ac.training.engine import fit
from vjepa2_ac.training.initial_weights import start_inverse, start_predictor, start_pretraining
from vjepa2_ac.training.inputs import Inputs, held_run, record_or_compare, refuse_learned, without_start_if_resumed
from vjepa2_ac.training.inversion import Inversion, MomentPairs
from vjepa2_ac.training.keyframes import KeyframePairs
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.posttraining import PostTraining
from vjepa2_ac.training.pretraining import Pretraining
from vjepa2_ac.training.processes import Processes, joined
from vjepa2_ac.training.recipes import InvertRecipe, PretrainRecipe, Recipe, TrainRecipe
from vjepa2_ac.training.releasing import facts_of, release
from vjepa2_ac.training.run_folder import Run
from vjepa2_ac.training.trajectories import (
    SamplingConfig,
    Trajectory,
    TrajectoryBatches,
    cached_trajectories,
    recorded_trajectories,
)


def pretrain(recipe: PretrainRecipe, inputs: Inputs, run: Run, *, resume: bool = False, device: str = "auto") -> Path:
    """Pretrain an encoder; returns the folder of its release.

    The release holds the moving average of the encoder, which is the one to use, and the masked predictor.
    """
    with joined(device) as processes, held_run(run, recipe, processes, resume=resume):
        learner = _pretraining(recipe, without_start_if_resumed(inputs, run, resume=resume))
        batches = _clips(recipe, inputs, processes)
        bad = BadEpisodes(recipe.clips.bad_videos)
        record_or_compare(run, recipe, inputs, batches, processes, resume=resume)
        fit(learner, batches, recipe.engine, recipe.optimizer, run, processes, "pretraining", bad)
        shape = recipe.encoder_config()
        models: dict[str, Any] = {"encoder": learner.target, "masked_predictor": learner.predictor}
        facts, preprocessing = facts_of(recipe, inputs), Preprocessing(img_size=shape.img_size)
        release(run, recipe, facts, models, preprocessing, True, processes)
        return run.release


def train(recipe: TrainRecipe, inputs: Inputs, run: Run, *, resume: bool = False, device: str = "auto") -> Path:
    """Train an action-conditioned predictor on a frozen encoder; returns the folder of the release of both."""
    with joined(device) as processes, held_run(run, recipe, processes, resume=resume):
        refuse_learned(inputs)
        encoder, preprocessing = _frozen_encoder(recipe, inputs)
        predictor = _predictor(
            recipe, without_start_if_resumed(inputs, run, resume=resume), encoder, preprocessing, processes
        )
        frames = _seeing(encoder, preprocessing, recipe, processes, normalize=recipe.loss.normalize)
        learner = PostTraining(predictor, recipe.loss, recipe.engine.steps, frames)
        batches = _windows(recipe, inputs, frames, predictor, processes)
        held_out = _windows(recipe, inputs, frames, predictor, processes, held_out=True) if inputs.held_out else None
        bad = BadEpisodes(recipe.sampling.bad_episodes)
        record_or_compare(run, recipe, inputs, batches, processes, encoder, resume=resume)
        fit(learner, batches, recipe.engine, recipe.optimizer, run, processes, "training", bad, held_out)
        models = {"encoder": encoder, "predictor": predictor}
        release(run, recipe, facts_of(recipe, inputs), models, preprocessing, recipe.loss.normalize, processes)
        return run.release


def invert(recipe: InvertRecipe, inputs: Inputs, run: Run, *, resume: bool = False, device: str = "auto") -> Path:
    """Train the inverse of a world model, or its keyframe network, on the model's frozen encoder.

    Returns the folder of a release that also holds the world model, unchanged.
    """
    with joined(device) as processes, held_run(run, recipe, processes, resume=resume):
        refuse_learned(inputs)
        source = load(inputs.model or "default", parts=("encoder", "predictor"), optional=("inverse", "keyframes"))
        encoder, preprocessing = cast("AnyEncoder", source.encoder), source.preprocessing
        frames = _seeing(encoder, preprocessing, recipe, processes, normalize=source.normalize_latents)
        inverse = _inverse(recipe, without_start_if_resumed(inputs, run, resume=resume), encoder, processes)
        learner = Inversion(inverse, frames)
        batches = _moments(recipe, inputs, frames, processes)
        held_out = _moments(recipe, inputs, frames, processes, held_out=True) if inputs.held_out else None
        bad = BadEpisodes(recipe.bad_episodes)
        record_or_compare(run, recipe, inputs, batches, processes, encoder, resume=resume)
        fit(learner, batches, recipe.engine, recipe.optimizer, run, processes, "inverting", bad, held_out)
        given: dict[str, Any] = {"encoder": encoder, "predictor": source.predictor}
        given |= {"inverse": source.inverse, "keyframes": source.keyframes}
        models = {recipe.part: learner.inverse}
        of_the_model = {name: fact for name, fact in source.metadata.items() if name not in ("source", "layout")}
        facts = of_the_model | {recipe.part: facts_of(recipe, inputs)}
        release(run, recipe, facts, models, preprocessing, source.normalize_latents, processes, given)
        return run.release


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
        start_pretraining(learner, inputs.start)
    return learner


def _clips(recipe: PretrainRecipe, inputs: Inputs, processes: Processes) -> ClipBatches:
    clips, img_size = recipe.clips, recipe.encoder_config().img_size
    videos = find_videos(Path(inputs.data), clips.cameras)
    if clips.cache:
        draws = cache_videos(videos, clips, _cache(inputs), processes)
    else:
        draws = [recorded(item, clips) for item in videos]
    return ClipBatches(
        draws, clips, recipe.masks, img_size, recipe.grid, _layout(recipe, processes), recipe.engine.seed, videos
    )


def _frozen_encoder(recipe: TrainRecipe, inputs: Inputs) -> tuple[AnyEncoder, Preprocessing]:
    source = inputs.encoder or "default"
    shape = source.removeprefix(RANDOM)  # a random encoder has this one's shape, and weights from the recipe's seed
    loaded = load(shape, parts=("encoder",), precision="fp32")
    assert loaded.encoder is not None
    encoder = loaded.encoder
    if shape != source:
        encoder = build(cast("Any", type(encoder)), cast("Any", encoder.config), seed=recipe.engine.seed)
        kept_in = choose_dtype(recipe.release, "cpu")
        encoder = encoder.to(kept_in).float()  # as the release will hold it: its latents stay the same
    preprocessing = loaded.preprocessing
    if recipe.preprocessing is not None:
        preprocessing = Preprocessing(name=recipe.preprocessing, img_size=preprocessing.img_size)
    return encoder, preprocessing


def _seeing(
    encoder: AnyEncoder,
    preprocessing: Preprocessing,
    recipe: TrainRecipe | InvertRecipe,
    processes: Processes,
    *,
    normalize: bool,
) -> FrameEncoder:
    """The encoder of frames: a copy in the precision of the run; the release keeps the encoder as it was given."""
    precision = recipe.engine.precision
    return FrameEncoder(copy.deepcopy(encoder), preprocessing, processes.device, precision, normalize=normalize)


def _predictor(
    recipe: TrainRecipe, inputs: Inputs, encoder: AnyEncoder, preprocessing: Preprocessing, processes: Processes
) -> ACPredictor:
    config = recipe.predictor_config(encoder.config, preprocessing.img_size)
    predictor = build(ACPredictor, config, seed=recipe.engine.seed)
    if inputs.start is not None:
        source, normalize = inputs.encoder or "default", recipe.loss.normalize
        start_predictor(predictor, inputs.start, encoder, source, normalize=normalize, processes=processes)
    return predictor


def _windows(
    recipe: TrainRecipe,
    inputs: Inputs,
    frames: FrameEncoder,
    predictor: ACPredictor,
    processes: Processes,
    *,
    held_out: bool = False,
) -> TrajectoryBatches:
    """Batches of windows to train on; or held-out ones, drawn without any preference."""
    sampling = SamplingConfig(bad_episodes=recipe.sampling.bad_episodes) if held_out else recipe.sampling
    return TrajectoryBatches(
        _trajectories(recipe, sampling, inputs, frames, processes, held_out=held_out),
        recipe.window,
        sampling,
        _layout(recipe, processes),
        recipe.engine.seed,
        extrinsics=predictor.config.use_extrinsics,
    )


def _inverse(recipe: InvertRecipe, inputs: Inputs, encoder: AnyEncoder, processes: Processes) -> InverseModel:
    config = recipe.inverse_config(encoder.config.grid, encoder.config.embed_dim)
    inverse = build(InverseModel, config, seed=recipe.engine.seed)
    if inputs.start is not None:
        source = inputs.model or "default"
        start_inverse(inverse, recipe.part, inputs.start, encoder, source, processes=processes)
    return inverse


def _moments(
    recipe: InvertRecipe, inputs: Inputs, frames: FrameEncoder, processes: Processes, *, held_out: bool = False
) -> MomentPairs:
    """Batches of pairs of moments to train on; or held-out ones, drawn without a share for keyframes."""
    sampling = SamplingConfig(bad_episodes=recipe.bad_episodes)
    trajectories = _trajectories(recipe, sampling, inputs, frames, processes, held_out=held_out)
    drawing = (trajectories, recipe.window, _layout(recipe, processes), recipe.engine.seed, recipe.alike)
    if recipe.asks == "keyframe":
        return KeyframePairs(*drawing, 0.0 if held_out else recipe.event_share, held_out=held_out)
    return MomentPairs(*drawing)


def _trajectories(
    recipe: TrainRecipe | InvertRecipe,
    sampling: SamplingConfig,
    inputs: Inputs,
    frames: FrameEncoder,
    processes: Processes,
    *,
    held_out: bool,
) -> list[Trajectory]:
    """The episodes to train on, with their copies; or the held-out ones, without copies."""
    source, copies = Path(cast("str", inputs.held_out if held_out else inputs.data)), 0 if held_out else recipe.copies
    window = recipe.window
    if not recipe.cache:
        return recorded_trajectories(source, window, sampling, processes, copies=copies, batch=recipe.engine.batch)
    cache, every_frame = _cache(inputs), recipe.cache_every_frame
    return cached_trajectories(
        source, window, sampling, frames, cache, processes, every_frame=every_frame, copies=copies
    )


def _layout(recipe: Recipe, processes: Processes) -> Layout:
    return Layout(recipe.engine.batch, processes.count, processes.rank)


def _cache(inputs: Inputs) -> Path:
    return Path(inputs.cache).expanduser() if inputs.cache else home() / "training-cache"
