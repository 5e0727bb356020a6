"""Tags and referrers: what is listed, to whom, and in which pages."""

import httpx2
import pytest

from tests.house import Person, Registered
from tests.server.doors.oci.pushed_sets import image
from tests.server.doors.oci.pushing import (
    EMPTY,
    Repository,
    as_bytes,
    descriptor,
    digest_of,
    error_of,
    image_manifest,
)
from tests.server.doors.oci.requirements import push_set

FILES = {"model.safetensors": b"weights"}


def next_of(answered: httpx2.Response) -> str | None:
    """Where a list goes on."""
    link = answered.headers.get("link")
    if link is None:
        return None
    address, _, rel = link.partition(">; ")
    assert (address[:5], rel) == ("</v2/", 'rel="next"')
    return str(address.removeprefix("<"))


def test_versions_aliases_and_pushed_tags_are_listed_and_twins_and_yanked_versions_are_not(
    repo: Repository, ada: Person
) -> None:
    for number in ("1.0.0", "1.1.0+cu12", "2.0.0"):
        assert ada.publish(f"{repo.name}:{number}", FILES).status_code == 201
    path = f"/org/{ada.name}/models/tiny"
    assert ada.post(f"{path}/1.0.0/aliases", {"alias": "prod"}).status_code == 200
    assert ada.put(f"{path}/2.0.0/yank", {"reason": "wrong"}).status_code == 200
    push_set(repo, [image("cache")])
    assert repo.get("manifests/1.0.0-image").status_code == 200
    assert repo.get("manifests/2.0.0").status_code == 200
    assert repo.get("tags/list").json()["tags"] == ["1.0.0", "1.1.0_cu12", "cache", "latest", "prod"]


def test_pages_of_one_lead_through_all_tags(repo: Repository) -> None:
    push_set(repo, [image("a"), image("b"), image("c")])
    seen, path = [], "tags/list?n=1"
    for _ in range(3):
        page = repo.get(path)
        seen += page.json()["tags"]
        path = next_of(page) or ""
    assert (seen, path) == (["a", "b", "c"], "")


@pytest.mark.parametrize("query", ["n=-1", "n=x", "n=1.5", "n=9999999999999999", "n="])
def test_a_number_that_is_none_is_refused(repo: Repository, query: str) -> None:
    push_set(repo, [image("a")])
    assert error_of(repo.get(f"tags/list?{query}")) == (400, "PAGINATION_NUMBER_INVALID")


def test_lists_are_for_those_who_may_see_the_model_or_make_it(
    repo: Repository, bob: Person, registry: Registered
) -> None:
    lists = ("tags/list", f"referrers/{digest_of(b'')}")
    for each in lists:
        assert repo.get(each).status_code == 200
        assert error_of(repo.by(bob).get(each)) == (404, "NAME_UNKNOWN")
        assert error_of(repo.by(registry.anonymous).get(each)) == (401, "UNAUTHORIZED")
    push_set(repo, [image("a")])
    for each in lists:
        assert error_of(repo.by(bob).get(each)) == (404, "NAME_UNKNOWN")


def refer(repo: Repository, subject: str, count: int, *, annotation: str = "") -> list[str]:
    """Push so many manifests that refer to one; answers their digests."""
    repo.push_blob(b"{}")
    digests = []
    for place in range(count):
        said = image_manifest(
            descriptor(EMPTY, b"{}"),
            [],
            subject={"mediaType": "text/plain", "digest": subject, "size": 1},
            artifactType="application/x.one+json" if place % 2 else "application/x.two",
            annotations={"org.example.place": f"{place}{annotation}"},
        )
        assert repo.push_manifest(said).status_code == 201
        digests.append(digest_of(as_bytes(said)))
    return digests


def test_referrers_come_in_pages_that_keep_the_filter(repo: Repository) -> None:
    subject = digest_of(b"not there")
    odd = refer(repo, subject, 6)[1::2]
    page = repo.get(f"referrers/{subject}", params={"artifactType": "application/x.one+json", "n": "2"})
    assert [each["digest"] for each in page.json()["manifests"]] == odd[:2]
    path = next_of(page)
    assert path is not None
    rest = repo.get(path)
    assert [each["digest"] for each in rest.json()["manifests"]] == odd[2:]
    assert (rest.headers["oci-filters-applied"], next_of(rest)) == ("artifactType", None)


@pytest.mark.parametrize("query", ["last=x", "n=-1"])
def test_a_page_of_referrers_that_is_none_is_refused(repo: Repository, query: str) -> None:
    push_set(repo, [image("a")])
    asked = repo.get(f"referrers/{digest_of(b'')}?{query}")
    assert error_of(asked) == (400, "PAGINATION_NUMBER_INVALID")
