"""Which version a reference means, and what lists of versions say first (contract section 4, "Which version?")."""

import itertools
import random

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.house import Person
from tests.server.doors.native.models import ModelAt, faults, refusal


@pytest.mark.parametrize(
    ("published", "latest"),
    [
        ("1.0.0", "1.0.0"),
        ("1.9.0 1.10.0 1.2.0", "1.10.0"),
        ("2.0.0 1.0.0", "2.0.0"),
        ("1.0.0 2.0.0-rc.1", "1.0.0"),
        ("1.0.0-rc.2 1.0.0-rc.10 1.0.0-alpha", "1.0.0-rc.10"),
        ("1.0.0-rc.1 0.1.0", "0.1.0"),
        ("1.0.0+a 1.0.0+b 1.0.0", "1.0.0"),
        ("1.0.0+z 1.0.0+a", "1.0.0+a"),
        ("1.0.0 1.0.0+a 0.9.0", "1.0.0+a"),
        ("99999999999999999999.0.0 100000000000000000000.0.0 9.0.0", "100000000000000000000.0.0"),
        (
            "1.0.0-9 1.0.0-10 1.0.0-99999999999999999999999 1.0.0-100000000000000000000000",
            "1.0.0-100000000000000000000000",
        ),
        ("1.0.0-a 1.0.0-Z 1.0.0-a.b 1.0.0-a-b", "1.0.0-a-b"),
    ],
)
def test_latest(tiny: ModelAt, published: str, latest: str) -> None:
    tiny.publish(*published.split())
    assert tiny.latest() == latest
    bare = tiny.get()
    assert (bare.status_code, bare.json()["version"]) == (200, latest)
    listed = tiny.get("/versions").json()
    assert (listed["versions"][0], listed["latest"]["version"]) == (latest, latest)


def test_the_order_of_publication_does_not_matter(ada: Person) -> None:
    numbers = ["0.9.0", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.10.0", "2.0.0-0", "2.0.0-alpha", "2.0.0-alpha.1"]
    shuffled = random.Random(8950)
    for attempt in range(2):
        tiny = ModelAt(ada, f"{ada.name}/tiny{attempt}")
        tiny.publish(*shuffled.sample(numbers, len(numbers)))
        assert tiny.get("/versions").json()["versions"] == [
            "1.10.0", "1.0.1", "1.0.0", "0.9.0", "2.0.0-alpha.1", "2.0.0-alpha", "2.0.0-0", "1.0.0-rc.1",
        ]  # fmt: skip


def test_stable_then_prerelease_then_yanked(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "3.0.0-rc.1", "2.0.0", "4.0.0", "5.0.0-rc.1", "0.1.0")
    for number in ("4.0.0", "5.0.0-rc.1", "0.1.0"):
        tiny.put(f"/{number}/yank", {"reason": "wrong"})
    listed = tiny.get("/versions").json()
    assert listed["versions"] == ["2.0.0", "1.0.0", "3.0.0-rc.1", "5.0.0-rc.1", "4.0.0", "0.1.0"]
    assert (listed["latest"]["version"], listed["latest"]["version_count"]) == ("2.0.0", 6)
    assert listed["name"] == tiny.ref


def test_yanking_moves_the_latest_down_and_unyanking_up_again(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0", "3.0.0-rc.1")
    seen = [tiny.latest()]
    for number in ("2.0.0", "1.0.0"):
        tiny.put(f"/{number}/yank", {"reason": "wrong"})
        seen.append(tiny.latest())
    tiny.delete("/1.0.0/yank")
    assert [*seen, tiny.latest()] == ["2.0.0", "1.0.0", "3.0.0-rc.1", "1.0.0"]


def test_deleting_the_latest_uncovers_the_one_below(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.0.0+b", "1.0.0+a")
    assert tiny.latest() == "1.0.0+a"
    tiny.delete("/1.0.0+a")
    assert tiny.latest() == "1.0.0+b"


def test_where_all_are_yanked_404_says_what_there_is(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0-rc.1")
    for number in ("1.0.0", "2.0.0-rc.1"):
        tiny.put(f"/{number}/yank", {"reason": "wrong"})
    for below in ("", "/latest", "/%5E1"):
        assert refusal(tiny.get(below)) == (404, "not_found_error")
    assert "1.0.0" in tiny.get().json()["detail"]
    assert "yanked" in tiny.get().json()["detail"]
    listed = tiny.get("/versions").json()
    assert (listed["versions"], listed["latest"]) == (["2.0.0-rc.1", "1.0.0"], None)


def test_a_model_whose_versions_were_all_deleted_has_no_latest(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    tiny.delete("/1.0.0")
    assert refusal(tiny.get()) == (404, "not_found_error")
    assert tiny.get("/versions").json() == {"name": tiny.ref, "versions": [], "latest": None}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("1.2.3", "1.2.3"),
        ("latest", "2.0.0"),
        ("^1.2", "1.4.1"),
        ("^1", "1.4.1"),
        ("~1.4.0", "1.4.1"),
        ("~1.2", "1.2.3"),
        ("1.x", "1.4.1"),
        ("1", "1.4.1"),
        ("1.2", "1.2.3"),
        ("*", "2.0.0"),
        (">=1,<2", "1.4.1"),
        (">=1 <2", "1.4.1"),
        (">=1, <1.3", "1.2.3"),
        ("<1.3.0 || >=5", "1.2.3"),
        ("=1.2.3", "1.2.3"),
        ("1.2.3 - 1.3", "1.3.0"),
        (">2.0.0-alpha", "2.0.0"),
        ("3.0.0-rc.1", "3.0.0-rc.1"),
        (">=3.0.0-alpha <3.0.0", "3.0.0-rc.1"),
        ("^3.0.0-rc.1", "3.0.0-rc.1"),
        ("production", "1.2.3"),
        ("v1", "1.3.0"),
        ("0.9.0", "0.9.0"),
        ("rescued", "0.9.0"),
    ],
)
def test_a_reference_is_a_number_an_alias_latest_or_a_range(shelf: ModelAt, reference: str, found: str) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in reference.encode())
    answered = shelf.get(f"/{encoded}")
    assert answered.json()["version"] == found
    assert answered.headers["content-location"] == f"/api/v1{shelf.path}/{found}"
    assert (
        shelf.get(f"/{encoded}/files/model.safetensors")
        .headers["content-location"]
        .endswith(f"/{found}/files/model.safetensors")
    )
    assert shelf.post(f"/{encoded}/download").json()["filename"] == f"tiny-{found}.tar"


@pytest.mark.parametrize("reference", ["9.9.9", "^4", "<1", "~0.9.0", "^0.9", "3.x", "1.2.3+cu12", "nothing", "v2"])
def test_a_reference_to_nothing_is_404(shelf: ModelAt, reference: str) -> None:
    for below in ("", "/files/model.safetensors"):
        assert refusal(shelf.get(f"/{reference.replace('^', '%5E')}{below}")) == (404, "not_found_error")
    assert shelf.post(f"/{reference}/download").status_code == 404


def test_a_range_is_at_most_128_characters(shelf: ModelAt) -> None:
    just = "1.x" + " || 1.x" * 17 + " || 1"
    assert len(just) == 127
    assert shelf.get(f"/{just}").json()["version"] == "1.4.1"
    assert list(faults(shelf.get(f"/{just} ||"))) == ["path.version"]


@pytest.fixture(scope="module")
def shelf(registry: object) -> ModelAt:
    """A model with versions of every kind; 0.9.0 is yanked. It is only read."""
    owner = registry.user("shelf")  # type: ignore[attr-defined]
    model = ModelAt(owner, "shelf/tiny")
    model.publish("0.9.0", "1.2.3", "1.4.1", "1.3.0", "2.0.0", "3.0.0-rc.1")
    for alias, number in {"production": "1.2.3", "v1": "1.3.0", "rescued": "0.9.0"}.items():
        model.set_alias(alias, number)
    model.put("/0.9.0/yank", {"reason": "wrong"})
    return model


def test_comparing_shows_two_to_five_side_by_side_in_the_order_asked_for(shelf: ModelAt) -> None:
    asked = ["1.4.1", "production", "latest", "%5E3.0.0-0", "0.9.0"]
    compared = shelf.get("/compare?" + "&".join(f"versions={reference}" for reference in asked)).json()
    assert [item["version"] for item in compared["versions"]] == ["1.4.1", "1.2.3", "2.0.0", "3.0.0-rc.1", "0.9.0"]
    assert compared["name"] == shelf.ref
    assert list(faults(shelf.get("/compare?versions=1.2.3"))) == ["query.versions"]
    assert list(faults(shelf.get("/compare?" + "&".join(["versions=1.2.3"] * 6)))) == ["query.versions"]
    assert refusal(shelf.get("/compare?versions=1.2.3&versions=9.9.9")) == (404, "not_found_error")


def test_a_comparison_has_the_union_of_the_metrics(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", metrics={"accuracy": 0.5, "loss": 2}, tags=["a"], task="nlp", dataset_refs=["wiki"])
    tiny.publish("2.0.0", metrics={"accuracy": 0.6, "note": "better"}, aliases=["best"], files={"a.bin": b"1234"})
    tiny.publish("3.0.0", architecture="bert", base_model="other/base")
    compared = tiny.get("/compare?versions=1.0.0&versions=2.0.0&versions=3.0.0").json()
    assert compared["metric_keys"] == ["accuracy", "loss", "note"]
    first, second, third = compared["versions"]
    assert (first["metrics"], first["tags"], first["task"]) == ({"accuracy": 0.5, "loss": 2}, ["a"], "nlp")
    assert (second["aliases"], second["file_size_bytes"], second["framework"]) == (["best"], 4, "pytorch")
    assert (third["metrics"], third["architecture"], third["base_model"]) == (None, "bert", "other/base")
    assert first["dataset_refs"] == ["wiki"]
    assert set(first) == set(third) == {
        "version", "framework", "created_at", "task", "architecture", "base_model", "aliases", "tags", "dataset_refs",
        "file_size_bytes", "metrics",
    }  # fmt: skip


_identifier = st.sampled_from(["0", "1", "9", "10", "a", "b-", "rc", "-"])
_release = st.tuples(*[st.sampled_from([0, 1, 2, 10])] * 3).map(lambda parts: ".".join(map(str, parts)))
_versions = st.builds(
    lambda release, pre, build: release + (f"-{'.'.join(pre)}" if pre else "") + (f"+{build}" if build else ""),
    _release,
    st.lists(_identifier, max_size=2),
    st.sampled_from(["", "", "a", "b"]),
)


def _key(version: str) -> tuple[object, ...]:
    """Precedence as SemVer section 11 words it, apart from how the server computes it."""
    release, _, pre = version.partition("+")[0].partition("-")
    identifiers = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in pre.split(".")) if pre else ()
    return (not pre, tuple(map(int, release.split("."))), identifiers)


_model_numbers = itertools.count()


@given(numbers=st.lists(_versions, min_size=1, max_size=6, unique=True))
@hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_list_has_the_order_of_semver(ada: Person, numbers: list[str]) -> None:
    tiny = ModelAt(ada, f"{ada.name}/tiny{next(_model_numbers)}")
    tiny.publish(*numbers)
    ordered = sorted(enumerate(numbers), key=lambda numbered: (_key(numbered[1]), numbered[0]), reverse=True)
    assert tiny.get("/versions").json()["versions"] == [number for _, number in ordered]
    assert tiny.latest() == ordered[0][1]
