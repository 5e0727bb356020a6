"""Counting parameters: the real layouts count right, and no bytes whatever make it fail, linger or read much."""

import math
import struct
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.files.heads import WeightFile
from steelyard.server.core.files.weights import count_parameters, size_category
from tests.server.core.files.weight_files import (
    U64_MAX,
    file,
    gguf_array,
    gguf_header,
    gguf_pair,
    gguf_string,
    gguf_tensor,
    safetensors,
    safetensors_of,
)

GGUF_PAIRS = [gguf_pair("s", 8, gguf_string("llama ü")), gguf_pair("b", 7, b"\1")]
GGUF_PAIRS += [gguf_pair(f"n{kind}", kind, bytes(1)) for kind in (0, 1)]
GGUF_PAIRS += [gguf_pair(f"n{kind}", kind, bytes(2)) for kind in (2, 3)]
GGUF_PAIRS += [gguf_pair(f"n{kind}", kind, bytes(4)) for kind in (4, 5, 6)]
GGUF_PAIRS += [gguf_pair(f"n{kind}", kind, bytes(8)) for kind in (10, 11, 12)]
GGUF_PAIRS += [
    gguf_pair("tokens", 9, gguf_array(8, [gguf_string(text) for text in ("<s>", "", "ü" * 500)])),
    gguf_pair("scores", 9, gguf_array(6, [bytes(4)] * 100)),
    gguf_pair("empty", 9, gguf_array(8, [])),
    gguf_pair("nested", 9, gguf_array(9, [gguf_array(5, [bytes(4)] * 3), gguf_array(8, [gguf_string("x")])])),
]


def gguf(shapes: Mapping[str, Sequence[int]], version: int = 3) -> bytes:
    infos = b"".join(gguf_tensor(name, shape) for name, shape in shapes.items())
    data = bytes(4 * sum(math.prod(shape) for shape in shapes.values()))
    return gguf_header(len(shapes), len(GGUF_PAIRS), version) + b"".join(GGUF_PAIRS) + infos + data


shapes = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "__metadata__"),
    st.lists(st.integers(0, 7), max_size=4),
    max_size=5,
)
SHAPES = {"embedding": [10, 4], "norm": [4], "scale": [], "none": [0, 7]}
PARAMETERS = 10 * 4 + 4 + 1


def count(path: str, content: bytes) -> int | None:
    return count_parameters([file(path, content)])


# What files say


@given(shapes, st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
def test_a_safetensors_file_has_the_numbers_of_its_shapes(
    shapes: dict[str, list[int]], metadata: dict[str, str] | None
) -> None:
    assert count("model.safetensors", safetensors(shapes, metadata)) == sum(map(math.prod, shapes.values()))


@given(shapes, st.sampled_from([2, 3]))
def test_a_gguf_file_has_the_numbers_of_its_shapes(shapes: dict[str, list[int]], version: int) -> None:
    assert count("model.gguf", gguf(shapes, version)) == sum(map(math.prod, shapes.values()))


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}',
        '{\n\t"a" : {\r\n"data_offsets":[0,24] , "shape" : [ 2 ,3 ]\n} }   \n',
        r'{"a\"}{\\":{"shape":[2,3]},"__metadata__":{"k":"{\"shape\": [9]}","l":"}"}}',
        '{"__metadata__":{ "k" : "v" , "l":"" } ,"a":{"shape":[6]}}',
        '{"__metadata__":{},"a":{"shape":[1,1,6]},"b":{"shape":[0]}}',
    ],
)
def test_the_header_is_any_json_of_the_format(header: str) -> None:
    assert count("model.safetensors", safetensors_of(header.encode())) == 6


def test_the_ending_may_be_in_any_case() -> None:
    assert count("Model.SafeTensors", safetensors(SHAPES)) == PARAMETERS
    assert count("Model.GGUF", gguf(SHAPES)) == PARAMETERS


def test_a_large_model_is_counted_from_its_first_bytes() -> None:
    reads: list[tuple[int, int]] = []
    content = safetensors_of(b'{"w":{"dtype":"BF16","shape":[100000,70000],"data_offsets":[0,14000000000]}}', b"")

    def read(start: int, length: int) -> bytes:
        reads.append((start, length))
        return content[start : start + length] + bytes(max(0, length - len(content)))

    assert count_parameters([WeightFile("model.safetensors", 14 * 10**9, read)]) == 7 * 10**9
    assert len(reads) == 1
    assert sum(length for _, length in reads) < 10**6


def test_a_header_longer_than_one_read_is_read_on() -> None:
    many = {f"layers.{number}.weight": [2, 2] for number in range(6000)}
    assert count("model.safetensors", safetensors(many)) == 4 * 6000
    assert count("model.gguf", gguf(many)) == 4 * 6000


# Which files count


def model(*paths: str, parameters: Mapping[str, int] | None = None) -> list[WeightFile]:
    """Files of the given paths, each with 10 parameters or as many as told."""
    files = []
    for path in paths:
        shape = {"w": [(parameters or {}).get(path, 10)]}
        files.append(file(path, gguf(shape) if path.lower().endswith(".gguf") else safetensors(shape)))
    return files


def test_without_weights_of_a_known_format_there_is_no_count() -> None:
    assert count_parameters([]) is None
    assert count_parameters([file("README.md", b"#"), file("pytorch_model.bin", b"PK"), file("gguf", b"GGUF")]) is None


def test_other_files_are_not_looked_at() -> None:
    assert count_parameters([*model("a.safetensors"), file("README.md", b"#"), file("x.bin", b"\0")]) == 10


@pytest.mark.parametrize("ending", ["safetensors", "gguf", "GGUF"])
def test_shards_count_together(ending: str) -> None:
    assert count_parameters(model(*[f"model-0000{n}-of-00003.{ending}" for n in (1, 2, 3)])) == 30
    assert count_parameters(model(f"m-00001-of-000163.{ending}", f"m-00002-of-000163.{ending}")) == 20


def test_the_components_of_a_pipeline_count_together() -> None:
    assert count_parameters(model("unet/model.safetensors", "vae/model.safetensors", "text/model.safetensors")) == 30


def test_the_same_weights_over_again_count_once() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    told = {"consolidated.safetensors": 19, "unet/m.safetensors": 7, "unet/m.fp16.safetensors": 6}
    assert count_parameters(model(*shards, *told, parameters=told)) == 20 + 7


def test_of_gguf_quantisations_the_largest_counts() -> None:
    told = {"Q4/m-00001-of-00002.gguf": 8, "Q4/m-00002-of-00002.gguf": 8, "m-Q8_0.gguf": 15, "m-Q2_K.gguf": 14}
    assert count_parameters(model(*told, parameters=told)) == 16


def test_gguf_counts_only_where_there_is_no_safetensors() -> None:
    assert count_parameters(model("a.safetensors", "b.gguf", parameters={"b.gguf": 99})) == 10


def test_the_order_of_the_files_does_not_matter() -> None:
    files = model("a.safetensors", "b.safetensors", "c/d.safetensors", parameters={"b.safetensors": 11})
    assert count_parameters(files) == count_parameters(files[::-1]) == 21
    one, other = file("a.gguf", gguf({"w": [3]}), size_bytes=5000), file("b.gguf", gguf({"w": [4]}), size_bytes=5000)
    assert count_parameters([one, other]) == count_parameters([other, one]) == 3


def test_one_broken_file_spoils_the_count() -> None:
    broken = file("model-00002-of-00002.safetensors", b"\0" * 100, size_bytes=1000)
    assert count_parameters([*model("model-00001-of-00002.safetensors"), broken]) is None


def test_more_files_than_anybody_shards_into_are_not_read() -> None:
    def read(start: int, length: int) -> bytes:
        raise AssertionError("read although there are too many files")

    assert count_parameters(WeightFile(f"{n}/m.safetensors", 100, read) for n in range(1025)) is None


def test_what_reading_raises_comes_through() -> None:
    def read(start: int, length: int) -> bytes:
        raise TimeoutError("the store")

    with pytest.raises(TimeoutError):
        count_parameters([WeightFile("m.gguf", 100, read)])


# Hostile bytes


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}}",
        b'{"a":{"shape":[2]}',
        b'{"a":{"shape":[2]},}',
        b'{"a":{"shape":[2]}} x',
        b'"a":{"shape":[2]}}',
        b'{"a":{"shape":[-2]}}',
        b'{"a":{"shape":[2.0]}}',
        b'{"a":{"shape":[1e3]}}',
        b'{"a":{"shape":["2"]}}',
        b'{"a":{"shape":[true]}}',
        b'{"a":{"shape":[[2]]}}',
        b'{"a":{"shape":[2,]}}',
        b'{"a":{"shape":[2 3]}}',
        b'{"a":{"shape":2}}',
        b'{"a":{"dtype":"F32"}}',
        b'{"a":[2]}',
        b'{"a":{"shape":[2],"more":{}}}',
        b'{"__metadata__":{"a":1}}',
        b'{"__metadata__":{"shape":[2]}}',
        b'{"__metadata__":[]}',
        b'{"a":{"shape":[18446744073709551616]}}',
        b'{"a":{"shape":[4294967296,4294967296]}}',
        b'{"a":{"shape":[' + b"9" * 4090 + b"]}}",
        b'{"a":{"shape":[' + b"9" * 5000 + b"]}}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_header_that_is_not_understood_gives_no_count(header: bytes) -> None:
    assert count("model.safetensors", safetensors_of(header)) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 100, struct.pack("<Q", 100) + b"{}"])
def test_a_header_length_that_lies_gives_no_count(content: bytes) -> None:
    assert count("model.safetensors", content) is None


def test_a_header_of_more_than_16_mib_is_not_read() -> None:
    def padded(size_bytes: int) -> bytes:
        return safetensors_of(b'{"a":{"shape":[6]}}'.ljust(size_bytes))

    assert count("model.safetensors", padded(16 * 1024**2)) == 6
    assert count("model.safetensors", padded(16 * 1024**2 + 1)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + gguf({})[4:],
        gguf({}, version=1),
        gguf({}, version=4),
        struct.pack(">4sIQQ", b"GGUF", 3, 0, 0),
        gguf({"a": [2]})[:-60],
        gguf_header(1, 0) + gguf_string("a") + struct.pack("<I", 2**32 - 1) + bytes(1000),
        gguf_header(1, 0) + gguf_string("a") + struct.pack("<I", 9) + bytes(1000),
        gguf_header(1, 0) + gguf_tensor("a", [2**32, 2**32]) + bytes(1000),
        gguf_header(1, 0) + gguf_tensor("a", [U64_MAX]) + bytes(1000),
        gguf_header(0, 1) + struct.pack("<Q", U64_MAX) + bytes(1000),
        gguf_header(0, 1) + gguf_pair("k", 8, struct.pack("<Q", U64_MAX)) + bytes(1000),
        gguf_header(0, 1) + gguf_pair("k", 13, bytes(1000)),
        gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 4, U64_MAX)) + bytes(1000),
        gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 8, U64_MAX)) + bytes(1000),
        gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 13, 1)) + bytes(1000),
        gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 9, 1) * 10_000) + bytes(1000),
        gguf_header(0, U64_MAX) + bytes(1000),
        gguf_header(U64_MAX, 0) + bytes(1000),
    ],
)
def test_gguf_that_is_not_understood_gives_no_count(content: bytes) -> None:
    assert count("model.gguf", content) is None


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("m.safetensors", safetensors_of(b'{"a":{"shape":[1000000]}}')),
        ("m.gguf", gguf_header(1, 0) + gguf_tensor("a", [1_000_000]) + bytes(1000)),
    ],
)
def test_more_parameters_than_bits_are_a_lie(path: str, content: bytes) -> None:
    assert count(path, content) is None
    assert count_parameters([file(path, content, size_bytes=125_000)]) == 1_000_000


def test_a_file_shorter_than_said_gives_no_count() -> None:
    assert count_parameters([file("m.safetensors", struct.pack("<Q", 500) + b"{", size_bytes=1000)]) is None
    assert count_parameters([file("m.gguf", b"GG", size_bytes=1000)]) is None
    cut_in_the_shape = gguf_header(1, 0) + gguf_tensor("a", [2])[: -(4 + 8 + 7)]
    assert count_parameters([file("m.gguf", cut_in_the_shape, size_bytes=1000)]) is None


@given(st.binary(max_size=400), st.sampled_from(["m.gguf", "m.safetensors"]), st.integers(0, 2**70))
def test_no_bytes_make_counting_raise(content: bytes, path: str, size_bytes: int) -> None:
    result = count_parameters([file(path, content, size_bytes)])
    assert result is None or result >= 0


@given(st.data(), st.sampled_from(["m.gguf", "m.safetensors"]))
def test_no_change_to_a_real_file_makes_counting_raise(data: st.DataObject, path: str) -> None:
    content = bytearray(gguf(SHAPES) if path == "m.gguf" else safetensors(SHAPES, {"a": "b"}))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        content.append(0)
    result = count(path, bytes(content))
    assert result is None or 0 <= result <= 8 * len(content)


MIB = 1024**2


def gguf_array_of(kind: int, size_bytes: int) -> bytes:
    return gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", kind, 2**63)) + bytes(size_bytes)


@pytest.mark.parametrize(
    ("path", "build"),
    [
        ("m.safetensors", lambda size: safetensors_of(b'{"":{"shape":[]}' + b',"":{"shape":[]}' * (size // 15) + b"}")),
        ("m.safetensors", lambda size: safetensors_of(b'{"' + b"\\" * size)),
        ("m.safetensors", lambda size: safetensors_of(b'{"__metadata__":{' + b'"a":"b",' * (size // 8))),
        ("m.safetensors", lambda size: safetensors_of(b'{"a":' + b"[" * size)),
        ("m.safetensors", lambda size: safetensors_of(b'{"":{"shape":[],"":[' + b"[]," * (size // 3))),
        ("m.safetensors", lambda size: safetensors_of(b'{"":[[]' + b",[]" * (size // 3) + b"]}")),
        ("m.safetensors", lambda size: safetensors_of(b'{"":{"shape":[1' + b",1" * (size // 2) + b"]}}")),
        ("m.gguf", lambda size: gguf_array_of(8, size)),
        ("m.gguf", lambda size: gguf_array_of(9, size)),
        ("m.gguf", lambda size: gguf_header(2**63, 0) + bytes(size)),
        ("m.gguf", lambda size: gguf_header(0, 2**63) + bytes(size)),
    ],
    ids=range(11),
)
def test_hostile_headers_cost_no_more_than_their_bytes(path: str, build: Callable[[int], bytes]) -> None:
    long, short = build(4 * MIB), build(MIB // 2)  # tracing memory is slow, so that is done on the short one
    start = time.perf_counter()
    count(path, long)
    assert time.perf_counter() - start < 3  # a tenth of that in truth
    tracemalloc.start()
    count(path, short)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < MIB


def test_the_headers_of_all_files_together_are_limited() -> None:
    read_bytes = 0
    content = safetensors_of(b'{"a":{"shape":[6]}}'.ljust(15 * MIB))

    def read(start: int, length: int) -> bytes:
        nonlocal read_bytes
        read_bytes += length
        return content[start : start + length]

    files = [WeightFile(f"{number}/m.safetensors", len(content), read) for number in range(100)]
    assert count_parameters(files[:4]) == 24
    read_bytes = 0
    assert count_parameters(files) is None
    assert read_bytes <= 65 * MIB


# Categories


@pytest.mark.parametrize(
    ("parameters", "category"),
    [
        (0, "tiny"),
        (10**8 - 1, "tiny"),
        (10**8, "small"),
        (10**9 - 1, "small"),
        (10**9, "medium"),
        (10**10 - 1, "medium"),
        (10**10, "large"),
        (10**11 - 1, "large"),
        (10**11, "huge"),
        (10**30, "huge"),
    ],
)
def test_categories_go_by_powers_of_ten(parameters: int, category: str) -> None:
    assert size_category(parameters, 0) == category
    assert size_category(parameters, 10**15) == category
    assert size_category(None, 2 * parameters) == category
    assert size_category(None, 2 * parameters + 1) == category
