"""Path and query parameters of the native API: each is parsed by `names`, and described to OpenAPI by a pattern."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from steelyard.server import names
from steelyard.server.names import Alias, ModelName, Oid, OrgSlug
from steelyard.server.names import Version as SemVer

Schema = dict[str, Any]

NO_NUL = r"^[^\u0000]*$"
SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*$"
MODEL_NAME = r"^[A-Za-z0-9]+((\.|-|_|__)[A-Za-z0-9]+)*$"

_NUMBER = r"(0|[1-9][0-9]*)"
_WORD = r"(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_QUALIFIER = rf"(-{_WORD}(\.{_WORD})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
SEMVER = rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}{_QUALIFIER}$"

# A bound of a range: only its end may be left open.
_OPEN = r"[xX*]"
_BOUND = (
    rf"({_OPEN}(\.{_OPEN}){{0,2}}"
    rf"|{_NUMBER}(\.{_OPEN}(\.{_OPEN})?|\.{_NUMBER}(\.{_OPEN}|\.{_NUMBER}{_QUALIFIER})?)?)"
)
_SIMPLE = rf"((<=|>=|[<>=^~]) *)?{_BOUND}"
_ALTERNATIVE = rf" *({_BOUND} +- +{_BOUND}|{_SIMPLE}(( *, *| +){_SIMPLE})*) *"
RANGE = rf"^{_ALTERNATIVE}(\|\|{_ALTERNATIVE})*$"

ALIAS = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_ALSO_A_VERSION = rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_WORD}(\.{_WORD})*)?(_[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$"
_ALSO_A_RANGE = rf"^([xX](\.[xX]){{0,2}}|{_NUMBER}(\.[xX](\.[xX])?|\.{_NUMBER}(\.[xX])?)?)$"
_COMMIT = r"^[0-9A-Fa-f]{40}$"
_IMAGE = r"-image$"

OID = r"^sha256:[0-9a-f]{64}$"

# A part of a path: bounded in characters here, in bytes of UTF-8 by `names`, which a pattern cannot count.
_PLAIN = r"[^/\\\u0000-\u001f\u007f-\u009f]"
_LAST = r"[^/\\\u0000-\u001f\u007f-\u009f. ]"
_PART = rf"{_PLAIN}{{0,254}}{_LAST}"
ARTIFACT_PATH = rf"^{_PART}(/{_PART})*$"
_DEVICE = r"(^|/)([cC][oO][nN]|[pP][rR][nN]|[aA][uU][xX]|[nN][uU][lL]|[cC][oO][nN]([iI][nN]|[oO][uU][tT])\$|([cC][oO][mM]|[lL][pP][tT])[1-9\u00b9\u00b2\u00b3]) *([.:][^/]*)?(/|$)"
_DRIVE = r"^[A-Za-z]:"


def _parsed(parse: Callable[[str], Any], schema: dict[str, Any]) -> tuple[Any, Any]:
    return PlainValidator(_of_text(parse)), WithJsonSchema({"type": "string", **schema})


def _of_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("this must be a string")  # noqa: TRY004 - Pydantic reads ValueError
        return parse(value)

    return validate


def _checked(parse: Callable[[str], Any]) -> Callable[[str], str]:
    def check(value: str) -> str:
        parse(value)
        return value

    return check


_slug = _parsed(OrgSlug.parse_any, {"pattern": SLUG, "maxLength": 64, "minLength": 1})
_new_slug = _parsed(OrgSlug.parse, {"pattern": SLUG, "maxLength": 64, "minLength": 1})
_model = _parsed(ModelName.parse, {"pattern": MODEL_NAME, "maxLength": 96, "minLength": 1})
_semver = _parsed(SemVer.parse, {"pattern": SEMVER, "maxLength": 120})
_alias = _parsed(Alias.parse, {"pattern": ALIAS, "maxLength": 50, "minLength": 1})
_oid = _parsed(Oid.parse, {"pattern": OID, "maxLength": 71, "minLength": 71})

SlugText = Annotated[OrgSlug, _slug[0], _slug[1]]
NewSlugText = Annotated[OrgSlug, _new_slug[0], _new_slug[1]]
SemVerText = Annotated[SemVer, _semver[0], _semver[1]]
AliasText = Annotated[Alias, _alias[0], _alias[1]]
OidText = Annotated[Oid, _oid[0], _oid[1]]

OrgPath = Annotated[OrgSlug, _slug[0], _slug[1], Path(description="Organization slug")]
NamePath = Annotated[ModelName, _model[0], _model[1], Path(description="Model name, without the organization")]


async def _exact_version(
    version: Annotated[
        str,
        AfterValidator(_checked(SemVer.parse)),
        Path(description="Exact version (SemVer 2.0.0)", pattern=SEMVER, max_length=120),
    ],
) -> SemVer:
    return SemVer.parse(version)


ExactVersionPath = Annotated[SemVer, Depends(_exact_version)]  # no scalar to the framework, so it comes by a dependency
AliasPath = Annotated[Alias, _alias[0], _alias[1], Path(description="Alias")]
UserPath = Annotated[OrgSlug, _slug[0], _slug[1], Path(description="User name")]
ServicePath = Annotated[OrgSlug, _slug[0], _slug[1], Path(description="Service account name")]
ReferencePath = Annotated[
    str,
    Path(
        description="Exact version, alias, `latest`, or a range such as `^1.2` (percent-encoded)",
        min_length=1,
        max_length=128,
    ),
]
FilePath = Annotated[
    names.ArtifactPath,
    PlainValidator(_of_text(names.ArtifactPath.parse)),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1024}),
    Path(description="Path of an artifact inside the version"),
]
UuidPath = Annotated[
    str, Path(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", description="UUID")
]
UploadPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Upload id")]
TicketQuery = Annotated[str, Query(min_length=1, max_length=2_000, description="The link's own right")]
Limit200 = Annotated[int, Query(ge=1, le=200, description="Rows on a page")]
Cursor = Annotated[
    str | None, Query(pattern=r"^[0-9]{1,15}$", description="Where to go on: `next_cursor` of the page before")
]
SearchText = Annotated[str | None, Query(max_length=200, pattern=NO_NUL)]
Values = Annotated[list[Annotated[str, Query(max_length=200, pattern=NO_NUL)]] | None, Query(max_length=100)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="With `bump`: a key of your own, so that a retry makes no second version",
    ),
]
