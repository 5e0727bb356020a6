"""All models that a caller may see, in one list: searched, narrowed by facets that say how many they leave, sorted,
paged. A model is listed by its latest version, and not at all without one.

Whatever is asked takes a few queries, whose work grows with the models and not with their versions: docs/operations.md
says how long that is for ten thousand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import CTE, ColumnElement, Select, Subquery, and_, case, func, literal, or_, select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor, visible_to
from steelyard.server.core.catalog import downloads_of_model
from steelyard.server.core.models import (
    NOT_LISTED,
    FacetKind,
    Listed,
    ModelFilter,
    aliases_of_versions,
    count_versions,
    has_facet,
    passing,
)
from steelyard.server.core.orgs import get_org
from steelyard.server.db.tables import Model, ModelFacet, Org, Version

SortBy = Literal["created_at", "name", "updated_at", "file_size_bytes", "downloads"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of the list; `downloads` counts those of all versions."""

    listed: Listed
    downloads: int


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value that models can be narrowed to, and how many models that would be."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """The values of one kind that most models have, and those chosen; so many `others` are not named."""

    values: list[FacetValue]
    others: int


@dataclass(frozen=True, slots=True)
class CountedFacets:
    """What the models in scope can be narrowed by. `total` counts all of them, `filtered_total` those that pass."""

    total: int
    filtered_total: int
    kinds: Mapping[FacetKind, FacetCounts]


def list_visible_models(
    session: Session,
    actor: Actor,
    wanted: ModelFilter,
    *,
    slug: str | None = None,
    sort_by: SortBy,
    descending: bool,
    page: int,
    limit: int,
) -> list[Shown]:
    """A page of all models that the caller may see, or of those of one organisation, which pass the filter.

    `created_at` and `updated_at` are the model's own: when it began, and when its latest version or who sees it
    changed. Raises `NotFound` for an organisation that is hidden or missing.
    """
    # First which models: to sort whole rows, the database would read them all.
    query = select(Model.id).where(_in_scope(session, actor, slug), *passing(wanted))
    if sort_by == "file_size_bytes":
        query = query.join(Version, Version.id == Model.latest_version_id)
    query = query.order_by(*_order(sort_by, descending=descending)).offset((page - 1) * limit).limit(limit)
    return _show(session, list(session.scalars(query)))


def count_visible_models(session: Session, actor: Actor, wanted: ModelFilter, *, slug: str | None = None) -> int:
    """How many models are on all pages of that list. Raises `NotFound`."""
    return _count(session, _in_scope(session, actor, slug), wanted)


def count_facets(
    session: Session, actor: Actor, wanted: ModelFilter, *, slug: str | None = None, most_values: int
) -> CountedFacets:
    """What these models can be narrowed by: of each kind the values that most models have, with how many they leave.

    The counts of a kind are of the models that pass all the rest of the filter, so that they say what choosing one
    more value, or another, would add. Raises `NotFound` for an organisation that is hidden or missing.
    """
    scope = _in_scope(session, actor, slug)
    chosen = {kind: list(values) for kind, values in wanted.facets.items() if values}
    values: dict[FacetKind, list[FacetValue]] = {kind: [] for kind in FacetKind}
    distinct = dict.fromkeys(FacetKind, 0)
    for row in session.execute(_commonest(scope, wanted, chosen, most_values)):
        values[FacetKind(row.kind)].append(FacetValue(row.value, row.models))
        distinct[FacetKind(row.kind)] = row.of_kind
    kinds = {kind: _with_absent(some, distinct[kind], chosen.get(kind, ())) for kind, some in values.items()}
    total = _count(session, scope, ModelFilter())
    return CountedFacets(total, total if wanted == ModelFilter() else _count(session, scope, wanted), kinds)


def list_unpublished_models(session: Session, actor: Actor, slug: str, *, limit: int) -> list[str]:
    """The names of an organisation's models without a latest version, begun by a push or yanked whole: for members.

    Raises `NotFound` for an organisation that is hidden or missing.
    """
    org = get_org(session, actor, slug)
    if actor.role_in(org.id) is None:
        return []
    query = select(Model.name).where(Model.org_id == org.id, Model.latest_version_id.is_(None), visible_to(actor))
    return list(session.scalars(query.order_by(Model.name_key).limit(limit)))


def _in_scope(session: Session, actor: Actor, slug: str | None) -> ColumnElement[bool]:
    shown = and_(visible_to(actor), Model.latest_version_id.is_not(None))
    return shown if slug is None else and_(shown, Model.org_id == get_org(session, actor, slug).id)


def _count(session: Session, scope: ColumnElement[bool], wanted: ModelFilter) -> int:
    return session.scalar(select(func.count()).select_from(Model).where(scope, *passing(wanted))) or 0


def _show(session: Session, ids: Sequence[int]) -> list[Shown]:
    """The rows of these models, in this order."""
    query = (
        select(Model, Org, Version, downloads_of_model())
        .join(Org, Org.id == Model.org_id)
        .join(Version, Version.id == Model.latest_version_id)
        .options(*NOT_LISTED)
        .where(Model.id.in_(ids))
    )
    rows = {row[0].id: row for row in session.execute(query)}
    aliases = aliases_of_versions(session, [row[2].id for row in rows.values()])
    counts = count_versions(session, ids)
    return [_shown(*rows[model_id], aliases, counts) for model_id in ids]


def _shown(
    model: Model, org: Org, latest: Version, downloads: int, aliases: Mapping[int, list[str]], counts: Mapping[int, int]
) -> Shown:
    return Shown(Listed(model, org, latest, tuple(aliases.get(latest.id, ())), counts[model.id]), int(downloads))


def _order(sort_by: SortBy, *, descending: bool) -> list[ColumnElement[Any]]:
    columns: dict[SortBy, Any] = {
        "created_at": Model.created_at,
        "updated_at": Model.updated_at,
        "file_size_bytes": Version.size_bytes,
        "name": Model.name_key,
        "downloads": downloads_of_model(),
    }
    column = columns[sort_by]
    return [column.desc(), Model.id.desc()] if descending else [column.asc(), Model.id.asc()]


# --- facets

Chosen = Mapping[FacetKind, Sequence[str]]


def _with_absent(found: Sequence[FacetValue], distinct: int, chosen: Sequence[str]) -> FacetCounts:
    """What was chosen and no model has is told, too: else nobody could take it back."""
    values = {facet.value for facet in found}
    absent = [FacetValue(value, 0) for value in dict.fromkeys(chosen) if value not in values]
    return FacetCounts([*found, *absent], distinct - len(found))


def _commonest(scope: ColumnElement[bool], wanted: ModelFilter, chosen: Chosen, most_values: int) -> Select[Any]:
    """Kind, value, how many models have it, and of how many values: the commonest of each kind, and those chosen."""
    counted = _counted(scope, wanted, chosen)
    named = [and_(counted.c.kind == kind, counted.c.value.in_(values)) for kind, values in chosen.items()]
    told = or_(counted.c.rank <= most_values, *named)
    return select(counted).where(told).order_by(counted.c.kind, counted.c.rank)


def _counted(scope: ColumnElement[bool], wanted: ModelFilter, chosen: Chosen) -> Subquery:
    """Every value that a model has which passes the filter, but for what was chosen of the value's own kind."""
    bits = {kind: 1 << number for number, kind in enumerate(chosen)}
    matches = _matches(scope, wanted, chosen, bits)
    reached = [and_(ModelFacet.kind == kind, _is_among(matches, bit)) for kind, bit in bits.items()]
    by_count = (func.count().desc(), ModelFacet.value)
    return (
        select(
            ModelFacet.kind,
            ModelFacet.value,
            func.count().label("models"),
            func.row_number().over(partition_by=ModelFacet.kind, order_by=by_count).label("rank"),
            func.count().over(partition_by=ModelFacet.kind).label("of_kind"),
        )
        .where(or_(_is_among(matches, 0), *reached))
        .group_by(ModelFacet.kind, ModelFacet.value)
        .subquery()
    )


def _matches(scope: ColumnElement[bool], wanted: ModelFilter, chosen: Chosen, bits: Mapping[FacetKind, int]) -> CTE:
    """The models that pass all but the facets, looked at once; `missed` has a bit for each kind by which one fails."""
    missed: ColumnElement[int] = literal(0)
    for kind, values in chosen.items():
        missed += case((has_facet(kind, values), 0), else_=bits[kind])
    query = select(Model.id, missed.label("missed")).where(scope, *passing(replace(wanted, facets={})))
    return query.cte("matches").prefix_with("MATERIALIZED")


def _is_among(matches: CTE, missed: int) -> ColumnElement[bool]:
    """By a sum, or SQLite would look up the values of each model by themselves: to read all of the index, in its order,
    which is that of the groups, takes half the time."""
    return (ModelFacet.model_id + 0).in_(select(matches.c.id).where(matches.c.missed == missed))
