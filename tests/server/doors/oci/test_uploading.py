"""Blobs on their way in, in every manner that the specification has (OCI distribution-spec 1.1, "Pushing blobs")."""

import itertools
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from steelyard.server.context import Registry
from steelyard.server.db.tables import BlobUpload, Org
from tests.conftest import MakeRegistered
from tests.house import Person, Registered, RunningServer
from tests.house.registries import open_registered
from tests.server.doors.oci.pushing import Repository, digest_of, error_of, message_of, with_digest

SomeBytes = Callable[[int], bytes]
ALGORITHMS = ("sha256", "sha512")


def registry_of(registered: Registered) -> Registry:
    """What the application stands on."""
    found = registered.client.app.state.registry  # type: ignore[attr-defined]
    assert isinstance(found, Registry)
    return found


def state_of(answered: httpx2.Response) -> tuple[int, str]:
    """Status, and how much of an upload is here."""
    return answered.status_code, answered.headers["range"]


def send_chunk(repo: Repository, location: str, first: int, data: bytes) -> httpx2.Response:
    """PATCH with a Content-Range."""
    return repo.patch(location, content=data, headers={"Content-Range": f"{first}-{first + len(data) - 1}"})


def check_pushed(repo: Repository, put: httpx2.Response, data: bytes, algorithm: str = "sha256") -> None:
    """That an upload ended well, and the bytes are where it says."""
    digest = digest_of(data, algorithm)
    assert put.status_code == 201, put.text
    assert put.headers["docker-content-digest"] == digest
    assert put.headers["location"] == f"/v2/{repo.name}/blobs/{digest}"
    got = repo.get(put.headers["location"])
    assert (got.status_code, got.content) == (200, data)


# --- manners


def test_a_blob_is_pushed_in_one_stream(repo: Repository, some_bytes: SomeBytes) -> None:
    data = some_bytes(1000)
    begun = repo.post("blobs/uploads/")
    assert state_of(begun) == (202, "0-0")
    location = begun.headers["location"]
    assert location == f"/v2/{repo.name}/blobs/uploads/{begun.headers['docker-upload-uuid']}"
    sent = repo.patch(location, content=iter([data[:300], data[300:]]))
    assert "content-length" not in sent.request.headers
    assert state_of(sent) == (202, "0-999")
    assert state_of(repo.get(sent.headers["location"])) == (204, "0-999")
    check_pushed(repo, repo.put(with_digest(sent.headers["location"], digest_of(data))), data)
    assert error_of(repo.get(location)) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blob_is_pushed_in_one_request(repo: Repository, some_bytes: SomeBytes, algorithm: str) -> None:
    data = some_bytes(1000)
    posted = repo.post(with_digest("blobs/uploads/", digest_of(data, algorithm)), content=data)
    check_pushed(repo, posted, data, algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blob_is_pushed_in_two_requests(repo: Repository, some_bytes: SomeBytes, algorithm: str) -> None:
    data = some_bytes(1000)
    put = repo.put(with_digest(repo.begin(), digest_of(data, algorithm)), content=data)
    check_pushed(repo, put, data, algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blob_is_pushed_in_chunks(repo: Repository, some_bytes: SomeBytes, algorithm: str) -> None:
    data = some_bytes(1000)
    location = repo.begin(f"?digest-algorithm={algorithm}")
    assert state_of(send_chunk(repo, location, 0, data[:400])) == (202, "0-399")
    assert state_of(send_chunk(repo, location, 400, data[400:700])) == (202, "0-699")
    put = repo.put(
        with_digest(location, digest_of(data, algorithm)),
        content=data[700:],
        headers={"Content-Range": "700-999"},
    )
    check_pushed(repo, put, data, algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("data", [b"", b"{}"], ids=["nothing", "braces"])
@pytest.mark.parametrize("manner", ["stream", "one", "two"])
def test_the_smallest_blobs(repo: Repository, data: bytes, algorithm: str, manner: str) -> None:
    digest = digest_of(data, algorithm)
    if manner == "stream":
        location = repo.patch(repo.begin(), content=data).headers["location"]
        put = repo.put(with_digest(location, digest))
    elif manner == "one":
        put = repo.post(with_digest("blobs/uploads/", digest), content=data)
    else:
        put = repo.put(with_digest(repo.begin(), digest), content=data)
    check_pushed(repo, put, data, algorithm)


def test_empty_bodies_between_change_nothing(repo: Repository, some_bytes: SomeBytes) -> None:
    data, location = some_bytes(100), repo.begin()
    for part, told in [(b"", "0-0"), (b"", "0-0"), (data[:50], "0-49"), (b"", "0-49"), (data[50:], "0-99")]:
        assert state_of(repo.patch(location, content=part)) == (202, told)
    put = repo.put(with_digest(location, digest_of(data)), content=iter([b""]))
    check_pushed(repo, put, data)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.binary(max_size=40), max_size=6), in_put=st.booleans(), said=st.booleans())
def test_however_a_blob_is_cut_it_is_the_same(
    repo: Repository, parts: Sequence[bytes], in_put: bool, said: bool
) -> None:
    data, location, sent = b"".join(parts), repo.begin(), 0
    *before, last = parts if in_put and parts else (*parts, b"")
    for part in before:
        answered = send_chunk(repo, location, sent, part) if said and part else repo.patch(location, content=part)
        sent += len(part)
        assert state_of(answered) == (202, f"0-{max(0, sent - 1)}")
    check_pushed(repo, repo.put(with_digest(location, digest_of(data)), content=last), data)


def test_a_name_is_found_whatever_its_case(ada: Person, some_bytes: SomeBytes) -> None:
    data = some_bytes(10)
    location = Repository(ada, f"{ada.name}/Tiny").begin()
    lower = Repository(ada, f"{ada.name}/tiny")
    put = lower.put(with_digest(location.replace("Tiny", "tiny"), digest_of(data)), content=data)
    check_pushed(lower, put, data)


def test_the_first_blob_makes_the_model_and_nobody_else_sees_it(
    ada: Person, bob: Person, repo: Repository, some_bytes: SomeBytes
) -> None:
    digest = repo.push_blob(some_bytes(10))
    assert repo.get(f"blobs/{digest}").status_code == 200
    assert error_of(repo.by(bob).get(f"blobs/{digest}")) == (404, "NAME_UNKNOWN")


def test_a_blob_that_is_pushed_again_is_stored_once(
    registry: Registered, repo: Repository, some_bytes: SomeBytes
) -> None:
    data = some_bytes(1000)
    digest = repo.push_blob(data)
    assert repo.push_blob(data) == digest
    assert Repository(repo.person, f"{repo.person.name}/other").push_blob(data) == digest
    keys = [name.name for name in registry_of(registry).store.scan() if name.name.startswith(digest[7:])]
    assert len(keys) == 1


# --- what is refused


@pytest.mark.parametrize("first", [0, 399, 401, 10**15])
def test_a_chunk_out_of_order_is_refused_and_the_upload_goes_on(
    repo: Repository, some_bytes: SomeBytes, first: int
) -> None:
    data, location = some_bytes(1000), repo.begin()
    send_chunk(repo, location, 0, data[:400])
    refused = send_chunk(repo, location, first, b"wrong")
    assert state_of(refused) == (416, "0-399")
    assert refused.headers["location"] == location
    end = with_digest(location, digest_of(data))
    assert repo.put(end, content=b"wrong", headers={"Content-Range": f"{first}-{first + 4}"}).status_code == 416
    assert state_of(repo.get(location)) == (204, "0-399")
    assert send_chunk(repo, location, 400, data[400:]).status_code == 202
    check_pushed(repo, repo.put(end), data)


@pytest.mark.parametrize("said", ["0-8", "0-10", "9-0", "0", "a-b", "0-9-", "-9", "bytes=0-9"])
def test_a_chunk_that_says_nonsense_of_itself_is_refused(repo: Repository, said: str) -> None:
    location = repo.begin()
    refused = repo.patch(location, content=b"ten bytes.", headers={"Content-Range": said})
    assert refused.status_code in (400, 416)
    assert state_of(repo.get(location)) == (204, "0-0")


def test_a_chunk_shorter_than_it_says_does_not_count(repo: Repository, some_bytes: SomeBytes) -> None:
    data, location = some_bytes(20), repo.begin()
    short = repo.patch(location, content=iter([b"short"]), headers={"Content-Range": "0-9"})
    assert error_of(short) == (400, "BLOB_UPLOAD_INVALID")
    long = repo.patch(location, content=iter([b"much too long"]), headers={"Content-Range": "0-9"})
    assert error_of(long) == (400, "BLOB_UPLOAD_INVALID")
    check_pushed(repo, repo.put(with_digest(location, digest_of(data)), content=data), data)


def rows_of(registered: Registered, repo: Repository) -> int:
    """How many sessions there are in a repository's organisation."""
    count = select(func.count()).select_from(BlobUpload).join(Org, Org.id == BlobUpload.org_id)
    with registry_of(registered).database.read() as session:
        return session.scalar(count.where(Org.slug == repo.name.partition("/")[0])) or 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("manner", ["stream", "chunks", "two", "one"])
def test_bytes_of_another_digest_leave_nothing(
    registry: Registered, repo: Repository, some_bytes: SomeBytes, manner: str, algorithm: str
) -> None:
    data, other = some_bytes(100), digest_of(some_bytes(100), algorithm)
    before = {name.name for name in registry_of(registry).store.scan()}
    location = repo.begin()
    if manner == "one":
        repo.delete(location)
        put = repo.post(with_digest("blobs/uploads/", other), content=data)
    elif manner == "two":
        put = repo.put(with_digest(location, other), content=data)
    else:
        for start in (0,) if manner == "stream" else (0, 50):
            repo.patch(location, content=data if manner == "stream" else data[start : start + 50])
        put = repo.put(with_digest(location, other))
    assert error_of(put) == (400, "DIGEST_INVALID")
    assert "Nothing was kept" in message_of(put)
    assert error_of(repo.get(location)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert {name.name for name in registry_of(registry).store.scan()} == before
    assert rows_of(registry, repo) == 0
    assert error_of(repo.get(f"blobs/{digest_of(data)}")) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:abc", "md5:" + "0" * 32, "sha256:" + "G" * 64, "baddigest", "sha512:" + "0" * 64]
)
def test_what_is_no_digest_is_refused_and_the_upload_goes_on(repo: Repository, digest: str) -> None:
    location = repo.patch(repo.begin(), content=b"bytes").headers["location"]
    assert error_of(repo.put(with_digest(location, digest))) == (400, "DIGEST_INVALID")
    assert error_of(repo.post(with_digest("blobs/uploads/", digest), content=b"bytes")) == (400, "DIGEST_INVALID")
    assert error_of(repo.put(location)) == (400, "DIGEST_INVALID")
    check_pushed(repo, repo.put(with_digest(location, digest_of(b"bytes"))), b"bytes")


def test_an_unknown_algorithm_is_refused(repo: Repository) -> None:
    assert error_of(repo.post("blobs/uploads/?digest-algorithm=md5")) == (400, "BLOB_UPLOAD_INVALID")


def test_an_upload_is_cancelled(registry: Registered, repo: Repository, some_bytes: SomeBytes) -> None:
    before = {name.name for name in registry_of(registry).store.scan()}
    location = repo.patch(repo.begin(), content=some_bytes(10)).headers["location"]
    assert repo.delete(location).status_code == 204
    for again in (repo.delete(location), repo.get(location), repo.patch(location, content=b"more")):
        assert error_of(again) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert {name.name for name in registry_of(registry).store.scan()} == before


def test_whoever_ends_an_upload_again_ends_it_the_same_way(repo: Repository, some_bytes: SomeBytes) -> None:
    data, location = some_bytes(10), repo.begin()
    for _ in range(2):
        check_pushed(repo, repo.put(with_digest(location, digest_of(data)), content=data), data)
    unknown = repo.put(with_digest(location, digest_of(some_bytes(10))), content=data)
    assert error_of(unknown) == (404, "BLOB_UPLOAD_UNKNOWN")


# --- who may


def each_step(repo: Repository, location: str) -> Iterator[httpx2.Response]:
    """Every request that goes on with an upload."""
    yield repo.get(location)
    yield repo.patch(location, content=b"bytes")
    yield repo.put(with_digest(location, digest_of(b"bytes")), content=b"bytes")
    yield repo.delete(location)


def test_an_upload_is_nobody_elses(registry: Registered, ada: Person, bob: Person) -> None:
    name = f"shared-{ada.name}"
    registry.org(name, **{ada.name: "contributor", bob.name: "contributor"})
    repo = Repository(ada, f"{name}/tiny")
    location = repo.begin()
    for answered in each_step(repo.by(bob), location):
        assert error_of(answered) == (404, "BLOB_UPLOAD_UNKNOWN")
    for answered in each_step(repo, location.replace("/tiny/", "/other/")):
        assert error_of(answered) == (404, "BLOB_UPLOAD_UNKNOWN")
    for answered in each_step(repo, location.replace(f"/{name}/", f"/{ada.name}/")):
        assert error_of(answered) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert state_of(repo.get(location)) == (204, "0-0")


@pytest.mark.parametrize("upload_id", ["0" * 32, "x", "%00", "%FF", "..%2F..", "a" * 300])
def test_an_upload_that_nobody_began(repo: Repository, upload_id: str) -> None:
    for answered in each_step(repo, f"blobs/uploads/{upload_id}"):
        assert error_of(answered) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_who_may_not_publish_pushes_nothing(registry: Registered, ada: Person, bob: Person, repo: Repository) -> None:
    location = repo.begin()
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"})
    reader, nobody = repo.by(bob), repo.by(registry.anonymous)
    for answered in (reader.post("blobs/uploads/"), *each_step(reader, location)):
        assert error_of(answered) == (403, "DENIED")
    for answered in (nobody.post("blobs/uploads/"), *each_step(nobody, location)):
        assert error_of(answered) == (401, "UNAUTHORIZED")
        assert answered.headers["www-authenticate"].startswith("Bearer realm=")


def test_a_stranger_learns_of_no_organisation(registry: Registered, ada: Person, bob: Person) -> None:
    hidden, missing = Repository(bob, f"{ada.name}/tiny"), Repository(bob, "nobody-at-all/tiny")
    assert error_of(hidden.post("blobs/uploads/")) == error_of(missing.post("blobs/uploads/")) == (404, "NAME_UNKNOWN")


def test_a_right_that_was_taken_away_is_missed_at_the_next_step(ada: Person, bob: Person, repo: Repository) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "contributor"})
    his = repo.by(bob)
    location = his.patch(his.begin(), content=b"bytes").headers["location"]
    ada.patch(f"/org/{ada.name}/members/{bob.name}", {"role": "reader"})
    assert error_of(his.put(with_digest(location, digest_of(b"bytes")))) == (403, "DENIED")


# --- mounting


def mount(repo: Repository, digest: str, source: str | None = None) -> httpx2.Response:
    return repo.post(f"blobs/uploads/?mount={digest.replace(':', '%3A')}" + (f"&from={source}" if source else ""))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blob_is_mounted_from_where_the_caller_may_read(
    registry: Registered, ada: Person, bob: Person, repo: Repository, some_bytes: SomeBytes, algorithm: str
) -> None:
    data = some_bytes(100)
    digest = repo.push_blob(data, algorithm)
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"})
    his = Repository(bob, f"{bob.name}/copy")
    check_pushed(his, mount(his, digest, repo.name), data, algorithm)
    check_pushed(his, mount(his, digest, repo.name.replace("tiny", "TINY")), data, algorithm)


def test_what_the_caller_may_not_read_is_as_if_it_were_nowhere(
    ada: Person, bob: Person, repo: Repository, some_bytes: SomeBytes
) -> None:
    data = some_bytes(100)
    digest = repo.push_blob(data)
    his = Repository(bob, f"{bob.name}/copy")
    sources = [repo.name, f"{ada.name}/nothing", "nobody/nothing", "no name", "a/b/c", None]
    for source, asked in itertools.product(sources, (digest, digest_of(b"nowhere"))):
        answered = mount(his, asked, source)
        assert state_of(answered) == (202, "0-0")
        assert his.put(with_digest(answered.headers["location"], digest_of(b"x")), content=b"x").status_code == 201
    assert error_of(his.get(f"blobs/{digest}")) == (404, "BLOB_UNKNOWN")


def test_a_repository_that_does_not_hold_it_is_no_source(ada: Person, repo: Repository, some_bytes: SomeBytes) -> None:
    """Knowing that the organisation has it somewhere is not enough to say that this one does."""
    digest = repo.push_blob(some_bytes(100))
    other, third = (Repository(ada, f"{ada.name}/{name}") for name in ("other", "third"))
    other.push_blob(b"{}")
    assert mount(third, digest, other.name).status_code == 202


def test_without_a_source_it_is_mounted_from_the_organisation(
    ada: Person, repo: Repository, some_bytes: SomeBytes
) -> None:
    data = some_bytes(100)
    digest = repo.push_blob(data)
    other = Repository(ada, f"{ada.name}/other")
    check_pushed(other, mount(other, digest), data)
    assert mount(other, digest_of(some_bytes(100))).status_code == 202


def test_a_file_of_a_version_is_mounted(ada: Person, some_bytes: SomeBytes) -> None:
    data = some_bytes(100)
    assert ada.publish(f"{ada.name}/weights:1.0.0", {"model.bin": data}).status_code == 201
    other = Repository(ada, f"{ada.name}/other")
    check_pushed(other, mount(other, digest_of(data), f"{ada.name}/weights"), data)


def test_to_mount_takes_the_right_to_push(ada: Person, bob: Person, repo: Repository, some_bytes: SomeBytes) -> None:
    digest = repo.push_blob(some_bytes(100))
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"})
    assert error_of(mount(Repository(bob, f"{ada.name}/other"), digest, repo.name)) == (403, "DENIED")


# --- digests


def test_bytes_have_all_their_digests(repo: Repository, some_bytes: SomeBytes) -> None:
    data = some_bytes(1000)
    repo.push_blob(data, "sha512")
    for algorithm in ALGORITHMS:
        got = repo.get(f"blobs/{digest_of(data, algorithm)}")
        assert (got.status_code, got.content) == (200, data)
        assert got.headers["docker-content-digest"] == digest_of(data, algorithm)
        assert got.headers["etag"] == f'"{digest_of(data, algorithm)}"'


def test_another_digest_opens_no_other_repository(bob: Person, repo: Repository, some_bytes: SomeBytes) -> None:
    digest = repo.push_blob(some_bytes(1000), "sha512")
    his = Repository(bob, f"{bob.name}/his")
    his.push_blob(b"{}")
    assert error_of(his.get(f"blobs/{digest}")) == (404, "BLOB_UNKNOWN")


# --- limits


def test_a_blob_larger_than_the_server_takes(registry: Registered, repo: Repository) -> None:
    before = {name.name for name in registry_of(registry).store.scan()}
    data = bytes(2 * 2**20 + 1)
    location = repo.begin()
    announced, untold = repo.patch(location, content=data), repo.patch(location, content=iter([data]))
    for refused in (announced, untold, repo.post(with_digest("blobs/uploads/", digest_of(data)), content=data)):
        assert error_of(refused) == (413, "SIZE_INVALID")
        assert "max_file_bytes" in message_of(refused)
    assert repo.patch(location, content=data[:-1]).status_code == 202
    assert error_of(repo.patch(location, content=b"!")) == (413, "SIZE_INVALID")
    assert state_of(repo.get(location)) == (204, f"0-{2 * 2**20 - 1}")
    assert repo.delete(location).status_code == 204
    assert {name.name for name in registry_of(registry).store.scan()} == before


def test_an_organisation_fills_its_quota_and_no_more(make_registered: MakeRegistered) -> None:
    ada = make_registered(quota_org_bytes=1000).user("ada")
    repo = Repository(ada, "ada/tiny")
    repo.push_blob(bytes(600))
    location = repo.begin()
    for refused in (
        repo.patch(location, content=bytes(401)),
        repo.post(with_digest("blobs/uploads/", digest_of(b"x" * 401)), content=b"x" * 401),
    ):
        assert error_of(refused) == (413, "SIZE_INVALID")
        assert "quota_org_bytes" in message_of(refused)
    assert repo.patch(location, content=b"y" * 400).status_code == 202
    assert error_of(repo.patch(repo.begin(), content=b"z")) == (413, "SIZE_INVALID")  # all is promised
    check_pushed(repo, repo.put(with_digest(location, digest_of(b"y" * 400))), b"y" * 400)
    assert repo.put(with_digest(repo.begin(), digest_of(b"")), content=b"").status_code == 201


def test_a_stream_of_untold_length_does_not_pass_the_quota(make_registered: MakeRegistered) -> None:
    ada = make_registered(quota_org_bytes=1000).user("ada")
    repo = Repository(ada, "ada/tiny")
    location = repo.begin()
    assert repo.patch(location, content=iter([b"x" * 1001])).status_code in (202, 413)
    assert error_of(repo.put(with_digest(location, digest_of(b"x" * 1001)))) == (413, "SIZE_INVALID")
    assert ada.get("/org/ada/models/tiny").status_code == 404


def test_an_organisation_has_only_so_many_unfinished_uploads(make_registered: MakeRegistered) -> None:
    ada = make_registered(max_open_uploads=2).user("ada")
    repo = Repository(ada, "ada/tiny")
    first, _ = repo.begin(), repo.begin()
    refused = repo.post("blobs/uploads/")
    assert error_of(refused) == (413, "SIZE_INVALID")
    assert "max_open_uploads" in message_of(refused)
    repo.delete(first)
    repo.begin()


@pytest.mark.only("disk")
def test_a_disk_down_to_its_floor_takes_nothing(make_registered: MakeRegistered) -> None:
    ada = make_registered(free_disk_floor_bytes=2**60).user("ada")
    refused = Repository(ada, "ada/tiny").post("blobs/uploads/")
    assert error_of(refused) == (413, "SIZE_INVALID")
    assert "free_disk_floor_bytes" in message_of(refused)


# --- through restarts, and at once


@pytest.mark.only("disk", "s3")
def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10
    with open_registered(data=tmp_path / "data") as registered:
        ada = registered.user("ada")
        repo = Repository(ada, "ada/tiny")
        in_chunks, in_one = repo.begin(), repo.begin()
        send_chunk(repo, in_chunks, 0, data[:1000])
        repo.patch(in_one, content=data)
    with open_registered(data=tmp_path / "data") as registered:
        repo = Repository(Person(registered.client, "ada", ada.token), "ada/tiny")
        assert state_of(repo.get(in_chunks)) == (204, "0-999")
        send_chunk(repo, in_chunks, 1000, data[1000:])
        check_pushed(repo, repo.put(with_digest(in_chunks, digest_of(data))), data)
        check_pushed(repo, repo.put(with_digest(in_one, digest_of(data))), data)


def repository_at(server: RunningServer) -> tuple[Repository, httpx2.Client]:
    """A new user's repository at a server in a process of its own."""
    client = httpx2.Client(base_url=server.url, timeout=60)
    made = Person(client, "admin", server.token).post("/users", {"username": "ada", "email_address": "a@example.com"})
    assert made.status_code == 201, made.text
    return Repository(Person(client, "ada", made.json()["key"]), "ada/tiny", server.url), client


def test_a_stream_that_breaks_off_goes_on_where_it_did(server: RunningServer) -> None:
    repo, client = repository_at(server)
    data = bytes(range(256)) * 2**13  # two megabytes
    location = repo.begin()
    head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {repo.person.token}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as wire:
        wire.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[: 2**20 + 5])
    received = wait_for_some(repo, location)
    assert received <= 2**20 + 5
    sent = send_chunk(repo, location, received, data[received:])
    assert state_of(sent) == (202, f"0-{len(data) - 1}"), sent.text
    check_pushed(repo, repo.put(with_digest(location, digest_of(data))), data)
    client.close()


def wait_for_some(repo: Repository, location: str) -> int:
    """How much is here, once any is: the server sees that the wire was cut when it has read what came before."""
    for _ in range(400):
        told = repo.get(location).headers["range"]
        if told != "0-0":
            return int(told.partition("-")[2]) + 1
        time.sleep(0.05)
    raise AssertionError("nothing of the stream counted")


def test_two_who_send_at_once_never_make_wrong_bytes(server: RunningServer) -> None:
    repo, client = repository_at(server)
    for _ in range(5):
        location = repo.begin()
        answers = send_at_once(repo, location, b"a" * PIECES, b"b" * PIECES)
        counted = [data for data, answered in answers if answered.status_code == 202]
        assert {answered.status_code for _, answered in answers} <= {202, 416}
        assert counted
        assert state_of(repo.get(location)) == (204, f"0-{len(counted) * PIECES - 1}")
        whole = next(data for data in (b"".join(each) for each in itertools.permutations(counted)) if data)
        put = repo.put(with_digest(location, digest_of(whole)))
        assert put.status_code == 201 or len(counted) == 2  # then the other order may be the right one
    client.close()


PIECES = 3 * 2**20


def send_at_once(repo: Repository, location: str, *streams: bytes) -> list[tuple[bytes, httpx2.Response]]:
    """Several streams to one upload, each from a thread of its own."""
    with ThreadPoolExecutor(len(streams)) as threads:
        return list(threads.map(lambda data: (data, repo.patch(location, content=data)), streams))


def test_a_blob_of_many_pieces_over_http(server: RunningServer) -> None:
    repo, client = repository_at(server)
    data = bytes(range(251)) * 2**16  # sixteen megabytes, and nothing repeats at a power of two
    for algorithm in ALGORITHMS:
        location = repo.begin()
        sent = repo.patch(location, content=(data[at : at + 100_003] for at in range(0, len(data), 100_003)))
        assert sent.status_code == 202, sent.text
        check_pushed(repo, repo.put(with_digest(location, digest_of(data, algorithm))), data, algorithm)
    client.close()
