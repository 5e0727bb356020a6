"""The names of contract section 1 as JSON Schema says them, for the OpenAPI document.

`names` is what decides; a test holds the two against each other.
"""

from typing import Any

from steelyard.server.names import RESERVED_ALIASES, RESERVED_MODEL_NAMES, RESERVED_SLUGS

Schema = dict[str, Any]


def _text(pattern: str, *, most: int, unlike: tuple[str, ...] = ()) -> Schema:
    """A string of this form, which none of them lets be empty; `unlike` are the forms that mean something else."""
    schema: Schema = {"type": "string", "pattern": pattern, "maxLength": most}
    if unlike:
        schema["not"] = {"anyOf": [{"pattern": form} for form in unlike]} if len(unlike) > 1 else {"pattern": unlike[0]}
    return schema


def _any_case(words: frozenset[str]) -> str:
    """A pattern of these words and nothing else, whatever their case: JSON Schema's patterns have no flags."""
    spelled = ("".join(f"[{c}{c.upper()}]" for c in word) for word in sorted(words))
    return rf"^({'|'.join(spelled)})$"


_NUMBER = r"(0|[1-9][0-9]*)"
_WORD = r"(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_RELEASE = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
_PRERELEASE = rf"(-{_WORD}(\.{_WORD})*)?"
_BUILD = r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_WHOLE = rf"{_RELEASE}{_PRERELEASE}(\+{_BUILD})?"
_IMAGE = r"-image$"

# A bound of a range: only its end may be left open.
_OPEN = r"[xX*]"
_BOUND = (
    rf"({_OPEN}(\.{_OPEN}){{0,2}}"
    rf"|{_NUMBER}(\.{_OPEN}(\.{_OPEN})?|\.{_NUMBER}(\.{_OPEN}|\.{_NUMBER}{_PRERELEASE}(\+{_BUILD})?)?)?)"
)
_SIMPLE = rf"((<=|>=|[<>=^~]) *)?{_BOUND}"
_ALTERNATIVE = rf" *({_BOUND} +- +{_BOUND}|{_SIMPLE}(( *, *| +){_SIMPLE})*) *"

# A part of a path, bounded in characters: bytes of UTF-8, which `names` counts, a pattern cannot.
_PLAIN = r"[^/\\\u0000-\u001f\u007f-\u009f]"
_LAST = r"[^/\\\u0000-\u001f\u007f-\u009f. ]"
_PART = rf"{_PLAIN}{{0,254}}{_LAST}"
_DEVICE = (
    r"(^|/)([cC][oO][nN]|[pP][rR][nN]|[aA][uU][xX]|[nN][uU][lL]|[cC][oO][nN]([iI][nN]|[oO][uU][tT])\$"
    r"|([cC][oO][mM]|[lL][pP][tT])[1-9\u00b9\u00b2\u00b3]) *([.:][^/]*)?(/|$)"
)

SLUG = _text(r"^[a-z0-9]+(-[a-z0-9]+)*$", most=64)
NEW_SLUG = {**SLUG, "not": {"enum": sorted(RESERVED_SLUGS)}}
MODEL_NAME = _text(
    r"^[A-Za-z0-9]+((\.|-|_|__)[A-Za-z0-9]+)*$",
    most=96,
    unlike=(r"\.[gG][iI][tT]$", _any_case(RESERVED_MODEL_NAMES)),
)
VERSION = _text(rf"^{_WHOLE}$", most=120, unlike=(_IMAGE,))
ALIAS = _text(
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    most=50,
    unlike=(
        rf"^{_RELEASE}{_PRERELEASE}(_{_BUILD})?$",  # container tags write the '+' of a version as '_'
        rf"^([xX](\.[xX]){{0,2}}|{_NUMBER}(\.[xX](\.[xX])?|\.{_NUMBER}(\.[xX])?)?)$",
        r"^[0-9A-Fa-f]{40}$",
        _IMAGE,
        _any_case(RESERVED_ALIASES),
    ),
)
RANGE = _text(rf"^{_ALTERNATIVE}(\|\|{_ALTERNATIVE})*$", most=128, unlike=(rf"^{_WHOLE}$",))
LATEST: Schema = {"const": "latest"}
REFERENCE: Schema = {"type": "string", "anyOf": [VERSION, ALIAS, LATEST, RANGE]}
VERSION_OR_LATEST: Schema = {"type": "string", "anyOf": [VERSION, LATEST]}
OID = _text(r"^sha256:[0-9a-f]{64}$", most=71)
ARTIFACT_PATH = _text(rf"^{_PART}(/{_PART})*$", most=1024, unlike=(r"^[A-Za-z]:", _DEVICE))
EMAIL = _text(r"^[^@\u0000-\u0020]+@[^@\u0000-\u0020]+$", most=320)
INSTANT: Schema = {"type": "string", "format": "date-time"}
