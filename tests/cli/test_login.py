"""Logging in and out: the file, its mode, and which token goes where."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.client.fakes import FakeRegistry, json_reply
from tests.house import RunningServer


def test_a_login_is_kept_for_its_owner_only_and_used_from_then_on(
    run: Run, live: RunningServer, tmp_path: Path
) -> None:
    assert "admin" in run("login", live.url, stdin=live.token + "\n").stdout
    path = tmp_path / "login.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert run("user", "show").stdout.startswith("username: admin\n")
    path.chmod(0o644)
    assert "chmod 600" in run("user", "show", code=2).stderr
    path.chmod(0o600)
    run("logout")
    assert json.loads(path.read_text())["tokens"] == {}
    assert "steelyard login" in run("user", "show", code=2).stderr


def test_a_token_the_registry_does_not_know_is_not_kept(run: Run, live: RunningServer, tmp_path: Path) -> None:
    run("login", live.url, stdin="wrong-token\n", code=4)
    run("login", live.url, stdin="\n", code=2)
    assert not (tmp_path / "login.json").exists()


def test_a_login_from_a_flag_and_the_environment(run: Run, live: RunningServer, tmp_path: Path) -> None:
    run("login", live.url, "--token", live.token)
    assert json.loads((tmp_path / "login.json").read_text())["default"] == live.url


def test_the_token_goes_to_its_own_registry_only(
    run: Run, live: RunningServer, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("login", live.url, stdin=live.token + "\n")
    fake.on("GET", "/api/v1/user", json_reply({"id": "1", "username": "x"}))
    run("user", "show", "--url", fake.url)
    monkeypatch.setenv("STEELYARD_URL", live.url)
    monkeypatch.setenv("STEELYARD_TOKEN", live.token)
    run("user", "show", "--url", fake.url)
    assert [seen.headers["Authorization"] for seen in fake.seen] == [None, None]
    run("user", "show", "--url", fake.url, "--token", "mine")
    assert fake.seen[-1].headers["Authorization"] == "Bearer mine"


def test_a_token_in_the_clear_is_worth_a_warning(run: Run, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", fake.url)
    fake.on("GET", "/api/v1/user", json_reply({"id": "1", "username": "x"}))
    assert "without encryption" in run("user", "show", "--url", "http://far.test", "--token", "t").stderr
    assert run("user", "show", "--url", "http://far.test").stderr == ""
    assert run("user", "show", "--url", fake.url, "--token", "t").stderr == ""


def test_no_secret_is_in_the_file_mode_window(run: Run, live: RunningServer, tmp_path: Path) -> None:
    """Whatever the umask says, the file is never readable by others, not even before it has its name."""
    old = os.umask(0)
    try:
        run("login", live.url, stdin=live.token + "\n")
    finally:
        os.umask(old)
    assert (tmp_path / "login.json").stat().st_mode & 0o077 == 0
