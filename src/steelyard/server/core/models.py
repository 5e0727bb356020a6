"""Models: finding, listing, filtering them, and who may see them. A model is listed by its latest version."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, delete, func, insert, or_, select
from sqlalchemy.orm import Session, defer

from steelyard.server.core import blobs
from steelyard.server.core.access import Action, Actor, allow, visible_to
from steelyard.server.core.audit import record
from steelyard.server.core.history import commits
from steelyard.server.core.manifests import holdings, rows
from steelyard.server.core.orgs import get_org
from steelyard.server.db.tables import (
    Alias,
    AliasMove,
    IdempotencyKey,
    Model,
    ModelFacet,
    Org,
    SpentVersion,
    Version,
    utc_now,
)
from steelyard.server.errors import Conflict, NotFound
from steelyard.server.names import ModelName


class FacetKind(StrEnum):
    """What models are filtered by."""

    FRAMEWORK = "framework"
    LICENSE = "license"
    SIZE_CATEGORY = "size_category"
    TAG = "tags"
    TASK_CATEGORY = "task_categories"


NOT_LISTED = [defer(column) for column in (Version.description, Version.dataset_refs, Version.metrics)]
SortBy = Literal["created_at", "name", "updated_at", "file_size_bytes"]


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """Which models to list. `facets` maps a kind to values any of which will do."""

    name: str | None = None
    search: str | None = None
    facets: Mapping[FacetKind, Sequence[str]] = field(default_factory=dict)
    include_public: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a list: a model, its organisation, its latest version, and what is counted of it."""

    model: Model
    org: Org
    latest: Version
    aliases: tuple[str, ...]
    version_count: int


@dataclass(frozen=True, slots=True)
class ModelPage:
    """A page of a list; `total` counts the models on all pages."""

    rows: list[Listed]
    total: int


@dataclass(frozen=True, slots=True)
class Facets:
    """What the models in scope offer to filter by, sorted; `filtered_total` counts those that pass the filter."""

    total: int
    filtered_total: int
    values: Mapping[FacetKind, list[str]]


@dataclass(frozen=True, slots=True)
class Found:
    """A model that the caller may see, with its organisation."""

    model: Model
    org: Org

    @property
    def full_name(self) -> str:
        """`org/name`."""
        return f"{self.org.slug}/{self.model.name}"


def find_model(session: Session, org: Org, name: ModelName, *, lock: bool = False) -> Model | None:
    """The organisation's model of that name, whatever the case, and whoever may see it."""
    query = select(Model).where(Model.org_id == org.id, Model.name_key == name.key)
    return session.scalar(query.with_for_update() if lock else query)


def get_model(session: Session, actor: Actor, slug: str, name: ModelName) -> Found:
    """The model, if the caller may see it; raises `NotFound` alike for a hidden and a missing one."""
    query = select(Model, Org).join(Org, Model.org_id == Org.id)
    query = query.where(Org.slug == slug, Model.name_key == name.key, visible_to(actor))
    row = session.execute(query).first()
    if row is None:
        hint = " Sign in with a token to see private models." if actor.is_anonymous else ""
        raise NotFound(f"There is no model '{slug}/{name}', or you may not see it.{hint}")
    return Found(*row)


def get_model_to(session: Session, actor: Actor, action: Action, slug: str, name: ModelName) -> Found:
    """The model, if the caller may see it and do this to it; raises `NotFound` or `Forbidden`."""
    found = get_model(session, actor, slug, name)
    allow(actor, action, found.org.id)
    return found


def create_model(session: Session, actor: Actor, org: Org, name: ModelName, *, is_public: bool) -> Model:
    """The row of a new model."""
    model = Model(org_id=org.id, name=str(name), name_key=name.key, is_public=is_public)
    session.add(model)
    session.flush()
    record(session, actor, "model.create", f"{org.slug}/{name}", org_id=org.id, is_public=is_public)
    return model


def set_visibility(session: Session, actor: Actor, found: Found, *, is_public: bool) -> bool:
    """Make all versions of a model public or private. Answers whether anything changed."""
    if found.model.is_public == is_public:
        return False
    found.model.is_public = is_public
    found.model.updated_at = utc_now()
    record(session, actor, "model.visibility", found.full_name, org_id=found.org.id, is_public=is_public)
    return True


def delete_model(session: Session, actor: Actor, found: Found) -> None:
    """Delete a model with all its versions; their numbers are spent. Raises `Conflict` while an alias holds one."""
    model = found.model
    held = list(session.scalars(select(Alias.alias).where(Alias.model_id == model.id).order_by(Alias.alias)))
    if held:
        raise Conflict(f"Aliases hold versions of '{found.full_name}': {', '.join(held[:20])}. Remove them first.")
    numbers = list(session.scalars(select(Version.version).where(Version.model_id == model.id)))
    trees = commits.list_trees(session, model.id)
    spend(session, found, numbers)
    model.latest_version_id = None
    session.flush()
    blobs.begin_grace(session, found.org.id, trees)
    session.execute(delete(Version).where(Version.model_id == model.id))
    commits.delete_all(session, model.id)
    commits.delete_trees(session, trees)
    rows.delete_all(session, found.org.id, model.id)
    holdings.unlink_all(session, found.org.id, model.id)
    session.execute(delete(ModelFacet).where(ModelFacet.model_id == model.id))
    session.execute(delete(AliasMove).where(AliasMove.model_id == model.id))
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.model_id == model.id))
    session.delete(model)
    record(session, actor, "model.delete", found.full_name, org_id=found.org.id, versions=len(numbers))


def spend(session: Session, found: Found, versions: Sequence[str]) -> None:
    """Note that these numbers were given and are never given again."""
    rows = [{"org_id": found.org.id, "name_key": found.model.name_key, "version": version} for version in versions]
    if rows:
        session.execute(insert(SpentVersion), rows)


# --- what follows when the latest moves


def refresh_latest(session: Session, model: Model, full_name: str) -> None:
    """Find the latest version anew and remake what hangs on it: the list's row, its facets, its searched text."""
    session.flush()
    latest = session.scalar(latest_query(model.id))
    model.latest_version_id = latest.id if latest else None
    model.updated_at = utc_now()
    model.search_text = searchable(f"{full_name}\n{(latest and latest.summary) or ''}")
    session.execute(delete(ModelFacet).where(ModelFacet.model_id == model.id))
    rows = [{"model_id": model.id, "kind": kind, "value": value} for kind, value in _facets_of(latest)]
    if rows:
        session.execute(insert(ModelFacet), rows)


def latest_query(model_id: int) -> Select[Version]:
    """The latest: stable before pre-release, the highest precedence, then the newest; never a yanked one."""
    return versions_in_order(model_id).where(Version.standing > 0).limit(1)


def versions_in_order(model_id: int) -> Select[Version]:
    """A model's versions: stable, pre-release, yanked; each by falling precedence, then the newest."""
    query = select(Version).where(Version.model_id == model_id)
    return query.order_by(Version.standing.desc(), Version.precedence.desc(), Version.id.desc())


def searchable(text: str) -> str:
    """Text as the search compares it, whatever its case and composition."""
    return unicodedata.normalize("NFC", text).casefold()


def _facets_of(version: Version | None) -> list[tuple[FacetKind, str]]:
    if version is None:
        return []
    values: dict[FacetKind, Sequence[str | None]] = {
        FacetKind.FRAMEWORK: [version.framework],
        FacetKind.LICENSE: [version.license],
        FacetKind.SIZE_CATEGORY: [version.size_category],
        FacetKind.TAG: version.tags or [],
        FacetKind.TASK_CATEGORY: version.task_categories or [],
    }
    return [(kind, value) for kind, some in values.items() for value in sorted({v for v in some if v})]


# --- lists


def list_models(
    session: Session,
    actor: Actor,
    slug: str,
    wanted: ModelFilter,
    *,
    sort_by: SortBy,
    descending: bool,
    page: int,
    limit: int,
) -> ModelPage:
    """A page of the models that the caller may see and the filter passes, each by its latest version."""
    condition = and_(_in_scope(session, actor, slug, wanted), *passing(wanted))
    total = session.scalar(_joined(select(func.count())).where(condition)) or 0
    query = (
        _joined(select(Model, Org, Version))
        .options(*NOT_LISTED)
        .where(condition)
        .order_by(*_order(sort_by, descending=descending))
    )
    rows = session.execute(query.offset((page - 1) * limit).limit(limit)).all()
    aliases = aliases_of_versions(session, [version.id for _, _, version in rows])
    counts = count_versions(session, [model.id for model, _, _ in rows])
    return ModelPage([Listed(m, o, v, tuple(aliases.get(v.id, ())), counts.get(m.id, 0)) for m, o, v in rows], total)


def get_facets(session: Session, actor: Actor, slug: str, wanted: ModelFilter) -> Facets:
    """What can be filtered by in this scope, and how many pass the filter."""
    scope = _in_scope(session, actor, slug, wanted)
    total = session.scalar(_joined(select(func.count())).where(scope)) or 0
    filtered = session.scalar(_joined(select(func.count())).where(and_(scope, *passing(wanted)))) or 0
    query = (
        _joined(select(ModelFacet.kind, ModelFacet.value))
        .join(ModelFacet, ModelFacet.model_id == Model.id)
        .where(scope)
        .distinct()
    )
    values: dict[FacetKind, list[str]] = {kind: [] for kind in FacetKind}
    for kind, value in session.execute(query):
        values[FacetKind(kind)].append(value)
    return Facets(total, filtered, {kind: sorted(some) for kind, some in values.items()})


def _joined(query: Any) -> Any:
    return (
        query.select_from(Model).join(Version, Version.id == Model.latest_version_id).join(Org, Org.id == Model.org_id)
    )


def _in_scope(session: Session, actor: Actor, slug: str, wanted: ModelFilter) -> ColumnElement[bool]:
    org = get_org(session, actor, slug)
    own = Model.org_id == org.id
    scope = or_(own, Model.is_public) if wanted.include_public and actor.sees_public else own
    return and_(scope, visible_to(actor))


def passing(wanted: ModelFilter) -> list[ColumnElement[bool]]:
    """The conditions on `models` under which one passes the filter, whoever may see it."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.name is not None:
        slug, _, name = wanted.name.rpartition("/")
        conditions.append(Model.name_key == name.lower())
        conditions += [Model.org_id.in_(select(Org.id).where(Org.slug == slug))] if slug else []
    if wanted.search:
        conditions.append(_matches(wanted.search))
    for kind, values in wanted.facets.items():
        if values:
            conditions.append(has_facet(kind, values))
    return conditions


def has_facet(kind: FacetKind, values: Sequence[str]) -> ColumnElement[bool]:
    """The condition on `models` under which one's latest version has any of these values."""
    having = select(ModelFacet.model_id).where(ModelFacet.kind == kind, ModelFacet.value.in_(values))
    return Model.id.in_(having)


def _matches(search: str) -> ColumnElement[bool]:
    """The search index's place, if there ever is one: this is the only line that knows how text is found."""
    return Model.search_text.contains(searchable(search), autoescape=True)


def _order(sort_by: SortBy, *, descending: bool) -> list[ColumnElement[Any]]:
    columns: dict[SortBy, Any] = {
        "created_at": Version.created_at,
        "updated_at": Version.updated_at,
        "file_size_bytes": Version.size_bytes,
        "name": Model.name_key,
    }
    column = columns[sort_by]
    return [column.desc(), Model.id.desc()] if descending else [column.asc(), Model.id.asc()]


def aliases_of_versions(session: Session, version_ids: Sequence[int]) -> dict[int, list[str]]:
    """The aliases of each of these versions that has any, sorted."""
    found: dict[int, list[str]] = {}
    query = select(Alias.version_id, Alias.alias).where(Alias.version_id.in_(version_ids)).order_by(Alias.alias)
    for version_id, alias in session.execute(query):
        found.setdefault(version_id, []).append(alias)
    return found


def count_versions(session: Session, model_ids: Sequence[int]) -> dict[int, int]:
    """How many versions each of these models has, yanked ones included; nothing of one that has none."""
    query = select(Version.model_id, func.count()).where(Version.model_id.in_(model_ids)).group_by(Version.model_id)
    return dict(session.execute(query).all())
