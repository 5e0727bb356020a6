"""The models of all organisations in one list, as the Hub's clients ask for it: whatever the caller may see.

A model is listed by its latest version. One without any, which was begun by commits, is listed to members only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, ScalarSelect, and_, exists, false, func, or_, select
from sqlalchemy.orm import Session, aliased, defer

from steelyard.server.core.access import Actor, visible_to
from steelyard.server.core.models import FacetKind, Found, searchable
from steelyard.server.db.tables import Branch, Commit, Model, ModelFacet, Org, Version

SortBy = Literal["downloads", "createdAt", "lastModified"]
_ANY_KIND = (FacetKind.TAG, FacetKind.FRAMEWORK, FacetKind.TASK_CATEGORY)


@dataclass(frozen=True, slots=True)
class CatalogFilter:
    """Which models to list: each of `labels` is a tag, framework or task that it must have, or `license:…`."""

    search: str | None = None
    author: str | None = None
    labels: Sequence[str] = ()
    private: bool | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the list: `head` is what `main` is to this caller, `downloads` counts those of all versions."""

    found: Found
    latest: Version | None
    head: Commit | None
    downloads: int


def list_catalog(
    session: Session,
    actor: Actor,
    wanted: CatalogFilter,
    *,
    sort_by: SortBy,
    descending: bool,
    offset: int,
    limit: int,
) -> list[Entry]:
    """So many models that the caller may see and the filter passes, from one on."""
    head, published = aliased(Commit), aliased(Commit)
    column = _order(sort_by)
    query = (
        select(Model, Org, Version, head, published, downloads_of_model())
        .join(Org, Org.id == Model.org_id)
        .outerjoin(Version, Version.id == Model.latest_version_id)
        .outerjoin(published, published.id == Version.commit_id)
        .outerjoin(Branch, and_(Branch.model_id == Model.id, Branch.name == "main"))
        .outerjoin(head, head.id == Branch.commit_id)
        .options(defer(Version.description), defer(Version.metrics))
        .where(visible_to(actor), or_(Model.latest_version_id.is_not(None), _is_member(actor)), *_conditions(wanted))
        .order_by(*([column.desc(), Model.id.desc()] if descending else [column.asc(), Model.id.asc()]))
    )
    rows = session.execute(query.offset(offset).limit(limit)).all()
    return [_entry(actor, *row) for row in rows]


def count_downloads(session: Session, found: Found) -> int:
    """How often any version of a model was taken."""
    query = select(func.coalesce(func.sum(Version.download_count), 0)).where(Version.model_id == found.model.id)
    return int(session.scalar(query) or 0)


def _entry(
    actor: Actor, model: Model, org: Org, latest: Version | None, head: Commit | None, published: Commit | None, n: int
) -> Entry:
    is_member = actor.role_in(org.id) is not None
    return Entry(Found(model, org), latest, (head if is_member else None) or published, int(n))


def _is_member(actor: Actor) -> ColumnElement[bool]:
    return Model.org_id.in_(actor.roles) if actor.roles else false()


def downloads_of_model() -> ScalarSelect[int]:
    """How often any version of the model of a row was taken, as a column of a query of models."""
    total = select(func.coalesce(func.sum(Version.download_count), 0))
    return total.where(Version.model_id == Model.id).correlate(Model).scalar_subquery()


def _order(sort_by: SortBy) -> ColumnElement[Any]:
    columns: dict[SortBy, Any] = {
        "downloads": downloads_of_model(),
        "createdAt": Model.created_at,
        "lastModified": Model.updated_at,
    }
    column: ColumnElement[Any] = columns[sort_by]
    return column


def _conditions(wanted: CatalogFilter) -> list[ColumnElement[bool]]:
    conditions = [_has_label(label) for label in wanted.labels]
    if wanted.search:
        conditions.append(_matches(wanted.search))
    if wanted.author is not None:
        conditions.append(Org.slug == wanted.author.lower())
    if wanted.private is not None:
        conditions.append(Model.is_public.is_(not wanted.private))
    return conditions


def _matches(search: str) -> ColumnElement[bool]:
    """Of a model without a version the name alone is searched: it has no text yet."""
    named = (Org.slug + "/" + Model.name_key).contains(search.lower(), autoescape=True)
    return or_(Model.search_text.contains(searchable(search), autoescape=True), named)


def _has_label(label: str) -> ColumnElement[bool]:
    """Whether a model's latest version has a label: as the Hub writes it, which prefixes some kinds."""
    kind, colon, value = label.partition(":")
    has = exists().where(ModelFacet.model_id == Model.id)
    if colon and kind == "license":
        return has.where(ModelFacet.kind == FacetKind.LICENSE, ModelFacet.value == value)
    return has.where(ModelFacet.kind.in_(_ANY_KIND), ModelFacet.value == label)
