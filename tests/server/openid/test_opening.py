"""What is needed for a provider, and what is not where there is none."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from steelyard.server.openid.opening import open_provider
from steelyard.server.settings import Settings

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("authlib", "joserfc", "cryptography"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from steelyard.server.app import create_app, open_registry
from steelyard.server.settings import Settings
registry = open_registry(Settings(data=sys.argv[1], oidc_client_id="x", oidc_issuer=(sys.argv[2:] or [None])[0]))
create_app(registry)
registry.close()
"""
ISSUER = "https://id.example.org/realms/x"


def start_without(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_pages_need_none_of_its_libraries(tmp_path: Path) -> None:
    done = start_without(str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr


def test_without_its_libraries_a_provider_is_refused_in_words(tmp_path: Path) -> None:
    done = start_without(str(tmp_path / "data"), ISSUER)
    assert done.returncode == 1 and "pip install 'steelyard[server,oidc]'" in done.stderr


def settled(**chosen: Any) -> Settings:
    return Settings(**chosen)


def test_to_open_one_asks_nobody() -> None:
    assert open_provider(settled()) is None
    provider = open_provider(settled(oidc_issuer="https://nowhere.invalid", oidc_client_id="x"))
    assert provider is not None
    provider.close()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"oidc_issuer": "http://id.example.org"}, "begins with https"),
        ({"oidc_issuer": "id.example.org"}, "begins with https"),
        ({"oidc_issuer": "https://"}, "begins with https"),
        ({"oidc_issuer": "https://me@id.example.org"}, "without a user"),
        ({"oidc_issuer": ISSUER + "?x"}, "without a user"),
        ({"oidc_issuer": "https://[::1"}, "IPv6"),
        ({"oidc_issuer": ISSUER, "oidc_client_id": None}, "oidc_client_id"),
        ({"oidc_issuer": ISSUER, "oidc_scopes": "profile"}, "openid"),
    ],
)
def test_settings_that_cannot_be_meant_stop_the_start(chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settled(**{"oidc_client_id": "x", **chosen})


def test_settings_that_can_be_meant_are_kept_to_the_letter() -> None:
    kept = settled(oidc_issuer=ISSUER + "/", oidc_client_id="x", oidc_scopes=" openid   email ")
    assert (kept.oidc_issuer, kept.oidc_scopes) == (ISSUER + "/", "openid email")
    assert settled(oidc_issuer="http://127.0.0.1:8080", oidc_client_id="x").oidc_issuer
    assert "hush" not in repr(settled(oidc_client_secret="hush"))
