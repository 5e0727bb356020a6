"""One place speaks HTTP: whom it trusts with the token, what it repeats, what it refuses to read."""

import time
from collections.abc import Iterator

import pytest

from steelyard import __version__
from steelyard.client import _http, errors
from steelyard.client._http import Http
from tests.client.fakes import FakeRegistry, Reply, error_reply, json_reply


@pytest.fixture
def http(fake: FakeRegistry) -> Iterator[Http]:
    made = Http(fake.url, "the-token", timeout_seconds=2, connections=2)
    yield made
    made.close()


def test_every_call_says_who_calls_and_with_what(fake: FakeRegistry, http: Http) -> None:
    fake.on("GET", "/api/v1/user", json_reply({"id": 1}))
    assert http.call("GET", "/api/v1/user").body == {"id": 1}
    [seen] = fake.seen
    assert seen.headers["Authorization"] == "Bearer the-token"
    assert seen.headers["User-Agent"] == f"steelyard/{__version__}"


@pytest.mark.parametrize(
    ("status", "type_", "kind"),
    [
        (400, "invalid_request_error", errors.BadRequest),
        (401, "authentication_error", errors.AuthenticationFailed),
        (403, "forbidden_error", errors.Forbidden),
        (404, "not_found_error", errors.NotFound),
        (409, "already_exists_error", errors.AlreadyExists),
        (409, "conflict_error", errors.Conflict),
        (413, "invalid_request_error", errors.TooLarge),
        (416, "invalid_request_error", errors.BadRequest),
        (422, "validation_error", errors.ValidationFailed),
        (426, "upgrade_required_error", errors.UpgradeRequired),
        (429, "rate_limit_error", errors.RateLimited),
        (500, "internal_error", errors.ServerFailed),
        (504, "storage_timeout_error", errors.ServerFailed),
    ],
)
def test_each_status_is_an_error_of_its_own(
    fake: FakeRegistry, http: Http, status: int, type_: str, kind: type[errors.ApiError]
) -> None:
    fake.on(
        "POST",
        "/api/v1/x",
        error_reply(status, type_, "what went wrong", **{"X-Request-Id": "r-1", "Retry-After": "900"}),
    )
    with pytest.raises(kind) as caught:
        http.call("POST", "/api/v1/x", body={})
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.type, error.detail, error.request_id) == (status, type_, "what went wrong", "r-1")
    assert str(error) == "what went wrong [request r-1]"
    assert error.retry_after_seconds == 900


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"detail": 3, "type": [], "errors": "x"}', b"{" * 100_000])
def test_an_error_without_our_body_still_gives_its_status(fake: FakeRegistry, http: Http, body: bytes) -> None:
    fake.on("GET", "/api/v1/x", Reply(418, body))
    with pytest.raises(errors.BadRequest, match="418"):
        http.call("GET", "/api/v1/x")


def test_what_is_safe_to_repeat_is_repeated(fake: FakeRegistry, http: Http) -> None:
    fake.in_turn("GET", "/api/v1/x", Reply(503), Reply(502), json_reply({"ok": True}))
    assert http.call("GET", "/api/v1/x").body == {"ok": True}
    assert len(fake.seen) == 3


def test_what_is_not_safe_to_repeat_is_sent_once(fake: FakeRegistry, http: Http) -> None:
    fake.in_turn("POST", "/api/v1/x", Reply(502), json_reply({}))
    with pytest.raises(errors.ServerFailed):
        http.call("POST", "/api/v1/x", body={})
    fake.on("DELETE", "/api/v1/x", Reply(504))
    with pytest.raises(errors.ServerFailed):
        http.call("DELETE", "/api/v1/x")
    assert len(fake.seen) == 2


def test_a_fault_of_the_server_is_not_repeated(fake: FakeRegistry, http: Http) -> None:
    fake.in_turn("GET", "/api/v1/x", Reply(500), json_reply({}))
    with pytest.raises(errors.ServerFailed):
        http.call("GET", "/api/v1/x")
    assert len(fake.seen) == 1


def test_a_rate_limit_is_waited_for_as_long_as_the_registry_asks(fake: FakeRegistry, http: Http) -> None:
    fake.in_turn(
        "POST", "/api/v1/x", error_reply(429, "rate_limit_error", "slow", **{"Retry-After": "1"}), json_reply({})
    )
    begun = time.monotonic()
    http.call("POST", "/api/v1/x", body={})
    assert 0.9 < time.monotonic() - begun < 3


def test_an_answer_that_breaks_off_is_asked_for_again(fake: FakeRegistry, http: Http) -> None:
    whole = json_reply({"text": "x" * 1000})
    fake.in_turn("GET", "/api/v1/x", Reply(200, whole.body, cut_after=100), whole)
    assert http.call("GET", "/api/v1/x").body == {"text": "x" * 1000}


def test_nobody_there_is_said_plainly() -> None:
    nowhere = Http("http://127.0.0.1:9", None, timeout_seconds=1, connections=1)
    with pytest.raises(errors.ConnectionFailed, match=r"cannot reach http://127\.0\.0\.1:9: .*refused"):
        nowhere.call("GET", "/api/v1/x")


def test_a_silent_server_is_given_up(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: object) -> Reply:
        time.sleep(1)
        return Reply()

    fake.on("POST", "/api/v1/x", silent)
    impatient = Http(fake.url, None, timeout_seconds=0.1, connections=1)
    with pytest.raises(errors.ConnectionFailed, match="in time"):
        impatient.call("POST", "/api/v1/x")


def test_a_redirect_of_the_api_is_not_followed(fake: FakeRegistry, http: Http) -> None:
    fake.on("GET", "/api/v1/x", Reply(307, headers={"Location": "https://elsewhere.example/api?secret=1"}))
    with pytest.raises(errors.UnexpectedAnswer, match=r"https://elsewhere\.example/api") as caught:
        http.call("GET", "/api/v1/x")
    assert "secret" not in str(caught.value)


def test_the_token_does_not_go_to_another_origin(fake: FakeRegistry, http: Http) -> None:
    with FakeRegistry() as other:
        other.on("GET", "/bytes", Reply(200, b"data"))
        fake.on("GET", "/api/v1/x", Reply(302, headers={"Location": f"{other.url}/bytes"}))
        response = http.follow(http.url("/api/v1/x"), {})
        assert response.read() == b"data"
        other.on("PUT", "/part", Reply(200))
        http.put_bytes(f"{other.url}/part", [b"abc"], 3, {})
        assert fake.seen[0].headers["Authorization"] == "Bearer the-token"
        assert [seen.headers["Authorization"] for seen in other.seen] == [None, None]
        assert other.seen[1].body == b"abc"


def test_a_circle_of_redirects_ends(fake: FakeRegistry, http: Http) -> None:
    fake.on("GET", "/round", Reply(302, headers={"Location": "/round?ticket=t"}))
    with pytest.raises(errors.UnexpectedAnswer, match="redirects") as caught:
        http.follow(http.url("/round"), {})
    assert len(fake.seen) == 6
    assert "ticket" not in str(caught.value)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://h/x", "gopher://h", "http://", "javascript:1"])
def test_a_redirect_away_from_http_is_not_followed(fake: FakeRegistry, http: Http, target: str) -> None:
    fake.on("GET", "/x", Reply(302, headers={"Location": target}))
    with pytest.raises(errors.UnexpectedAnswer):
        http.follow(http.url("/x"), {})


def test_an_endless_answer_is_not_read(fake: FakeRegistry, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "MAX_ANSWER_BYTES", 1 << 20)
    fake.on("GET", "/api/v1/x", Reply(200, b" " * (3 << 20)))
    with pytest.raises(errors.UnexpectedAnswer, match="more than 1 MiB"):
        http.call("GET", "/api/v1/x")


@pytest.mark.parametrize("body", [b"<html>hello", b"[" * 200_000, b"\xff\xfe", b'{"a": NaN}'])
def test_what_is_no_json_is_no_registry(fake: FakeRegistry, http: Http, body: bytes) -> None:
    fake.on("GET", "/api/v1/x", Reply(200, body))
    with pytest.raises(errors.UnexpectedAnswer, match="JSON"):
        http.call("GET", "/api/v1/x")


def test_a_compressed_answer_is_not_unpacked(fake: FakeRegistry, http: Http) -> None:
    fake.on("GET", "/api/v1/x", Reply(200, b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip"}))
    with pytest.raises(errors.UnexpectedAnswer, match="JSON"):
        http.call("GET", "/api/v1/x")
    assert fake.seen[0].headers["Accept-Encoding"] == "identity"


def test_a_proxy_of_the_environment_is_used_and_never_for_this_machine(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", fake.url.replace("//", "//ann:pass@"))
    monkeypatch.setenv("no_proxy", "direct.test")
    fake.on("GET", "/api/v1/x", json_reply({"by": "proxy"}))
    far = Http("http://registry.test", "the-token", timeout_seconds=2, connections=1)
    assert far.call("GET", "/api/v1/x").body == {"by": "proxy"}
    assert fake.seen[0].headers["Host"] == "registry.test"
    assert fake.seen[0].headers["Proxy-Authorization"].startswith("Basic ")
    near = Http(fake.url, None, timeout_seconds=2, connections=1)
    assert near.call("GET", "/api/v1/x").body == {"by": "proxy"}
    assert fake.seen[1].headers["Proxy-Authorization"] is None
    direct = Http("http://direct.test", None, timeout_seconds=1, connections=1)
    with pytest.raises(errors.ConnectionFailed):
        direct.call("POST", "/api/v1/x")


def test_a_header_a_registry_chose_cannot_add_another(fake: FakeRegistry, http: Http) -> None:
    with pytest.raises((errors.UnexpectedAnswer, errors.ConnectionFailed)):
        http.put_bytes(f"{fake.url}/x", [b"abc"], 3, {"X-One": "a\r\nX-Two: b"})
    assert fake.seen == []
