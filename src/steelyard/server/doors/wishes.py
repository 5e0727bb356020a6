"""What a publisher asks for, whatever door he sends it to: the body of `publish_model` (contract section 4).

The native API reads it as it is; in the API's dialect of OCI it comes as the config of a manifest.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from steelyard.server.core.publish import Description, NewVersion
from steelyard.server.doors import grammars, refusals
from steelyard.server.errors import Fault
from steelyard.server.names import Alias, InvalidName, Oid, check_artifact_paths
from steelyard.server.names import Version as SemVer

NO_NUL = r"^[^\u0000]*$"


def parsed(parse: Callable[[str], Any], schema: grammars.Schema) -> tuple[Any, Any]:
    """What reads a text by its grammar, and how OpenAPI is told; both go into `Annotated`."""
    return PlainValidator(_of_text(parse)), WithJsonSchema(schema)


def _of_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("this must be a string")  # noqa: TRY004 - Pydantic reads ValueError
        return parse(value)

    return validate


_semver = parsed(SemVer.parse, grammars.VERSION)
_alias = parsed(Alias.parse, grammars.ALIAS)
SemVerText = Annotated[SemVer, _semver[0], _semver[1]]
AliasText = Annotated[Alias, _alias[0], _alias[1]]


def upto(most: int, least: int = 0) -> StringConstraints:
    """A string of bounded length without NUL, which not every database can keep."""
    return StringConstraints(strict=True, min_length=least, max_length=most, pattern=NO_NUL)


WithoutNul = Annotated[str, StringConstraints(strict=True, pattern=NO_NUL)]
Label = Annotated[str, upto(200, least=1)]
Short = Annotated[str, upto(200)]
Long = Annotated[str, upto(2_000)]
Card = Annotated[str, upto(1_000_000)]


def _finite(value: Any) -> Any:
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:  # false for NaN, too
        raise ValueError("a number must be finite")
    return value


Metric = Annotated[StrictInt | StrictFloat | Annotated[str, upto(1_000)], AfterValidator(_finite)]
METRIC_NAMES: dict[str, Any] = {"propertyNames": {"minLength": 1, "maxLength": 200, "pattern": NO_NUL}}
# Pydantic says the pattern as `patternProperties`, which lets other names by.
_NAMED = Field(json_schema_extra=METRIC_NAMES)


class In(BaseModel):
    """What a client sends: an unknown key is a fault, so that a typing error is not lost in silence."""

    model_config = ConfigDict(extra="forbid")


ORIGIN_MOST_BYTES = 64 * 1024
ORIGIN_MOST_DEPTH = 8


def _check_origin(origin: dict[str, Any]) -> dict[str, Any]:
    _check_json(origin, 1)
    if len(json.dumps(origin, ensure_ascii=False, separators=(",", ":")).encode()) > ORIGIN_MOST_BYTES:
        raise ValueError(f"an origin takes {ORIGIN_MOST_BYTES} bytes of JSON at most")
    return origin


def _check_json(value: Any, depth: int) -> None:
    if depth > ORIGIN_MOST_DEPTH and isinstance(value, dict | list):
        raise ValueError(f"this is nested deeper than {ORIGIN_MOST_DEPTH}")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("text cannot hold NUL")
    _finite(value)
    children = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for child in children:
        _check_json(child, depth + 1)


def _check_refs(refs: list[Any]) -> list[Any]:
    for ref in refs:
        _check_json(ref, 1)
    if len(json.dumps(refs).encode()) > ORIGIN_MOST_BYTES:
        raise ValueError(f"references take {ORIGIN_MOST_BYTES} bytes of JSON at most")
    return refs


_BOTH: dict[str, JsonValue] = {
    "required": ["version", "bump"],
    "properties": {"version": {"type": "string"}, "bump": {"type": "string"}},
}
_NEITHER: dict[str, JsonValue] = {"properties": {"version": {"type": "null"}, "bump": {"type": "null"}}}


class PublishRequest(In):
    """A version to be published: `version`, or `bump` with an Idempotency-Key header, and its artifacts."""

    model_config = ConfigDict(json_schema_extra={"not": {"anyOf": [_BOTH, _NEITHER]}})
    version: SemVerText | None = None
    bump: Literal["major", "minor", "patch"] | None = None
    artifacts: dict[str, Annotated[str, WithJsonSchema(grammars.OID)]] = Field(
        min_length=1,
        max_length=100_000,
        description="Path to OID",
        json_schema_extra={"propertyNames": grammars.ARTIFACT_PATH},
    )
    framework: Annotated[str, upto(100)] | None = None
    summary: Long | None = None
    description: Card | None = None
    task: Short | None = None
    architecture: Short | None = None
    tags: list[Label] | None = Field(None, max_length=200)
    license: Short | None = None
    pretty_name: Short | None = None
    language: list[Label] | None = Field(None, max_length=200)
    task_categories: list[Label] | None = Field(None, max_length=200)
    size_category: Annotated[str, upto(100)] | None = None
    base_model: Short | None = None
    dataset_refs: Annotated[list[WithoutNul | dict[str, JsonValue]], AfterValidator(_check_refs)] | None = Field(
        None, max_length=1_000
    )
    metrics: Annotated[dict[Label, Metric], _NAMED] | None = Field(None, max_length=1_000)
    origin: Annotated[dict[str, JsonValue], AfterValidator(_check_origin)] | None = None
    aliases: list[AliasText] | None = Field(None, max_length=100)
    is_public: StrictBool | None = None

    @model_validator(mode="after")
    def _version_or_bump(self) -> Self:
        if (self.version is None) == (self.bump is None):
            raise ValueError("name a `version` or a `bump`, and not both")
        return self


# --- from the body to what the core publishes


def read_request(body: PublishRequest, idempotency_key: str | None) -> tuple[NewVersion, list[Fault]]:
    """What the body asks for, and every fault of its paths, of its OIDs, and of a `bump` without a key."""
    faults = [
        Fault(("body", "artifacts", path), message, "invalid_path")
        for path, message in check_artifact_paths(list(body.artifacts))
    ]
    faults += _oid_faults(body.artifacts)
    if body.bump and idempotency_key is None:
        faults.append(Fault(("header", "Idempotency-Key"), "send one with `bump`, so that a retry is safe", "missing"))
    new = NewVersion(
        artifacts=body.artifacts,
        number=body.version,
        bump=body.bump,
        idempotency_key=idempotency_key,
        description=Description(**{field: getattr(body, field) for field in Description.__slots__}),
        metrics=body.metrics,
        origin=body.origin or {},
        aliases=[str(alias) for alias in body.aliases or ()],
        is_public=bool(body.is_public),
    )
    return new, faults


def _oid_faults(artifacts: Mapping[str, str]) -> Iterator[Fault]:
    """Not left to the schema, which the event loop checks: there may be a hundred thousand."""
    for path, oid in artifacts.items():
        try:
            Oid.parse(oid)
        except InvalidName as error:
            yield Fault(("body", "artifacts", path), str(error))


def read_wish(document: Mapping[str, Any], number: SemVer) -> tuple[NewVersion, list[Fault]]:
    """What a document with the fields of a `PublishRequest` asks for, which is published under this number. Unknown
    fields are let by: whoever wrote it had others in mind, too. Raises `Invalid` for fields of another kind."""
    known = {name: value for name, value in document.items() if name in PublishRequest.model_fields}
    known["version"] = known.get("version") or str(number)
    try:
        body = PublishRequest.model_validate(known)
    except ValidationError as error:
        raise refusals.invalid(error.errors(), at="config") from error
    new, faults = read_request(body, None)
    if body.version != number:
        faults.append(Fault(("config", "version"), f"the config is of version {body.version}"))
    return new, faults
