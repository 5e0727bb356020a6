"""Which files a `.gitignore` leaves out of a push (gitignore(5)), within bounds: its patterns are somebody else's.

A shell pattern becomes a regular expression by `fnmatch`, whose groups are atomic: a star that has found its place is
not tried again, so that no pattern takes time that grows faster than its length and the name's
(docs/decisions/0021-gitignore-by-fnmatch.md). Classes of characters and escapes are read here, since Git means others;
named classes, `[[:alpha:]]`, are not known.
"""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from steelyard.server.errors import Invalid

IGNORE_NAME = ".gitignore"
MOST_IGNORE_BYTES = 64 * 2**10
_MOST_PATTERNS = 1_000
_LONGEST_PATTERN = 200
_LONGEST_PATH = 1_024  # a longer one is no file's
_MOST_STEPS = 1_000_000  # about a second
_STEP_CHARACTERS = 500  # of a name, times those of the pattern, that one step compares

# What `fnmatch` reads in another way than Git: classes of characters, escapes, and what never fits.
_OTHERWISE = re.compile(r"\[([!^]?+)((?:\\.|[^\\])(?:\\.|[^]\\])*)\]|\\(.?)|[\[\0]", re.DOTALL)
_MEMBER = re.compile(r"\\?(.)(?:-\\?(.))?", re.DOTALL)
_TRAILING_SPACES = re.compile(r"(?<!\\) +\Z")


@dataclass(frozen=True, slots=True)
class _Part:
    """What stands between two slashes of a pattern."""

    text: str
    form: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line. `parts` are those of a path from the root, None for `**`; one alone is the name of a file anywhere."""

    parts: tuple[_Part | None, ...]
    is_anywhere: bool
    folders_only: bool
    ignores: bool


class Ignored:
    """What a `.gitignore` says. Raises `Invalid` for what is longer than anybody's."""

    def __init__(self, text: str) -> None:
        if len(text) > MOST_IGNORE_BYTES:
            raise _too_much(f"it has more than {MOST_IGNORE_BYTES} characters")
        lines = text.removeprefix("\ufeff").split("\n")
        self._rules = [rule for line in lines if (rule := _parse(line.removesuffix("\r"))) is not None]
        if len(self._rules) > _MOST_PATTERNS:
            raise _too_much(f"it has more than {_MOST_PATTERNS} patterns")
        self._rules.reverse()  # the last one that fits decides
        self._folders = dict[str, bool]()
        self._steps_left = _MOST_STEPS

    def has(self, path: str) -> bool:
        """Whether the file is left out: by a rule about it, or about a folder that it lies in, which no other rule
        brings back. Raises `Invalid` once all that was asked for takes too long."""
        if not self._rules or len(path) > _LONGEST_PATH:
            return False
        names = path.split("/")
        return any(self._has_folder(names[:depth]) for depth in range(1, len(names))) or self._decide(names, False)

    def _has_folder(self, names: Sequence[str]) -> bool:
        path = "/".join(names)
        if path not in self._folders:
            self._folders[path] = self._decide(names, True)
        return self._folders[path]

    def _decide(self, names: Sequence[str], is_folder: bool) -> bool:
        for rule in self._rules:
            if (is_folder or not rule.folders_only) and self._fits(rule, names):
                return rule.ignores
        return False

    def _fits(self, rule: _Rule, names: Sequence[str]) -> bool:
        """Like `fnmatch`, with parts for characters: once a `**` has found its place, what is before it stays put."""
        parts = rule.parts
        if rule.is_anywhere:
            names = names[-1:]
        at, place, star, begun = 0, 0, -1, 0
        while place < len(names):
            part = parts[at] if at < len(parts) else None
            if at < len(parts) and part is None:
                star, begun, at = at, place, at + 1
            elif part is not None and self._is(part, names[place]):
                at, place = at + 1, place + 1
            elif star >= 0:
                at, begun = star + 1, begun + 1
                place = begun
            else:
                return False
        return all(part is None for part in parts[at:])

    def _is(self, part: _Part, name: str) -> bool:
        self._steps_left -= 1 + len(part.text) * len(name) // _STEP_CHARACTERS
        if self._steps_left < 0:
            raise _too_much("its patterns take too long to compare with so many files")
        return part.form.match(name) is not None


def _parse(line: str) -> _Rule | None:
    text = "" if line.startswith("#") else _TRAILING_SPACES.sub("", line)
    if len(text) > _LONGEST_PATTERN:
        raise _too_much(f"a pattern has more than {_LONGEST_PATTERN} characters")
    pattern = text.removeprefix("!")
    folders_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    is_anywhere = "/" not in pattern
    names = pattern.removeprefix("/").split("/")
    if names == [""] or _ends_in_escape(pattern):
        return None
    parts = tuple(None if name == "**" and not is_anywhere else _part(name) for name in names)
    if parts[-1] is None:
        parts = (*parts[:-1], _part("*"), None)  # all that lies below, and not the folder itself
    return _Rule(parts, is_anywhere, folders_only, ignores=not text.startswith("!"))


def _ends_in_escape(pattern: str) -> bool:
    """Git takes a pattern that ends in half an escape for none."""
    return (len(pattern) - len(pattern.rstrip("\\"))) % 2 == 1


def _part(name: str) -> _Part:
    forms = (_form(found) for found in _OTHERWISE.finditer(name))
    translated = fnmatch.translate(_OTHERWISE.sub("\0", name))
    return _Part(name, re.compile(re.sub("\0", lambda _: next(forms), translated)))


def _form(found: re.Match[str]) -> str:
    """A regular expression that fits one character, as Git means it."""
    negated, members, escaped = found.groups()
    if members is not None:
        return f"[{'^' if negated else ''}{_MEMBER.sub(_member, members)}]"
    return "(?!)" if escaped is None else re.escape(escaped)


def _member(found: re.Match[str]) -> str:
    """A character or a range of a class; of a range the wrong way round Git takes the first."""
    first, last = re.escape(found[1]), found[2]
    return first if last is None or last < found[1] else f"{first}-{re.escape(last)}"


def _too_much(why: str) -> Invalid:
    return Invalid(f"The {IGNORE_NAME} cannot be followed: {why}. Shorten it, or push the files one folder at a time.")
