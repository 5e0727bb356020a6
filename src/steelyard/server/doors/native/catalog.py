"""All models that the caller may see, of every organisation: the list, and what it can be filtered by with counts."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from steelyard.server.core import browsing
from steelyard.server.core.browsing import CountedFacets, FacetCounts, SortBy
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import FacetKind, ModelFilter
from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.native import answers
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import PublicRoute
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import ChosenFacets, Limit200, OrgQuery, SearchText

router = APIRouter(prefix="/models", tags=["models"], route_class=PublicRoute, responses=errors())


async def _filter(chosen: ChosenFacets, name: SearchText = None, search: SearchText = None) -> ModelFilter:
    return ModelFilter(name=name, search=search, facets=chosen)


FilterQuery = Annotated[ModelFilter, Depends(_filter)]


@router.get("")
def list_visible_models(
    call: CallHere,
    wanted: FilterQuery,
    org: OrgQuery = None,
    sort_by: SortBy = "created_at",
    sort_dir: Literal["asc", "desc"] = "desc",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    limit: Limit200 = 50,
) -> s.Catalog:
    """List all models that the caller may see, of every organization, each by its latest version."""
    with call.read(LimitedAction.SEARCH) as session:
        total = browsing.count_visible_models(session, call.actor, wanted, slug=org)
        rows = browsing.list_visible_models(
            session, call.actor, wanted, slug=org, sort_by=sort_by, descending=sort_dir == "desc", page=page,
            limit=limit,
        )  # fmt: skip
        total_pages = -(-total // limit)
        return s.Catalog(
            models=[answers.shown(session, call.actor, row) for row in rows],
            page=page,
            limit=limit,
            total=total,
            total_pages=total_pages,
            has_next=page < total_pages,
            has_previous=1 < page <= total_pages + 1,
        )


@router.get("/facets")
def get_visible_model_facets(
    call: CallHere, wanted: FilterQuery, org: OrgQuery = None, limit: Limit200 = 20
) -> s.CatalogFacets:
    """Get what all models that the caller may see can be filtered by, and how many models that leaves.

    Of each kind at most `limit` values are told, the commonest first, besides those that are filtered by.
    """
    with call.read(LimitedAction.SEARCH) as session:
        facets = browsing.count_facets(session, call.actor, wanted, slug=org, most_values=limit)
    return _facets(facets)


def _facets(facets: CountedFacets) -> s.CatalogFacets:
    return s.CatalogFacets(
        total=facets.total,
        filtered_total=facets.filtered_total,
        frameworks=_values(facets.kinds[FacetKind.FRAMEWORK]),
        licenses=_values(facets.kinds[FacetKind.LICENSE]),
        size_categories=_values(facets.kinds[FacetKind.SIZE_CATEGORY]),
        tags=_values(facets.kinds[FacetKind.TAG]),
        task_categories=_values(facets.kinds[FacetKind.TASK_CATEGORY]),
    )


def _values(counts: FacetCounts) -> s.FacetValues:
    values = [s.FacetValue(value=facet.value, count=facet.count) for facet in counts.values]
    return s.FacetValues(values=values, others=counts.others)
