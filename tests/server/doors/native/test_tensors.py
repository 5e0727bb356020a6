"""Headers of weights over HTTP: how pages go on, what is refused, and that it is no download.

What headers may say is tested beside `core/files/tensors.py`.
"""

import time

import pytest

from tests.house import Registered
from tests.house.people import oid_of
from tests.server.core.files.weight_files import gguf_header, gguf_pair, gguf_string, gguf_tensor, safetensors
from tests.server.doors.native.models import ModelAt, faults, pages

LAYERS = {f"layers.{number}.weight": [2, 3] for number in range(25)} | {"norm": [3]}
WEIGHTS = safetensors(LAYERS, {"format": "pt"})
GGUF = gguf_header(1, 1) + gguf_pair("general.name", 8, gguf_string("ü")) + gguf_tensor("w", [256, 2], kind=12)


@pytest.fixture(scope="module")
def shelf(registry: Registered) -> ModelAt:
    """A model with weights of both kinds and a file that is neither. It is only read."""
    tiny = ModelAt(registry.user("shelf"), "shelf/tiny")
    files = {"sub/m ü.safetensors": WEIGHTS, "m.gguf": GGUF + bytes(400), "README.md": b"# hi"}
    tiny.publish("1.0.0", files=files, aliases=["prod"])
    return tiny


def test_a_page_has_the_tensors_and_all_that_is_told_of_the_file(shelf: ModelAt) -> None:
    page = shelf.get("/prod/tensors/sub/m%20%C3%BC.safetensors?search=NORM").json()
    [norm] = page.pop("tensors")
    start = len(WEIGHTS) - 4 * 3
    assert norm == {"name": "norm", "dtype": "F32", "shape": [3], "size_bytes": 12, "offset_bytes": start}
    assert page == {
        "name": "shelf/tiny",
        "version": "1.0.0",
        "path": "sub/m ü.safetensors",
        "oid": oid_of(WEIGHTS),
        "format": "safetensors",
        "parameters": 153,
        "total": 26,
        "matching": 1,
        "next_cursor": None,
        "metadata": [{"key": "format", "type": "string", "value": "pt", "length": 2}],
        "metadata_total": 1,
    }


def test_gguf_is_told_by_the_names_of_ggml(shelf: ModelAt) -> None:
    page = shelf.get("/latest/tensors/m.gguf").json()
    assert [(it["name"], it["dtype"], it["shape"], it["size_bytes"]) for it in page["tensors"]] == [
        ("w", "Q4_K", [256, 2], 288)
    ]
    assert page["metadata"] == [{"key": "general.name", "type": "string", "value": "ü", "length": 2}]


def test_pages_go_on_until_there_is_no_more(shelf: ModelAt) -> None:
    path = f"{shelf.path}/1.0.0/tensors/sub/m%20%C3%BC.safetensors"
    for limit, sizes in ((10, [10, 10, 6]), (13, [13, 13]), (26, [26]), (1000, [26])):
        found = pages(shelf.person, path, "tensors", limit)
        assert [len(page) for page in found] == sizes
        assert [it["name"] for page in found for it in page] == list(LAYERS)
    beyond = shelf.person.get(path, params={"cursor": "999999999999999"}).json()
    assert (beyond["tensors"], beyond["next_cursor"], beyond["total"]) == ([], None, 26)


def test_what_has_no_header_is_a_422_that_says_so(shelf: ModelAt) -> None:
    assert "neither safetensors nor GGUF" in faults(shelf.get("/1.0.0/tensors/README.md"))[""]
    assert shelf.get("/1.0.0/tensors/nothing.gguf").status_code == 404
    assert shelf.get("/2.0.0/tensors/m.gguf").status_code == 404
    for query in ("limit=0", "limit=1001", "cursor=x", "cursor=-1"):
        assert faults(shelf.get(f"/1.0.0/tensors/m.gguf?{query}"))


def test_reading_a_header_is_no_download(shelf: ModelAt) -> None:
    before = shelf.get("/1.0.0").json()["download_count"]
    assert shelf.get("/1.0.0/tensors/m.gguf").status_code == 200
    assert shelf.get("/1.0.0/files/m.gguf").status_code == 200
    while (counted := shelf.get("/1.0.0").json()["download_count"]) == before:
        time.sleep(0.1)
    assert counted == before + 1
