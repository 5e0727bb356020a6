"""A model's metadata from its own folder: `model.yaml`, or else the YAML front matter of `README.md`.

Keys are those of the publish body (contract section 4) and those of a Hugging Face model card that mean the same.
"""

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from steelyard.client.errors import InvalidCard

CARD_NAME = "model.yaml"
README_NAME = "README.md"
MAX_CARD_BYTES = 1 << 20
_MAX_DEPTH = 32
_TEXT_KEYS = (
    "framework", "summary", "description", "task", "architecture", "license", "pretty_name", "size_category",
    "base_model",
)  # fmt: skip
_LIST_KEYS = ("tags", "language", "task_categories", "dataset_refs")
# What other cards call our keys. Our own name wins where both are there.
_SYNONYMS = {"pipeline_tag": "task", "datasets": "dataset_refs"}
_READ_ELSEWHERE = ("library_name", "metrics", "origin")
_KNOWN = frozenset((*_TEXT_KEYS, *_LIST_KEYS, *_SYNONYMS, *_READ_ELSEWHERE))


@dataclass(frozen=True)
class Card:
    """What a folder says about its model: keys of the publish body, and what was not understood."""

    metadata: Mapping[str, Any]
    source: str | None = None
    unknown_keys: tuple[str, ...] = ()


def read_card(folder: Path) -> Card:
    """The metadata of a folder. Raises InvalidCard when the file is there and cannot be understood."""
    text = _bounded_text(folder / CARD_NAME)
    if text is not None:
        card = _mapping(text, CARD_NAME)
        unknown = tuple(sorted(str(key) for key in card if key not in _KNOWN))
        return Card(_metadata(card, CARD_NAME, strict=True), CARD_NAME, unknown)
    readme = _bounded_text(folder / README_NAME, whole=False)
    front = _front_matter(readme) if readme is not None else None
    if front is None:
        return Card({})
    return Card(_metadata(_mapping(front, README_NAME), README_NAME, strict=False), README_NAME)


def _bounded_text(path: Path, *, whole: bool = True) -> str | None:
    """The file's text, or its beginning; None when there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        data = file.read(MAX_CARD_BYTES + 1)
    if not whole:
        return data[:MAX_CARD_BYTES].decode("utf-8-sig", "replace")
    if len(data) > MAX_CARD_BYTES:
        raise InvalidCard(f"{path.name} is larger than {MAX_CARD_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidCard(f"{path.name} is not UTF-8 text") from None


def _front_matter(text: str) -> str | None:
    """What stands between a first line `---` and the next; None without both."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != "---":
        return None
    for index, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return "\n".join(lines[1:index])
    return None


class _CardLoader(yaml.SafeLoader):
    """Safe YAML without aliases (a few of them can stand for gigabytes), bounded in depth, where `no` is Norwegian."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InvalidCard("YAML aliases (`*name`) are not read; write the value out")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise InvalidCard(f"it is nested deeper than {_MAX_DEPTH} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _only_true_and_false() -> None:
    """YAML 1.1 reads `no`, `off` and `y` as booleans, and `no` is a language."""
    resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _CardLoader.yaml_implicit_resolvers = resolvers


_only_true_and_false()


def _mapping(text: str, name: str) -> dict[Any, Any]:
    try:
        loaded = yaml.load(text, Loader=_CardLoader)  # noqa: S506 a SafeLoader
    except InvalidCard as error:
        raise InvalidCard(f"{name}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise InvalidCard(f"{name} is not valid YAML{where}: {getattr(error, 'problem', None) or error}") from None
    except (ValueError, RecursionError, TypeError) as error:
        raise InvalidCard(f"{name} cannot be read: {error}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise InvalidCard(f"{name} does not hold keys and values")
    return loaded


def _metadata(card: Mapping[Any, Any], name: str, *, strict: bool) -> dict[str, Any]:
    """The publish body's keys of a card. Strict refuses values of the wrong kind; else they are left out."""
    renamed = {_SYNONYMS[key]: value for key, value in card.items() if key in _SYNONYMS} | {
        key: value for key, value in card.items() if key in _KNOWN and key not in _SYNONYMS
    }
    found: dict[str, Any] = {}
    for keys, read in ((_TEXT_KEYS, _text), (_LIST_KEYS, _texts), (("metrics",), _metrics), (("origin",), _origin)):
        for key in keys:
            value = _read(read, renamed.get(key), f"{name}: `{key}`", strict=strict)
            if value not in (None, [], {}, ""):
                found[key] = value
    library = _text(renamed.get("library_name"))
    if library:  # the library is a tag, as on the Hub; `framework` is the kind of weights, which the registry sees
        found["tags"] = list(dict.fromkeys([*found.get("tags", []), library]))
    if "task" in found and "pipeline_tag" in card:
        found.setdefault("task_categories", [found["task"]])
    return found


def _read(read: Callable[[Any], Any], value: Any, where: str, *, strict: bool) -> Any:
    if value is None:
        return None
    result = read(value)
    if result is None and strict:
        raise InvalidCard(f"{where} has the wrong kind of value")
    return result


def _text(value: Any) -> str | None:
    """A scalar as text; a list of scalars joined, since cards name several licences or base models so."""
    if isinstance(value, list):
        parts = [_text(item) for item in value if not isinstance(item, list)]
        return ", ".join(part for part in parts if part) or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    return None


def _texts(value: Any) -> list[str] | None:
    items = value if isinstance(value, list) else [value]
    texts = [None if isinstance(item, list) else _text(item) for item in items]
    if any(text is None for text in texts):
        return None
    return list(dict.fromkeys(text for text in texts if text))


def _metrics(value: Any) -> dict[str, float | int | str] | None:
    """A flat map of finite numbers or strings; a card's list of metric names is no measurement."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return None
    for number in value.values():
        if isinstance(number, bool) or not isinstance(number, (int, float, str)):
            return None
        if isinstance(number, float) and not math.isfinite(number):
            return None
    return dict(value)


def _origin(value: Any) -> dict[str, Any] | None:
    return _plain(value) if isinstance(value, dict) else None


def _plain(value: Any) -> Any:
    """JSON of what YAML gave: dates as text, keys as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else _text(value)
