"""Blobs by their digest: only what the repository holds, to who may see it, by ranges and conditions; and deletion."""

import io
import tarfile
from collections.abc import Callable

import httpx2
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core.files.archive import ArchiveFile, plan_archive
from steelyard.server.core.manifests import holdings, rows
from steelyard.server.core.manifests.rows import NamedBlob, NewManifest
from steelyard.server.db.tables import Model, Org
from steelyard.server.names import Digest
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.server.doors.oci.pushing import IMAGE, Repository, digest_of, error_of, with_digest
from tests.server.doors.oci.test_uploading import registry_of

SomeBytes = Callable[[int], bytes]
DATA = bytes(range(256)) * 4


def keep_manifest(registered: Registered, repo: Repository, *named: NamedBlob) -> None:
    """A manifest of the repository that names these, as whoever makes one keeps it."""
    content = b'{"names": "%d"}' % id(named)
    with registry_of(registered).database.write() as session:
        model = model_of(session, repo)
        new = NewManifest(Digest.parse(digest_of(content)), IMAGE, content, blobs=named, made=True)
        rows.keep_manifest(session, model.id, new)


def model_of(session: Session, repo: Repository) -> Model:
    """The model whose repository this is."""
    slug, name = repo.name.split("/")
    return session.scalars(select(Model).join(Org).where(Org.slug == slug, Model.name_key == name)).one()


# --- bytes


def test_a_blob_is_told_of_before_it_is_fetched(repo: Repository) -> None:
    digest = repo.push_blob(DATA)
    got, told = repo.get(f"blobs/{digest}"), repo.head(f"blobs/{digest}")
    assert (got.status_code, got.content) == (200, DATA)
    assert (told.status_code, told.content) == (200, b"")
    for name, value in {
        "content-length": "1024",
        "content-type": "application/octet-stream",
        "docker-content-digest": digest,
        "etag": f'"{digest}"',
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=31536000, immutable",
    }.items():
        assert (got.headers[name], told.headers[name]) == (value, value)


def test_a_digest_arrives_encoded_or_not(repo: Repository) -> None:
    digest = repo.push_blob(DATA)
    assert repo.get(f"blobs/{digest.replace(':', '%3A')}").content == DATA


@pytest.mark.parametrize(
    ("asked", "status", "told", "found"),
    [
        ("bytes=0-9", 206, "bytes 0-9/1024", DATA[:10]),
        ("bytes=10-19", 206, "bytes 10-19/1024", DATA[10:20]),
        ("bytes=1000-", 206, "bytes 1000-1023/1024", DATA[1000:]),
        ("bytes=-24", 206, "bytes 1000-1023/1024", DATA[1000:]),
        ("bytes=1000-5000", 206, "bytes 1000-1023/1024", DATA[1000:]),
        ("bytes=-5000", 206, "bytes 0-1023/1024", DATA),
        ("bytes=1024-", 416, "bytes */1024", None),
        ("bytes=5000-6000", 416, "bytes */1024", None),
        ("bytes=9-3", 416, "bytes */1024", None),
        ("bytes=-0", 416, "bytes */1024", None),
        ("pages=1-2", 200, None, DATA),
        ("bytes=a-b", 200, None, DATA),
    ],
)
def test_ranges(repo: Repository, asked: str, status: int, told: str | None, found: bytes | None) -> None:
    got = repo.get(f"blobs/{repo.push_blob(DATA)}", headers={"Range": asked})
    assert (got.status_code, got.headers.get("content-range")) == (status, told)
    if found is not None:
        assert (got.content, got.headers["content-length"]) == (found, str(len(found)))


def test_conditions(repo: Repository) -> None:
    digest = repo.push_blob(DATA)
    same, other = {"If-None-Match": f'"{digest}"'}, {"If-None-Match": '"other"'}
    for ask in (repo.get, repo.head):
        answers = [ask(f"blobs/{digest}", headers=headers) for headers in (same, other)]
        assert [answered.status_code for answered in answers] == [304, 200]
    resumed = repo.get(f"blobs/{digest}", headers={"Range": "bytes=1000-", "If-Range": f'"{digest}"'})
    assert (resumed.status_code, resumed.content) == (206, DATA[1000:])
    changed = repo.get(f"blobs/{digest}", headers={"Range": "bytes=1000-", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, DATA)


@pytest.mark.parametrize("digest", ["sha256:abc", "sha256:" + "0" * 63, "md5:" + "0" * 32, "latest", "%FF", "%00"])
def test_what_is_no_digest(repo: Repository, digest: str) -> None:
    repo.push_blob(DATA)
    assert error_of(repo.get(f"blobs/{digest}")) == (400, "DIGEST_INVALID")
    assert repo.head(f"blobs/{digest}").status_code == 400
    assert error_of(repo.delete(f"blobs/{digest}")) == (400, "DIGEST_INVALID")


@pytest.mark.only("s3")
def test_a_store_that_signs_links_is_where_the_bytes_come_from(make_registered: MakeRegistered) -> None:
    ada = make_registered(store_direct=True).user("ada")
    repo = Repository(ada, "ada/tiny")
    digest = repo.push_blob(DATA)
    moved = repo.get(f"blobs/{digest}", follow_redirects=False)
    assert (moved.status_code, moved.headers["docker-content-digest"]) == (307, digest)
    assert moved.headers["cache-control"] == "no-store"
    assert httpx2.get(moved.headers["location"]).content == DATA
    assert httpx2.get(moved.headers["location"], headers={"Range": "bytes=0-3"}).content == DATA[:4]
    told = repo.head(f"blobs/{digest}", follow_redirects=False)
    assert (told.status_code, told.headers["content-length"]) == (200, "1024")


def test_bytes_that_the_store_has_lost_are_asked_for_again(registry: Registered, repo: Repository) -> None:
    data = b"lost " + DATA + repo.name.encode()
    digest, store = repo.push_blob(data), registry_of(registry).store
    [key] = [name.name for name in store.scan() if name.name.startswith(digest[7:])]
    store.delete(key)
    assert repo.head(f"blobs/{digest}").status_code == 404
    other = Repository(repo.person, f"{repo.person.name}/other")
    assert other.post(f"blobs/uploads/?mount={digest}&from={repo.name}").status_code == 202
    repo.push_blob(data)
    assert repo.get(f"blobs/{digest}").content == data


# --- who may


def test_a_digest_opens_only_what_holds_it(ada: Person, bob: Person, repo: Repository, some_bytes: SomeBytes) -> None:
    digest = repo.push_blob(some_bytes(100))
    other, his = Repository(ada, f"{ada.name}/other"), Repository(bob, f"{bob.name}/his")
    for each in (other, his):
        each.push_blob(b"{}")
        assert error_of(each.get(f"blobs/{digest}")) == (404, "BLOB_UNKNOWN")
        assert each.head(f"blobs/{digest}").status_code == 404
        assert error_of(each.delete(f"blobs/{digest}")) == (404, "BLOB_UNKNOWN")


def test_a_hidden_repository_is_as_if_it_were_not_there(
    registry: Registered, bob: Person, repo: Repository, some_bytes: SomeBytes
) -> None:
    digest = repo.push_blob(some_bytes(100))
    missing = Repository(bob, f"{bob.name}/nothing")
    for asked in (repo.by(bob), missing):
        assert error_of(asked.get(f"blobs/{digest}")) == (404, "NAME_UNKNOWN")
        assert error_of(asked.delete(f"blobs/{digest}")) == (404, "NAME_UNKNOWN")
    assert error_of(repo.by(registry.anonymous).get(f"blobs/{digest}")) == (401, "UNAUTHORIZED")


def test_a_public_model_is_anybodys_but_its_drafts(registry: Registered, ada: Person, bob: Person) -> None:
    repo, data, draft = Repository(ada, f"{ada.name}/open"), b"public " + DATA, b"draft " + DATA
    assert ada.publish(f"{repo.name}:1.0.0", {"a.bin": data}, is_public=True).status_code == 201
    commit(ada, repo.name, draft)
    for each in (repo, repo.by(bob), repo.by(registry.anonymous)):
        assert each.get(f"blobs/{digest_of(data)}").content == data
    assert repo.get(f"blobs/{digest_of(draft)}").content == draft
    for each in (repo.by(bob), repo.by(registry.anonymous)):
        assert error_of(each.get(f"blobs/{digest_of(draft)}")) == (404, "BLOB_UNKNOWN")


def commit(person: Person, name: str, data: bytes) -> None:
    """Put bytes into a commit that is no version."""
    [oid] = person.upload(name, data)
    lines = '{"key":"header","value":{"summary":"Add"}}\n'
    lines += f'{{"key":"lfsFile","value":{{"path":"draft.bin","oid":"{oid.partition(":")[2]}"}}}}'
    done = person.request("POST", f"http://127.0.0.1/api/models/{name}/commit/main", content=lines)
    assert done.status_code == 200, done.text


# --- what no store has as it is


def test_a_tar_of_one_file_is_made_on_the_fly(registry: Registered, repo: Repository) -> None:
    data = repo.name.encode() + DATA * 300
    pushed = repo.push_blob(data)
    with registry_of(registry).database.read() as session:
        held = holdings.find_all(session, model_of(session, repo).id, [pushed], drafts=False)[pushed]
    tar = tar_of("folder/model.bin", data)
    keep_manifest(registry, repo, NamedBlob(digest_of(tar), held.id, "folder/model.bin"))
    got, told = repo.get(f"blobs/{digest_of(tar)}"), repo.head(f"blobs/{digest_of(tar)}")
    assert (got.status_code, got.content) == (200, tar)
    assert (told.headers["content-length"], told.headers["etag"]) == (str(len(tar)), f'"{digest_of(tar)}"')
    part = repo.get(f"blobs/{digest_of(tar)}", headers={"Range": "bytes=500-1499"})
    assert (part.status_code, part.content) == (206, tar[500:1500])
    with tarfile.open(fileobj=io.BytesIO(got.content)) as opened:
        [member] = opened.getmembers()
    assert (member.name, member.size) == ("folder/model.bin", len(data))
    assert error_of(repo.delete(f"blobs/{digest_of(tar)}")) == (403, "DENIED")


def tar_of(path: str, data: bytes) -> bytes:
    """The one tar of a file that this registry makes."""
    archive = plan_archive([ArchiveFile(path, len(data), digest_of(data), "")])
    pieces = archive.segments(0, archive.size_bytes)
    return b"".join(each if isinstance(each, bytes) else data[each.start : each.start + each.length] for each in pieces)


def test_a_few_bytes_of_ours(registry: Registered, repo: Repository) -> None:
    repo.push_blob(b"{}")
    content = b'{"config": "of %s"}' % repo.name.encode()
    keep_manifest(registry, repo, NamedBlob(digest_of(content), content=content))
    got = repo.get(f"blobs/{digest_of(content)}")
    assert (got.status_code, got.content) == (200, content)
    part = repo.get(f"blobs/{digest_of(content)}", headers={"Range": "bytes=2-7"})
    assert (part.status_code, part.content) == (206, content[2:8])
    assert repo.get(f"blobs/{digest_of(content)}", headers={"Range": "bytes=7-2"}).status_code == 416
    assert repo.head(f"blobs/{digest_of(content)}").headers["content-length"] == str(len(content))
    assert error_of(repo.delete(f"blobs/{digest_of(content)}")) == (403, "DENIED")


# --- deletion


def test_a_blob_is_deleted_here_and_nowhere_else(ada: Person, bob: Person, repo: Repository) -> None:
    data = b"to be deleted " + repo.name.encode()
    other, his = Repository(ada, f"{ada.name}/other"), Repository(bob, f"{bob.name}/his")
    digest, *_ = [each.push_blob(data) for each in (repo, other, his)]
    assert repo.delete(f"blobs/{digest}").status_code == 202
    assert error_of(repo.get(f"blobs/{digest}")) == (404, "BLOB_UNKNOWN")
    assert error_of(repo.delete(f"blobs/{digest}")) == (404, "BLOB_UNKNOWN")
    for each in (other, his):
        assert each.get(f"blobs/{digest}").content == data
    again = repo.put(with_digest(repo.begin(), digest), content=data)
    assert (again.status_code, repo.get(f"blobs/{digest}").content) == (201, data)


def test_what_a_version_needs_is_not_deleted(ada: Person) -> None:
    data = b"needed by " + ada.name.encode()
    repo = Repository(ada, f"{ada.name}/weights")
    assert ada.publish(f"{repo.name}:1.0.0", {"a.bin": data}).status_code == 201
    for _ in range(2):  # as it is there by the version alone, and then by a push too
        assert error_of(repo.delete(f"blobs/{digest_of(data)}")) == (403, "DENIED")
        assert repo.get(f"blobs/{digest_of(data)}").content == data
        repo.push_blob(data)


def test_to_delete_takes_an_owner(registry: Registered, ada: Person, bob: Person, repo: Repository) -> None:
    digest = repo.push_blob(b"kept " + repo.name.encode())
    assert error_of(repo.by(registry.anonymous).delete(f"blobs/{digest}")) == (401, "UNAUTHORIZED")
    for role in ("reader", "contributor"):
        ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": role})
        ada.patch(f"/org/{ada.name}/members/{bob.name}", {"role": role})
        assert error_of(repo.by(bob).delete(f"blobs/{digest}")) == (403, "DENIED")
    assert repo.delete(f"blobs/{digest}").status_code == 202
