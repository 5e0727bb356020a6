"""What a model card says of its model: the YAML front matter of `README.md`, as a publisher would have said it.

A card is somebody else's text: it is read within bounds, and a value of the wrong kind or length is left out, since
cards are written for other readers too. Only YAML that cannot be read at all is refused.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from steelyard.server.core.publish import Description
from steelyard.server.errors import Invalid

README_NAME = "README.md"
MOST_README_BYTES = 2**20  # read of one; the front matter is at its beginning
_MOST_FRONT_CHARACTERS = 256 * 2**10
_MOST_DEPTH = 32
_MOST_METRICS = 1_000
_MOST_ITEMS = 200
_LONGEST_LABEL = 200
_LONGEST_VALUE = 1_000
# What a publish takes at the most (contract section 4).
_LONGEST = {"framework": 100, "size_category": 100, "summary": 2_000, "description": 1_000_000}
_TEXTS = (
    *("framework", "summary", "description", "task", "architecture"),
    *("license", "pretty_name", "size_category", "base_model"),
)
_LISTS = {"tags": _MOST_ITEMS, "language": _MOST_ITEMS, "task_categories": _MOST_ITEMS, "dataset_refs": 1_000}
# What cards call our keys. Our own name wins where both are there.
_SYNONYMS = {"pipeline_tag": "task", "datasets": "dataset_refs"}


@dataclass(frozen=True, slots=True)
class Card:
    """What was understood of a card."""

    description: Description = field(default_factory=Description)
    metrics: Mapping[str, float | int | str] | None = None


def read_card(readme: bytes) -> Card:
    """The card at the beginning of a README. Raises `Invalid`, with the line, where it cannot be read."""
    said = _load(_front_matter(readme))
    said = {ours: said[theirs] for theirs, ours in _SYNONYMS.items() if theirs in said} | said
    found: dict[str, Any] = {key: _short(_text(said.get(key)), _LONGEST.get(key, _LONGEST_LABEL)) for key in _TEXTS}
    found |= {key: _texts(said.get(key), most) for key, most in _LISTS.items()}
    library = _short(_text(said.get("library_name")), _LONGEST_LABEL)
    if library:  # a tag, as on the Hub: `framework` is the kind of weights, which the registry sees
        found["tags"] = list(dict.fromkeys([*(found["tags"] or []), library]))[:_MOST_ITEMS]
    if found["task"] and "pipeline_tag" in said:
        found["task_categories"] = found["task_categories"] or [found["task"]]
    return Card(Description(**found), _metrics(said.get("metrics")))


def find_fault(readme: bytes) -> str | None:
    """What makes a card unreadable, in words for its writer; None when nothing does."""
    try:
        read_card(readme)
    except Invalid as error:
        return error.detail
    return None


# --- YAML


def _front_matter(readme: bytes) -> str:
    """What stands between a first line `---` and the next; nothing without both."""
    lines = _lines_of(readme)
    return "\n".join(lines[1 : _end_of_front(lines)])


def text_of(readme: bytes) -> str:
    """What is written below the front matter."""
    lines = _lines_of(readme)
    end = _end_of_front(lines)
    return "\n".join(lines[end + 1 if end else 0 :])


def _lines_of(readme: bytes) -> list[str]:
    return readme[:MOST_README_BYTES].decode("utf-8-sig", "replace").splitlines()


def _end_of_front(lines: list[str]) -> int:
    """The line that ends it; 0 where there is none."""
    if not lines or lines[0].rstrip() != "---":
        return 0
    return next((index for index, line in enumerate(lines[1:], start=1) if line.rstrip() == "---"), 0)


class _Number(str):
    """A number as its writer wrote it: `1.10` is a release to some, and a number of 5,000 digits nobody's."""

    __slots__ = ()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML where `no` is Norwegian: YAML 1.1 reads `no`, `off` and `y` as booleans. Numbers and dates stay text:
    base 60 takes the library time that grows with the square of its length."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the library has it
        first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_number(self, node: yaml.Node) -> _Number:
        """Integers and others, in any of their spellings."""
        return _Number(self.construct_scalar(node))


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_str)


def _load(text: str) -> dict[Any, Any]:
    if len(text) > _MOST_FRONT_CHARACTERS:
        raise _unreadable(f"it has more than {_MOST_FRONT_CHARACTERS} characters")
    try:
        _check_shape(text)
        loaded = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 2}: " if mark else ""  # the first line is `---`
        raise _unreadable(f"{where}{getattr(error, 'problem', None) or 'it is not valid YAML'}") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _unreadable("a value is not what its tag (`!!…`) says") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise _unreadable("it does not hold keys and values")
    return loaded or {}


def _check_shape(text: str) -> None:
    """Look before anything is built: a few aliases can stand for gigabytes, and depth for the end of the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise _unreadable("YAML aliases (`*name`) are not read; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise _unreadable(f"it is nested deeper than {_MOST_DEPTH} levels")


def _unreadable(why: str) -> Invalid:
    return Invalid(f"The metadata at the top of {README_NAME} cannot be read: {why[:500]}. Correct it and try again.")


# --- values


def _text(value: Any) -> str | None:
    """A scalar as text; a list of scalars joined, since cards name several licences or base models so."""
    match value:
        case list():
            return _joined(_text(item) for item in value if not isinstance(item, list))
        case bool():
            return "true" if value else "false"
        case str():
            return str(value).strip()
    return None


def _joined(texts: Iterable[str | None]) -> str | None:
    return ", ".join(text for text in texts if text) or None


def _short(text: str | None, longest: int) -> str | None:
    return text if text and _is_sayable(text) and len(text) <= longest else None


def _is_sayable(text: str) -> bool:
    """Whether every database takes it: neither NUL nor half of a surrogate pair, which YAML can write by escapes."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _texts(value: Any, most: int) -> list[str] | None:
    items = value if isinstance(value, list) else [value]
    texts = (_short(_text(item), _LONGEST_LABEL) for item in items if not isinstance(item, list))
    return list(dict.fromkeys(text for text in texts if text))[:most] or None


def _metrics(value: Any) -> dict[str, float | int | str] | None:
    """A flat map of finite numbers or texts, without what is neither; a list of metric names is no measurement."""
    if not isinstance(value, dict) or len(value) > _MOST_METRICS:
        return None
    found = {key: _metric(item) for key, item in value.items() if _is_named(key)}
    return {key: item for key, item in found.items() if item is not None} or None


def _is_named(key: Any) -> bool:
    return isinstance(key, str) and not isinstance(key, _Number) and _short(key, _LONGEST_LABEL) is not None


def _metric(value: Any) -> float | int | str | None:
    match value:
        case _Number():
            return _number(value)
        case str():
            return value if len(value) <= _LONGEST_VALUE and _is_sayable(value) else None
    return None


def _number(text: str) -> float | int | None:
    """What a decimal number says; other bases are no measurements."""
    plain = text.replace("_", "")
    try:
        if plain.lstrip("+-").isdecimal():
            whole = int(plain)
            return whole if abs(whole) < 2**53 else None
        number = float(plain)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
