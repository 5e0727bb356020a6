"""Arguments, then the environment, then the login file; and who may read that file."""

import json
import os
from pathlib import Path

import pytest

from steelyard.client.addresses import base_url, is_loopback, linked, origin, route
from steelyard.client.errors import InvalidReference, InvalidSettings, UnexpectedAnswer
from steelyard.client.references import ModelName, Reference
from steelyard.client.settings import LoginFile, cache_path, find_connection, login_path


def login_file(path: Path, **tokens: str) -> Path:
    file = LoginFile(path)
    for host, token in tokens.items():
        file = file.with_token(f"https://{host}.example", token)
    file.write()
    return path


def test_an_argument_wins_over_the_environment_and_that_over_the_login(tmp_path: Path) -> None:
    path = login_file(tmp_path / "login.json", filed="token-in-file")
    environ = {"STEELYARD_URL": "https://env.example/", "STEELYARD_TOKEN": "token-in-env"}
    assert find_connection(environ={}, login_file=path).url == "https://filed.example"
    assert find_connection(environ={}, login_file=path).token == "token-in-file"
    found = find_connection(environ=environ, login_file=path)
    assert (found.url, found.token, found.source) == ("https://env.example", "token-in-env", "STEELYARD_TOKEN")
    assert find_connection("https://arg.example", "argued", environ=environ, login_file=path).token == "argued"


def test_a_token_of_the_environment_is_not_sent_to_another_address(tmp_path: Path) -> None:
    path = login_file(tmp_path / "login.json", other="token-of-other")
    environ = {"STEELYARD_URL": "https://env.example", "STEELYARD_TOKEN": "token-in-env"}
    assert find_connection("https://other.example", environ=environ, login_file=path).token == "token-of-other"
    assert find_connection("https://third.example", environ=environ, login_file=path).token is None
    assert find_connection("https://env.example:443/prefix", environ=environ, login_file=path).token == "token-in-env"


def test_without_any_address_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="steelyard login"):
        find_connection(environ={}, login_file=tmp_path / "none.json")


def test_a_login_file_nobody_needs_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "login.json").write_text("damaged")
    environ = {"STEELYARD_URL": "https://env.example", "STEELYARD_TOKEN": "token-in-env"}
    assert find_connection(environ=environ, login_file=tmp_path / "login.json").token == "token-in-env"


def test_tokens_are_kept_per_origin_and_the_last_login_is_the_default(tmp_path: Path) -> None:
    path = login_file(tmp_path / "deep" / "login.json", one="token-1", two="token-2")
    logins = LoginFile.read(path)
    assert logins.default == "https://two.example"
    assert logins.tokens == {"https://one.example:443": "token-1", "https://two.example:443": "token-2"}
    logins.without("https://two.example").write()
    assert LoginFile.read(path).default is None
    assert list(LoginFile.read(path).tokens) == ["https://one.example:443"]


def test_only_the_owner_can_read_the_login_file(tmp_path: Path) -> None:
    old_umask = os.umask(0)
    try:
        path = login_file(tmp_path / "login.json", one="token-1")
    finally:
        os.umask(old_umask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["login.json"]
    path.chmod(0o640)
    with pytest.raises(InvalidSettings, match="chmod 600"):
        LoginFile.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"tokens": 3}', "[" * 10000])
def test_a_damaged_login_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "login.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InvalidSettings, match="damaged"):
        LoginFile.read(path)


def test_the_login_file_holds_json(tmp_path: Path) -> None:
    path = login_file(tmp_path / "login.json", one="token-1")
    assert json.loads(path.read_text())["default"] == "https://one.example"


def test_files_are_where_the_environment_says() -> None:
    assert login_path({"STEELYARD_CONFIG": "/x/y.json"}) == Path("/x/y.json")
    assert login_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/steelyard/credentials.json")
    assert login_path({}) == Path.home() / ".config/steelyard/credentials.json"
    assert cache_path({"STEELYARD_CACHE": "/x"}) == Path("/x")
    assert cache_path({"XDG_CACHE_HOME": "/c"}) == Path("/c/steelyard")
    assert cache_path({}) == Path.home() / ".cache/steelyard"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://Registry.Example.com/", "https://registry.example.com"),
        ("http://h:80", "http://h"),
        ("https://h:8443/prefix/api/v1/", "https://h:8443/prefix"),
        ("http://[::1]:8950", "http://[::1]:8950"),
    ],
)
def test_an_address_has_one_spelling(text: str, expected: str) -> None:
    assert base_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ftp://h",
        "registry.example.com",
        "http://",
        "http://h:99999",
        "https://user:secret@h",
        "http://h/?q",
        "http://[x",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_a_secret(text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        base_url(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:x", "//h/x", "http://h:bad/", "gopher://h"])
def test_a_link_that_is_not_http_is_not_followed(url: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        origin(url)


def test_a_link_may_be_relative_but_never_leads_down_to_http() -> None:
    assert linked("https://h/a/b", "/c?d") == "https://h/c?d"
    assert linked("http://h/", "https://store.example/x") == "https://store.example/x"
    assert linked("http://h/", "http://store.example/x") == "http://store.example/x"
    for link in ("http://h/x", "http://store.example/x", "file:///x", "//[x"):
        with pytest.raises(UnexpectedAnswer):
            linked("https://h/", link)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("HTTPS://H/x?y") == origin("https://h:443") == "https://h:443"
    assert origin("http://h") != origin("https://h")
    assert origin("http://h") != origin("http://h:81")


def test_loopback_is_known_by_name_and_number() -> None:
    assert all(
        is_loopback(f"http://{host}:1") for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]", "a.localhost")
    )
    assert not any(is_loopback(f"http://{host}") for host in ("example.com", "10.0.0.1", "localhost.example.com"))


def test_a_route_keeps_every_segment_one() -> None:
    assert route("org", "a", "models", "b", "^1 || 2/../x") == "/api/v1/org/a/models/b/%5E1%20%7C%7C%202%2F..%2Fx"


@pytest.mark.parametrize("text", ["acme/tiny:1.0.0", "acme/tiny@1.0.0"])
def test_a_colon_and_an_at_sign_mean_the_same(text: str) -> None:
    assert Reference.parse(text) == Reference(ModelName("acme", "tiny"), "1.0.0")


@pytest.mark.parametrize(
    "text",
    [
        "tiny",
        "acme/",
        "/tiny",
        "Acme/tiny",
        "acme/tiny:",
        "acme/ti/ny",
        "acme/../x",
        "a" * 65 + "/x",
        "acme/-x",
        "acme/ti ny",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        Reference.parse(text)


def test_a_reference_with_a_v_is_told_what_to_write() -> None:
    with pytest.raises(InvalidReference, match="without the `v`"):
        Reference.parse("acme/tiny:v1.0.0").exact_version()
