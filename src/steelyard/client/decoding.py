"""From JSON to frozen dataclasses: unknown keys are left alone, wrong types are refused by name.

A field may say `metadata={"key": …}` where the JSON spells it otherwise, and `metadata={"raw": True}` to get the object
itself. A null for a field that has a default and is not nullable gives the default.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from steelyard.client.errors import UnexpectedAnswer

_T = TypeVar("_T")
_DESCRIBED: dict[type, "tuple[tuple[Field[Any], Any], ...]"] = {}


def decode(cls: type[_T], body: object, where: str = "the answer") -> _T:
    """An instance of the dataclass `cls` from a JSON object. Raises UnexpectedAnswer naming the first fault."""
    if not isinstance(body, dict):
        raise UnexpectedAnswer(f"{where} is not a JSON object")
    values: dict[str, Any] = {}
    for field, hint in _described(cls):
        if field.metadata.get("raw"):
            values[field.name] = body
            continue
        key = field.metadata.get("key", field.name)
        value = body.get(key)
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if key not in body or (value is None and optional):
            if not optional:
                raise UnexpectedAnswer(f"{where} has no `{key}`")
            continue
        values[field.name] = _value(hint, value, f"{where}.{key}")
    return cls(**values)


def decode_list(cls: type[_T], body: object, where: str = "the answer") -> tuple[_T, ...]:
    """A tuple of `cls` from a JSON array."""
    if not isinstance(body, list):
        raise UnexpectedAnswer(f"{where} is not a JSON array")
    return tuple(decode(cls, item, f"{where}[{index}]") for index, item in enumerate(body))


def _described(cls: type) -> "tuple[tuple[Field[Any], Any], ...]":
    """The fields of a dataclass, each with its type."""
    if cls not in _DESCRIBED:
        hints = get_type_hints(cls)
        _DESCRIBED[cls] = tuple((field, hints[field.name]) for field in fields(cls))
    return _DESCRIBED[cls]


def _value(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    kind = get_origin(hint)
    if kind in (Union, UnionType):
        inner = [arm for arm in get_args(hint) if arm is not NoneType]
        return None if value is None else _value(inner[0], value, where)
    if kind is tuple and isinstance(value, list):
        item = get_args(hint)[0]
        return tuple(_value(item, each, f"{where}[{index}]") for index, each in enumerate(value))
    if kind is Mapping and isinstance(value, dict):
        item = get_args(hint)[1]
        return {key: _value(item, each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return decode(hint, value, where)
    return _plain(hint, value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    """str, int, float, bool; a bool is no int, an int is a float."""
    fits = isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool)
    if fits:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise UnexpectedAnswer(f"{where} has the wrong type")
