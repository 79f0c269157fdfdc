"""Conversion of protocol buffer messages to plain dictionaries and back, with the same field names in REST and gRPC.

REST speaks JSON and gRPC speaks messages; because field names are the same, one conversion serves server and client. A
message whose only field is `values` becomes the list itself, so that a pose is `[x, y, z, roll, pitch, yaw, gripper]`
in both. Optional fields that are absent are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

MessageT = TypeVar("MessageT", bound=Message)
Descriptor = Any  # one of two protobuf classes, of which its type stubs know only one


def to_plain(message: Message) -> Any:
    """A message as a dictionary (or list) of plain values."""
    if _is_list(message.DESCRIPTOR):
        return _plain_items(message.DESCRIPTOR.fields[0], getattr(message, "values"))  # noqa: B009
    plain: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if _is_map(field):
            plain[field.name] = dict(value)
        elif field.is_repeated:
            plain[field.name] = _plain_items(field, value)
        elif not field.has_presence or message.HasField(field.name):
            plain[field.name] = to_plain(value) if field.message_type else value
    return plain


def to_message(plain: Any, kind: type[MessageT]) -> MessageT:
    """The message of type `kind` that `plain` describes. Raises ValueError or TypeError for what does not fit."""
    message = kind()
    fill(message, plain)
    return message


def fill(message: Message, plain: Any) -> None:
    """Fill an empty message with the values in `plain`."""
    if _is_list(message.DESCRIPTOR):
        plain = {"values": plain}
    for name, value in plain.items():
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            raise ValueError(f"{message.DESCRIPTOR.name} has no field {name!r}")
        if value is None:
            continue
        if _is_map(field):
            getattr(message, name).update(value)
        elif field.is_repeated:
            _fill_items(field, getattr(message, name), value)
        elif field.message_type:
            getattr(message, name).SetInParent()
            fill(getattr(message, name), value)
        else:
            try:
                setattr(message, name, value)
            except (TypeError, ValueError):
                raise ValueError(f"{name} cannot be {value!r:.60}") from None


def _fill_items(field: Descriptor, items: Any, values: Any) -> None:
    if isinstance(values, (str, bytes, Mapping)):
        raise TypeError(f"{field.name} is a list")
    if not field.message_type:
        items.extend(values)
        return
    for value in values:
        fill(items.add(), value)


def _plain_items(field: Descriptor, items: Any) -> list[Any]:
    return [to_plain(item) for item in items] if field.message_type else list(items)


def _is_list(descriptor: Descriptor) -> bool:
    return [field.name for field in descriptor.fields] == ["values"]


def _is_map(field: Descriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)
