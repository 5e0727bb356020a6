"""Every failure as container tools are told it: status, code and headers (OCI distribution-spec 1.1, "Error codes")."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.datastructures import Headers

from steelyard.server import errors as of
from steelyard.server.core.arrivals.streams import WrongDigest
from steelyard.server.doors.middleware import RequestNotes
from steelyard.server.doors.oci.errors import answer
from steelyard.server.doors.proxies import read_origin
from steelyard.server.errors import Fault, RegistryError
from tests.house import Person, Registered
from tests.server.doors.oci.pushing import ORIGIN, Repository, error_of, message_of

_CODES = {
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"),
    *("MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED"),
    *("DENIED", "UNSUPPORTED", "TOOMANYREQUESTS"),
    *("PAGINATION_NUMBER_INVALID", "UNKNOWN"),  # distribution's own, for what the others do not fit
}
_UPLOAD, _BLOB = "/v2/acme/tiny/blobs/uploads/1", "/v2/acme/tiny/blobs/sha256:0"
_MANIFEST, _TAGS, _REFERRERS = "/v2/acme/tiny/manifests/1", "/v2/acme/tiny/tags/list", "/v2/acme/tiny/referrers/x"


def _kinds(kind: type[RegistryError]) -> Iterator[type[RegistryError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


def _said(registry: Registered, error: RegistryError, path: str, *, matched: bool = True) -> tuple[int, dict[str, Any]]:
    scope = {"type": "http", "method": "GET", "path": path, "app": registry.client.app}
    headers = Headers({"host": "127.0.0.1"})
    scope |= {"scheme": "http", "client": ("127.0.0.1", 1), "headers": headers.raw}
    scope["state"] = {"notes": RequestNotes("1", read_origin(scope, headers, ()))}
    response = answer({**scope, **({"route": object()} if matched else {})}, error)
    assert response.headers["docker-distribution-api-version"] == "registry/2.0"
    [item] = json.loads(bytes(response.body))["errors"]
    return response.status_code, item


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        (of.NotFound, _UPLOAD, (404, "BLOB_UPLOAD_UNKNOWN")),
        (of.NotFound, _BLOB, (404, "BLOB_UNKNOWN")),
        (of.NotFound, _MANIFEST, (404, "MANIFEST_UNKNOWN")),
        (of.NotFound, _TAGS, (404, "NAME_UNKNOWN")),
        (of.BadRequest, _UPLOAD, (400, "BLOB_UPLOAD_INVALID")),
        (of.BadRequest, _BLOB, (400, "DIGEST_INVALID")),
        (of.BadRequest, _REFERRERS, (400, "DIGEST_INVALID")),
        (of.BadRequest, _TAGS, (400, "UNSUPPORTED")),
        (of.Invalid, _MANIFEST, (400, "MANIFEST_INVALID")),
        (WrongDigest, _UPLOAD, (400, "DIGEST_INVALID")),
        (of.RangeNotSatisfiable, _UPLOAD, (416, "BLOB_UPLOAD_INVALID")),
        (of.RangeNotSatisfiable, _BLOB, (416, "SIZE_INVALID")),
        (of.TooLarge, _MANIFEST, (413, "SIZE_INVALID")),
        (of.AlreadyExists, _MANIFEST, (403, "DENIED")),
        (of.Conflict, _MANIFEST, (403, "DENIED")),
        (of.Forbidden, _UPLOAD, (403, "DENIED")),
        (of.RateLimited, _BLOB, (429, "TOOMANYREQUESTS")),
        (of.MethodNotAllowed, _BLOB, (405, "UNSUPPORTED")),
        (of.UpgradeRequired, _BLOB, (426, "DIGEST_INVALID")),
        (of.StorageFailed, _BLOB, (502, "UNKNOWN")),
        (of.Unavailable, _MANIFEST, (503, "UNKNOWN")),
        (of.DatabaseTimeout, "/token", (504, "UNKNOWN")),
        (RegistryError, "/v2/", (500, "UNKNOWN")),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_is_said(registry: Registered, kind: type[RegistryError], path: str, expected: tuple[int, str]) -> None:
    status, item = _said(registry, kind("Do something else."), path)
    assert (status, item) == (expected[0], {"code": expected[1], "message": "Do something else."})


@pytest.mark.parametrize("path", [_UPLOAD, _BLOB, _MANIFEST, _TAGS, _REFERRERS, "/v2/", "/token"])
def test_every_error_has_a_code_of_the_specification_and_no_409_or_422(registry: Registered, path: str) -> None:
    for kind in set(_kinds(RegistryError)):
        status, item = _said(registry, kind("no"), path)
        assert item["code"] in _CODES, kind
        assert status not in (409, 422), kind
        assert status < 500 or item["code"] == "UNKNOWN", kind


def test_the_faults_of_a_manifest_are_its_detail(registry: Registered) -> None:
    faults = tuple(Fault(("layers", number), "no") for number in range(200))
    _, item = _said(registry, of.Invalid("200 faults", faults=faults), _MANIFEST)
    assert item["detail"][0] == {"at": ["layers", 0], "message": "no"}
    assert len(item["detail"]) == 100


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/_catalog", "NAME_UNKNOWN"),
        ("/v2/acme/tags/list", "NAME_INVALID"),
        ("/v2/a/b/c/manifests/1.0.0", "NAME_INVALID"),
        ("/v2/a/b/c/d/blobs/uploads/1", "NAME_INVALID"),
        ("/v2/acme/tiny/manifests/a/b", "NAME_UNKNOWN"),
        ("/v2/x/resolve/manifests/a/b", "NAME_UNKNOWN"),
    ],
)
def test_an_address_of_nothing_says_what_repositories_are(ada: Person, path: str, code: str) -> None:
    answered = ada.get(ORIGIN + path, headers={"Accept": "text/html"})
    assert error_of(answered) == (404, code)
    assert "`org/model`" in message_of(answered)


@pytest.mark.parametrize("name", ["resolve", "raw", "blobs", "manifests", "tags"])
def test_no_name_of_a_model_hides_it_behind_another_door(ada: Person, name: str) -> None:
    assert ada.publish(f"{ada.name}/{name}:1.0.0").status_code == 201
    repo = Repository(ada, f"{ada.name}/{name}")
    assert repo.get("tags/list").json() == {"name": repo.name, "tags": ["1.0.0", "latest"]}
    assert repo.get("manifests/1.0.0").status_code == 200


@pytest.mark.parametrize("name", ["facets", "a..b", "a%2Fb", "x.git"])
def test_a_name_that_no_model_can_have(ada: Person, name: str) -> None:
    assert error_of(ada.get(f"{ORIGIN}/v2/{ada.name}/{name}/manifests/1.0.0")) == (404, "NAME_INVALID")


def test_a_method_that_is_not_there_names_those_that_are(repo: Repository) -> None:
    refused = repo.patch("manifests/1.0.0")
    assert error_of(refused) == (405, "UNSUPPORTED")
    assert refused.headers["allow"] == "DELETE, GET, HEAD, PUT"


def test_a_head_is_told_by_status_and_headers_alone(repo: Repository, registry: Registered) -> None:
    told = repo.head("manifests/1.0.0")
    assert (told.status_code, told.headers["docker-distribution-api-version"]) == (404, "registry/2.0")
    asked = Repository(registry.anonymous, repo.name).head("manifests/1.0.0")
    assert asked.status_code == 401
    assert asked.headers["www-authenticate"].endswith(f'scope="repository:{repo.name}:pull,push,delete"')
