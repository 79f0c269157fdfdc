"""A table of planners to compare, read from YAML: a baseline, and variants that each change some of its settings.

baseline: {planner: balanced, set: {cost.pools: [2, 4]}}
variants:
  warm start:
    cold: {set: {search.warm_start: false}}
    wide: {set: {search.warm_spread: 1.0}}
  budgets:
    the published search: {planner: paper, episodes: 10}
    in 250 ms: {budget: 250}
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from vjepa2_ac import yaml_settings
from vjepa2_ac.config import from_dict, require
from vjepa2_ac.errors import ConfigError, InputError

SHIPPED = Path(__file__).with_name("ablations.yaml")
BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What an entry of the YAML table asks for."""

    planner: str | None = None  # a preset; None: the baseline's
    set: dict[str, Any] = field(default_factory=dict)  # settings by their names in docs/planning.md
    budget: float | None = None  # [ms] a plan, which picks the size of the search; for variants alone
    episodes: int | None = None  # for variants alone: at most so many of each task and object, for slow ones

    def __post_init__(self) -> None:
        require(self.episodes is None or self.episodes >= 1, f"a variant has episodes, got {self.episodes}")
        require(self.budget is None or self.budget > 0, f"a budget is positive, got {self.budget} ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One planner of the table."""

    name: str
    group: str
    planner: str
    settings: tuple[str, ...]  # as `--set` takes them
    budget: float | None = None
    episodes: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """Its preset and settings, for people to read."""
        budget = () if self.budget is None else (f"in {self.budget:g} ms",)
        last = {setting.partition("=")[0].strip(): setting for setting in self.settings}  # a variant's come last
        few = () if self.episodes is None else (f"at most {self.episodes} episodes a line",)
        return (self.planner, *last.values(), *budget, *few)

    @property
    def folder(self) -> str:
        """The name of the folder for its evaluation."""
        return re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")

    @property
    def is_baseline(self) -> bool:
        """Whether the others are compared with it."""
        return self.name == BASELINE

    def matches(self, pattern: str) -> bool:
        """Whether its name or its group matches `pattern`, in which `*` stands for anything."""
        return fnmatch(self.name, pattern) or fnmatch(self.group, pattern)


def read(path: Path, planner: str | None = None, given: Sequence[str] = ()) -> list[Variant]:
    """The baseline and its variants; `planner` and the settings `given` change the baseline, and so all of them."""
    try:
        table = yaml_settings.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(table, dict) or set(table) - {BASELINE, "variants"}:
        raise ConfigError(f"{path}: a table of planners has 'baseline' and 'variants'")
    base = from_dict(Changes, table.get(BASELINE) or {}, f"{path}: {BASELINE}")
    _refuse_alone(base, path)
    preset = planner or base.planner or "default"
    settings = (*_written(base), *given)
    found = [Variant(name=BASELINE, group="", planner=preset, settings=settings)]
    for group, members in _mapping(table.get("variants") or {}, path, "variants").items():
        for name, entry in _mapping(members, path, group).items():
            changes = from_dict(Changes, entry or {}, f"{path}: {name}")
            found.append(
                Variant(
                    name=name,
                    group=group,
                    planner=changes.planner or preset,
                    settings=(*settings, *_written(changes)),
                    budget=changes.budget,
                    episodes=changes.episodes,
                )
            )
    _refuse_namesakes(found, path)
    return found


def chosen(variants: Sequence[Variant], patterns: Sequence[str]) -> list[Variant]:
    """The baseline, and the variants whose name or group matches one of the patterns; all, if there are no patterns."""
    for pattern in patterns:
        if not any(variant.matches(pattern) for variant in variants):
            names = dict.fromkeys(variant.group or variant.name for variant in variants)
            raise ConfigError(f"no variant or group is like {pattern!r}; groups are {', '.join(names)}")
    return [each for each in variants if each.is_baseline or not patterns or any(map(each.matches, patterns))]


def _written(changes: Changes) -> tuple[str, ...]:
    return tuple(f"{name}={json.dumps(value)}" for name, value in changes.set.items())


def _mapping(value: Any, path: Path, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{path}: '{name}' holds variants by name (put names that look like numbers into quotes)")
    return value


def _refuse_alone(base: Changes, path: Path) -> None:
    """Raise ConfigError if the baseline has what variants do not inherit: they would differ by more than they say."""
    for name in ("budget", "episodes"):
        if getattr(base, name) is not None:
            raise ConfigError(f"{path}: {BASELINE} has no {name!r}; variants change it by what they name alone")


def _refuse_namesakes(variants: Sequence[Variant], path: Path) -> None:
    folders: dict[str, str] = {}
    for variant in variants:
        if not variant.folder:
            raise ConfigError(f"{path}: {variant.name!r} has no letters to name a folder by")
        if variant.folder in folders:
            raise ConfigError(f"{path}: {variant.name!r} and {folders[variant.folder]!r} would share a folder")
        folders[variant.folder] = variant.name
