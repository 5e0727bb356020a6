"""The bodies of the native API, in and out (contract sections 3 to 6): one long file, since it is the whole wire."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    RootModel,
    StrictBool,
    StringConstraints,
)

from steelyard.server.core.access import Role
from steelyard.server.core.comparing import Change
from steelyard.server.doors import grammars
from steelyard.server.doors.native.parameters import Moment, NewSlugText, SlugText
from steelyard.server.doors.wishes import METRIC_NAMES, AliasText, In, Label, Metric, upto


def instant_text(at: datetime) -> str:
    """A moment as the API writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


Instant = Annotated[datetime, PlainSerializer(instant_text, return_type=str, when_used="json")]


Email = Annotated[str, StringConstraints(strict=True, max_length=320, pattern=grammars.EMAIL["pattern"])]


class Out(BaseModel):
    """What the server answers."""


# --- errors


class ErrorItem(Out):
    """One fault of an input."""

    loc: list[str | int] = Field(description="Where the validation error occurred")
    msg: str = Field(description="Human-readable validation message")
    type: str = Field(description="Machine-readable validation error type")


class ErrorBody(Out):
    """Canonical API error envelope returned by the API."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"code": 401, "detail": "Authentication failed", "type": "authentication_error"}}
    )
    code: int = Field(description="HTTP status code")
    detail: str = Field(description="Human-readable error message")
    type: str = Field(description="Stable machine-readable error type")
    errors: list[ErrorItem] | None = Field(None, description="Present on 422: every fault at once")


# --- models


class ModelSummary(Out):
    """A model as lists show it: its latest version."""

    id: str = Field(description="Artifact UUID")
    name: str = Field(description="Model name (org-prefixed canonical)")
    version: str = Field(description="Semver version string")
    created_at: Instant = Field(description="ISO 8601 creation timestamp")
    framework: str = Field("safetensors", description="Model framework")
    download_count: int = Field(0, description="Total downloads for this version")
    is_public: bool = Field(False, description="Whether publicly visible")
    origin: dict[str, JsonValue] = Field(default_factory=dict, description="Origin tracking metadata")
    summary: str | None = None
    task: str | None = None
    architecture: str | None = None
    base_model: str | None = None
    license: str | None = None
    pretty_name: str | None = None
    size_category: str | None = None
    updated_at: Instant | None = None
    aliases: list[str] | None = None
    tags: list[str] | None = None
    language: list[str] | None = None
    task_categories: list[str] | None = None
    version_count: int | None = None


class Yanked(Out):
    """Why and when a version was yanked."""

    reason: str
    at: Instant


class ModelDetail(ModelSummary):
    """Full model artifact detail."""

    artifacts: dict[str, str] = Field(default_factory=dict, description="Artifact path to OID mapping")
    artifacts_hash: str | None = Field(None, description="One digest of all artifacts")
    sizes: dict[str, int] = Field(default_factory=dict, description="Artifact path to size in bytes")
    description: str | None = None
    created_by_email: str | None = None
    dataset_refs: list[JsonValue] | None = None
    file_size_bytes: int | None = None
    metrics: dict[str, int | float | str] | None = None
    yanked: Yanked | None = None


class ModelList(Out):
    """A page of models."""

    models: list[ModelSummary]
    page: int
    limit: int
    total: int
    total_pages: int
    has_next: bool
    has_previous: bool


class ModelFacets(Out):
    """What the models in scope can be filtered by."""

    total: int
    filtered_total: int
    frameworks: list[str]
    licenses: list[str]
    size_categories: list[str]
    tags: list[str]
    task_categories: list[str]


class CatalogModel(ModelSummary):
    """A model as the list of all organizations' models shows it."""

    file_size_bytes: int = Field(description="Of all files of the latest version")
    parameter_count: int | None = Field(None, description="As the headers of its weights say; null where unknown")
    total_downloads: int = Field(description="Downloads of all versions")
    model_created_at: Instant = Field(description="When the model began; `created_at` is the latest version's")
    model_updated_at: Instant = Field(description="When the latest version, or who sees the model, last changed")


class Catalog(Out):
    """A page of all models that the caller may see."""

    models: list[CatalogModel]
    page: int
    limit: int
    total: int
    total_pages: int
    has_next: bool
    has_previous: bool


class FacetValue(Out):
    """A value that models can be filtered by."""

    value: str
    count: int = Field(description="Models that have it, of those that pass the filters of the other kinds")


class FacetValues(Out):
    """What one kind offers: the commonest values first, and whatever is filtered by."""

    values: list[FacetValue]
    others: int = Field(description="How many more values there are")


class CatalogFacets(Out):
    """What all models that the caller may see can be filtered by, with counts."""

    total: int
    filtered_total: int
    frameworks: FacetValues
    licenses: FacetValues
    size_categories: FacetValues
    tags: FacetValues
    task_categories: FacetValues


class ActivityItem(Out):
    """One download of a whole version."""

    id: str
    model_name: str
    model_version: str
    format: str
    status: str
    created_at: Instant
    completed_at: Instant | None = None
    file_size_bytes: int | None = None
    user_id: str | None = None


class ActivityPage(Out):
    """A page of download activity."""

    items: list[ActivityItem]
    limit: int
    offset: int
    total: int


class VersionList(Out):
    """A model's versions, the latest first and yanked ones last."""

    name: str
    versions: list[str]
    latest: ModelSummary | None = None


class ComparedVersion(Out):
    """One version of a comparison."""

    version: str
    framework: str
    created_at: Instant
    task: str | None = None
    architecture: str | None = None
    base_model: str | None = None
    aliases: list[str] | None = None
    tags: list[str] | None = None
    dataset_refs: list[JsonValue] | None = None
    file_size_bytes: int | None = None
    metrics: dict[str, int | float | str] | None = None


class ComparedRow(Out):
    """Something that is said of at least one of the versions; `values` has one for each of them."""

    key: str
    values: list[JsonValue]
    differs: bool


class ComparedCounts(Out):
    """How a version differs from the first."""

    version: str
    added: int
    removed: int
    changed: int
    unchanged: int


class ComparedFile(Out):
    """A file in one version, nulls where it is not there; `change` is against the first version."""

    oid: str | None
    size: int | None
    change: Change | None


class ComparedFileRow(Out):
    """A file by its path; `versions` has one for each of them."""

    path: str
    versions: list[ComparedFile]


class ComparedFiles(Out):
    """Files, each held against that of the first version; counts are of all pages."""

    counts: list[ComparedCounts]
    items: list[ComparedFileRow]
    page: int
    limit: int
    total: int


class ComparedTensor(Out):
    """A tensor in one version, as its header says; `unchanged` is a tensor of the same type and shape."""

    dtype: str | None
    shape: list[int] | None
    change: Change | None


class ComparedTensorRow(Out):
    """A tensor by its name, in a file of weights or a set of shards; `versions` has one for each of them."""

    file: str
    name: str
    versions: list[ComparedTensor]


class UnreadWeights(Out):
    """Weights that are compared in no version, since this one's cannot be read."""

    version: str
    file: str
    why: str


class ComparedTensors(Out):
    """Tensors, each held against that of the first version; counts are of all pages."""

    counts: list[ComparedCounts]
    items: list[ComparedTensorRow]
    unread: list[UnreadWeights]
    page: int
    limit: int
    total: int


class Comparison(Out):
    """Two to five versions side by side. The last three are there for who asks to `include` them."""

    name: str
    metric_keys: list[str]
    versions: list[ComparedVersion]
    metadata: list[ComparedRow] | None = None
    files: ComparedFiles | None = None
    tensors: ComparedTensors | None = None


Said = str | int | float | bool


class TensorItem(Out):
    """One tensor, as the header of its file has it."""

    name: str
    dtype: str = Field(description="As the format calls it: `BF16`, or `Q4_K` of GGUF")
    shape: list[int] = Field(description="In the file's order: in GGUF the dimension that runs fastest comes first")
    size_bytes: int | None = Field(description="None for a type of GGUF that the server does not know")
    offset_bytes: int = Field(description="Where its bytes begin in the file")


class TensorMetadata(Out):
    """One key of a file's metadata."""

    key: str
    type: str = Field(description="`string`, `u32`, `array of string` and so on; of safetensors always `string`")
    value: Said | list[Said] = Field(description="Of a text the first 4,000 bytes, of an array the first 20 items")
    length: int | None = Field(description="Of a text its bytes, of an array its items, else null")


class TensorPage(Out):
    """A page of the tensors of one file, in the file's order; and its metadata, on every page."""

    name: str
    version: str
    path: str
    oid: str
    format: Literal["safetensors", "gguf"]
    parameters: int = Field(description="How many numbers all its tensors hold, packed ones counted by their elements")
    total: int = Field(description="Tensors in the file")
    matching: int = Field(description="Tensors whose names have `search` in them")
    tensors: list[TensorItem]
    next_cursor: str | None = None
    metadata: list[TensorMetadata] = Field(description="The first 200 keys")
    metadata_total: int


class LineageNode(Out):
    """Something that stands in the lineage of a version."""

    kind: Literal["version", "model", "elsewhere"] = Field(
        description="A version here; a model here, no version of it being named that is there; a name and nothing more"
    )
    name: str
    version: str | None = Field(description="Its number; of what is not a version here, what was said of it")
    step: int = Field(description="0 for the version asked for, below for what it was made from, above for the rest")
    url: str | None = Field(description="Where it is on the web, as its publisher says")
    yanked: bool
    versions: int = Field(description="How many versions of this model say the same: the newest of them stands here")


class LineageEdge(Out):
    """One of `nodes` was made from another; they are named by their places, from 0."""

    parent: int
    child: int
    kind: Literal["derived_from", "base_model", "source"]
    relation: str | None = Field(description="As the publisher says: `finetune`, `quantized`, ...")


class LineageSharer(Out):
    """A version that has some of the same files."""

    name: str
    version: str
    shared_bytes: int
    share: float = Field(description="How much that is of the version asked for, up to 1")


class ModelLineage(Out):
    """Where a version came from, what was made from it, and who shares its bytes, as far as the caller may know."""

    name: str
    version: str
    base_model: str | None
    origin: dict[str, JsonValue]
    nodes: list[LineageNode] = Field(description="The first is the version asked for")
    edges: list[LineageEdge]
    more_above: bool = Field(description="Whether it was made from more than is shown")
    more_below: bool = Field(description="Whether more was made from it than is shown")
    distinct_bytes: int = Field(description="Of the version's files, each counted once")
    shares_with: list[LineageSharer] = Field(description="Of each model the version that has most, the best first")


class VisibilityUpdate(In):
    """Whether all versions of a model shall be public."""

    is_public: StrictBool


class Visibility(Out):
    """Whether a model is public now."""

    is_public: bool
    message: str


class DownloadDay(Out):
    """How often the versions of a model were taken on one day."""

    day: str = Field(description="In UTC", json_schema_extra={"format": "date"})
    downloads: int


class DownloadSeries(Out):
    """How often a model was taken: in all, and on each of the last days, the oldest first."""

    name: str
    total: int = Field(description="Of all versions that the model has, ever")
    days: list[DownloadDay]


class DownloadTicket(Out):
    """A link that works by itself until it expires, and yields the whole version as one tar."""

    download_id: str
    status: Literal["ready", "preparing", "failed"]
    url: str
    expires_at: Instant
    filename: str


class DownloadStatus(Out):
    """How a download stands."""

    download_id: str
    status: Literal["ready", "preparing", "failed"]
    url: str | None = None
    expires_at: Instant | None = None
    error: str | None = None


class AliasUpdate(In):
    """The alias to set; owners may protect it."""

    alias: AliasText
    protected: StrictBool | None = None


class AliasSet(Out):
    """Where an alias points now."""

    alias: str
    name: str
    version: str


class AliasMove(Out):
    """One step of an alias's history."""

    at: Instant
    by: str | None
    from_: str | None = Field(serialization_alias="from")
    to: str | None


class AliasItem(Out):
    """An alias, its version and its history."""

    alias: str
    version: str
    protected: bool
    created_at: Instant
    updated_at: Instant
    history: list[AliasMove]


class TimelineMove(AliasMove):
    """A step of an alias to a version, or away from it."""

    alias: str


class TimelineEntry(Out):
    """A version on the line. `moves` are the newest; `published_by` and the `by` of moves are for members."""

    version: str
    standing: Literal["stable", "pre-release", "yanked"]
    created_at: Instant
    published_by: str | None
    file_size_bytes: int
    yanked: Yanked | None
    aliases: list[str]
    moves: list[TimelineMove]
    has_more_moves: bool


class Timeline(Out):
    """A page of a model's versions, by falling precedence."""

    name: str
    latest: str | None
    versions: list[TimelineEntry]
    page: int
    limit: int
    total: int
    total_pages: int
    has_next: bool
    has_previous: bool


class MetricSeries(Out):
    """The values of one metric: one for each version, null where a version has none."""

    key: str
    values: list[int | float | str | None]


class MetricHistory(Out):
    """A page of a model's metrics over its versions, the lowest first; `is_cut` where lower ones were left out."""

    name: str
    versions: list[str]
    metrics: list[MetricSeries]
    is_cut: bool
    page: int
    limit: int
    total: int
    total_pages: int
    has_next: bool
    has_previous: bool


class AliasPage(Out):
    """A page of aliases."""

    aliases: list[AliasItem]
    next_cursor: str | None = None


class YankRequest(In):
    """Why a version shall no longer be chosen."""

    reason: Annotated[str, upto(2_000, least=1)]


class MetricsUpdate(RootModel[Annotated[dict[Label, Metric | None], Field(max_length=1_000)]]):
    """The flat map of metrics itself; null removes one."""

    model_config = ConfigDict(json_schema_extra=METRIC_NAMES)


# --- bytes


def _whole(value: Any) -> Any:
    """JSON knows no integers: `5.0` is one by JSON Schema, and some writers spell them so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class WantedObject(In):
    """Bytes that a client would like to send."""

    model_config = ConfigDict(extra="ignore")
    oid: Annotated[str, StringConstraints(pattern=r"^(sha256:)?[0-9a-f]{64}$", max_length=71)]
    size: Annotated[int, Field(strict=True, ge=0, le=2**53), BeforeValidator(_whole)]


class BatchRequest(In):
    """A Git LFS batch request. Keys that other clients add (`ref`) are left alone."""

    model_config = ConfigDict(extra="ignore")
    operation: Literal["upload"]
    transfers: list[Annotated[str, upto(50)]] = Field(default_factory=lambda: ["basic"], max_length=20)
    objects: list[WantedObject] = Field(min_length=1, max_length=1_000)
    hash_algo: Literal["sha256"] = "sha256"
    part_checksums: Literal["crc32"] | None = Field(
        None, description="Have the link of each part, where it leads to the store itself, bound to its checksum"
    )


class UploadAction(Out):
    """Where to send bytes. `header` is Git LFS's; for multipart it names `chunk_size` and the URL of each part."""

    href: str
    header: dict[str, str] = Field(default_factory=dict)
    expires_at: Instant
    expires_in: int


class UploadActions(Out):
    """What to do to get an object here."""

    upload: UploadAction


class BatchObject(Out):
    """An object: without `actions` the organisation holds it already."""

    oid: str
    size: int
    parts_done: list[int] | None = None
    actions: UploadActions | None = None


class BatchResponse(Out):
    """A Git LFS batch response. By `xet`, no upload was begun: `href` answers a grant."""

    transfer: Literal["basic", "multipart", "xet"]
    hash_algo: Literal["sha256"] = "sha256"
    objects: list[BatchObject]


class XetGrant(Out):
    """Where chunks are exchanged, with which token, and until when (Unix time): named as clients of Xet read it."""

    cas_url: str = Field(alias="casUrl")
    access_token: str = Field(alias="accessToken")
    exp: int


class XetDownload(XetGrant):
    """The same, with the files that take a tenth fewer bytes as chunks: path -> Xet's hash of the file."""

    files: dict[str, str]


class PartChecksum(In):
    """What the bytes of a part are: the store refuses others."""

    crc32: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{6}==$", description="Base64 of four bytes, big-endian")]


class StoreLink(Out):
    """Where to PUT one part, and the headers to send with it."""

    href: str
    header: dict[str, str]
    expires_at: Instant


class UploadedPart(In):
    """A part as S3 and Git LFS clients list it when they complete."""

    model_config = ConfigDict(extra="ignore")
    partNumber: Annotated[int, Field(strict=True, ge=1, le=10_000), BeforeValidator(_whole)]  # noqa: N815 - the protocol's name
    etag: Annotated[str, upto(200)] | None = None


class Completion(In):
    """The end of a multipart upload."""

    model_config = ConfigDict(extra="ignore")
    oid: Annotated[str, upto(71)] | None = None
    parts: list[UploadedPart] | None = Field(None, max_length=10_000)


class UploadedObject(Out):
    """Bytes that the organisation holds now, or will when they are proven."""

    oid: str
    size: int
    status: Literal["done", "proving"] = "done"


# --- people and organisations


class CurrentUser(Out):
    """Who is calling."""

    id: str
    email_address: str | None
    username: str


class Organization(Out):
    """An organisation; `key` is its slug."""

    id: str
    name: str
    key: str
    created_at: Instant
    updated_at: Instant


class NewOrganization(In):
    """An organisation to be made; its first owner is the caller, or `owner`."""

    key: NewSlugText
    name: Label | None = None
    owner: SlugText | None = None


class NewUser(In):
    """A user to be made."""

    username: NewSlugText
    email_address: Email | None = None


class UserUpdate(In):
    """What to change of a user."""

    disabled: StrictBool | None = None
    is_admin: StrictBool | None = None


class UserItem(Out):
    """A user, as instance admins see him."""

    id: str
    username: str
    email_address: str | None
    is_admin: bool
    disabled: bool
    created_at: Instant


class CreatedUser(UserItem):
    """A new user and his first token, shown this once."""

    key: str


class UserPage(Out):
    """A page of users."""

    users: list[UserItem]
    next_cursor: str | None = None


class NewApiKey(In):
    """A token to be made; what is left out is as wide as the token that asks."""

    name: Label
    org: SlugText | None = None
    access: Literal["read", "write"] | None = None
    expires_at: Moment | None = None


class NewServiceKey(In):
    """A token of a service account."""

    name: Label = "token"
    access: Literal["read", "write"] | None = None
    expires_at: Moment | None = None


class ApiKey(Out):
    """A token, without its secret."""

    id: str
    name: str
    org: str | None
    access: Literal["read", "write"]
    created_at: Instant
    expires_at: Instant | None = None
    last_used_at: Instant | None = None


class CreatedApiKey(ApiKey):
    """A new token and its secret, shown this once."""

    key: str


class ApiKeyList(Out):
    """The live tokens of somebody."""

    api_keys: list[ApiKey]


class IdentityItem(Out):
    """Who the caller is to an OpenID provider: `subject` is what `issuer` calls him."""

    id: str
    issuer: str
    subject: str
    linked_at: Instant


class IdentityList(Out):
    """By what the caller can sign in to the web pages besides his tokens."""

    identities: list[IdentityItem]


class SessionItem(Out):
    """A browser that is signed in to the web pages. `agent` is what it calls itself."""

    id: str
    agent: str
    created_at: Instant
    last_used_at: Instant
    expires_at: Instant


class SessionList(Out):
    """Where somebody is signed in."""

    sessions: list[SessionItem]


class NewMember(In):
    """A person to be let in."""

    username: SlugText
    role: Role = Role.READER


class RoleUpdate(In):
    """The role somebody shall have."""

    role: Role


class MemberItem(Out):
    """A person of an organisation."""

    username: str
    role: Role
    added_at: Instant


class MemberList(Out):
    """The people of an organisation."""

    members: list[MemberItem]


class NewServiceAccount(In):
    """A service account to be made."""

    name: SlugText
    role: Role = Role.CONTRIBUTOR


class ServiceAccountItem(Out):
    """A member with tokens and no person."""

    id: str
    name: str
    role: Role
    created_at: Instant


class ServiceAccountList(Out):
    """The service accounts of an organisation."""

    service_accounts: list[ServiceAccountItem]


class AuditItem(Out):
    """One thing that was done."""

    id: str
    at: Instant
    actor: str
    action: str
    target: str
    details: dict[str, JsonValue]
    address: str | None
    request_id: str | None


class AuditPage(Out):
    """A page of the audit trail, newest first."""

    events: list[AuditItem]
    next_cursor: str | None = None


# --- the instance


class Health(Out):
    """The process is there."""

    status: Literal["ok"] = "ok"


class Config(Out):
    """What a client may want to know before it signs in."""

    app_version: str
    api_version: str
    deployment_mode: str
    website_url: str | None
    min_client_version: str | None
    limits: dict[str, int]
    doors: list[str]
