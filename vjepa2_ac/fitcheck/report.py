"""The whole report: every question to every model, and to a random encoder beside them.

A figure means little alone: in a plain scene, random features read positions and reach goals about as well as trained
ones. So each report holds a random encoder of the model's shape. It has no predictor; a model with a predictor trained
on a random encoder, with the same budget, can be given as the control, and then answers everything.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch

from vjepa2_ac.checkpoints.places import RANDOM
from vjepa2_ac.config import to_dict
from vjepa2_ac.data.episodes import BadEpisodes
from vjepa2_ac.errors import ConfigError, InputError, TooManyBadEpisodesError
from vjepa2_ac.fitcheck.axes import Axis, along_axes
from vjepa2_ac.fitcheck.controls import Controls, controls
from vjepa2_ac.fitcheck.drift import Drift, drift
from vjepa2_ac.fitcheck.encoded_tracks import EncodedTracks, Model, see
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured
from vjepa2_ac.fitcheck.examples import ReadOutEpisodes, TrainingExamples, examples, load_read_out_episodes
from vjepa2_ac.fitcheck.located import Locating, locate
from vjepa2_ac.fitcheck.pairs import Pairs, ends_alike, judge_pairs, parted
from vjepa2_ac.fitcheck.questions import FitCheckConfig, Questions, choose
from vjepa2_ac.fitcheck.ranking import Ranking, rank
from vjepa2_ac.fitcheck.readout import Reader, ReadOut, read_out
from vjepa2_ac.fitcheck.tracks import Track, read_tracks
from vjepa2_ac.fitcheck.whereabouts import Whereabouts, whereabouts
from vjepa2_ac.models.build import build
from vjepa2_ac.terminal import Advance, progress
from vjepa2_ac.world_model import WorldModel

CONTROL = "random encoder"
FORMAT = "vjepa2-ac fit-check, version 2"
SECTIONS = 9
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under examination."""

    name: str
    model: Model
    has_predictor: bool = True
    facts: dict[str, Any] = field(default_factory=dict)  # how it was trained, for the reader of the report


@dataclass(frozen=True, slots=True)
class Column:
    """All answers of one model."""

    name: str
    drift: Drift | NotMeasured
    ranking: Ranking | NotMeasured
    controls: Controls | NotMeasured
    pairs: Pairs | NotMeasured
    axes: dict[str, Axis]
    readout: ReadOut | NotMeasured
    whereabouts: Whereabouts | NotMeasured
    located: Locating | NotMeasured
    keyframes: Locating | NotMeasured
    facts: dict[str, Any]  # how it was trained, as far as its release says
    seconds: dict[str, float]  # how long each part took


@dataclass(frozen=True, slots=True)
class Report:
    """A column for each model, in the order given, and a description of the episodes."""

    columns: list[Column]
    config: FitCheckConfig
    episodes: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON, without the seconds; NaN is null."""
        return {
            "format": FORMAT,
            "config": to_dict(self.config),
            "episodes": self.episodes,
            "models": {column.name: _lasting(plain(column)) for column in self.columns},
        }


@dataclass(frozen=True, slots=True)
class ReadOutSource:
    """A folder that read-outs learn from, and the cache of its latents."""

    episodes: Path
    cache: Path


def fit_check(
    subjects: Sequence[Subject], source: Path, config: FitCheckConfig, read_out_from: ReadOutSource | None = None
) -> Report:
    """The report of all subjects on the episodes of one folder.

    Raises InputError for a folder without usable episodes, TooManyBadEpisodesError beyond the configured limit.
    """
    bad = BadEpisodes(config.bad_episodes)
    tracks: Sequence[Track]
    with progress("reading", None, unit="episodes") as advance:
        tracks = read_tracks(
            source, camera=config.camera, fps=config.fps, scenes=config.scenes, seed=config.seed, bad=bad,
            advance=advance,
        )  # fmt: skip
    read_out_episodes = None
    if read_out_from is not None:
        read_out_episodes = load_read_out_episodes(
            read_out_from.episodes, held_out=tracks, camera=config.camera, fps=config.fps, scenes=config.lesson_scenes,
            frames=config.frames, cache=read_out_from.cache, bad=bad, seed=config.seed,
        )  # fmt: skip
    questions: Questions | None = None
    columns = []
    for subject in subjects:
        try:
            begun = time.perf_counter()
            with progress(f"{subject.name}: encoding", len(tracks), unit="episodes") as advance:
                encoded = see(tracks, subject.model, bad, advance)
            encoding = time.perf_counter() - begun
            if questions is None:  # the first encoding has left out the episodes that do not decode
                tracks = encoded.tracks
                questions = choose(tracks, config, learn_elsewhere=read_out_episodes is not None)
            elif len(encoded.tracks) < len(tracks):  # the questions are about all of them, by their places
                lost, reason = next(reversed(bad.reasons.items()))
                raise InputError(f"{lost} decoded before and does not any more: {reason}")
            columns.append(_column(subject, encoded, questions, config, read_out_episodes, encoding))
        except TooManyBadEpisodesError:  # the fault of no model
            raise
        except InputError as error:
            raise InputError(f"{subject.name}: {error}") from error
        del encoded  # one model's latents at a time
    assert questions is not None, "there is a model to check"
    return Report(columns, config, _contents(source, tracks, questions, bad, read_out_episodes))


def _column(
    subject: Subject,
    encoded: EncodedTracks,
    questions: Questions,
    config: FitCheckConfig,
    read_out_episodes: ReadOutEpisodes | None,
    encoding: float,
) -> Column:
    """One model's column; `encoding` is the seconds that its latents took."""
    train = None if read_out_episodes is None else read_out_episodes.seen_by(subject.model)
    with progress(f"{subject.name}: measuring", SECTIONS, unit="sections") as advance:
        column = examine(subject, encoded, questions, config, advance, train)
    return replace(column, seconds={"encoding": encoding} | column.seconds)


def examine(
    subject: Subject,
    encoded: EncodedTracks,
    questions: Questions,
    config: FitCheckConfig,
    advance: Advance,
    train: TrainingExamples | None = None,
) -> Column:
    """One model's column; without a predictor, only what concerns the encoder is measured.

    Read-outs learn from `train`, or from some of the encoded tracks where it is not given.
    """
    model, seed = subject.model, config.seed
    seconds: dict[str, float] = {}

    def timed(part: str, ask: Callable[[], AnswerT]) -> AnswerT:
        begun = time.perf_counter()
        answer = ask()
        seconds[part] = time.perf_counter() - begun
        advance()
        return answer

    def whole(ask: Callable[[], AnswerT]) -> Callable[[], AnswerT | NotMeasured]:
        """A question that needs whole episodes, or NotMeasured in its place where all are parts of others."""
        if all(track.is_part for track in encoded.tracks):
            return lambda: NotMeasured("all episodes are parts of others, branches or repaints")
        return ask

    readout, reader = timed("read-outs", lambda: _readout(model, encoded, questions, config, train))
    steered = model if subject.has_predictor else None
    axes = timed("axes", lambda: along_axes(steered, encoded, questions.moments[::2], seed))
    if not subject.has_predictor:
        none = NotMeasured("no predictor was trained on this encoder; give one as the control")
        return Column(subject.name, none, none, none, none, axes, readout, none, none, none, subject.facts, seconds)
    return Column(
        name=subject.name,
        drift=timed("drift", whole(lambda: _drift(model, encoded, questions, config))),
        ranking=timed("percentiles", whole(lambda: rank(model, encoded, questions.ranking, config.candidates, seed))),
        controls=timed(
            "false actions", whole(lambda: controls(model, encoded, questions.moments, questions.transitions, seed))
        ),
        pairs=timed("pairs", lambda: _pairs(model, encoded, questions, config)),
        axes=axes,
        readout=readout,
        whereabouts=timed("whereabouts", whole(lambda: _whereabouts(model, encoded, questions, config, reader))),
        located=timed("located hand", whole(lambda: _located(model, encoded, questions))),
        keyframes=timed("keyframes", whole(lambda: _keyframes(model, encoded, questions))),
        facts=subject.facts,
        seconds=seconds,
    )


def _lasting(column: dict[str, Any]) -> dict[str, Any]:
    """The column without the seconds, so that equal runs give equal reports."""
    return {key: value for key, value in column.items() if key != "seconds"}


def random_encoders(subjects: Sequence[tuple[str, WorldModel]], seed: int) -> list[Subject]:
    """A random encoder for every shape (and preprocessing) among the subjects; none has a predictor."""
    found: list[tuple[str, WorldModel]] = []
    for name, world in subjects:
        if not any(is_alike(world, other) for _, other in found):
            found.append((f"{CONTROL} like {name}" if found else CONTROL, with_random_encoder(world, seed)))
    return [Subject(name, world, has_predictor=False) for name, world in found]


def with_random_encoder(world: WorldModel, seed: int) -> WorldModel:
    """The same model with an untrained encoder; its predictor does not fit the latents, so only those may be used."""
    return WorldModel(
        build(cast("Any", type(world.encoder)), world.encoder.config, seed=seed, device=world.device),
        world.predictor,
        world.preprocessing,
        precision="bf16" if world.dtype == torch.bfloat16 else "fp32",
        device=world.device,
        normalize_latents=world.normalize_latents,
    )


def control_subject(control: WorldModel, model: WorldModel, facts: dict[str, Any] | None = None) -> Subject:
    """A model trained on a random encoder, as the control of `model`; ConfigError where the two cannot be compared."""
    if not is_alike(control, model):
        there, here = ({**to_dict(each.encoder.config), **to_dict(each.preprocessing)} for each in (control, model))
        differ = [
            f"{what} is {there.get(what)} there, {here[what]} here" for what in here if there.get(what) != here[what]
        ]
        raise ConfigError(
            f"a control needs an encoder of the model's shape and frames prepared as for the model: {'; '.join(differ)}"
        )
    return Subject(f"{CONTROL} (control)", control, facts=facts or {})


def doubts(control: dict[str, Any], model: dict[str, Any]) -> list[str]:
    """Reasons not to compare a control with a model, from what their releases say of their training."""
    found = []
    if not str(control.get("encoder", "")).startswith(RANDOM):
        found.append("the control's release does not say that its encoder is random")
    return found + [
        f"the control was trained with {what} {control.get(what)}, the model with {model.get(what)}"
        for what in ("updates", "data")
        if control.get(what) != model.get(what)
    ]


def is_alike(world: WorldModel, other: WorldModel) -> bool:
    """Whether two models' encoders have the same shape and preprocessing."""
    return world.encoder.config == other.encoder.config and world.preprocessing == other.preprocessing


def plain(value: Any) -> Any:
    """A value of the report as numbers, lists and dictionaries, for JSON."""
    if isinstance(value, Estimate):
        interval = [plain(value.low), plain(value.high)]
        return {"value": plain(value.value), "interval": interval, "count": value.count}
    if isinstance(value, NotMeasured):
        return {"not measured": value.reason}
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if math.isfinite(value) else None
    return value


def _readout(
    model: Model, encoded: EncodedTracks, questions: Questions, config: FitCheckConfig, train: TrainingExamples | None
) -> tuple[ReadOut | NotMeasured, Reader | None]:
    split = questions.split
    if isinstance(split, NotMeasured):
        return split, None
    if not split.test:
        return NotMeasured("in no held-out frame the object is within reach"), None
    if train is None and not split.train:
        return NotMeasured("in no frame to learn from the object is within reach"), None
    train = train or TrainingExamples(examples(encoded, split.train), split.validation)
    if not train.can_choose(config.linear_frames):
        return NotMeasured("too few frames to learn from to choose a penalty: they are of too few scenes"), None
    return read_out(
        train,
        examples(encoded, split.test),
        grid=model.grid,
        steps=config.steps,
        linear_frames=config.linear_frames,
        seed=config.seed,
        device=model.device,
    )


def _drift(model: Model, encoded: EncodedTracks, questions: Questions, config: FitCheckConfig) -> Drift | NotMeasured:
    if not questions.rollouts:
        return NotMeasured(f"no episode has {config.horizon + 1} frames")
    return drift(model, encoded, questions.rollouts, config.horizon)


def _pairs(model: Model, encoded: EncodedTracks, questions: Questions, config: FitCheckConfig) -> Pairs | NotMeasured:
    if not questions.pairs:
        return NotMeasured("no two episodes left the same state and ended with another closedness")
    return judge_pairs(model, encoded, questions.pairs, config.horizon)


def _whereabouts(
    model: Model, encoded: EncodedTracks, questions: Questions, config: FitCheckConfig, reader: Reader | None
) -> Whereabouts | NotMeasured:
    if reader is None:
        return NotMeasured("there is no read-out")
    if not questions.unseen_rollouts:
        return NotMeasured(f"no episode beside the read-out's has {config.horizon + 1} frames")
    return whereabouts(model, encoded, questions.unseen_rollouts, config.horizon, reader)


def _located(model: Model, encoded: EncodedTracks, questions: Questions) -> Locating | NotMeasured:
    if not questions.located:
        return NotMeasured("no episode has two frames")
    return locate(model, encoded, questions.located)


def _keyframes(model: Model, encoded: EncodedTracks, questions: Questions) -> Locating | NotMeasured:
    if not questions.keyframes:
        return NotMeasured("the gripper does not change for good in any episode")
    return locate(model, encoded, questions.keyframes, keyframe=True)


def _contents(
    source: Path,
    tracks: Sequence[Track],
    questions: Questions,
    bad: BadEpisodes,
    read_out_episodes: ReadOutEpisodes | None,
) -> dict[str, Any]:
    return {
        "source": str(source),
        "episodes": len(tracks),
        "scenes": len({track.group for track in tracks}),
        "frames": sum(len(track) for track in tracks),
        "pairs": len(questions.pairs),
        "pairs whose grippers end alike": sum(ends_alike(tracks, pair) for pair in parted(tracks)),
        "gripper transitions": len(questions.transitions),
        "frames with the object out of reach": _out_of_reach(tracks),
        "read-outs learn from": None
        if read_out_episodes is None
        else {
            "source": str(read_out_episodes.source),
            "episodes": len(read_out_episodes.tracks),
            "scenes": len({track.group for track in read_out_episodes.tracks}),
            "frames": len(read_out_episodes.moments),
            "frames with the object out of reach": _out_of_reach(read_out_episodes.tracks),
        },
        "left out": dict(bad.reasons),
    }


def _out_of_reach(tracks: Sequence[Track]) -> int:
    return sum(int((~track.in_reach).sum()) for track in tracks)
