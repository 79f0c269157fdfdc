"""Recipes: all settings of a training run, as YAML files in `vjepa2_ac/recipes` or of the user's own.

A recipe may extend another (`extends: NAME`, or a file beside it) and state only what differs. Unknown keys are
errors that name the nearest known one. The resolved recipe of a run is saved beside its results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from vjepa2_ac import files, yaml_settings
from vjepa2_ac.config import ConfigT, from_dict, nearest, to_dict
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.models.ac_predictor import ACPredictorConfig
from vjepa2_ac.models.encoder import EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21Config
from vjepa2_ac.models.inverse_model import InverseModelConfig
from vjepa2_ac.models.masked_predictor import MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21Config
from vjepa2_ac.training.clips import ClipConfig
from vjepa2_ac.training.engine import EngineConfig
from vjepa2_ac.training.inversion import Alike, Asked
from vjepa2_ac.training.masks import MultiBlockConfig, MultiBlockMasks
from vjepa2_ac.training.optimizer import OptimizerConfig
from vjepa2_ac.training.posttraining import PostTrainingConfig
from vjepa2_ac.training.pretraining import PretrainingConfig
from vjepa2_ac.training.trajectories import SamplingConfig

Settings = dict[str, Any]
LEARNED = ("fps", "camera_frame")  # settings of the windows that the predictor's configuration takes over


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRecipe:
    """`vjepa2-ac pretrain`: self-supervised learning of an encoder from video."""

    about: str
    variant: Literal["v2", "v2.1"] = "v2"
    encoder: Settings = field(default_factory=dict)  # of EncoderConfig, or EncoderV21Config
    predictor: Settings = field(default_factory=dict)  # of MaskedPredictorConfig, …; sizes follow the encoder
    clips: ClipConfig = field(default_factory=ClipConfig)
    masks: tuple[MultiBlockConfig, ...] = (MultiBlockConfig(), MultiBlockConfig(blocks=2, spatial_scale=(0.7, 0.7)))
    loss: PretrainingConfig = field(default_factory=PretrainingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    release: Literal["fp32", "bf16"] = "bf16"  # how the final weights are kept

    def __post_init__(self) -> None:
        self.predictor_config()
        if not self.masks:
            raise ConfigError("pretraining needs at least one mask")
        encoder = self.encoder_config()
        if isinstance(encoder, EncoderConfig) and not encoder.is_video:
            raise ConfigError("pretraining learns from clips; an encoder of num_frames 1 takes single pictures")
        if self.clips.frames_per_clip % encoder.tubelet_size:
            raise ConfigError(f"frames_per_clip must divide by {encoder.tubelet_size}")
        for mask in self.masks:
            MultiBlockMasks(self.grid, mask)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Steps, rows and columns of the tokens of a clip."""
        encoder = self.encoder_config()
        return (self.clips.frames_per_clip // encoder.tubelet_size, *encoder.grid)

    def check(self) -> None:
        """ConfigError for settings that no new run should begin with; older runs may go on with them."""
        _check_updates(self)

    def encoder_config(self) -> EncoderConfig | EncoderV21Config:
        """The encoder to train."""
        if self.variant == "v2":
            return from_dict(EncoderConfig, self.encoder, "encoder")
        return from_dict(EncoderV21Config, self.encoder, "encoder")

    def predictor_config(self) -> MaskedPredictorConfig | MaskedPredictorV21Config:
        """The masked predictor beside it; what must agree is taken from the encoder."""
        encoder = self.encoder_config()
        same = {
            name: getattr(encoder, name)
            for name in ("img_size", "patch_size", "num_frames", "tubelet_size", "embed_dim", "use_rope")
            if hasattr(encoder, name)
        }
        if isinstance(encoder, EncoderConfig):
            return _with_given(MaskedPredictorConfig, same, self.predictor)
        same |= {"n_output_distillation": encoder.n_output_distillation}
        return _with_given(MaskedPredictorV21Config, same, self.predictor)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """`vjepa2-ac train`: post-training of an action-conditioned predictor on a frozen encoder."""

    about: str
    predictor: Settings = field(default_factory=dict)  # of ACPredictorConfig; sizes follow the encoder
    preprocessing: str | None = None  # null: the encoder's own
    window: WindowConfig = field(default_factory=WindowConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    copies: int = 0  # how many more times each episode comes, each time with other colours and another framing
    loss: PostTrainingConfig = field(default_factory=PostTrainingConfig)
    cache: bool = True  # keep the encoder's latents on disk
    cache_every_frame: bool = False  # else only every stride-th, and windows begin only at those
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    release: Literal["fp32", "bf16"] = "bf16"  # how the final weights are kept

    def __post_init__(self) -> None:
        predictor = _with_given(ACPredictorConfig, {}, self.predictor)
        if predictor.copy_gate and not self.loss.normalize:
            raise ConfigError("predictor.copy_gate is for normalised latents, and loss.normalize is false")
        if self.copies < 0:
            raise ConfigError("copies is at least 0")
        if self.window.frameskip != 1:
            raise ConfigError("training takes a pose with every frame: window.frameskip must be 1")

    def check(self) -> None:
        """ConfigError for settings that no new run should begin with; older runs may go on with them."""
        _check_updates(self)
        if self.sampling.pair_share and self.engine.batch % 2:
            raise ConfigError(
                f"pairs come two by two: an even engine.batch, got {self.engine.batch}; or sampling.pair_share=0"
            )
        if self.loss.contrast_weight and not self.sampling.pair_share:
            raise ConfigError(
                f"loss.contrast_weight is {self.loss.contrast_weight:g}, but counts only in batches of pairs, and with "
                "sampling.pair_share=0 there are none: set loss.contrast_weight=0, too"
            )

    def predictor_config(
        self, encoder: EncoderConfig | EncoderV21Config, img_size: tuple[int, int]
    ) -> ACPredictorConfig:
        """The predictor to train; what must agree is taken from the encoder."""
        same = {"img_size": img_size, "patch_size": encoder.patch_size, "embed_dim": encoder.embed_dim}
        learned = {name: getattr(self.window, name) for name in LEARNED}
        return _with_given(ACPredictorConfig, same | learned, self.predictor)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertRecipe:
    """`vjepa2-ac invert`: an inverse model beside a world model, on its frozen encoder."""

    about: str
    inverse: Settings = field(default_factory=dict)  # of InverseModelConfig; sizes follow the encoder
    window: WindowConfig = field(default_factory=WindowConfig)
    asks: Asked = "goal"  # where the hand is in the goal, or at the next keyframe on the way there
    alike: Alike = "pairs"  # what is equally likely: any two moments of an episode, or any frame
    event_share: float = 0.0  # of the pairs, drawn so that a keyframe lies between the two; for `asks: keyframe`
    copies: int = 0  # how many more times each episode comes, each time with other colours and another framing
    bad_episodes: int = 100  # that may be left out, each named and counted, before training refuses
    cache: bool = True  # keep the encoder's latents on disk
    cache_every_frame: bool = False  # else only every stride-th
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    release: Literal["fp32", "bf16"] = "bf16"  # how the inverse is kept; the world model stays as it is

    def __post_init__(self) -> None:
        _with_given(InverseModelConfig, {}, self.inverse, "inverse")
        if not 0 <= self.event_share <= (1 if self.asks == "keyframe" else 0):
            raise ConfigError("event_share is a share, 0 … 1, and 0 unless asks is 'keyframe'")
        if self.copies < 0:
            raise ConfigError("copies is at least 0")
        if self.bad_episodes < 0:
            raise ConfigError("bad_episodes is at least 0")
        if self.window.frameskip != 1:
            raise ConfigError("training takes a pose with every frame: window.frameskip must be 1")

    def check(self) -> None:
        """ConfigError for settings that no new run should begin with; older runs may go on with them."""
        _check_updates(self)
        if self.optimizer.name == "muon":
            raise ConfigError("muon trains the matrices of blocks, and an inverse has none: take adamw")
        if self.window.frames_per_clip != WindowConfig().frames_per_clip:
            raise ConfigError("an inverse learns from two moments; window.frames_per_clip is for predictors")
        if self.window.camera_frame:
            raise ConfigError("planners ask an inverse in the base frame; window.camera_frame is for predictors")

    def inverse_config(self, grid: tuple[int, int], embed_dim: int) -> InverseModelConfig:
        """The inverse model to train; what must agree is taken from the encoder."""
        return _with_given(InverseModelConfig, {"grid": grid, "embed_dim": embed_dim}, self.inverse, "inverse")

    @property
    def part(self) -> str:
        """The name of the network in the release."""
        return "inverse" if self.asks == "goal" else "keyframes"


Recipe = PretrainRecipe | TrainRecipe | InvertRecipe
KINDS: dict[str, type[PretrainRecipe] | type[TrainRecipe] | type[InvertRecipe]] = {
    "pretrain": PretrainRecipe,
    "train": TrainRecipe,
    "invert": InvertRecipe,
}


def names() -> list[str]:
    """The names of the packaged recipes."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder() if path.name.endswith(".yaml"))


def read(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or file, changed by `key=value` settings; ConfigError says what is wrong and where."""
    values = _resolved(str(source))
    kind = values.pop("kind", None)
    if kind not in list(KINDS):
        raise ConfigError(f"{source}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if values.pop("colour_jitter", 0):  # recipes of earlier runs say 0 where there are no copies
        raise ConfigError(f"{source}: colour_jitter is called copies now, which are framed otherwise, too")
    for setting in overrides:
        _set(values, setting, KINDS[kind])
    return from_dict(KINDS[kind], values, str(source))


def text_of(recipe: Recipe) -> str:
    """The whole recipe as YAML, with every default spelt out."""
    kind = next(name for name, cls in KINDS.items() if isinstance(recipe, cls))
    return yaml.safe_dump({"kind": kind, **to_dict(recipe)}, sort_keys=False, allow_unicode=True, width=120)


def about(name: str) -> tuple[str, str]:
    """The kind of a packaged recipe, and its own text on what it is for."""
    values = _resolved(name)
    return str(values.get("kind")), str(values.get("about", "")).strip()


def _resolved(source: str, seen: tuple[str, ...] = ()) -> Settings:
    if source in seen:
        raise ConfigError(f"recipes extend each other in a circle: {' → '.join((*seen, source))}")
    values = _load(source)
    parent = values.pop("extends", None)
    return values if parent is None else _merged(_resolved(_found(str(parent), source), (*seen, source)), values)


def _found(parent: str, source: str) -> str:
    """The recipe that `source` extends: a packaged one, or a file beside it, else in the working directory."""
    beside = (Path(source).parent / parent).resolve()
    return str(beside) if parent not in names() and files.is_file(beside) else parent


def _load(source: str) -> Settings:
    if source in names():
        text = next(path for path in _folder() if path.name == f"{source}.yaml").read_bytes()
    elif files.is_file(Path(source)):
        text = files.read(Path(source))
    else:
        meant = nearest(source, names())
        hint = f"did you mean '{meant}'?" if meant else f"there are {', '.join(names())}"
        raise ConfigError(f"no recipe '{source}'; {hint}")
    try:
        values = yaml_settings.load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected settings by name, got {type(values).__name__}")
    return {str(key): _numbers(value) for key, value in values.items()}


def _numbers(value: Any) -> Any:
    """A value from YAML with its numbers as such: YAML 1.1 takes 1e-4 for text."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str) and value[:1] in "+-.0123456789":
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _merged(base: Settings, changes: Settings) -> Settings:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _set(values: Settings, setting: str, cls: type[Any]) -> None:
    """Write one `section.key=value` into the recipe; the section may be left out where only one has the key."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise ConfigError(f"--set {setting}: expected key=value, such as engine.batch=16")
    *sections, last = _full_path(key.strip(), cls).split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise ConfigError(f"--set {setting}: {section} has no settings inside")
    try:
        place.update(_merged(place, {last: _numbers(yaml_settings.load(text))}))
    except yaml.YAMLError as error:
        why = getattr(error, "problem", None)
        raise ConfigError(f"--set {setting}: {text!r} is no value in YAML{f': {why}' if why else ''}") from None


def _full_path(key: str, cls: type[Any]) -> str:
    top = {section.name: section for section in fields(cls)}
    if "." in key or key in top:
        if (first := key.partition(".")[0]) not in top:
            raise ConfigError(f"--set {key}: {cls.__name__} has no '{first}'{_hint(first, top)}")
        return key
    classes: dict[str, Any] = {name: section.default_factory for name, section in top.items()}
    sections = {name: {inner.name for inner in fields(kind)} for name, kind in classes.items() if is_dataclass(kind)}
    homes = [name for name, inner in sections.items() if key in inner]
    if len(homes) == 1:
        return f"{homes[0]}.{key}"
    if homes:
        raise ConfigError(f"--set {key}: say which, {' or '.join(f'{home}.{key}' for home in homes)}")
    known = [*top, *(inner for section in sections.values() for inner in section)]
    raise ConfigError(f"--set {key}: {cls.__name__} has no '{key}'{_hint(key, known)}")


def _hint(key: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    meant = nearest(key, known)
    return f"; did you mean '{meant}'?" if meant else f"; it has {', '.join(known)}"


def _with_given(cls: type[ConfigT], same: Settings, given: Settings, where: str = "predictor") -> ConfigT:
    """A network's configuration from a recipe (`given`) and from what follows from encoder and windows (`same`).

    The recipe may repeat what is in `same`, but not contradict it.
    """
    for name, value in same.items():
        if name in given and given[name] not in (value, list(value) if isinstance(value, tuple) else value):
            maker = f"window.{name}" if name in LEARNED else "the encoder"
            raise ConfigError(f"{where}.{name} is {given[name]!r}, but {maker} makes it {value!r}")
    return from_dict(cls, {**given, **same}, where)


def _check_updates(recipe: Recipe) -> None:
    """Refuse a schedule that does not fit into the run, and Muon where FSDP2 spreads the weights."""
    recipe.optimizer.check(recipe.engine.steps)
    if recipe.optimizer.name == "muon" and recipe.engine.sharded:
        raise ConfigError(
            "muon needs whole matrices, which FSDP2 spreads: take adamw and a rate for it, or do not shard"
        )


def _folder() -> list[Any]:
    return list((resources.files("vjepa2_ac") / "recipes").iterdir())
