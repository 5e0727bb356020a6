"""How every failure is said to the Hub's clients, and to whom."""

from collections.abc import Iterator

import httpx2
import pytest
from huggingface_hub.errors import BadRequestError, EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from steelyard.server import errors
from steelyard.server.doors.hf.errors import answer, speaks_at
from steelyard.server.errors import RegistryError
from tests.conftest import MakeRegistered

_RAISED = {
    errors.NotFound: RepositoryNotFoundError,
    errors.RevisionNotFound: RevisionNotFoundError,
    errors.EntryNotFound: EntryNotFoundError,
    errors.Unauthenticated: RepositoryNotFoundError,
    errors.BadRequest: BadRequestError,
    errors.Invalid: BadRequestError,
}


def _kinds(of: type[RegistryError]) -> Iterator[type[RegistryError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _received(error: RegistryError, path: str = "/api/models/acme/tiny", *, matched: bool = True) -> httpx2.Response:
    """The answer as a client has it."""
    said = answer({"type": "http", "path": path, **({"route": object()} if matched else {})}, error)
    request = httpx2.Request("GET", f"http://127.0.0.1{path}")
    return httpx2.Response(said.status_code, headers=dict(said.headers), content=bytes(said.body), request=request)


@pytest.mark.parametrize("kind", sorted(set(_kinds(RegistryError)), key=str), ids=lambda kind: kind.__name__)
def test_every_error_is_shown_by_the_real_client(kind: type[RegistryError]) -> None:
    received = _received(kind("Do something else.", retry_after_seconds=7))
    assert received.json() == {"error": "Do something else."}
    assert received.headers["retry-after"] == "7"
    with pytest.raises(_RAISED.get(kind, Exception), match="Do something else"):
        hf_raise_for_status(received)
    assert received.status_code == (400 if issubclass(kind, errors.Invalid) else kind.status)


@pytest.mark.parametrize(
    ("path", "matched", "code"),
    [
        ("/api/models/acme/tiny", True, "RepoNotFound"),
        ("/acme/tiny/resolve/main/a.bin", True, "RepoNotFound"),
        ("/api/datasets/acme/tiny", False, "RepoNotFound"),
        ("/api/models/bert", False, "RepoNotFound"),
        ("/api/models/bert/revision/main", False, "RepoNotFound"),
        ("/bert/resolve/main/config.json", False, "RepoNotFound"),
        ("/spaces/a/b/resolve/main/app.py", False, "RepoNotFound"),
        ("/api/models/acme/tiny/not-offered", False, None),
        ("/api/tasks", False, None),
        ("/api/repos/create", True, None),
        ("/api/whoami-v2", True, None),
    ],
)
def test_only_a_repository_is_told_as_missing(path: str, matched: bool, code: str | None) -> None:
    for kind in (errors.NotFound, errors.Unauthenticated):
        assert _received(kind("no"), path, matched=matched).headers.get("x-error-code") == code


_KINDS = "This server keeps models: there are no other kinds"
_NAMED = "A model is named with its organisation, as ORG/NAME"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/datasets", _KINDS),
        ("/api/datasets/acme/words", _KINDS),
        ("/api/spaces", _KINDS),
        ("/api/kernels/acme/fast/tree/main", _KINDS),
        ("/datasets/acme/words/resolve/main/a.csv", _KINDS),
        ("/spaces/acme/demo/raw/main/app.py", _KINDS),
        ("/gpt2/resolve/main/config.json", _NAMED),
        ("/api/models/gpt2", _NAMED),
        ("/api/models/gpt2/revision/main", _NAMED),
        ("/api/models/gpt2/tree/main", _NAMED),
        ("/api/models/acme/tiny/not-offered", "does not have this part of the Hub"),
        ("/api/collections", "does not have this part of the Hub"),
        ("/api/papers/search", "does not have this part of the Hub"),
    ],
)
def test_an_address_without_anything_is_spoken_of_in_the_words_of_the_hub(
    make_registered: MakeRegistered, path: str, words: str
) -> None:
    admin = make_registered().admin
    for method in ("GET", "POST"):
        refused = admin.request(method, f"http://127.0.0.1{path}")
        assert refused.status_code == 404
        assert words in refused.json()["error"]
        assert words in refused.headers["x-error-message"]


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: b", "tab\there", "ü \udcff \0 \x1b[31m", "x" * 5_000])
def test_whatever_an_error_quotes_it_fits_a_header_and_a_body(text: str) -> None:
    received = _received(errors.NotFound(text))
    shown = received.headers["x-error-message"]
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 1_000
    assert received.json()["error"]


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/api/models", True),
        ("/api/whoami-v2", True),
        ("/api/v1x", True),
        ("/acme/tiny/resolve/main/a", True),
        ("/tiny/resolve/main/a", True),
        ("/acme/tiny/raw/main/a", True),
        ("/api/v1", False),
        ("/api/", False),
        ("/api/v10/x", False),
        ("/api/v2", False),
        ("/api/v1/org/acme/models/tiny/1.0.0/files/x/resolve/y", False),
        ("/api", False),
        ("/docs", False),
        ("/nothing", False),
        ("/resolve/x", False),
    ],
)
def test_addresses_are_those_of_one_door(path: str, ours: bool) -> None:
    assert speaks_at(path) is ours


def test_each_caller_is_answered_in_the_dialect_of_his_door(make_registered: MakeRegistered) -> None:
    registered = make_registered()
    client = registered.client
    assert client.get("/api/nothing").json().keys() == {"error"}
    assert client.get("/api/v1/nothing").json().keys() == {"code", "detail", "type"}
    assert client.get("/nothing").json().keys() == {"code", "detail", "type"}
    for path in ("/api/", "/api/v10/x", "/api/v2"):
        assert "`/docs`" in client.get(path).json()["detail"]
    huge = client.get("/api/models/a/b", headers={"X-Huge": "x" * 40_000})
    assert (huge.status_code, huge.json().keys()) == (400, {"error"})


def test_a_server_that_is_not_open_hides_everything_from_nobody_in_particular(make_registered: MakeRegistered) -> None:
    registered = make_registered()
    ada = registered.user("ada")
    assert ada.publish("ada/tiny:1.0.0", is_public=True).status_code == 201
    for path in ("/api/models/ada/tiny", "/ada/tiny/resolve/main/model.safetensors"):
        refused = registered.client.get(path)
        assert (refused.status_code, refused.headers["x-error-code"]) == (401, "RepoNotFound")
        with pytest.raises(RepositoryNotFoundError):
            hf_raise_for_status(refused)


def test_a_fault_of_ours_tells_the_request_and_no_more(
    make_registered: MakeRegistered, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = make_registered()

    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("steelyard.server.core.catalog.list_catalog", fail)
    failed = registered.admin.get("http://127.0.0.1/api/models")
    assert (failed.status_code, failed.json().keys()) == (500, {"error"})
    assert failed.headers["x-request-id"] in failed.json()["error"]
    assert "secret" not in failed.text


def test_a_silent_database_is_said_so_that_clients_try_again(
    make_registered: MakeRegistered, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = make_registered()

    def fail(*_: object, **__: object) -> None:
        raise errors.DatabaseTimeout("later")

    monkeypatch.setattr("steelyard.server.core.history.revisions.resolve_revision", fail)
    ada = registered.user("ada")
    ada.publish("ada/tiny:1.0.0")
    failed = ada.get("http://127.0.0.1/ada/tiny/resolve/main/model.safetensors")
    assert (failed.status_code, failed.json()) == (504, {"error": "later"})
    assert "x-error-code" not in failed.headers
