"""What is shown of a version, and to whom: the Detail, its ETag, and what is kept from callers who are no members."""

import hashlib
import json
import re
import struct
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.server.doors.native.access_table import DETAIL
from tests.server.doors.native.models import ModelAt

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_a_detail_has_every_field_and_its_defaults(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"model.safetensors": b"weights", "a/b.txt": b""})
    shown = tiny.get().json()
    assert set(shown) == DETAIL
    assert str(UUID(shown["id"])) == shown["id"]
    assert (shown["name"], shown["version"], shown["framework"]) == (tiny.ref, "1.0.0", "safetensors")
    assert (shown["download_count"], shown["is_public"], shown["yanked"]) == (0, False, None)
    assert shown["artifacts"] == {"a/b.txt": oid_of(b""), "model.safetensors": oid_of(b"weights")}
    assert (shown["file_size_bytes"], shown["sizes"]) == (7, {"a/b.txt": 0, "model.safetensors": 7})
    assert set(shown["origin"]) == {"registry"}
    for key in ("summary", "task", "architecture", "base_model", "license", "pretty_name", "description", "metrics"):
        assert shown[key] is None


def test_moments_are_utc_with_a_z(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    shown = tiny.get().json()
    for moment in (shown["created_at"], shown["updated_at"], shown["origin"]["registry"]["at"]):
        assert _INSTANT.fullmatch(moment)
        assert abs(datetime.now(UTC) - datetime.fromisoformat(moment)) < timedelta(minutes=1)


def test_what_was_said_is_shown_as_it_was_said(tiny: ModelAt) -> None:
    said: dict[str, Any] = {
        "framework": "jax", "summary": "Ein größerer\nSatz", "description": "# Card\r\n😀", "task": "asr",
        "architecture": "whisper", "tags": ["b", "a", "b"], "license": "mit", "pretty_name": "Tiny™",
        "language": ["de", "en"], "task_categories": ["x"], "size_category": "odd", "base_model": "openai/whisper",
        "dataset_refs": ["wiki", {"name": "c4", "split": None}],
        "metrics": {"wer": 0.125, "steps": 10**15, "note": "ok"},
    }  # fmt: skip
    tiny.publish("1.0.0", **said)
    shown = tiny.get().json()
    assert {key: shown[key] for key in said} == said


def test_the_artifacts_hash_is_what_everybody_can_compute(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"b.bin": b"1", "a/größe.bin": b"2", "a b": b"1"})
    artifacts = {"b.bin": oid_of(b"1"), "a/größe.bin": oid_of(b"2"), "a b": oid_of(b"1")}
    expected = hashlib.sha256(json.dumps(artifacts, sort_keys=True).encode()).hexdigest()
    assert tiny.get().json()["artifacts_hash"] == f"sha256:{expected}"
    assert "\\u00f6" in json.dumps(artifacts), "ASCII escapes, as Python's default has them"


def test_the_artifacts_hash_of_one_known_version(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"model.safetensors": b"weights"})
    text = '{"model.safetensors": "sha256:' + hashlib.sha256(b"weights").hexdigest() + '"}'
    assert tiny.get().json()["artifacts_hash"] == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("files", "framework"),
    [
        (["a.safetensors", "b.gguf", "c.onnx", "d.bin"], "safetensors"),
        (["b.gguf", "c.onnx", "d.bin"], "gguf"),
        (["c.onnx", "d.bin"], "onnx"),
        (["d.bin"], "pytorch"),
        (["d.pt"], "pytorch"),
        (["deep/d.pth"], "pytorch"),
        (["README.md"], "safetensors"),
        (["MODEL.GGUF"], "gguf"),
        (["safetensors", "gguf/readme", "x.onnx.txt"], "safetensors"),
    ],
    ids=str,
)
def test_a_missing_framework_is_inferred_from_the_files(tiny: ModelAt, files: list[str], framework: str) -> None:
    tiny.publish("1.0.0", files=dict.fromkeys(files, b"x"))
    assert tiny.get().json()["framework"] == framework


def test_the_size_category_comes_from_the_parameters_where_weights_tell_them(ada: Person) -> None:
    """A file of 13 MB that tells of a hundred million parameters of one bit each, under two names."""
    header = json.dumps({"w": {"dtype": "U1", "shape": [10_000, 10_000], "data_offsets": [0, 12_500_000]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(12_500_000)
    told, untold = ModelAt(ada, f"{ada.name}/told"), ModelAt(ada, f"{ada.name}/untold")
    told.publish("1.0.0", files={"model.safetensors": weights})
    untold.publish("1.0.0", files={"model.bin": weights})
    assert told.get().json()["size_category"] == "small"
    assert untold.get().json()["size_category"] == "tiny"


def test_an_etag_is_of_what_is_shown_and_answers_304(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    first = tiny.get()
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[^"]+"', etag)
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        unchanged = tiny.get("/1.0.0", headers={"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == etag
        assert unchanged.headers["content-location"] == first.headers["content-location"]
        assert unchanged.headers["cache-control"] == "private, no-cache"
    assert tiny.get(headers={"If-None-Match": '"other"'}).status_code == 200


def test_whatever_moves_changes_the_etag(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    etags = [tiny.get("/1.0.0").headers["etag"]]
    moves = [
        lambda: tiny.put("/1.0.0/metrics", {"a": 1}),
        lambda: tiny.set_alias("prod", "1.0.0"),
        lambda: tiny.put("/1.0.0/yank", {"reason": "x"}),
        tiny.make_public,
    ]
    for move in moves:
        move()
        changed = tiny.get("/1.0.0", headers={"If-None-Match": etags[-1]})
        assert changed.status_code == 200
        etags.append(changed.headers["etag"])
    assert len(set(etags)) == len(moves) + 1


def test_an_etag_of_somebody_else_who_sees_less_is_another_one(tiny: ModelAt, bob: Person) -> None:
    tiny.publish("1.0.0")
    tiny.make_public()
    mine = tiny.get()
    assert tiny.seen_by(bob).get(headers={"If-None-Match": mine.headers["etag"]}).status_code == 200


# --- what is for members


@pytest.fixture
def shown(tiny: ModelAt, ada: Person) -> ModelAt:
    """A public model with parents: one hidden, one public, one of elsewhere."""
    for name in ("hidden", "open"):
        ModelAt(ada, f"{ada.name}/{name}").publish("1.0.0")
    ModelAt(ada, f"{ada.name}/open").make_public()
    parents = [
        {"name": f"{ada.name}/hidden", "version": "1.0.0", "relation": "finetune"},
        {"name": f"{ada.name}/HIDDEN:1.0.0"},
        {"name": f"{ada.name}/open", "relation": "merge"},
        {"name": "huggingface/elsewhere"},
    ]
    tiny.publish("1.0.0", origin={"source": "upload", "derived_from": parents}, base_model=f"{ada.name}/hidden")
    tiny.publish("1.1.0", base_model=f"{ada.name}/open", aliases=["prod"])
    tiny.make_public()
    return tiny


def test_a_member_sees_who_published_and_from_what(shown: ModelAt, ada: Person) -> None:
    seen = shown.get("/1.0.0").json()
    assert seen["created_by_email"] == f"{ada.name}@example.com"
    assert seen["origin"]["registry"]["published_by"] == ada.name
    assert len(seen["origin"]["derived_from"]) == 4
    assert seen["base_model"] == f"{ada.name}/hidden"


def test_an_outsider_sees_no_people_and_no_hidden_parents(shown: ModelAt, ada: Person, bob: Person) -> None:
    outside = shown.seen_by(bob)
    seen = outside.get("/1.0.0").json()
    assert seen["created_by_email"] is None
    assert seen["origin"]["registry"]["published_by"] is None
    assert seen["origin"]["registry"]["at"]
    assert [parent["name"] for parent in seen["origin"]["derived_from"]] == [
        f"{ada.name}/open",
        "huggingface/elsewhere",
    ]
    assert seen["base_model"] is None
    assert outside.get("/1.1.0").json()["base_model"] == f"{ada.name}/open"


def test_nothing_that_an_outsider_is_shown_names_a_person_or_a_hidden_model(
    shown: ModelAt, registry: Registered, ada: Person, bob: Person
) -> None:
    outside = shown.seen_by(bob)
    user_id = ada.get("/user").json()["id"]
    answers = [
        outside.get(), outside.get("/1.0.0"), outside.get("/versions"), outside.get("/aliases"),
        outside.get("/compare?versions=1.0.0&versions=1.1.0"), bob.get(f"/org/{ada.name}/models"),
        bob.get(f"/org/{bob.name}/models?include_public=true&limit=200"), outside.post("/1.0.0/download"),
        bob.get(f"/org/{ada.name}/models/facets"), bob.get(f"/org/{ada.name}"),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 200
        for secret in (
            f"{ada.name}@",
            user_id,
            "hidden",
            "HIDDEN",
            f'"{ada.name}"' if "/models" in answer.url.path else "@",
        ):
            assert secret not in answer.text, (answer.url.path, secret)
    (alias,) = outside.get("/aliases").json()["aliases"]
    assert [move["by"] for move in alias["history"]] == [None]
    (alias,) = shown.get("/aliases").json()["aliases"]
    assert [move["by"] for move in alias["history"]] == [ada.name]


def test_a_model_is_private_unless_it_is_said(tiny: ModelAt, bob: Person) -> None:
    tiny.publish("1.0.0")
    assert tiny.get().json()["is_public"] is False
    assert tiny.seen_by(bob).get().status_code == 404


def test_visibility_covers_all_versions(tiny: ModelAt, bob: Person) -> None:
    tiny.publish("1.0.0", "2.0.0")
    outside = tiny.seen_by(bob)
    answered = tiny.patch("/visibility", {"is_public": True}).json()
    assert (answered["is_public"], "public" in answered["message"]) == (True, True)
    tiny.publish("3.0.0")
    assert [outside.get(f"/{number}").json()["is_public"] for number in ("1.0.0", "2.0.0", "3.0.0")] == [True] * 3
    assert tiny.patch("/visibility", {"is_public": False}).json()["is_public"] is False
    assert {outside.get(f"/{number}").status_code for number in ("1.0.0", "2.0.0", "3.0.0")} == {404}
    assert tiny.patch("/visibility", {"is_public": False}).json()["message"].endswith("already private")
    assert tiny.patch("/visibility", {"is_public": "yes"}).status_code == 422
    assert tiny.patch("/visibility", {}).status_code == 422
