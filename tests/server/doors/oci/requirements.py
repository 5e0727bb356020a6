"""What OCI distribution-spec 1.1 demands of a registry: a row each, in our own words, with what shows that it is met.

`docs/oci-conformance.md` is written from this (`python -m tests.server.doors.oci.requirements`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tests.server.doors.oci.pushed_sets import ARTIFACT, SETS, Pushed, artifact, image
from tests.server.doors.oci.pushing import (
    EMPTY,
    IMAGE,
    INDEX,
    Repository,
    descriptor,
    digest_of,
    error_of,
    image_manifest,
    index_manifest,
    with_digest,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is tried: a repository and another one of the same owner, both never used; the first as a stranger
    and as nobody in particular sees it."""

    repo: Repository
    other: Repository
    stranger: Repository
    nobody: Repository


Check = Callable[[Place], None]


@dataclass(frozen=True, slots=True)
class Row:
    """Something that a registry must do."""

    section: str
    endpoint: str
    must: str
    check: Check


ROWS: list[Row] = []


def must(section: str, endpoint: str, words: str) -> Callable[[Check], Check]:
    """What a function shows."""

    def add(check: Check) -> Check:
        ROWS.append(Row(section, endpoint, words, check))
        return check

    return add


ALGORITHMS = ("sha256", "sha512")
DATA = b"some bytes of a layer"


def for_each_algorithm(section: str, endpoint: str, words: str) -> Callable[[Callable[[Place, str], None]], None]:
    """A row for SHA-256 and one for SHA-512."""

    def add(check: Callable[[Place, str], None]) -> None:
        for algorithm in ALGORITHMS:
            ROWS.append(Row(section, endpoint, f"{words} ({algorithm})", partial(_swapped, check, algorithm)))

    return add


def _swapped(check: Callable[[Place, str], None], algorithm: str, place: Place) -> None:
    check(place, algorithm)


def push_set(repo: Repository, pushed: Sequence[Pushed]) -> None:
    """Push the blobs and manifests of a set; each must be taken as the specification has it."""
    for each in pushed:
        for blob in each.blobs:
            repo.push_blob(blob)
        put = repo.push_manifest(each.content, each.tag or each.digest, each.media_type)
        assert put.status_code == 201, put.text
        assert put.headers["location"].endswith(f"/manifests/{each.tag or each.digest}")
        assert put.headers["docker-content-digest"] == each.digest
        assert put.headers.get("oci-subject") == each.subject


def pushed(repo: Repository, *manifests: Pushed) -> Pushed:
    """Push these; answers the last one."""
    push_set(repo, manifests)
    return manifests[-1]


# --- determining support


@must("Determining Support", "end-1 GET /v2/", "A registry answers 200 to whoever may use it")
def ping(place: Place) -> None:
    assert place.repo.get("/v2/").status_code == 200


@must("Determining Support", "end-1 GET /v2/", "Who is not known is told by a 401 how to make himself known")
def ping_unknown(place: Place) -> None:
    asked = place.nobody.get("/v2/")
    assert error_of(asked) == (401, "UNAUTHORIZED")
    assert asked.headers["www-authenticate"].startswith("Bearer realm=")


# --- a repository that was never used


@must("Content Discovery", "end-8a tags/list", "A repository that was never used has no tags, and is no error")
def tags_of_nothing(place: Place) -> None:
    listed = place.repo.get("tags/list")
    assert (listed.status_code, listed.json()) == (200, {"name": place.repo.name, "tags": []})


@must("Content Discovery", "end-12a referrers", "A repository that was never used has no referrers, and is no error")
def referrers_of_nothing(place: Place) -> None:
    listed = place.repo.get(f"referrers/{digest_of(DATA)}")
    assert listed.status_code == 200
    assert listed.headers["content-type"] == INDEX
    assert listed.json() == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}


# --- pulling blobs


@for_each_algorithm("Pulling Blobs", "end-2 GET blobs", "A blob that is there is answered with its bytes and digest")
def blob_pulled(place: Place, algorithm: str) -> None:
    digest = place.repo.push_blob(DATA, algorithm)
    got = place.repo.get(f"blobs/{digest}")
    assert (got.status_code, got.content, got.headers["docker-content-digest"]) == (200, DATA, digest)


@for_each_algorithm("Pulling Blobs", "end-2 HEAD blobs", "HEAD answers the size and the digest without the bytes")
def blob_head(place: Place, algorithm: str) -> None:
    digest = place.repo.push_blob(DATA, algorithm)
    head = place.repo.head(f"blobs/{digest}")
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["docker-content-digest"]) == (str(len(DATA)), digest)


@for_each_algorithm("Pulling Blobs", "end-2 GET blobs", "A blob that is not there is 404 BLOB_UNKNOWN")
def blob_missing(place: Place, algorithm: str) -> None:
    place.repo.push_blob(DATA)
    missing = digest_of(b"nobody pushed this", algorithm)
    assert error_of(place.repo.get(f"blobs/{missing}")) == (404, "BLOB_UNKNOWN")
    assert place.repo.head(f"blobs/{missing}").status_code == 404


def _range(asked: str, wanted: bytes | None, place: Place) -> None:
    digest = place.repo.push_blob(DATA)
    got = place.repo.get(f"blobs/{digest}", headers={"Range": f"bytes={asked}"})
    assert got.status_code == (416 if wanted is None else 206)
    assert wanted is None or got.content == wanted


for _asked, _wanted in {
    "0-3": DATA[:4],
    "5-": DATA[5:],
    "-4": DATA[-4:],
    "2-9999": DATA[2:],
    "9999-": None,
    "5-2": None,
}.items():
    ROWS.append(
        Row(
            "Pulling Blobs",
            "end-2 GET blobs",
            f"`Range: bytes={_asked}` of a blob is understood",
            partial(_range, _asked, _wanted),
        )
    )


# --- pulling manifests


@must("Pulling Manifests", "end-3 GET manifests", "The type is that which was pushed, and `Accept` refuses nothing")
def type_is_kept(place: Place) -> None:
    made = pushed(place.repo, image("one"))
    got = place.repo.get("manifests/one", headers={"Accept": "application/vnd.example.other"})
    assert (got.status_code, got.headers["content-type"], got.content) == (200, IMAGE, made.content)


@must("Pulling Manifests", "end-3 HEAD manifests", "HEAD answers size, type and digest without the bytes")
def manifest_head(place: Place) -> None:
    made = pushed(place.repo, image("one"))
    head = place.repo.head("manifests/one")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(made.content)))
    assert (head.headers["docker-content-digest"], head.headers["content-type"]) == (made.digest, IMAGE)


@must(
    "Pulling Manifests",
    "end-3 GET manifests",
    "A manifest that is not there is 404 MANIFEST_UNKNOWN, by tag and digest",
)
def manifest_missing(place: Place) -> None:
    pushed(place.repo, image("one"))
    for reference in ("two", digest_of(b"nobody pushed this"), digest_of(b"", "sha512")):
        assert error_of(place.repo.get(f"manifests/{reference}")) == (404, "MANIFEST_UNKNOWN"), reference
        assert place.repo.head(f"manifests/{reference}").status_code == 404


@must("Pulling Manifests", "end-3 GET manifests", "What is no digest is refused in reading and in writing")
def bad_digest(place: Place) -> None:
    made = pushed(place.repo, image("one"))
    assert place.repo.get("manifests/sha256:baddigeststring").status_code in (400, 404)
    put = place.repo.push_manifest(made.content, "sha256:baddigeststring")
    assert error_of(put) == (400, "DIGEST_INVALID")


@must(
    "Pulling Manifests", "end-3 GET manifests", "A repository that is not there, or not for the caller, is 404 or 401"
)
def repository_missing(place: Place) -> None:
    pushed(place.repo, image("one"))
    assert error_of(place.stranger.get("manifests/one")) == (404, "NAME_UNKNOWN")
    assert error_of(place.nobody.get("manifests/one")) == (401, "UNAUTHORIZED")


# --- pushing blobs


@for_each_algorithm(
    "Pushing Blobs", "end-4a, end-6", "POST, then PUT with all bytes, is 201 and says where the blob is"
)
def post_put(place: Place, algorithm: str) -> None:
    digest = digest_of(DATA, algorithm)
    query = "" if algorithm == "sha256" else f"?digest-algorithm={algorithm}"
    put = place.repo.put(with_digest(place.repo.begin(query), digest), content=DATA)
    assert put.status_code == 201, put.text
    assert place.repo.get(put.headers["location"]).content == DATA


@for_each_algorithm(
    "Pushing Blobs", "end-4b POST blobs/uploads", "POST with the digest and all bytes is 201, or 202 to go on"
)
def post_only(place: Place, algorithm: str) -> None:
    digest = digest_of(DATA, algorithm)
    posted = place.repo.post(with_digest("blobs/uploads/", digest), content=DATA)
    assert posted.status_code == 201, posted.text
    assert place.repo.get(posted.headers["location"]).content == DATA


@for_each_algorithm(
    "Pushing Blobs", "end-5 PATCH", "Chunks in order are 202, each with where it goes on and how much is there"
)
def chunked(place: Place, algorithm: str) -> None:
    location, half = place.repo.begin(), len(DATA) // 2
    for first, piece in ((0, DATA[:half]), (half, DATA[half:])):
        sent = place.repo.patch(location, content=piece, headers={"Content-Range": f"{first}-{first + len(piece) - 1}"})
        assert (sent.status_code, sent.headers["range"]) == (202, f"0-{first + len(piece) - 1}"), sent.text
        location = sent.headers["location"]
    put = place.repo.put(with_digest(location, digest_of(DATA, algorithm)))
    assert put.status_code == 201, put.text
    assert place.repo.get(f"blobs/{digest_of(DATA, algorithm)}").content == DATA


@must("Pushing Blobs", "end-6 PUT", "The last chunk may come with the closing PUT")
def last_in_put(place: Place) -> None:
    sent = place.repo.patch(place.repo.begin(), content=DATA[:5], headers={"Content-Range": "0-4"})
    headers = {"Content-Range": f"5-{len(DATA) - 1}"}
    put = place.repo.put(with_digest(sent.headers["location"], digest_of(DATA)), content=DATA[5:], headers=headers)
    assert put.status_code == 201, put.text
    assert place.repo.get(f"blobs/{digest_of(DATA)}").content == DATA


@must("Pushing Blobs", "end-5 PATCH", "A chunk out of order is 416, and the upload is as it was")
def out_of_order(place: Place) -> None:
    sent = place.repo.patch(place.repo.begin(), content=DATA[:5], headers={"Content-Range": "0-4"})
    location = sent.headers["location"]
    for first in (0, 6):
        headers = {"Content-Range": f"{first}-{first + 4}"}
        assert place.repo.patch(location, content=DATA[:5], headers=headers).status_code == 416
    asked = place.repo.get(location)
    assert (asked.status_code, asked.headers["range"]) == (204, "0-4")


@must(
    "Pushing Blobs", "end-13 GET upload", "The state of an upload is 204, with where it goes on and how much is there"
)
def state(place: Place) -> None:
    sent = place.repo.patch(place.repo.begin(), content=DATA)
    asked = place.repo.get(sent.headers["location"])
    assert (asked.status_code, asked.headers["range"]) == (204, f"0-{len(DATA) - 1}")
    assert asked.headers["location"]


@must("Pushing Blobs", "end-5 PATCH", "A stream without Content-Range and of no known length is taken")
def streamed(place: Place) -> None:
    sent = place.repo.patch(place.repo.begin(), content=iter([DATA[:7], DATA[7:]]))
    assert sent.status_code == 202, sent.text
    assert place.repo.put(with_digest(sent.headers["location"], digest_of(DATA))).status_code == 201


@must("Pushing Blobs", "end-14 DELETE upload", "An upload that is cancelled is 204, and 404 BLOB_UPLOAD_UNKNOWN after")
def cancelled(place: Place) -> None:
    location = place.repo.begin()
    assert place.repo.delete(location).status_code == 204
    assert error_of(place.repo.get(location)) == (404, "BLOB_UPLOAD_UNKNOWN")


@for_each_algorithm(
    "Pushing Blobs", "end-6 PUT", "Bytes that do not match their digest are 400 DIGEST_INVALID, and not kept"
)
def wrong_digest(place: Place, algorithm: str) -> None:
    wrong = digest_of(b"other bytes", algorithm)
    put = place.repo.put(with_digest(place.repo.begin(), wrong), content=DATA)
    assert error_of(put) == (400, "DIGEST_INVALID")
    assert place.repo.head(f"blobs/{wrong}").status_code == 404


def _no_digest(text: str, place: Place) -> None:
    put = place.repo.put(with_digest(place.repo.begin(), text), content=DATA)
    assert error_of(put) == (400, "DIGEST_INVALID")


for _text in ("sha256:baddigeststring", "sha256:", "md5:" + 32 * "0", "baddigest"):
    ROWS.append(
        Row("Pushing Blobs", "end-6 PUT", f"`digest={_text}` is 400 DIGEST_INVALID", partial(_no_digest, _text))
    )


def _small(data: bytes, algorithm: str, place: Place) -> None:
    digest = place.repo.push_blob(data, algorithm)
    assert place.repo.get(f"blobs/{digest}").content == data


for _algorithm in ALGORITHMS:
    for _name, _data in (("empty", b""), ("`{}`", b"{}")):
        ROWS.append(
            Row(
                "Pushing Blobs",
                "end-6 PUT",
                f"The {_name} blob is one as any other ({_algorithm})",
                partial(_small, _data, _algorithm),
            )
        )


@for_each_algorithm(
    "Mounting Blobs", "end-11 POST", "A blob of another repository that the caller may read is 201, at once"
)
def mounted(place: Place, algorithm: str) -> None:
    digest = place.other.push_blob(DATA, algorithm)
    posted = place.repo.post(f"blobs/uploads/?mount={digest}&from={place.other.name}")
    assert posted.status_code == 201, posted.text
    assert place.repo.get(posted.headers["location"]).content == DATA


@must("Mounting Blobs", "end-11 POST", "Without `from` a blob is mounted, or 202 begins an upload")
def mounted_from_anywhere(place: Place) -> None:
    digest = place.other.push_blob(DATA)
    assert place.repo.post(f"blobs/uploads/?mount={digest}").status_code in (201, 202)


@must("Mounting Blobs", "end-11 POST", "What cannot be mounted is 202, and an upload goes on there")
def mount_missing(place: Place) -> None:
    digest = digest_of(DATA)
    posted = place.repo.post(f"blobs/uploads/?mount={digest}&from={place.other.name}")
    assert posted.status_code == 202, posted.text
    assert place.repo.put(with_digest(posted.headers["location"], digest), content=DATA).status_code == 201


# --- pushing manifests


@must("Pushing Manifests", "end-7 PUT", "Bytes that do not match the digest of the path are 400 DIGEST_INVALID")
def manifest_wrong_digest(place: Place) -> None:
    made = image()
    for blob in made.blobs:
        place.repo.push_blob(blob)
    wrong = digest_of(b"other bytes")
    assert error_of(place.repo.push_manifest(made.content, wrong)) == (400, "DIGEST_INVALID")
    assert place.repo.head(f"manifests/{wrong}").status_code == 404


@must("Pushing Manifests", "end-7 PUT", "A blob that the repository does not hold is MANIFEST_BLOB_UNKNOWN")
def manifest_without_blobs(place: Place) -> None:
    made = image("one")
    place.other.push_blob(made.blobs[1])
    place.repo.push_blob(made.blobs[0])
    put = place.repo.push_manifest(made.content, "one")
    assert error_of(put) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert digest_of(made.blobs[1]) in put.text


@must("Pushing Manifests", "end-7 PUT", "A manifest that is none is MANIFEST_INVALID")
def no_manifest(place: Place) -> None:
    for content in (b"", b"{", b"[]", b'{"schemaVersion": 1}'):
        assert error_of(place.repo.push_manifest(content, "one")) == (400, "MANIFEST_INVALID"), content


@must("Pushing Manifests", "end-7 PUT", "A manifest that is larger than is taken is 413")
def too_large(place: Place) -> None:
    put = place.repo.push_manifest(b" " * (8 * 2**20 + 1), "one")
    assert error_of(put) == (413, "SIZE_INVALID")


@must("Pushing Manifests", "end-7 PUT", "What is no tag is refused")
def no_tag(place: Place) -> None:
    made = pushed(place.repo, image("one"))
    for reference in (".hidden", "-x", "a" * 129, "a+b"):
        assert place.repo.push_manifest(made.content, reference).status_code in (400, 404), reference


@must("Pushing Manifests", "end-7 PUT", "A tag that was pushed before leads to the new manifest")
def moved_tag(place: Place) -> None:
    first, second = image("one"), image("one", text="newer")
    push_set(place.repo, [first, second])
    assert place.repo.get("manifests/one").content == second.content
    assert place.repo.get(f"manifests/{first.digest}").content == first.content


@must(
    "Pushing Manifests", "end-7b PUT ?tag=", "A manifest by digest takes the tags of its query, which `OCI-Tag` tells"
)
def tags_of_query(place: Place) -> None:
    made = pushed(place.repo, image())
    put = place.repo.push_manifest(made.content, f"{made.digest}?tag=one&tag=two")
    assert (put.status_code, put.headers["oci-tag"]) == (201, "one, two")
    assert place.repo.get("manifests/two").content == made.content


# --- whatever is pushed


def _lives(name: str, place: Place) -> None:
    """Push, list, look at, pull, find by its subject, and delete each manifest of a set."""
    every = SETS[name]()
    push_set(place.repo, every)
    tags = {each.tag: each for each in every if each.tag}
    assert place.repo.get("tags/list").json()["tags"] == sorted(tags)
    for each in every:
        for reference in filter(None, (each.digest, each.tag)):
            got, head = place.repo.get(f"manifests/{reference}"), place.repo.head(f"manifests/{reference}")
            assert (got.status_code, got.content, got.headers["content-type"]) == (200, each.content, each.media_type)
            assert got.headers["docker-content-digest"].startswith("sha")
            assert head.headers["content-length"] == str(len(each.content))
        if each.subject is not None:
            listed = place.repo.get(f"referrers/{each.subject}").json()["manifests"]
            assert (each.digest, each.artifact_type) in [(item["digest"], item["artifactType"]) for item in listed]
    _are_deleted(place.repo, every)


def _are_deleted(repo: Repository, every: Sequence[Pushed]) -> None:
    for each in {one.digest: one for one in every}.values():
        if each.tag:
            assert repo.delete(f"manifests/{each.tag}").status_code == 202
            assert error_of(repo.get(f"manifests/{each.tag}")) == (404, "MANIFEST_UNKNOWN")
            assert repo.head(f"manifests/{each.digest}").status_code == 200
        assert repo.delete(f"manifests/{each.digest}").status_code == 202
        assert error_of(repo.get(f"manifests/{each.digest}")) == (404, "MANIFEST_UNKNOWN")
    assert repo.get("tags/list").json()["tags"] == []


for _set in SETS:
    ROWS.append(
        Row("Pushing and Pulling", "end-2 to end-12", f"{_set}: pushed, listed, pulled, deleted", partial(_lives, _set))
    )


# --- discovery


def _with_tags(repo: Repository, *tags: str) -> None:
    made = pushed(repo, image())
    for tag in tags:
        assert repo.push_manifest(made.content, tag).status_code == 201


@must("Listing Tags", "end-8a tags/list", "Tags are listed in the order of their characters")
def tags_in_order(place: Place) -> None:
    _with_tags(place.repo, "b", "a", "C", "_d")
    assert place.repo.get("tags/list").json() == {"name": place.repo.name, "tags": ["C", "_d", "a", "b"]}


@must("Listing Tags", "end-8b tags/list?n=", "`n` gives as many at most, and `Link` says where it goes on")
def tags_in_pages(place: Place) -> None:
    _with_tags(place.repo, "a", "b", "c")
    first = place.repo.get("tags/list?n=2")
    assert first.json()["tags"] == ["a", "b"]
    link, _, rel = first.headers["link"].partition(">; ")
    assert rel == 'rel="next"'
    second = place.repo.get(link.removeprefix("<"))
    assert (second.json()["tags"], "link" in second.headers) == (["c"], False)


@must("Listing Tags", "end-8b tags/list?n=0", "`n=0` gives none, and no `Link`")
def no_tags_wanted(place: Place) -> None:
    _with_tags(place.repo, "a")
    listed = place.repo.get("tags/list?n=0")
    assert (listed.json()["tags"], "link" in listed.headers) == ([], False)


@must("Listing Tags", "end-8b tags/list?last=", "`last` gives what comes after it, with and without `n`")
def tags_after(place: Place) -> None:
    _with_tags(place.repo, "a", "b", "c")
    assert place.repo.get("tags/list?last=a").json()["tags"] == ["b", "c"]
    assert place.repo.get("tags/list?last=a&n=1").json()["tags"] == ["b"]
    assert place.repo.get("tags/list?last=aa").json()["tags"] == ["b", "c"]


@must("Listing Referrers", "end-12a referrers", "What is no digest is 400")
def referrers_of_no_digest(place: Place) -> None:
    pushed(place.repo, image("one"))
    assert error_of(place.repo.get("referrers/sha256:baddigeststring")) == (400, "DIGEST_INVALID")


@must("Listing Referrers", "end-12a referrers", "Each is told by type, digest, size, artifact type and annotations")
def referrers_are_described(place: Place) -> None:
    subject = image("one")
    made = artifact(subject=subject.descriptor, annotations={"org.example.key": "value"})
    pushed(place.repo, subject)
    for blob in made.blobs:
        place.repo.push_blob(blob)
    assert place.repo.push_manifest(made.content).headers["oci-subject"] == subject.digest
    [told] = place.repo.get(f"referrers/{subject.digest}").json()["manifests"]
    wanted = {"mediaType": IMAGE, "digest": made.digest, "size": len(made.content), "artifactType": ARTIFACT}
    assert told == {**wanted, "annotations": {"org.example.key": "value"}}


@must(
    "Listing Referrers",
    "end-12a referrers",
    "Without an artifact type, an image is told by its config's, an index by none",
)
def referrers_without_type(place: Place) -> None:
    subject = pushed(place.repo, image("one"))
    place.repo.push_blob(b"{}")
    as_image = image_manifest(descriptor(EMPTY, b"{}"), [], subject=subject.descriptor)
    as_index = index_manifest([], subject=subject.descriptor)
    assert place.repo.push_manifest(as_image).status_code == 201
    assert place.repo.push_manifest(as_index, media_type=INDEX).status_code == 201
    told = place.repo.get(f"referrers/{subject.digest}").json()["manifests"]
    assert [(each["mediaType"], each.get("artifactType")) for each in told] == [(IMAGE, EMPTY), (INDEX, None)]


@must("Listing Referrers", "end-12b referrers?artifactType=", "A filter is applied, and said to be")
def referrers_filtered(place: Place) -> None:
    subject = pushed(place.repo, image("one"))
    place.repo.push_blob(b"{}")
    for kind in ("application/x.one", "application/x.two+json"):
        said = image_manifest(descriptor(EMPTY, b"{}"), [], subject=subject.descriptor, artifactType=kind)
        assert place.repo.push_manifest(said).status_code == 201
    listed = place.repo.get(f"referrers/{subject.digest}", params={"artifactType": "application/x.two+json"})
    assert listed.headers["oci-filters-applied"] == "artifactType"
    assert [each["artifactType"] for each in listed.json()["manifests"]] == ["application/x.two+json"]


# --- deleting


@must("Deleting Tags", "end-9 DELETE manifests", "A tag goes alone: the manifest and its other tags stay")
def tag_deleted(place: Place) -> None:
    _with_tags(place.repo, "one", "two")
    assert place.repo.delete("manifests/one").status_code == 202
    assert error_of(place.repo.get("manifests/one")) == (404, "MANIFEST_UNKNOWN")
    assert place.repo.get("manifests/two").status_code == 200
    assert place.repo.get("tags/list").json()["tags"] == ["two"]


@must(
    "Deleting Manifests", "end-9 DELETE manifests", "A manifest goes with its tags, and from what refers to its subject"
)
def manifest_deleted(place: Place) -> None:
    every = SETS["subject"]()
    push_set(place.repo, every)
    referring = every[1]
    assert place.repo.delete(f"manifests/{referring.digest}").status_code == 202
    assert place.repo.get(f"referrers/{referring.subject}").json()["manifests"] == []
    assert place.repo.delete(f"manifests/{every[0].digest}").status_code == 202
    assert place.repo.get("tags/list").json()["tags"] == []


@must("Deleting Manifests", "end-9 DELETE manifests", "What is not there is 404")
def missing_deleted(place: Place) -> None:
    pushed(place.repo, image("one"))
    for reference in ("two", digest_of(b"nobody pushed this")):
        assert error_of(place.repo.delete(f"manifests/{reference}")) == (404, "MANIFEST_UNKNOWN")


@for_each_algorithm("Deleting Blobs", "end-10 DELETE blobs", "A blob goes from its repository, and from no other")
def blob_deleted(place: Place, algorithm: str) -> None:
    digest = place.repo.push_blob(DATA, algorithm)
    place.other.push_blob(DATA, algorithm)
    assert place.repo.delete(f"blobs/{digest}").status_code == 202
    assert error_of(place.repo.get(f"blobs/{digest}")) == (404, "BLOB_UNKNOWN")
    assert place.other.get(f"blobs/{digest}").content == DATA


@must("Deleting Blobs", "end-10 DELETE blobs", "A blob that is not there is 404 BLOB_UNKNOWN")
def missing_blob_deleted(place: Place) -> None:
    place.repo.push_blob(DATA)
    assert error_of(place.repo.delete(f"blobs/{digest_of(b'nobody pushed this')}")) == (404, "BLOB_UNKNOWN")


# --- the page

_HEAD = """# What the OCI specification demands

OCI distribution-spec 1.1, one row for each thing that a registry must do, endpoint by endpoint, in our own words. Every
row is a test that passes: `tests/server/doors/oci/requirements.py` has them, and this page is written from there.

| Section | Endpoint | What must be |
|---|---|---|
"""


def page() -> str:
    """The table as a document."""
    return _HEAD + "".join(f"| {row.section} | `{row.endpoint}` | {row.must} |\n" for row in ROWS)


if __name__ == "__main__":
    print(page(), end="")
