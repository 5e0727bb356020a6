"""The names of the registry and what makes each valid; the rules are section 1 of the native API's contract.

All grammars are in this one file, since one leans on another: an alias must be neither a version nor a range.
Every class has `parse`, which takes any text whatever and returns a value or raises `InvalidName`, nothing else. The
constructors check nothing: they are for text that was parsed before, such as what the database holds.
"""

import operator
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESERVED_SLUGS = _words(
    "org orgs user users auth oauth api v1 v2 token cas health ready config login logout static docs admin metrics "
    "settings datasets spaces models kernels collections"
)
RESERVED_MODEL_NAMES = _words("facets activity")
RESERVED_ALIASES = _words("latest main versions compare visibility aliases blobs files yank download metrics tags")
IMAGE_SUFFIX = "-image"  # version 1.2.3 is served as a container image under the tag 1.2.3-image


class InvalidName(ValueError):
    """A text is no such name; the message says what is wrong with it and what is allowed."""


def _shown(text: str) -> str:
    """The text as an error may quote it: escaped, and not endless."""
    return repr(text if len(text) <= 100 else text[:100] + "…")


class OrgSlug(str):
    """The name of an organisation in URLs, such as `acme` or `acme-labs`."""

    __slots__ = ()
    _FORM: ClassVar = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the slug of something new: words that the server needs in its own addresses are refused."""
        slug = cls.parse_any(text)
        if slug in RESERVED_SLUGS:
            raise InvalidName(f"'{text}' is reserved and cannot name an organisation: choose another slug")
        return slug

    @classmethod
    def parse_any(cls, text: str) -> Self:
        """Reads a slug that may exist already: the first user is `admin`, a reserved word, and has an organisation."""
        if len(text) > 64 or not cls._FORM.fullmatch(text):
            raise InvalidName(
                f"{_shown(text)} is not an organisation slug: use groups of a-z and 0-9 joined by single '-', "
                "1 to 64 characters"
            )
        return cls(text)


class ModelName(str):
    """The bare name of a model inside its organisation; it keeps its case, look-ups go by `key`."""

    __slots__ = ()
    _FORM: ClassVar = re.compile(r"[A-Za-z0-9]+(?:(?:\.|-|__?)[A-Za-z0-9]+)*")

    @classmethod
    def parse(cls, text: str) -> Self:
        if len(text) > 96 or not cls._FORM.fullmatch(text):
            raise InvalidName(
                f"{_shown(text)} is not a model name: use groups of letters a-z, A-Z and digits joined by one '.', "
                "one '-', '_' or '__', 1 to 96 characters"
            )
        name = cls(text)
        if name.key.endswith(".git"):
            raise InvalidName(f"'{text}' is not a model name: it must not end in '.git'")
        if name.key in RESERVED_MODEL_NAMES:
            raise InvalidName(f"'{text}' is reserved and cannot name a model: choose another name")
        return name

    @property
    def key(self) -> str:
        """What look-ups and uniqueness go by: the name in lower case."""
        return self.lower()


class Oid(str):
    """The digest of an artifact's bytes: `sha256:` and 64 lower-case hex digits."""

    __slots__ = ()
    _FORM: ClassVar = re.compile(r"sha256:[0-9a-f]{64}")

    @classmethod
    def parse(cls, text: str) -> Self:
        if not cls._FORM.fullmatch(text):
            raise InvalidName(f"{_shown(text)} is not an OID: write 'sha256:' and 64 lower-case hex digits")
        return cls(text)

    @property
    def hex(self) -> str:
        """The digest alone."""
        return self.removeprefix("sha256:")


class Digest(str):
    """The digest of some bytes as container tools write it, by SHA-256 or SHA-512 (OCI image-spec, `descriptor.md`)."""

    __slots__ = ()
    _FORM: ClassVar = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")

    @classmethod
    def parse(cls, text: str) -> Self:
        if not cls._FORM.fullmatch(text):
            raise InvalidName(
                f"{_shown(text)} is not a digest: use 'sha256:' and 64, or 'sha512:' and 128 lower-case hex digits"
            )
        return cls(text)

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`, as `hashlib` calls it, too."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The hex digits."""
        return self.partition(":")[2]


class Tag(str):
    """A name for a manifest (OCI distribution-spec 1.1, "Pulling manifests")."""

    __slots__ = ()
    _FORM: ClassVar = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

    @classmethod
    def parse(cls, text: str) -> Self:
        if not cls._FORM.fullmatch(text):
            raise InvalidName(
                f"{_shown(text)} is not a tag: use letters, digits, '_', '.' and '-', not '.' or '-' first, "
                "1 to 128 characters"
            )
        return cls(text)


_NUMBER = r"(?:0|[1-9][0-9]*)"
_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIERS}))?(?:\+({_IDENTIFIERS}))?")


@dataclass(frozen=True, slots=True)
class Version:
    """A Semantic Versioning 2.0.0 version.

    `<`, `<=`, `>` and `>=` go by precedence, which ignores build metadata (SemVer section 11), but `==` is the same
    text: `1.0.0+a` and `1.0.0+b` are two versions, neither above the other.

    `precedence` is a key whose byte order is the order of precedence, and which is equal where precedence is:
    at most 192 bytes, for numbers of any size. `str()` gives back the text that was parsed.
    """

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    precedence: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "precedence", _precedence(self.release, self.prerelease))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a strict SemVer version of at most 120 characters that does not end in `-image`."""
        if len(text) > 120:
            raise InvalidName(f"{_shown(text)} is not a version: use at most 120 characters")
        if not (found := _VERSION.fullmatch(text)):
            raise InvalidName(
                f"{_shown(text)} is not a version: write MAJOR.MINOR.PATCH as in '1.2.3', '1.2.3-rc.1' or "
                "'1.2.3+cu12', numbers without leading zeros (Semantic Versioning 2.0.0)"
            )
        if text.endswith(IMAGE_SUFFIX):
            raise InvalidName(f"'{text}' is not a version: the ending '-image' is kept for container images")
        major, minor, patch, prerelease, build = found.groups()
        return cls(int(major), int(minor), int(patch), _split_prerelease(text, prerelease), _split_identifiers(build))

    @classmethod
    def parse_tag(cls, text: str) -> Self:
        """Reads a version as a tag writes it, in which `_` stands for `+`."""
        return cls.parse(text.replace("_", "+"))

    @property
    def tag(self) -> Tag:
        """The version as a tag, in which there can be no `+`."""
        return Tag(str(self).replace("+", "_"))

    @property
    def release(self) -> tuple[int, int, int]:
        """The three numbers."""
        return self.major, self.minor, self.patch

    @property
    def is_prerelease(self) -> bool:
        return bool(self.prerelease)

    def bump(self, part: Literal["major", "minor", "patch"]) -> Self:
        """The next release; a pre-release of just that release becomes it, so `2.0.0-rc.1` bumps to `2.0.0`.

        Raises InvalidName when the next number is too long to be a version.
        """
        place = ("major", "minor", "patch").index(part)
        kept, zeros = self.release[: place + 1], (0,) * (2 - place)
        if not (self.is_prerelease and kept + zeros == self.release):
            kept = (*kept[:-1], kept[-1] + 1)
        return self.parse(".".join(map(str, kept + zeros)))

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.prerelease:
            text += "-" + ".".join(self.prerelease)
        if self.build:
            text += "+" + ".".join(self.build)
        return text

    def __lt__(self, other: Self) -> bool:
        return self.precedence < other.precedence

    def __le__(self, other: Self) -> bool:
        return self.precedence <= other.precedence

    def __gt__(self, other: Self) -> bool:
        return self.precedence > other.precedence

    def __ge__(self, other: Self) -> bool:
        return self.precedence >= other.precedence


def _split_identifiers(dotted: str | None) -> tuple[str, ...]:
    return tuple(dotted.split(".")) if dotted else ()


def _split_prerelease(text: str, dotted: str | None) -> tuple[str, ...]:
    identifiers = _split_identifiers(dotted)
    for identifier in identifiers:
        if identifier.isdigit() and identifier[0] == "0" and identifier != "0":
            raise InvalidName(
                f"{_shown(text)} is not valid: the number '{identifier}' in a pre-release must have no leading zeros"
            )
    return identifiers


def _precedence(release: tuple[int, int, int], prerelease: tuple[str, ...]) -> bytes:
    """The pieces one after the other: a number says its length, a word ends where a byte below '-' or nothing follows.

    So the first byte that differs decides as the pieces do, and what ends first (fewer identifiers) is below.
    """
    key = b"".join(_number_key(str(number)) for number in release)
    if not prerelease:
        return key + b"\x03"  # above every pre-release, whose next byte is 1 or 2
    return key + b"".join(
        b"\x01" + _number_key(identifier) if identifier.isdigit() else b"\x02" + identifier.encode("ascii")
        for identifier in prerelease
    )


def _number_key(digits: str) -> bytes:
    """Without leading zeros the longer number is the greater; versions and ranges are too short for 256 digits."""
    return bytes([len(digits)]) + digits.encode("ascii")


_X = rf"[xX*]|{_NUMBER}"
_PARTIAL = re.compile(
    rf"(?P<operator><=|>=|[<>=^~]|)(?P<major>{_X})(?:\.(?P<minor>{_X})(?:\.(?P<patch>{_X})"
    rf"(?P<qualifier>(?:-(?P<prerelease>{_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?))?)?"
)
_HYPHEN = re.compile(r"([^ ,<>=^~]+) +- +([^ ,<>=^~]+)")
_SEPARATOR = re.compile(r" *, *| +")
_SPACE_AFTER_OPERATOR = re.compile(r"([<>=^~]) +(?=[0-9xX*])")
_COMPARE: dict[str, Callable[[bytes, bytes], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Comparator:
    """One bound of a range: `operator` is `<`, `<=`, `>`, `>=` or `=`."""

    operator: str
    version: Version

    def holds(self, version: Version) -> bool:
        return _COMPARE[self.operator](version.precedence, self.version.precedence)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A set of versions, written and meant as npm does (docs/decisions/0005-semver-ranges.md).

    A version matches when it satisfies all comparators of one alternative; a pre-release only when, besides, one of
    these comparators is itself a pre-release of the same three numbers. Build metadata counts for nothing.
    """

    text: str
    alternatives: tuple[tuple[Comparator, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `^1.2`, `~1.4.0`, `1.x`, `*`, `>=1,<2`, `>=1 <2`, `1.2 - 2.3`, joined by `||`; at most 128 characters.

        Also reads a bare version, which matches its own precedence; `is_range` says no to that one.
        """
        if len(text) > 128:
            raise InvalidName(f"{_shown(text)} is not a version range: use at most 128 characters")
        alternatives = tuple(_parse_alternative(part.strip(" "), text) for part in text.split("||"))
        # npm lets an alternative without bounds swallow the others, together with the pre-releases they name
        return cls(text, ((),) if () in alternatives else alternatives)

    def matches(self, version: Version) -> bool:
        return any(_satisfies(version, comparators) for comparators in self.alternatives)

    def __str__(self) -> str:
        return self.text


def _is_version(text: str) -> bool:
    try:
        Version.parse(text)
    except InvalidName:
        return False
    return True


def is_range(text: str) -> bool:
    """Whether the text is a range and not one version: `1.2.3` is a version, `=1.2.3` and `1.2` are ranges."""
    try:
        VersionRange.parse(text)
    except InvalidName:
        return False
    return not _VERSION.fullmatch(text)


def _satisfies(version: Version, comparators: tuple[Comparator, ...]) -> bool:
    if not all(comparator.holds(version) for comparator in comparators):
        return False
    return not version.prerelease or any(
        comparator.version.prerelease and comparator.version.release == version.release for comparator in comparators
    )


@dataclass(frozen=True, slots=True)
class _Partial:
    """A version of which the end may be left open: `1`, `1.2`, `1.2.x`, `1.2.3-rc.1`; None stands for open."""

    major: int | None
    minor: int | None
    patch: int | None
    prerelease: tuple[str, ...]

    def is_open_at_the_end_only(self) -> bool:
        return (self.major is not None or self.minor is None) and (self.minor is not None or self.patch is None)

    def lowest(self) -> Version:
        return Version(self.major or 0, self.minor or 0, self.patch or 0, self.prerelease)

    def next_release(self) -> tuple[int, int, int]:
        """The first after all `1.x`, all `1.2.x`, or, for a whole version, after all that `~` lets pass."""
        if self.minor is None:
            return (self.major or 0) + 1, 0, 0
        return self.major or 0, self.minor + 1, 0

    def next_incompatible(self) -> tuple[int, int, int]:
        """The first that `^` does not let pass: the leftmost number that is not zero goes up."""
        if self.major or self.minor is None:
            return (self.major or 0) + 1, 0, 0
        if self.minor or self.patch is None:
            return 0, self.minor + 1, 0
        return 0, 0, self.patch + 1


_NOTHING = Comparator("<", Version(0, 0, 0, ("0",)))
_FROM_ZERO = Comparator(">=", Version(0, 0, 0))


def _below(release: tuple[int, int, int]) -> Comparator:
    """Below the release and below all its pre-releases, of which `-0` is the lowest."""
    return Comparator("<", Version(*release, ("0",)))


def _parse_alternative(text: str, whole: str) -> tuple[Comparator, ...]:
    """The comparators that must all hold; none at all is every version."""
    if hyphen := _HYPHEN.fullmatch(text):
        simples = [">=" + hyphen[1], "<=" + hyphen[2]]
    else:
        simples = _SEPARATOR.split(_SPACE_AFTER_OPERATOR.sub(r"\1", text))
    comparators = (comparator for simple in simples for comparator in _parse_simple(simple, whole))
    return tuple(comparator for comparator in comparators if comparator != _FROM_ZERO)


def _parse_simple(text: str, whole: str) -> tuple[Comparator, ...]:
    if not (found := _PARTIAL.fullmatch(text)):
        raise InvalidName(
            f"{_shown(whole)} is not a version range: write for example '^1.2', '~1.4.0', '1.x', '>=1,<2', '1.2 - 2.3' "
            "or '^1 || ^3', at most 128 characters, without a leading 'v'"
        )
    major, minor, patch = (_open_or_number(found[part]) for part in ("major", "minor", "patch"))
    bound = _Partial(major, minor, patch, _split_prerelease(whole, found["prerelease"]))
    if not bound.is_open_at_the_end_only() or (patch is None and found["qualifier"]):
        raise InvalidName(f"{_shown(whole)} is not a version range: in '{text}' only 'x' may follow an 'x'")
    return _desugar(found["operator"], bound)


def _open_or_number(text: str | None) -> int | None:
    return None if text is None or text in "xX*" else int(text)


def _desugar(sign: str, bound: _Partial) -> tuple[Comparator, ...]:
    """The plain comparators that an operator before a version, whole or partial, stands for."""
    if bound.major is None:
        return (_NOTHING,) if sign in ("<", ">") else ()
    lowest = bound.lowest()
    if sign == "^":
        return Comparator(">=", lowest), _below(bound.next_incompatible())
    if sign == "~":
        return Comparator(">=", lowest), _below(bound.next_release())
    if bound.patch is not None:
        return (Comparator(sign or "=", lowest),)
    return {
        "": (Comparator(">=", lowest), _below(bound.next_release())),
        "=": (Comparator(">=", lowest), _below(bound.next_release())),
        ">": (Comparator(">=", Version(*bound.next_release())),),
        ">=": (Comparator(">=", lowest),),
        "<": (_below(lowest.release),),
        "<=": (_below(bound.next_release()),),
    }[sign]


_COMMIT = re.compile(r"[0-9A-Fa-f]{40}")


class Alias(str):
    """A movable name for one version, such as `production`; its case counts."""

    __slots__ = ()
    _FORM: ClassVar = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")

    @classmethod
    def parse(cls, text: str) -> Self:
        if not cls._FORM.fullmatch(text):
            raise InvalidName(
                f"{_shown(text)} is not an alias: use 1 to 50 letters a-z, A-Z, digits, '.', '_' and '-', "
                "beginning with a letter or digit"
            )
        if fault := cls._find_clash(text):
            raise InvalidName(f"'{text}' is not an alias: {fault}; use a word such as 'production'")
        return cls(text)

    @classmethod
    def _find_clash(cls, text: str) -> str | None:
        """What else the text already means, if anything."""
        if text.lower() in RESERVED_ALIASES:
            return "the word is reserved"
        if text.endswith(IMAGE_SUFFIX):
            return "the ending '-image' is kept for container images"
        if _COMMIT.fullmatch(text):
            return "40 hex digits name a commit"
        if _is_version(text.replace("_", "+")):  # container tags write the '+' of a version as '_'
            return "it reads as a version"
        if is_range(text):
            return "it reads as a version range"
        return None


class RefName(str):
    """The name of a branch, or of a tag that is no version: what Git takes, and what leads nowhere else already."""

    __slots__ = ()
    _FAULTS: ClassVar = re.compile(r"[ ~^:?*\[\\]|\.\.|//|@\{|/\.|\.lock(?:/|\Z)|\A[-/.]|[/.]\Z|\A@\Z")
    _RESERVED: ClassVar = frozenset({"main", "latest", "head"})

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text or len(text) > 200 or not text.isprintable() or cls._FAULTS.search(text):
            raise InvalidName(
                f"{_shown(text)} cannot name a branch or tag: use 1 to 200 characters without spaces and any of "
                "'~^:?*[\\', no '..', and neither '/' nor '.' at either end"
            )
        if fault := cls._find_clash(text):
            raise InvalidName(f"'{text}' cannot name a branch or tag: {fault}")
        return cls(text)

    @classmethod
    def _find_clash(cls, text: str) -> str | None:
        """What else the text already means, if anything."""
        if text.lower() in cls._RESERVED or text.startswith("refs/"):
            return "the word is reserved"
        if _COMMIT.fullmatch(text):
            return "40 hex digits name a commit"
        if _is_version(text.removeprefix("v")):
            return "it reads as a version, which only publishing makes"
        if is_range(text):
            return "it reads as a range of versions; a version has three numbers, as in '1.0.0'"
        return None


# What a path must not have, sought in the path with a '/' put before and after it.
_PATH_FAULTS = (
    (
        re.compile(r"[\x00-\x1f\x7f-\x9f\\]"),
        "control characters and backslashes are not allowed; put '/' between folders",
    ),
    (re.compile(r"\A/(?:/|[A-Za-z]:)"), "it must be relative, without a leading '/' or drive letter"),
    (re.compile(r"/\.{0,2}/"), "no part between '/' may be empty, '.' or '..'"),
    (re.compile(r"[. ]/"), "no part between '/' may end in a dot or space"),
    (
        re.compile(r"/(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[1-9¹²³]) *(?:[.:][^/]*)?/", re.IGNORECASE),
        "on Windows a part such as 'con', 'nul.txt' or 'COM1' is the name of a device",
    ),
)


class ArtifactPath(str):
    """The relative path of a file in a version, `/` between its parts, fit for every file system we know."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        if fault := _find_path_fault(text):
            raise InvalidName(f"{_shown(text)} is not an artifact path: {fault}")
        return cls(text)

    @property
    def key(self) -> str:
        """What uniqueness goes by: Unicode form and case do not count."""
        return unicodedata.normalize("NFC", self).casefold()


def _find_path_fault(text: str) -> str | None:
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        return "it has a lone surrogate, which is no Unicode text"
    if not text:
        return "it is empty"
    if len(encoded) > 1024:
        return "use at most 1,024 bytes of UTF-8"
    if max(map(len, encoded.split(b"/"))) > 255:
        return "each part between '/' may have at most 255 bytes of UTF-8"
    return next((fault for form, fault in _PATH_FAULTS if form.search(f"/{text}/")), None)


def check_artifact_paths(paths: Iterable[str]) -> list[tuple[str, str]]:
    """All that is wrong with the paths of one version, as (path, message) in the order of the paths.

    Besides the form of each path: no two may be equal but for case and Unicode form, and none may lie below another.
    The time is that of sorting them.
    """
    faults: list[tuple[int, str, str]] = []
    first_by_key: dict[str, tuple[int, str]] = {}
    for place, text in enumerate(paths):
        try:
            key = ArtifactPath.parse(text).key
        except InvalidName as fault:
            faults.append((place, text, str(fault)))
            continue
        first_place, first = first_by_key.setdefault(key, (place, text))
        if first_place != place:
            faults.append((place, text, _clash_message(text, first)))
    faults += _find_nested(first_by_key)
    return [(text, message) for _, text, message in sorted(faults)]


def _clash_message(text: str, first: str) -> str:
    if text == first:
        return f"{_shown(text)} is listed twice"
    return f"{_shown(text)} differs from {_shown(first)} only in case or Unicode form: rename one of them"


def _find_nested(first_by_key: dict[str, tuple[int, str]]) -> Iterable[tuple[int, str, str]]:
    """Sorted with `/` below every other character, all that lies below a path follows right after it."""
    parent = None
    for key in sorted(first_by_key, key=lambda key: key.replace("/", "\0")):
        if parent is not None and key.startswith(parent + "/"):
            place, text = first_by_key[key]
            above = first_by_key[parent][1]
            yield place, text, f"{_shown(text)} lies below {_shown(above)}, which is a file: rename one of them"
        else:
            parent = key
