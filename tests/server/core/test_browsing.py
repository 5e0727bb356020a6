"""The list of all models on every database: what is counted, in which order, and for whom."""

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy.orm import Session

from steelyard.server.core import browsing
from steelyard.server.core.access import Actor, Role
from steelyard.server.core.browsing import SortBy
from steelyard.server.core.models import FacetKind, ModelFilter
from steelyard.server.core.orgs import get_org
from tests.conftest import MakeRegistered
from tests.house.postgres import postgres_url

_SHELF = {
    "acme/one": ("mit", ["a", "b"], 3),
    "acme/two": ("mit", ["a"], 1),
    "acme/three": ("gpl-3.0", ["a", "c"], 2),
    "other/four": ("mit", ["a", "d"], 4),
}


class Shelf:
    """Four models of two organisations, and a member of the first of them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        everything = Actor("user:x", "x", roles=dict.fromkeys(range(1, 10), Role.OWNER), token_uuid="x")
        self.member = Actor("user:m", "m", roles={get_org(session, everything, "acme").id: Role.READER}, token_uuid="m")

    def names(self, sort_by: SortBy, *, descending: bool = False, **facets: list[str]) -> list[str]:
        wanted = ModelFilter(facets={FacetKind(kind): values for kind, values in facets.items()})
        rows = browsing.list_visible_models(
            self.session, self.member, wanted, sort_by=sort_by, descending=descending, page=1, limit=10
        )
        return [f"{row.listed.org.slug}/{row.listed.model.name}" for row in rows]

    def counts(self, kind: FacetKind, most_values: int = 10, **facets: list[str]) -> Mapping[str, int]:
        wanted = ModelFilter(facets={FacetKind(name): values for name, values in facets.items()})
        counted = browsing.count_facets(self.session, self.member, wanted, most_values=most_values)
        return {facet.value: facet.count for facet in counted.kinds[kind].values}


@pytest.fixture(params=["sqlite", "postgres"])
def shelf(request: pytest.FixtureRequest, make_registered: MakeRegistered) -> Iterator[Shelf]:
    """The shelf, on either database."""
    registered = make_registered(database=postgres_url() if request.param == "postgres" else None)
    owners = {slug: registered.org(slug) for slug in ("acme", "other")}
    for ref, (license_, tags, size) in _SHELF.items():
        owner = owners[ref.partition("/")[0]]
        published = owner.publish(f"{ref}:1.0.0", {"a.bin": b"x" * size}, license=license_, tags=tags)
        assert published.status_code == 201, published.text
    with registered.client.app.state.registry.database.read() as session:  # type: ignore[attr-defined]
        yield Shelf(session)


def test_what_is_counted(shelf: Shelf) -> None:
    assert shelf.counts(FacetKind.TAG) == {"a": 3, "b": 1, "c": 1}
    assert shelf.counts(FacetKind.LICENSE) == {"mit": 2, "gpl-3.0": 1}
    assert list(shelf.counts(FacetKind.TAG)) == ["a", "b", "c"], "the commonest first, and then by name"


def test_what_is_counted_of_what_is_narrowed(shelf: Shelf) -> None:
    assert shelf.counts(FacetKind.TAG, license=["mit"]) == {"a": 2, "b": 1}
    assert shelf.counts(FacetKind.LICENSE, license=["mit"]) == {"mit": 2, "gpl-3.0": 1}
    assert shelf.counts(FacetKind.LICENSE, license=["mit"], tags=["b", "c"]) == {"mit": 1, "gpl-3.0": 1}
    assert shelf.counts(FacetKind.TAG, most_values=1, tags=["c", "d"]) == {"a": 3, "c": 1, "d": 0}


def test_the_order(shelf: Shelf) -> None:
    assert shelf.names("created_at") == shelf.names("updated_at") == ["acme/one", "acme/two", "acme/three"]
    assert shelf.names("file_size_bytes", descending=True) == ["acme/one", "acme/three", "acme/two"]
    assert shelf.names("name") == ["acme/one", "acme/three", "acme/two"]
    assert len(shelf.names("downloads")) == 3
    assert shelf.names("name", tags=["b", "c"], license=["mit"]) == ["acme/one"]
