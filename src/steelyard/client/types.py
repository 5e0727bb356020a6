"""What the client hands out: frozen dataclasses after the shapes of the native API (contract sections 4 to 6).

Times are ISO 8601 strings in UTC (`…Z`), sizes are bytes, names are org-prefixed (`acme/tiny`). `raw` is the JSON
object itself, with the keys this version does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def _raw() -> Any:
    return field(repr=False, compare=False, metadata={"raw": True})


# --- models -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSummary:
    """One version of a model, as lists show it."""

    id: str
    name: str
    version: str
    created_at: str
    raw: Mapping[str, Any] = _raw()
    framework: str = "safetensors"
    download_count: int = 0
    is_public: bool = False
    origin: Mapping[str, Any] = field(default_factory=dict)
    summary: str | None = None
    task: str | None = None
    architecture: str | None = None
    base_model: str | None = None
    license: str | None = None
    pretty_name: str | None = None
    size_category: str | None = None
    updated_at: str | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    task_categories: tuple[str, ...] = ()
    version_count: int | None = None


@dataclass(frozen=True)
class Yank:
    """Why and when a version was yanked."""

    reason: str | None = None
    at: str | None = None


@dataclass(frozen=True)
class ModelDetail(ModelSummary):
    """One version in full: `artifacts` maps path to OID, `sizes` maps path to bytes."""

    artifacts: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    artifacts_hash: str | None = None
    description: str | None = None
    created_by_email: str | None = None
    dataset_refs: tuple[Any, ...] = ()
    file_size_bytes: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    yanked: Yank | None = None


@dataclass(frozen=True)
class ModelPage:
    """One page of a list: `total` counts all pages, `page` starts at 1."""

    models: tuple[ModelSummary, ...]
    page: int
    limit: int
    total: int
    raw: Mapping[str, Any] = _raw()
    total_pages: int = 0
    has_next: bool = False
    has_previous: bool = False


@dataclass(frozen=True)
class Facets:
    """What the models in scope offer to filter by."""

    total: int
    filtered_total: int
    raw: Mapping[str, Any] = _raw()
    frameworks: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    size_categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    task_categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Activity:
    """One download."""

    id: str
    model_name: str
    model_version: str
    format: str
    status: str
    created_at: str
    completed_at: str | None = None
    file_size_bytes: int | None = None
    user_id: str | None = None


@dataclass(frozen=True)
class ActivityPage:
    """Downloads, newest first."""

    items: tuple[Activity, ...]
    limit: int
    offset: int
    total: int
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True)
class VersionList:
    """All versions: stable, then pre-release, then yanked, each by falling precedence. `latest` may be None."""

    name: str
    versions: tuple[str, ...]
    raw: Mapping[str, Any] = _raw()
    latest: ModelSummary | None = None


@dataclass(frozen=True)
class ComparedVersion:
    """One column of a comparison."""

    version: str
    framework: str
    created_at: str
    task: str | None = None
    architecture: str | None = None
    base_model: str | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    dataset_refs: tuple[Any, ...] = ()
    file_size_bytes: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Two to five versions side by side; `metric_keys` is the union of their metrics."""

    name: str
    metric_keys: tuple[str, ...]
    versions: tuple[ComparedVersion, ...]
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True)
class Visibility:
    """Who may see a model now."""

    is_public: bool
    raw: Mapping[str, Any] = _raw()
    message: str = ""


@dataclass(frozen=True)
class AliasTarget:
    """An alias and the version it was just pointed at."""

    alias: str
    name: str
    version: str
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True)
class AliasMove:
    """One move of an alias: who, when, from and to which version (None: it did not exist, or was removed)."""

    at: str
    by: str | None = None
    from_version: str | None = field(default=None, metadata={"key": "from"})
    to_version: str | None = field(default=None, metadata={"key": "to"})


@dataclass(frozen=True)
class Alias:
    """A movable name for one version, with its history; `version` is None for one that was removed."""

    alias: str
    version: str | None = None
    protected: bool = False
    created_at: str | None = None
    updated_at: str | None = None
    history: tuple[AliasMove, ...] = ()


@dataclass(frozen=True)
class AliasPage:
    """Aliases of a model; `next_cursor` is None on the last page."""

    aliases: tuple[Alias, ...]
    raw: Mapping[str, Any] = _raw()
    next_cursor: str | None = None


@dataclass(frozen=True)
class Download:
    """A ticketed download of a whole version as one tar: `url` needs no token until `expires_at`."""

    download_id: str
    status: str
    raw: Mapping[str, Any] = _raw()
    url: str | None = None
    expires_at: str | None = None
    filename: str | None = None
    error: str | None = None


# --- people, organisations and tokens -----------------------------------------------------------------------------


@dataclass(frozen=True)
class User:
    """Whose token it is."""

    id: str
    username: str
    raw: Mapping[str, Any] = _raw()
    email_address: str | None = None


@dataclass(frozen=True)
class UserAccount(User):
    """A user as the instance admin sees him; `key` is his token, present only in the answer that made it."""

    is_admin: bool = False
    disabled: bool = False
    created_at: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class UserPage:
    """Users of the instance; `next_cursor` is None on the last page."""

    users: tuple[UserAccount, ...]
    raw: Mapping[str, Any] = _raw()
    next_cursor: str | None = None


@dataclass(frozen=True)
class Organization:
    """An organisation; `key` is its slug."""

    id: str
    name: str
    key: str
    raw: Mapping[str, Any] = _raw()
    created_at: str | None = None
    updated_at: str | None = None


@dataclass(frozen=True)
class ApiKey:
    """A token: `key` is the secret, present only in the answer that made it; `org` None means not narrowed."""

    id: str
    raw: Mapping[str, Any] = _raw()
    name: str | None = None
    org: str | None = None
    access: str | None = None
    created_at: str | None = None
    expires_at: str | None = None
    last_used_at: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Member:
    """A member of an organisation: `role` is reader, contributor or owner."""

    username: str
    role: str
    raw: Mapping[str, Any] = _raw()
    added_at: str | None = None


@dataclass(frozen=True)
class ServiceAccount:
    """A robot of an organisation: it has tokens and no person."""

    name: str
    role: str
    raw: Mapping[str, Any] = _raw()
    id: str | None = None
    created_at: str | None = None


@dataclass(frozen=True)
class AuditEvent:
    """Who did what to what, when and from where."""

    at: str
    action: str
    id: Any = None
    actor: Any = None
    target: Any = None
    details: Any = None
    address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class AuditPage:
    """Events, newest first; `next_cursor` is None on the last page."""

    events: tuple[AuditEvent, ...]
    raw: Mapping[str, Any] = _raw()
    next_cursor: str | None = None


# --- what moving bytes came to ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PushResult:
    """What a push did: `created` is False when the very same version was there already."""

    detail: ModelDetail
    created: bool
    files: int
    size_bytes: int
    uploaded_bytes: int


@dataclass(frozen=True)
class PullResult:
    """What a pull did: `written` and `removed` name paths in `destination`; the rest was right already."""

    detail: ModelDetail
    destination: str
    files: int
    size_bytes: int
    downloaded_bytes: int
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerifyResult:
    """How a folder compares with a version; `matches` when nothing is missing or changed. `extra` files are named."""

    name: str
    version: str
    directory: str
    files: int
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def matches(self) -> bool:
        """Whether the folder holds exactly the files of the version."""
        return not (self.missing or self.changed or self.extra)
