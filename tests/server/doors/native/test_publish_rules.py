"""What publishing demands and promises, sentence by sentence (contract section 4, "Publish")."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from steelyard.server.core.arrivals import proofs
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.server.doors.native.models import ModelAt, faults, refusal

PART = 64 * 1024
HELD = {"model.safetensors": oid_of(b"weights")}


@pytest.fixture
def fed(tiny: ModelAt) -> ModelAt:
    """A model whose organisation holds the bytes of `HELD`."""
    tiny.person.upload(tiny.ref, b"weights")
    return tiny


# --- what a body must be


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"version": None}, "body"),
        ({"version": "1.0"}, "body.version"),
        ({"version": "v1.0.0"}, "body.version"),
        ({"version": "01.0.0"}, "body.version"),
        ({"version": "1.0.0-image"}, "body.version"),
        ({"version": "1.0.0-" + "a" * 120}, "body.version"),
        ({"version": 1}, "body.version"),
        ({"bump": "minor"}, "body"),
        ({"version": None, "bump": "middle"}, "body.bump"),
        ({"artifacts": {}}, "body.artifacts"),
        ({"artifacts": []}, "body.artifacts"),
        ({"artifacts": None}, "body.artifacts"),
        ({"artifacts": {"a": "0" * 64}}, "body.artifacts.a"),
        ({"artifacts": {"a": "sha256:" + "A" * 64}}, "body.artifacts.a"),
        ({"artifacts": {"a": None}}, "body.artifacts.a"),
        ({"artifacts": {"../a": oid_of(b"weights")}}, "body.artifacts.../a"),
        ({"artifacts": {"/a": oid_of(b"weights")}}, "body.artifacts./a"),
        ({"artifacts": {"a\\b": oid_of(b"weights")}}, "body.artifacts.a\\b"),
        ({"artifacts": {"a\x00": oid_of(b"weights")}}, "body.artifacts.a\x00"),
        ({"artifacts": {"": oid_of(b"weights")}}, "body.artifacts."),
        ({"artifacts": {"nul.txt": oid_of(b"weights")}}, "body.artifacts.nul.txt"),
        ({"artifacts": {"x" * 1_025: oid_of(b"weights")}}, "body.artifacts." + "x" * 1_025),
        ({"metrics": {"a": True}}, None),
        ({"metrics": {"a": None}}, None),
        ({"metrics": {"a": [1]}}, None),
        ({"metrics": {"": 1}}, None),
        ({"tags": "one"}, "body.tags"),
        ({"tags": ["a\x00b"]}, "body.tags.0"),
        ({"summary": "a\x00b"}, "body.summary"),
        ({"summary": 5}, "body.summary"),
        ({"aliases": ["latest"]}, "body.aliases.0"),
        ({"aliases": ["ok", "1.0.0"]}, "body.aliases.1"),
        ({"is_public": "true"}, "body.is_public"),
        ({"origin": []}, "body.origin"),
        ({"dataset_refs": [1]}, None),
        ({"full_name": "x"}, "body.full_name"),
    ],
    ids=str,
)
def test_a_fault_in_the_body_is_422_and_publishes_nothing(
    fed: ModelAt, changed: dict[str, Any], where: str | None
) -> None:
    found = faults(fed.post_version(**{"version": "1.0.0", "artifacts": HELD, **changed}))
    assert where is None or list(found) == [where]
    assert fed.get("/versions").status_code == 404


def test_names_that_differ_in_case_or_unicode_form_only_are_refused_together(fed: ModelAt) -> None:
    oid = oid_of(b"weights")
    paths = ["README.md", "readme.MD", "e\u0301.bin", "é.bin", "straße", "STRASSE", "dir", "DIR/file", "fine"]
    found = faults(fed.post_version(version="1.0.0", artifacts=dict.fromkeys(paths, oid)))
    assert set(found) == {f"body.artifacts.{path}" for path in ("readme.MD", "é.bin", "STRASSE", "DIR/file")}


def test_100_000_files_are_published_and_one_more_is_refused(fed: ModelAt) -> None:
    artifacts = {f"f/{n}": oid_of(b"weights") for n in range(100_000)}
    assert list(faults(fed.post_version(version="1.0.0", artifacts={**artifacts, "one more": oid_of(b"")}))) == [
        "body.artifacts"
    ]
    published = fed.post_version(version="1.0.0", artifacts=artifacts)
    assert published.status_code == 201
    assert len(published.json()["artifacts"]) == 100_000


def test_bytes_that_are_not_held_are_named_with_their_paths(fed: ModelAt) -> None:
    missing = {"a.bin": oid_of(b"a"), "b.bin": oid_of(b"b")}
    refused = fed.post_version(version="1.0.0", artifacts={**HELD, **missing})
    found = faults(refused)
    assert set(found) == {"body.artifacts.a.bin", "body.artifacts.b.bin"}
    assert all(missing[where.removeprefix("body.artifacts.")] in said for where, said in found.items())
    assert "a.bin" in refused.json()["detail"]
    assert fed.get("/versions").status_code == 404


def test_bytes_uploaded_to_one_model_can_be_published_in_all_of_the_organisation(fed: ModelAt) -> None:
    other = ModelAt(fed.person, f"{fed.org}/other")
    assert other.post_version(version="1.0.0", artifacts=HELD).status_code == 201


# --- atomic and immutable


def test_a_publish_that_fails_at_its_last_step_leaves_nothing(registry: Registered) -> None:
    """An alias that only an owner may move is the last thing looked at."""
    owner, dan = registry.org("atomic"), registry.user("dan")
    owner.post("/org/atomic/members", {"username": "dan", "role": "contributor"})
    tiny = ModelAt(owner, "atomic/tiny")
    tiny.publish("1.0.0")
    tiny.set_alias("prod", "1.0.0", protected=True)
    before = tiny.get("/versions").json(), owner.get("/org/atomic/audit").json()
    refused = dan.publish("atomic/tiny:2.0.0", aliases=["free", "prod"])
    assert refusal(refused) == (403, "forbidden_error")
    assert (tiny.get("/versions").json(), owner.get("/org/atomic/audit").json()) == before
    assert tiny.get("/free").status_code == 404


def test_a_retry_is_safe_and_changes_nothing(tiny: ModelAt) -> None:
    fields: dict[str, Any] = {"summary": "s", "tags": ["b", "a"], "framework": "safetensors"}
    first = tiny.publish("1.0.0", **fields, metrics={"a": 1}, aliases=["first"], origin={"source": "upload"})
    audited = tiny.person.get(f"/org/{tiny.org}/audit").json()
    again = tiny.person.publish(
        f"{tiny.ref}:1.0.0", **fields, metrics={"a": 2}, aliases=["second"], origin={"source": "oci"}, is_public=True
    )
    assert (again.status_code, again.json()) == (200, first.json())
    assert tiny.person.get(f"/org/{tiny.org}/audit").json() == audited
    assert tiny.get("/second").status_code == 404
    inferred = {key: value for key, value in fields.items() if key != "framework"}
    assert tiny.person.publish(f"{tiny.ref}:1.0.0", **inferred).status_code == 200, "what is inferred is the same"


@pytest.mark.parametrize(
    "changed",
    [
        {"framework": "onnx"}, {"summary": "t"}, {"summary": None}, {"description": "d"}, {"task": "t"},
        {"license": "mit"}, {"architecture": "a"}, {"tags": ["a", "b"]}, {"tags": []}, {"pretty_name": "p"},
        {"language": ["de"]},
        {"task_categories": ["t"]}, {"size_category": "tiny"}, {"base_model": "b/b"}, {"dataset_refs": ["d"]},
        {"files": {"model.safetensors": b"other"}}, {"files": {"renamed.safetensors": b"weights"}},
        {"files": {"model.safetensors": b"weights", "more": b"weights"}},
    ],
    ids=str,
)  # fmt: skip
def test_anything_different_under_a_number_is_409(tiny: ModelAt, changed: dict[str, Any]) -> None:
    fields = {"files": {"model.safetensors": b"weights"}, "summary": "s", "tags": ["b", "a"]}
    tiny.publish("1.0.0", **fields)  # type: ignore[arg-type]
    shown = tiny.get().json()
    refused = tiny.person.publish(f"{tiny.ref}:1.0.0", **{**fields, **changed})
    assert refusal(refused) == (409, "already_exists_error")
    assert "1.0.0" in refused.json()["detail"]
    assert tiny.get().json() == shown


def test_build_metadata_makes_another_version(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.0.0+cu12", "1.0.0+cpu")
    assert len(tiny.get("/versions").json()["versions"]) == 3


def test_the_number_of_a_deleted_version_is_spent(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0")
    tiny.delete("/1.0.0")
    refused = tiny.person.publish(f"{tiny.ref}:1.0.0")
    assert refusal(refused) == (409, "already_exists_error")
    assert "spent" in refused.json()["detail"]


def test_numbers_stay_spent_when_the_whole_model_goes(ada: Person) -> None:
    tiny = ModelAt(ada, f"{ada.name}/tiny")
    tiny.publish("1.0.0", "2.0.0")
    tiny.delete("/1.0.0")
    assert tiny.delete().status_code == 204
    assert tiny.get().status_code == 404
    again = ModelAt(ada, f"{ada.name}/TINY")
    for number in ("1.0.0", "2.0.0"):
        assert refusal(ada.publish(f"{again.ref}:{number}")) == (409, "already_exists_error")
    assert again.get("/versions").status_code == 404, "a refused publish makes no model either"
    assert again.publish("2.0.1").json()["name"] == again.ref


def test_thirty_two_different_publishes_of_one_number_make_one_version(fed: ModelAt) -> None:
    def publish(n: int) -> int:
        return fed.post_version(version="1.0.0", artifacts=HELD, summary=f"by {n}").status_code

    with ThreadPoolExecutor(32) as threads:
        statuses = sorted(threads.map(publish, range(32)))
    assert statuses == [201] + [409] * 31
    assert fed.get("/versions").json()["versions"] == ["1.0.0"]


def test_sixteen_equal_publishes_of_one_number_make_one_version_too(fed: ModelAt) -> None:
    def publish(_: int) -> tuple[int, str]:
        answered = fed.post_version(version="1.0.0", artifacts=HELD)
        return answered.status_code, answered.json()["id"]

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(publish, range(16)))
    assert sorted(status for status, _ in answers) == [200] * 15 + [201]
    assert len({uuid for _, uuid in answers}) == 1


# --- what only creation decides, and aliases


def test_is_public_counts_only_when_the_publish_makes_the_model(tiny: ModelAt) -> None:
    assert tiny.publish("1.0.0", is_public=True).json()["is_public"] is True
    assert tiny.publish("1.1.0", is_public=False).json()["is_public"] is True
    private = ModelAt(tiny.person, f"{tiny.org}/private")
    assert private.publish("1.0.0").json()["is_public"] is False
    assert private.publish("1.1.0", is_public=True).json()["is_public"] is False


def test_a_publish_sets_its_aliases_and_moves_those_of_others(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", aliases=["prod", "old"])
    assert tiny.publish("2.0.0", aliases=["prod", "new"]).json()["aliases"] == ["new", "prod"]
    assert [tiny.resolved(alias) for alias in ("prod", "old", "new")] == ["2.0.0", "1.0.0", "2.0.0"]


def test_a_publish_answers_where_its_version_is(tiny: ModelAt) -> None:
    published = tiny.publish("1.0.0+a")
    assert published.headers["location"] == published.headers["content-location"] == f"/api/v1{tiny.path}/1.0.0+a"
    assert published.headers["etag"] == tiny.get().headers["etag"]


# --- bumps


def _bump(model: ModelAt, part: str, key: str, **fields: Any) -> Any:
    return model.post_version(**{"bump": part, "artifacts": HELD, "headers": {"Idempotency-Key": key}, **fields})


@pytest.mark.parametrize(
    ("there", "part", "number"),
    [
        ("", "major", "1.0.0"),
        ("", "minor", "0.1.0"),
        ("", "patch", "0.0.1"),
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "patch", "1.2.4"),
        ("1.2.3 0.9.0", "patch", "1.2.4"),
        ("1.2.3 2.0.0-rc.1", "patch", "1.2.4"),
        ("2.0.0-rc.1", "major", "2.0.0"),
        ("1.2.3+cu12", "patch", "1.2.4"),
    ],
)
def test_a_bump_counts_on_from_the_latest(fed: ModelAt, there: str, part: str, number: str) -> None:
    fed.publish(*there.split()) if there else None
    bumped = _bump(fed, part, "key")
    assert (bumped.status_code, bumped.json()["version"]) == (201, number)


def test_a_bump_jumps_over_numbers_that_are_yanked_or_spent(fed: ModelAt) -> None:
    fed.publish("1.0.0", "1.0.1", "1.0.2")
    fed.put("/1.0.1/yank", {"reason": "x"})
    fed.delete("/1.0.2")
    assert _bump(fed, "patch", "key").json()["version"] == "1.0.3"


def test_the_retry_of_a_bump_makes_no_second_version(fed: ModelAt) -> None:
    first = _bump(fed, "minor", "key", summary="s")
    fed.publish("5.0.0")
    again = _bump(fed, "minor", "key", summary="s")
    assert (again.status_code, again.json()) == (200, first.json())
    assert _bump(fed, "minor", "another-key", summary="s").json()["version"] == "5.1.0"


def test_the_retry_of_a_bump_is_safe_also_at_the_same_moment(fed: ModelAt) -> None:
    def bump(_: int) -> tuple[int, str]:
        answered = _bump(fed, "minor", "key")
        return answered.status_code, answered.json()["version"]

    with ThreadPoolExecutor(8) as threads:
        answers = sorted(threads.map(bump, range(8)))
    assert answers == [(200, "0.1.0")] * 7 + [(201, "0.1.0")]


def test_a_key_is_for_one_publish(fed: ModelAt) -> None:
    _bump(fed, "minor", "key", summary="s")
    for other in ({"summary": "t"}, {"bump": "major", "summary": "s"}):
        assert list(faults(_bump(fed, "minor", "key", **other))) == ["header.Idempotency-Key"]
    assert fed.get("/versions").json()["versions"] == ["0.1.0"]


def test_a_key_is_of_one_caller_and_one_model(fed: ModelAt, registry: Registered, bob: Person) -> None:
    _bump(fed, "minor", "key")
    fed.person.post(f"/org/{fed.org}/members", {"username": bob.name, "role": "contributor"})
    assert _bump(fed.seen_by(bob), "minor", "key").json()["version"] == "0.2.0"
    assert _bump(ModelAt(fed.person, f"{fed.org}/other"), "major", "key").json()["version"] == "1.0.0"


@pytest.mark.parametrize("key", [None, "", "a" * 256, "a b", "é"])
def test_a_bump_without_a_good_key_is_422(fed: ModelAt, key: str | None) -> None:
    headers = {} if key is None else {"Idempotency-Key": key.encode("latin-1")}
    refused = fed.post("/versions", {"bump": "minor", "artifacts": HELD}, headers=headers)
    assert [where.lower() for where in faults(refused)] == ["header.idempotency-key"]


# --- bytes that are still being proven


def test_publishing_bytes_that_are_being_proven_is_409_and_says_when_to_come_back(
    make_registered: MakeRegistered, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, prove = threading.Event(), proofs.prove
    monkeypatch.setattr(proofs, "prove", lambda *upload: goes_on.wait(30) and prove(*upload))
    registered = make_registered(part_size_bytes=PART, prove_wait_seconds=0.05)
    tiny, data = ModelAt(registered.user("ada"), "ada/tiny"), bytes(PART + 1)
    action = tiny.person.offer(tiny.ref, data).json()["objects"][0]["actions"]["upload"]
    for number, part in (("1", data[:PART]), ("2", data[PART:])):
        registered.client.put(action["header"][number], content=part)
    accepted = registered.client.post(action["href"])
    pending = registered.client.get(accepted.headers["location"])
    for answered in (accepted, pending):
        assert (answered.status_code, answered.json()["status"]) == (202, "proving")
        assert int(answered.headers["retry-after"]) >= 1
    body: dict[str, Any] = {"version": "1.0.0", "artifacts": {"a.bin": oid_of(data)}}
    refused = tiny.post_version(**body)
    assert refusal(refused) == (409, "conflict_error")
    assert int(refused.headers["retry-after"]) >= 1
    goes_on.set()
    while (proven := registered.client.get(accepted.headers["location"])).status_code == 202:
        time.sleep(0.01)
    assert proven.json() == {"oid": oid_of(data), "size": len(data), "status": "done"}
    assert tiny.post_version(**body).status_code == 201
