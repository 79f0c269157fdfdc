"""Conversion of configurations (frozen dataclasses) to plain dictionaries for JSON and YAML, and strictly back.

Nothing is guessed on the way back: an unknown key is an error that names the nearest known one, a missing key without
a default is an error, and a value must be of the field's type. Every message starts with `where` (a file, a flag).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from vjepa2_ac.errors import ConfigError

ConfigT = TypeVar("ConfigT")


def to_dict(config: object) -> dict[str, Any]:
    """The fields of a config as plain numbers, strings, lists and dictionaries, ready for JSON."""
    if isinstance(config, type) or not dataclasses.is_dataclass(config):
        raise TypeError(f"expected a config dataclass, got {config!r}")
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_dict(cls: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """A `cls` built from plain values. Raises ConfigError; its message starts with `where` (`config.json`, `--set`)."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected settings of {cls.__name__} by name, got {values!r}")
    hints = _hints(cls)
    for key in values:
        if key not in hints:
            raise ConfigError(f"{where}: {cls.__name__} has no '{key}'{_suggestion(str(key), hints)}")
    read = {key: _read(value, hints[key], f"{where}: {key}") for key, value in values.items()}
    missing = _required(cls) - read.keys()
    if missing:
        raise ConfigError(f"{where}: {cls.__name__} needs {', '.join(sorted(missing))}")
    try:
        return cls(**read)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def with_settings(config: ConfigT, given: Sequence[str], where: str = "--set") -> ConfigT:
    """`config` with settings `NAME=VALUE` applied: names are dotted; values are JSON, or text where they do not parse.

    Of a config within it, a mapping sets what it names and leaves the rest. All settings are applied before anything is
    checked, so they may depend on each other.
    """
    values = to_dict(config)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{where} is written like search.samples=48; cannot read {text!r}")
        _put(values, name.strip().split("."), value, f"{where} {text}", config)
    return from_dict(type(config), values, where)


def settings_named(text: str) -> list[str]:
    """The dotted names that a setting `NAME=VALUE` sets: one, or one for each entry where the value is a mapping."""
    name, _, value = text.partition("=")
    values: dict[str, Any] = {}
    _put(values, name.strip().split("."), value, text)
    return list(_dotted(values))


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds; for the checks in `__post_init__`."""
    if not condition:
        raise ConfigError(message)


def nearest(word: str, known: typing.Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be; None where none is close."""
    lowered = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), lowered, n=1)
    return lowered[matches[0]] if matches else None


def _put(values: dict[str, Any], path: list[str], text: str, where: str, config: object = None) -> None:
    *sections, last = path
    for part in sections:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{where}: '{part}' has no parts; give it as a whole, as JSON")
        values, config = inner, getattr(config, part, None)
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text.strip()
    values[last] = _changed(values.get(last), value, getattr(config, last, None))


def _changed(before: Any, value: Any, config: object) -> Any:
    """`value`; where it is for a config within another, together with the settings before that it does not name."""
    if not (dataclasses.is_dataclass(config) and isinstance(before, dict) and isinstance(value, dict)):
        return value
    named = {name: _changed(before.get(name), each, getattr(config, name, None)) for name, each in value.items()}
    return before | named


def _dotted(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in _dotted(value))
        else:
            yield name


def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _required(cls: Any) -> set[str]:
    return {
        field.name
        for field in dataclasses.fields(cls)
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }


def _suggestion(key: str, known: Mapping[str, Any]) -> str:
    meant = nearest(key, known)
    return f"; did you mean '{meant}'?" if meant else f"; it has {', '.join(sorted(known))}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _read(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type `hint`; the only conversions are whole number → float and list → tuple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast("type", hint)) else from_dict(_as_type(hint), value, where)
    if origin in (typing.Union, types.UnionType):
        return _read_union(value, arguments, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where} must be one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        return _read_tuple(value, arguments, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be settings by name, got {value!r}")
        return {
            _read_key(key, arguments[0], where): _read(item, arguments[1], f"{where}.{key}")
            for key, item in value.items()
        }
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint or (hint is float and math.isnan(value)):
        raise ConfigError(f"{where} must be {_name(hint)}, got {value!r}")
    return value


def _read_key(key: Any, hint: Any, where: str) -> Any:
    """A key of a dictionary as the type `hint`: in JSON, whole numbers are text where they are keys."""
    if hint is not int or isinstance(key, int):
        return key
    try:
        return int(key)
    except ValueError:
        raise ConfigError(f"{where} has whole numbers as names, got {key!r}") from None


def _read_union(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in options:
        return None
    inner = [option for option in options if option is not type(None)]
    if len(inner) == 1:
        return _read(value, inner[0], where)
    for option in inner:
        try:
            return _read(value, option, where)
        except ConfigError:
            continue
    raise ConfigError(f"{where} must be {' or '.join(map(_name, options))}, got {value!r}")


def _read_tuple(value: Any, items: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{where} must be a list, got {value!r}")
    if len(items) == 2 and items[1] is ...:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ConfigError(f"{where} must hold {len(items)} values, got {value!r}")
    return tuple(_read(item, hint, f"{where}[{i}]") for i, (item, hint) in enumerate(zip(value, items, strict=True)))


def _as_type(hint: Any) -> type[Any]:
    return typing.cast("type[Any]", hint)


def _name(hint: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )
