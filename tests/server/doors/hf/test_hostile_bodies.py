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
        *("gitIgnore", "paths", "expand"),
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
        ("DELETE", f"/api/models/{REPO}/branch/%FF%00"),
        ("POST", f"/api/models/{REPO}/preupload/refs%2Fheads%2Fmain"),
        ("POST", "/api/models/%FF/%00/preupload/%ED%A0%80"),
        ("POST", f"/api/models/{REPO}/paths-info/%FF%00"),
        ("POST", "/api/validate-yaml"),
        ("POST", f"/{REPO}.git/info/lfs/objects/batch"),
        ("POST", f"/{REPO}.git/info/lfs/objects/verify"),
    ]
)
FILES = st.fixed_dictionaries(
    {"path": st.text(max_size=10), "size": st.integers(-1, 2**70)},
    optional={"sample": st.sampled_from(["", "YQ==", "!"])},
)
PREUPLOADS = st.fixed_dictionaries({"files": st.lists(FILES, max_size=3)}, optional={"gitIgnore": st.text(max_size=40)})
FRONTS = st.lists(
    st.sampled_from(["license: ", "tags: ", "metrics: ", "0x", "f" * 5_000, ":1", "!!int ", "!!bool ", "[", "{", "\n"])
    | st.text(max_size=5)
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
@given(body=PREUPLOADS)
def test_any_question_before_a_commit_is_answered_or_refused(ada: Person, body: Any) -> None:
    content, headers = json.dumps(body), {"Content-Type": "application/json"}
    url = f"http://127.0.0.1/api/models/{REPO}/preupload/main"
    assert ada.request("POST", url, content=content, headers=headers).status_code in (200, 400)


@_OFTEN
@given(front=FRONTS.map("".join))
def test_any_card_is_judged_before_it_is_sent(ada: Person, front: str) -> None:
    content = json.dumps({"content": f"---\n{front}\n---\n", "repoType": "model"})
    headers = {"Content-Type": "application/json"}
    answered = ada.request("POST", "http://127.0.0.1/api/validate-yaml", content=content, headers=headers)
    assert answered.status_code in (200, 400), answered.text


@pytest.mark.parametrize("number", ["0x" + "f" * 5_000, "0" + "7" * 6_000, ":".join(["1"] * 3_000)])
def test_a_card_with_an_endless_number_is_committed_and_published(ada: Person, number: str) -> None:
    ada.post("http://127.0.0.1/api/repos/create", {"name": "card"})
    line = {"path": "README.md", "content": f"---\nlicense: {number}\n---\n", "encoding": "utf-8"}
    said = [{"key": "header", "value": {"summary": number[:9]}}, {"key": "file", "value": line}]
    body = "\n".join(map(json.dumps, said))
    repo = "http://127.0.0.1/api/models/ada/card"
    assert ada.request("POST", f"{repo}/commit/main", content=body).status_code == 200
    published = ada.post(f"{repo}/tag/main", {"tag": f"1.0.{len(number)}"})
    assert published.status_code == 200, published.text


@_OFTEN
@given(said=st.lists(LINES, max_size=8))
def test_any_commit_is_made_or_refused(ada: Person, said: list[dict[str, Any]]) -> None:
    ada.post("http://127.0.0.1/api/repos/create", {"name": "tiny"})
    body = "\n".join(map(json.dumps, [{"key": "header", "value": {"summary": "x"}}, *said]))
    answered = ada.request("POST", f"http://127.0.0.1/api/models/{REPO}/commit/main", content=body)
    assert answered.status_code in (200, 400, 404), answered.text
