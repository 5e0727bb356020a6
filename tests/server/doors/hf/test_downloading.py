"""Files of a revision, fetched by the real client and by bare requests."""

import hashlib
import re

import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.house import Person
from tests.server.doors.hf.hub import HubUser, counted
from tests.server.doors.hf.published import FILES, open_to_all, publish, set_alias

BIG = bytes(range(256)) * 4096


# --- by the client


def test_a_file_is_fetched_by_every_name_of_its_version(ada: Person, hub: HubUser) -> None:
    for version in ("1.0.0", "1.2.0", "2.0.0"):
        repo = publish(ada, version=version, files={"deep/in a/folder.txt": version.encode()})
    set_alias(ada, repo, "1.2.0", "production")
    for revision in ("1.2.0", "v1.2.0", "production", "~1.1 || ~1.2", "^1"):
        assert hub.fetch(repo, "deep/in a/folder.txt", revision).read_bytes() == b"1.2.0", revision
    for latest in ("latest", "main", None):
        assert hub.fetch(repo, "deep/in a/folder.txt", latest).read_bytes() == b"2.0.0"


def test_the_cache_knows_a_file_by_its_digest_and_a_revision_by_its_sha(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    path = hub.fetch(repo, "weights/a.bin", "1.0.0")
    assert path.parents[1].name == hub.api.model_info(repo).sha
    assert path.resolve().name == hashlib.sha256(FILES["weights/a.bin"]).hexdigest()


@pytest.mark.parametrize("revision", ["1.0.0", "main", "latest", "^1", None])
def test_a_snapshot_is_whole(ada: Person, hub: HubUser, revision: str | None) -> None:
    assert hub.snapshot(publish(ada), revision) == FILES


def test_some_of_a_snapshot_may_be_asked_for(ada: Person, hub: HubUser) -> None:
    assert hub.snapshot(publish(ada), allow_patterns="weights/*.bin").keys() == {"weights/a.bin", "weights/b/c d.bin"}


def test_files_go_to_a_folder_of_ones_own_and_are_known_again(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    folder = hub.home / "here"
    hub.api.snapshot_download(repo, local_dir=folder)
    before = (folder / "weights/a.bin").stat().st_mtime_ns
    hub.api.snapshot_download(repo, local_dir=folder)
    assert (folder / "weights/a.bin").read_bytes() == FILES["weights/a.bin"]
    assert (folder / "weights/a.bin").stat().st_mtime_ns == before


def test_an_empty_file_is_fetched(ada: Person, hub: HubUser) -> None:
    assert hub.snapshot(publish(ada, files={"empty": b"", "full": b"x"})) == {"empty": b"", "full": b"x"}


def test_names_of_files_may_hold_anything(ada: Person, hub: HubUser) -> None:
    files = {"ü/ñ.bin": b"1", "a%2Fb#c?.txt": b"2", "x+y &z;=.txt": b"3", "resolve/main/x": b"4", "raw": b"5"}
    repo = publish(ada, files=files)
    assert hub.snapshot(repo) == files
    assert sorted(hub.api.list_repo_files(repo)) == sorted(files)


def test_what_is_missing_is_told_apart(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    with pytest.raises(EntryNotFoundError) as missing:
        hub.fetch(repo, "none.txt")
    assert not isinstance(missing.value, LocalEntryNotFoundError)
    with pytest.raises(EntryNotFoundError):
        hub.fetch(repo, "weights")
    with pytest.raises(RevisionNotFoundError):
        hub.fetch(repo, "README.md", "9.9.9")
    with pytest.raises(RepositoryNotFoundError):
        hub.fetch(f"{ada.name}/absent", "README.md")
    with pytest.raises(RepositoryNotFoundError):
        hub.fetch("absent", "README.md")
    with pytest.raises(RepositoryNotFoundError):
        hub.fetch(repo, "README.md", repo_type="dataset")


def test_that_a_file_is_missing_is_remembered_by_the_commit(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    with pytest.raises(EntryNotFoundError):
        hub.fetch(repo, "none.txt")
    [remembered] = hub.home.rglob(".no_exist/*/none.txt")
    assert remembered.parent.name == hub.api.model_info(repo).sha


def test_private_files_are_hidden_and_public_ones_are_not(
    ada: Person, hub: HubUser, others_hub: HubUser, anonymous_hub: HubUser
) -> None:
    repo = publish(ada)
    for other in (others_hub, anonymous_hub):
        with pytest.raises(RepositoryNotFoundError):
            other.fetch(repo, "README.md")
    open_to_all(ada, repo)
    for other in (others_hub, anonymous_hub):
        assert other.snapshot(repo) == FILES


def test_taking_a_file_counts_once_an_hour_and_looking_does_not(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    url = f"/{repo}/resolve/1.0.0/README.md"
    for _ in range(3):
        assert hub.request("HEAD", url).status_code == 200
    assert counted(hub, repo) == 0
    hub.snapshot(repo)
    hub.fetch(repo, "README.md", force_download=True)
    assert counted(hub, repo, wait_for=1) == 1
    assert counted(hub, repo) == 1


# --- by bare requests


def test_head_tells_all_that_a_client_keeps_a_file_by(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    sha, digest = hub.api.model_info(repo).sha, hashlib.sha256(FILES["weights/a.bin"]).hexdigest()
    head = hub.request("HEAD", f"/{repo}/resolve/1.0.0/weights/a.bin", headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == head.headers["x-linked-size"] == "1000"
    assert head.headers["etag"] == head.headers["x-linked-etag"] == f'"{digest}"'
    assert head.headers["x-repo-commit"] == sha
    assert head.headers["accept-ranges"] == "bytes"
    assert not {"x-xet-hash", "location", "content-encoding"} & head.headers.keys()
    assert head.headers["content-disposition"] == 'attachment; filename="a.bin"'
    metadata = get_hf_file_metadata(hf_hub_url(repo, "weights/a.bin", endpoint=hub.endpoint), token=hub.token)
    assert (metadata.commit_hash, metadata.etag, metadata.size) == (sha, digest, 1000)


def test_a_sha_is_kept_for_ever_and_a_name_is_asked_for_again(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    by_sha = hub.get(f"/{repo}/resolve/{hub.api.model_info(repo).sha}/README.md")
    assert by_sha.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert hub.get(f"/{repo}/resolve/main/README.md").headers["cache-control"] == "private, no-cache"
    assert hub.get(f"/{repo}/resolve/1.0.0/README.md").headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        (f"bytes={len(BIG) - 5}-", 206, len(BIG) - 5, len(BIG)),
        (f"bytes={len(BIG) - 10}-{len(BIG)}", 206, len(BIG) - 10, len(BIG)),  # hf_transfer asks for one too many
        ("bytes=-3", 206, len(BIG) - 3, len(BIG)),
        ("bytes=0-99999999999", 206, 0, len(BIG)),
        ("lines=1-2", 200, 0, len(BIG)),
    ],
)
def test_ranges_are_answered(ada: Person, hub: HubUser, asked: str, status: int, start: int, end: int) -> None:
    repo = publish(ada, files={"big.bin": BIG})
    part = hub.get(f"/{repo}/resolve/main/big.bin", Range=asked)
    assert (part.status_code, part.content) == (status, BIG[start:end])
    assert part.headers["x-repo-commit"]
    if status == 206:
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BIG)}"


def test_a_range_past_the_end_is_416_and_says_how_long_it_is(ada: Person, hub: HubUser) -> None:
    repo = publish(ada, files={"big.bin": BIG})
    refused = hub.get(f"/{repo}/resolve/main/big.bin", Range=f"bytes={len(BIG)}-")
    assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{len(BIG)}")
    assert refused.json().keys() == {"error"}
    assert "x-error-code" not in refused.headers


def test_conditions_are_answered(ada: Person, hub: HubUser) -> None:
    url = f"/{publish(ada)}/resolve/main/README.md"
    etag = hub.get(url).headers["etag"]
    assert hub.get(url, If_None_Match=etag).status_code == 304
    assert hub.get(url, If_Match='"other"').status_code == 412


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_missing_carries_the_code_that_clients_go_by(ada: Person, hub: HubUser, method: str) -> None:
    repo = publish(ada)
    missing = hub.request(method, f"/{repo}/resolve/main/none.txt")
    assert (missing.status_code, missing.headers["x-error-code"]) == (404, "EntryNotFound")
    assert missing.headers["x-repo-commit"] == hub.api.model_info(repo).sha
    for url in (f"/{repo}/resolve/nope/README.md", f"/{repo}/resolve/dev%2Fx/README.md"):
        found = hub.request(method, url)
        assert (found.status_code, found.headers["x-error-code"]) == (404, "RevisionNotFound")
        assert "x-repo-commit" not in found.headers
    for absent in ("a/b", "a", "datasets/a/b", f"datasets/{repo}", "A!/b", "%FF/%FE"):
        found = hub.request(method, f"/{absent}/resolve/main/README.md")
        assert (found.status_code, found.headers["x-error-code"]) == (404, "RepoNotFound"), absent
        assert found.headers["x-error-message"].isascii()


def test_a_wrong_token_is_told_as_a_missing_repository(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    open_to_all(ada, repo)
    wrong = {"Authorization": "Bearer hf_wrong"}
    for path in (f"/{repo}/resolve/main/README.md", f"/api/models/{repo}", f"/api/models/{repo}/tree/main"):
        refused = hub.request("GET", path, headers=wrong)
        assert (refused.status_code, refused.headers["x-error-code"]) == (401, "RepoNotFound")
        assert refused.headers["x-error-message"]
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.json().keys() == {"error"}
    bare = hub.request("GET", "/api/whoami-v2", headers=wrong)
    assert bare.status_code == 401
    assert "x-error-code" not in bare.headers


def test_a_name_that_is_no_text_is_not_found(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    for path, code in {
        f"/{repo}/resolve/main/%FF%FE": "EntryNotFound",
        f"/{repo}/resolve/main/%00": "EntryNotFound",
        f"/{repo}/resolve/main/": "EntryNotFound",
        f"/{repo}/resolve/main/README.md/": "EntryNotFound",
        f"/{repo}/resolve/%FF/README.md": "RevisionNotFound",
        f"/{repo}/resolve/%00/README.md": "RevisionNotFound",
        f"/api/models/{repo}/tree/main/%FF": "EntryNotFound",
        f"/api/models/{repo}/revision/%0D%0A": "RevisionNotFound",
    }.items():
        refused = hub.get(path)
        assert (refused.status_code, refused.headers["x-error-code"]) == (404, code), path
        assert re.fullmatch(r"[ -~]+", refused.headers["x-error-message"])


def test_pages_follow_one_another_by_absolute_links(ada: Person, hub: HubUser) -> None:
    files = {f"f{number:02}/x y.bin": b"%d" % number for number in range(7)}
    repo = publish(ada, files=files)
    listed, url = [], f"{hub.endpoint}/api/models/{repo}/tree/main?recursive=True&expand=False&limit=5"
    while url:
        assert url.startswith(hub.endpoint)
        page = hub.get(url.removeprefix(hub.endpoint))
        assert len(page.json()) <= 5
        listed += [item["path"] for item in page.json() if item["type"] == "file"]
        url = page.links.get("next", {}).get("url", "")
    assert listed == sorted(files)
    for version in ("1.1.0", "1.2.0"):
        publish(ada, version=version, files={"a": version.encode()})
    first = hub.get(f"/api/models/{repo}/commits/main?limit=2")
    second = hub.get(first.links["next"]["url"].removeprefix(hub.endpoint))
    assert (len(first.json()), len(second.json())) == (2, 1)
    assert "next" not in second.links
    for name in ("a1", "a2", "a3"):
        publish(ada, name, files={"a": name.encode()})
    models = hub.get(f"/api/models?author={ada.name}&limit=3&sort=createdAt&direction=-1")
    rest = hub.get(models.links["next"]["url"].removeprefix(hub.endpoint))
    names = [item["id"].partition("/")[2] for item in models.json() + rest.json()]
    assert names == ["a3", "a2", "a1", "tiny"]
    assert "next" not in rest.links
