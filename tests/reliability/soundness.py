"""The invariant: every OID of every visible version is readable through the API and hashes to itself."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx2

from steelyard.server.core.xet.layouts import open_chunked
from steelyard.server.db.engine import Database
from steelyard.server.jobs.check import Checked, check
from steelyard.server.storage.local import LocalStore
from tests.house import RunningServer
from tests.house.people import API
from tests.reliability.pushing import Release, open_client


@dataclass(frozen=True)
class Sound:
    """What was found sound."""

    versions: int
    oids: int


def check_data(data: Path) -> Checked:
    """`steelyard admin check` of a data directory."""
    database = Database(f"sqlite:///{data / 'steelyard.sqlite3'}")
    try:
        return check(database, open_chunked(LocalStore(data / "store"), database))
    finally:
        database.close()


def assert_sound(
    server: RunningServer, token: str, org: str, *, checked_by: Callable[[], Checked] | None = None
) -> Sound:
    """Read all that the organisation shows, and all that rows promise; `checked_by` where the data are elsewhere."""
    oids = 0
    with open_client(server.url, token) as client:
        references = list_references(client, org)
        for model, version in references:
            oids += _read_version(client, model, version)
    checked = checked_by() if checked_by else check_data(server.data)
    assert checked.is_sound, checked.findings
    return Sound(len(references), oids)


def list_references(client: httpx2.Client, org: str) -> list[tuple[str, str]]:
    """`(path of the model, version)` of every visible version. The client carries a token."""
    found, page, has_next = [], 1, True
    while has_next:
        listed = client.get(f"{API}/org/{org}/models", params={"limit": 200, "page": page}).raise_for_status().json()
        page, has_next = page + 1, listed["has_next"]
        for model in listed["models"]:
            path = f"{API}/org/{org}/models/{model['name'].split('/')[1]}"
            versions = client.get(f"{path}/versions").raise_for_status().json()["versions"]
            found += [(path, version) for version in versions]
    return found


def _read_version(client: httpx2.Client, model: str, version: str) -> int:
    detail = client.get(f"{model}/{quote(version)}").raise_for_status().json()
    for path, oid in detail["artifacts"].items():
        assert _oid_read(client, f"{model}/{quote(version)}/files/{quote(path)}") == oid, (model, version, path)
    return len(detail["artifacts"])


def _oid_read(client: httpx2.Client, path: str) -> str:
    digest = hashlib.sha256()
    with client.stream("GET", path, follow_redirects=True) as answer:  # to the store, where links are signed
        assert answer.status_code == 200, (path, answer.status_code, answer.read())
        for piece in answer.iter_bytes():
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def is_visible(client: httpx2.Client, release: Release) -> bool:
    """Whether a version is visible: then with all that was published under its number."""
    answer = client.get(f"{release.route}/{release.version}")
    assert answer.status_code in (200, 404), answer.text
    if answer.status_code == 200:
        assert answer.json()["artifacts"] == release.artifacts
    return answer.status_code == 200


def describe(counts: Mapping[str, int]) -> str:
    """`a 1, b 2`."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())
