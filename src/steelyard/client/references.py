"""ORG/NAME[:REF]: how a person names a model and one of its versions; `@` works like `:`.

The registry is the authority on names; what is checked here keeps a typing error from costing an hour of hashing.
"""

import re
from dataclasses import dataclass

from steelyard.client.errors import InvalidReference

_ORG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME = re.compile(r"[A-Za-z0-9]+((\.|-|_|__)[A-Za-z0-9]+)*")
_NUMBER = r"(0|[1-9]\d*)"
_PRERELEASE_PART = r"(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRERELEASE_PART}(\.{_PRERELEASE_PART})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ModelName:
    """An organisation's slug and a model's name inside it."""

    org: str
    name: str

    def __str__(self) -> str:
        return f"{self.org}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """From `ORG/NAME`. Raises InvalidReference."""
        org, slash, name = text.partition("/")
        if not slash:
            raise InvalidReference(f"{text!r} names no organisation; write ORG/NAME, for example acme/tiny")
        if len(org) > 64 or not _ORG.fullmatch(org):
            raise InvalidReference(
                f"{org!r} is no organisation: a-z and 0-9 in groups joined by single `-`, at most 64"
            )
        if len(name) > 96 or not _NAME.fullmatch(name):
            raise InvalidReference(
                f"{name!r} is no model name: letters and digits in groups joined by `.`, `-`, `_` or `__`, at most 96"
            )
        return cls(org, name)


@dataclass(frozen=True, slots=True)
class Reference:
    """A model and, perhaps, a version, alias, range or `latest`."""

    model: ModelName
    ref: str | None = None

    def __str__(self) -> str:
        return f"{self.model}:{self.ref}" if self.ref else str(self.model)

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """From `ORG/NAME`, `ORG/NAME:REF` or `ORG/NAME@REF`. Raises InvalidReference."""
        match = re.search("[:@]", text)
        if match is None:
            return cls(ModelName.parse(text))
        ref = text[match.end() :].strip()
        if not ref:
            raise InvalidReference(f"{text!r} ends where a version, alias, range or `latest` should follow")
        return cls(ModelName.parse(text[: match.start()]), ref)

    def exact_version(self) -> str:
        """The version, where only an exact one will do. Raises InvalidReference."""
        if self.ref is None or not is_version(self.ref):
            raise InvalidReference(
                f"{self} does not name an exact version; write one like {self.model}:1.0.0"
                + (f" (without the `v`: {self.ref[1:]})" if self.ref and is_version(self.ref[1:]) else "")
            )
        return self.ref


def is_version(text: str) -> bool:
    """Whether the text is a strict SemVer 2.0.0 version of at most 120 characters, not ending `-image`."""
    return len(text) <= 120 and not text.endswith("-image") and _VERSION.fullmatch(text) is not None
