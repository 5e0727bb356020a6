"""Path and query parameters of the native API: each is parsed by `names`, and told to OpenAPI by its grammar."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, WithJsonSchema

from steelyard.server.core.models import FacetKind
from steelyard.server.doors import grammars
from steelyard.server.doors.wishes import NO_NUL, parsed
from steelyard.server.names import Alias, ArtifactPath, InvalidName, ModelName, Oid, OrgSlug, is_range
from steelyard.server.names import Version as SemVer

EXAMPLES = {
    "org": "example",
    "name": "example",
    "version": "1.0.0",
    "alias": "production",
    "path": "model.safetensors",
    "username": "ada",
    "account": "ci",
    "number": 1,
}


def _path(description: str, example: str) -> Any:
    return Path(description=description, openapi_examples={"example": {"value": EXAMPLES[example]}})


_slug = parsed(OrgSlug.parse_any, grammars.SLUG)
_new_slug = parsed(OrgSlug.parse, grammars.NEW_SLUG)
_model = parsed(ModelName.parse, grammars.MODEL_NAME)
_alias = parsed(Alias.parse, grammars.ALIAS)
_oid = parsed(Oid.parse, grammars.OID)
_artifact_path = parsed(ArtifactPath.parse, grammars.ARTIFACT_PATH)

SlugText = Annotated[OrgSlug, _slug[0], _slug[1]]
NewSlugText = Annotated[OrgSlug, _new_slug[0], _new_slug[1]]
OidText = Annotated[Oid, _oid[0], _oid[1]]

OrgPath = Annotated[OrgSlug, _slug[0], _slug[1], _path("Organization slug", "org")]
OrgQuery = Annotated[OrgSlug | None, _slug[0], _slug[1], Query(description="Only the models of this organization")]
NamePath = Annotated[ModelName, _model[0], _model[1], _path("Model name, without the organization", "name")]
AliasPath = Annotated[Alias, _alias[0], _alias[1], _path("Alias", "alias")]
UserPath = Annotated[OrgSlug, _slug[0], _slug[1], _path("User name", "username")]
ServicePath = Annotated[OrgSlug, _slug[0], _slug[1], _path("Service account name", "account")]
FilePath = Annotated[
    ArtifactPath, _artifact_path[0], _artifact_path[1], _path("Path of an artifact inside the version", "path")
]


# --- versions, and what may stand in their place


def _exact_text(text: str) -> str:
    return str(SemVer.parse(text))


def read_reference(text: str) -> str:
    """Raises `InvalidName` for what is no version, alias or range, and not `latest`."""
    if text == "latest" or is_range(text):
        return text
    try:
        return _exact_text(text)
    except InvalidName:
        return _alias_text(text)


def _alias_text(text: str) -> str:
    try:
        return Alias.parse(text)
    except InvalidName as error:
        raise InvalidName(f"{text[:130]!r} is no version, alias or range, and not `latest`") from error


def _exact_or_latest_text(text: str) -> str:
    return text if text == "latest" else _exact_text(text)


_exact = parsed(_exact_text, grammars.VERSION)
_reference = parsed(read_reference, grammars.REFERENCE)
_exact_or_latest = parsed(_exact_or_latest_text, grammars.VERSION_OR_LATEST)


async def _exact_version(
    version: Annotated[str, _exact[0], _exact[1], _path("Exact version (SemVer 2.0.0)", "version")],
) -> SemVer:
    return SemVer.parse(version)


ExactVersionPath = Annotated[SemVer, Depends(_exact_version)]  # no scalar to the framework, so it comes by a dependency
VersionOrLatestPath = Annotated[
    str, _exact_or_latest[0], _exact_or_latest[1], _path("Exact version, or `latest`", "version")
]
ReferencePath = Annotated[
    str,
    _reference[0],
    _reference[1],
    _path("Exact version, alias, `latest`, or a range such as `^1.2` (percent-encoded)", "version"),
]
ReferenceText = Annotated[str, _reference[0], _reference[1]]


# --- moments

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _moment_text(value: Any) -> Any:
    """Only the text of RFC 3339 section 5.6: the framework would take numbers, too."""
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return value
    raise ValueError("write a moment as RFC 3339 does, with its offset, for example 2030-01-31T12:00:00Z")


def _representable(moment: datetime) -> datetime:
    """Raises where the offset leads out of the years 1 to 9999."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("this moment lies outside the years 1 to 9999 in UTC") from error


Moment = Annotated[
    AwareDatetime, BeforeValidator(_moment_text), AfterValidator(_representable), WithJsonSchema(grammars.INSTANT)
]

# --- the rest

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


async def _chosen(
    tags: Values = None,
    license: Values = None,  # noqa: A002 - the contract's name
    task_categories: Values = None,
    framework: Values = None,
    size_category: Values = None,
) -> Mapping[FacetKind, Sequence[str]]:
    facets = {
        FacetKind.TAG: tags,
        FacetKind.LICENSE: license,
        FacetKind.TASK_CATEGORY: task_categories,
        FacetKind.FRAMEWORK: framework,
        FacetKind.SIZE_CATEGORY: size_category,
    }
    return {kind: values for kind, values in facets.items() if values}


ChosenFacets = Annotated[Mapping[FacetKind, Sequence[str]], Depends(_chosen)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="With `bump`: a key of your own, so that a retry makes no second version",
    ),
]
