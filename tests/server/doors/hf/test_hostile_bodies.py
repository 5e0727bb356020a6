"""Whatever is sent to what changes something is understood or refused; it is never a fault of ours."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.house import Person, Registered
from tests.house.registries import open_registered

REPO = "ada/tiny"
NAMES = st.sampled_from(
    ["tiny", "ada/tiny", "ada", "main", "v1.0.0", "1.0.0", "dev", "a/b", "", "x" * 300, "\0", "\ud800"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *("name", "organization", "type", "visibility", "private", "gated", "tag", "message", "startingPoint"),
        *("files", "path", "sample", "size", "operation", "transfers", "objects", "oid", "hash_algo", "content"),
    ]
)
BODIES = st.dictionaries(KEYS, JSON, max_size=5) | JSON
ADDRESSES = st.sampled_from(
    [
        ("POST", "/api/repos/create"),
        ("DELETE", "/api/repos/delete"),
        ("POST", "/api/repos/move"),
        ("PUT", f"/api/models/{REPO}/settings"),
        ("POST", f"/api/models/{REPO}/preupload/main"),
        ("POST", f"/api/models/{REPO}/commit/main"),
        ("POST", f"/api/models/{REPO}/tag/main"),
        ("DELETE", f"/api/models/{REPO}/tag/%00"),
        ("POST", f"/api/models/{REPO}/branch/%ED%A0%80"),
        ("POST", f"/api/models/{REPO}/branch/a%2Fb"),
        ("POST", f"/api/models/{REPO}/super-squash/main"),
        ("POST", f"/{REPO}.git/info/lfs/objects/batch"),
        ("POST", f"/{REPO}.git/info/lfs/objects/verify"),
    ]
)
OPERATIONS = st.sampled_from(["header", "file", "lfsFile", "deletedFile", "deletedFolder"])
PATHS = st.sampled_from(["a", "A", "a/b", "a/b/c", "dir", "dir/", ".gitattributes", "é", "e\u0301"]) | st.text(
    max_size=5
)
VALUES = st.fixed_dictionaries(
    {"path": PATHS},
    optional={
        "content": st.sampled_from(["", "YQ==", "Yg=="]),
        "oid": st.just("0" * 64),
        "summary": st.text(max_size=5),
    },
)
LINES = st.fixed_dictionaries({"key": OPERATIONS, "value": VALUES})


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry that all examples share; none may take it down."""
    with open_registered(data=tmp_path_factory.mktemp("hostile") / "data", limits="off") as opened:
        yield opened


@pytest.fixture(scope="module")
def ada(registry: Registered) -> Person:
    """Somebody with a model, who may do everything to it."""
    ada = registry.user("ada")
    assert ada.post("http://127.0.0.1/api/repos/create", {"name": "tiny"}).status_code == 200
    return ada


_OFTEN = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_OFTEN
@given(address=ADDRESSES, body=BODIES)
def test_any_json_is_understood_or_refused(ada: Person, address: tuple[str, str], body: Any) -> None:
    method, path = address
    headers = {"Content-Type": "application/json"}
    answered = ada.request(method, f"http://127.0.0.1{path}", content=json.dumps(body), headers=headers)
    assert answered.status_code < 500, answered.text


@_OFTEN
@given(said=st.lists(LINES, max_size=8))
def test_any_commit_is_made_or_refused(ada: Person, said: list[dict[str, Any]]) -> None:
    ada.post("http://127.0.0.1/api/repos/create", {"name": "tiny"})
    body = "\n".join(map(json.dumps, [{"key": "header", "value": {"summary": "x"}}, *said]))
    answered = ada.request("POST", f"http://127.0.0.1/api/models/{REPO}/commit/main", content=body)
    assert answered.status_code in (200, 400, 404), answered.text
