"""Names in addresses: which are refused, how segments are decoded, and that case does not count (contract section 1).

The grammars themselves are tested in `tests/server/test_names.py`; here is what the API makes of them.
"""

import pytest

from tests.house import Person, Registered
from tests.server.doors.native.models import ModelAt, faults, refusal


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/org/Ada/models", "path.org"),
        ("/org/a--b/models", "path.org"),
        ("/org/-a/models/tiny", "path.org"),
        ("/org/a_b", "path.org"),
        ("/org/" + "a" * 65, "path.org"),
        ("/org/a%2Fb/models", "path.org"),
        ("/org/a%00/models", "path.org"),
        ("/org/ada/models/a..b", "path.name"),
        ("/org/ada/models/a___b", "path.name"),
        ("/org/ada/models/.hidden", "path.name"),
        ("/org/ada/models/tiny.git", "path.name"),
        ("/org/ada/models/ada%2Ftiny", "path.name"),
        ("/org/ada/models/" + "a" * 97, "path.name"),
        ("/org/ada/models/%ff", "path.name"),
        ("/org/ada/models/Facets", "path.name"),
        ("/org/ada/models/tiny/1.0.0/files/a%2F..%2Fb", "path.path"),
        ("/org/ada/models/tiny/1.0.0/files/a//b", "path.path"),
        ("/org/ada/models/tiny/1.0.0/files/%2Fetc%2Fpasswd", "path.path"),
        ("/org/ada/models/tiny/1.0.0/files/a%5Cb", "path.path"),
        ("/org/ada/models/tiny/1.0.0/files/a%00b", "path.path"),
        ("/org/ada/models/tiny/1.0.0/files/con.txt", "path.path"),
        ("/org/ada/downloads/models/1", "path.download_id"),
    ],
)
def test_a_malformed_name_in_a_path_is_422_and_says_where(ada: Person, path: str, where: str) -> None:
    assert list(faults(ada.get(path))) == [where]


@pytest.mark.parametrize(
    "reference", ["main", "Latest", "tiny-image", "0" * 40, "a b", "%5E1%20%7C", "1.0.0_cu12", "v1.0.0+x"]
)
def test_what_is_no_version_alias_or_range_is_422(tiny: ModelAt, reference: str) -> None:
    tiny.publish("1.0.0")
    assert list(faults(tiny.get(f"/{reference}"))) == ["path.version"]


@pytest.mark.parametrize("reference", ["latest", "%5E1", "production", "1.0", "1.0.0-image", "1.0.0-01", "1" * 121])
def test_routes_that_write_take_an_exact_version(tiny: ModelAt, reference: str) -> None:
    tiny.publish("1.0.0", aliases=["production"])
    writes = [
        tiny.delete(f"/{reference}"),
        tiny.put(f"/{reference}/metrics", {"a": 1}),
        tiny.put(f"/{reference}/yank", {"reason": "x"}),
        tiny.delete(f"/{reference}/yank"),
        tiny.delete(f"/{reference}/aliases/production"),
    ]
    assert [list(faults(response)) for response in writes] == [["path.version"]] * 5


def test_only_setting_an_alias_also_takes_latest(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0", aliases=["production"])
    assert tiny.set_alias("best", "latest").json()["version"] == "1.1.0"
    assert list(faults(tiny.set_alias("best", "production"))) == ["path.version"]
    assert list(faults(tiny.set_alias("best", "%5E1"))) == ["path.version"]


@pytest.mark.parametrize("alias", ["1.0.0", "1.0.0_cu12", "^1", "1.x", "0" * 40, "LATEST", "main", "x-image", "", "é"])
def test_an_alias_that_could_mean_something_else_is_refused(tiny: ModelAt, alias: str) -> None:
    tiny.publish("1.0.0")
    assert list(faults(tiny.set_alias(alias, "1.0.0"))) == ["body.alias"]


def test_a_plus_is_literal_and_may_also_be_encoded(tiny: ModelAt) -> None:
    tiny.publish("1.0.0+cu12.1")
    for spelled in ("1.0.0+cu12.1", "1.0.0%2Bcu12.1", "1.0.0%2bcu12%2E1"):
        found = tiny.get(f"/{spelled}")
        assert found.json()["version"] == "1.0.0+cu12.1"
        assert found.headers["content-location"].endswith("/models/tiny/1.0.0+cu12.1")
    assert tiny.get("/1.0.0%20cu12.1").status_code == 422


def test_an_encoded_slash_stays_inside_its_segment(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"sub/model.bin": b"weights"})
    assert tiny.get("/1.0.0/files/sub/model.bin").content == b"weights"
    assert tiny.get("/1.0.0/files/sub%2Fmodel.bin").content == b"weights"
    assert tiny.get("/1.0.0%2Ffiles%2Fsub%2Fmodel.bin").status_code == 422


def test_every_file_name_can_be_asked_for(tiny: ModelAt) -> None:
    names = ["größe.bin", "a b.txt", "50%.txt", "a+b", "[x]#1?.json", "100%25.txt", "e\u0301.txt", "x;v=1,2&y", "😀"]
    tiny.publish("1.0.0", files={name: name.encode() for name in names})
    for name in names:
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())
        found = tiny.get(f"/1.0.0/files/{encoded}")
        assert found.content == name.encode()
        assert found.headers["content-location"].isascii()
        again = tiny.person.client.get(found.headers["content-location"], headers=found.request.headers)
        assert again.content == name.encode()


def test_case_is_kept_and_never_counts(ada: Person) -> None:
    ada.publish(f"{ada.name}/Tiny-BERT:1.0.0")
    shouted = ada.get(f"/org/{ada.name}/models/TINY-BERT")
    assert shouted.json()["name"] == f"{ada.name}/Tiny-BERT"
    assert shouted.headers["content-location"] == f"/api/v1/org/{ada.name}/models/Tiny-BERT/1.0.0"
    second = ada.publish(f"{ada.name}/tiny-bert:1.1.0")
    assert second.json()["name"] == f"{ada.name}/Tiny-BERT"
    assert ada.get(f"/org/{ada.name}/models", params={"name": "tiny-Bert"}).json()["total"] == 1


def test_an_alias_keeps_its_case_and_it_counts(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", aliases=["Prod"])
    assert tiny.resolved("Prod") == "1.0.0"
    assert refusal(tiny.get("/prod")) == (404, "not_found_error")


def test_fixed_words_win_over_names(tiny: ModelAt, registry: Registered) -> None:
    tiny.publish("1.0.0")
    assert "frameworks" in tiny.person.get(f"/org/{tiny.org}/models/facets").json()
    assert "items" in tiny.person.get(f"/org/{tiny.org}/models/activity").json()
    assert "versions" in tiny.get("/versions").json()
    assert "aliases" in tiny.get("/aliases").json()
    assert list(faults(tiny.get("/compare"))) == ["query.versions"]


@pytest.mark.parametrize(
    "below",
    ["/", "/1.0.0/", "/versions/", "/aliases/", "/1.0.0/files/model.safetensors/", "/1.0.0/files/", "/1.0.0/files"],
)
def test_a_trailing_slash_is_404_and_no_redirect(tiny: ModelAt, below: str) -> None:
    tiny.publish("1.0.0")
    assert refusal(tiny.get(below, follow_redirects=False)) == (404, "not_found_error")


@pytest.mark.parametrize("path", ["/", "/user/", "/users/", "/org/ada/", "/org/ada/models/", "/health/"])
def test_a_trailing_slash_is_404_everywhere(ada: Person, path: str) -> None:
    assert refusal(ada.get(path.replace("ada", ada.name), follow_redirects=False)) == (404, "not_found_error")
