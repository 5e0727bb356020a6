"""Headers of weights: what was written is told, and no bytes whatever make it fail otherwise, linger or read much."""

import json
import math
import struct
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.files.heads import WeightFile
from steelyard.server.core.files.tensors import ALL, Entry, Header, Tensor, Wanted, read_header
from steelyard.server.errors import Invalid
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

MIB = 1024**2
# Of what GGUF and JSON both can spell.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = texts.filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 5), max_size=4)


def read(content: bytes, path: str = "model.safetensors", wanted: Wanted = ALL) -> Header:
    return read_header(file(path, content), wanted)


def refusal(content: bytes, path: str = "model.safetensors", size_bytes: int | None = None) -> str:
    with pytest.raises(Invalid) as raised:
        read_header(file(path, content, size_bytes))
    return raised.value.detail


# --- safetensors


@given(st.dictionaries(names, shapes, max_size=5), st.none() | st.dictionaries(texts, texts, max_size=3))
def test_safetensors_come_back_as_they_were_written(
    written: dict[str, list[int]], metadata: dict[str, str] | None
) -> None:
    content = safetensors(written, metadata)
    header = read(content)
    data_start = len(content) - 4 * sum(map(math.prod, written.values()))
    assert [(it.name, it.dtype, list(it.shape)) for it in header.tensors] == [(n, "F32", s) for n, s in written.items()]
    assert [it.size_bytes for it in header.tensors] == [4 * math.prod(shape) for shape in written.values()]
    offsets = [data_start + 4 * sum(map(math.prod, list(written.values())[:n])) for n in range(len(written))]
    assert [it.offset_bytes for it in header.tensors] == offsets
    assert {entry.key: entry.value for entry in header.metadata} == (metadata or {})
    assert (header.format, header.total, header.matching) == ("safetensors", len(written), len(written))
    assert header.parameters == sum(map(math.prod, written.values()))


def test_long_texts_of_the_metadata_are_cut_at_whole_characters() -> None:
    header = read(safetensors({}, {"short": "ü", "ascii": "a" * 5000, "escaped": "ü" * 5000}))
    raw = safetensors_of(json.dumps({"__metadata__": {"utf8": "ü" * 5000}}, ensure_ascii=False).encode())
    told = {entry.key: entry for entry in (*header.metadata, *read(raw).metadata)}
    assert told["short"].value == "ü"
    assert told["ascii"] == Entry("ascii", "string", "a" * 4000, 5000)
    for key, length, characters in (("escaped", 30_000, 666), ("utf8", 10_000, 2000)):
        assert told[key].length == length
        assert told[key].value == "ü" * characters


def test_of_many_keys_the_first_are_told_and_all_are_counted() -> None:
    header = read(safetensors({}, {str(number): "" for number in range(300)}))
    assert [entry.key for entry in header.metadata] == [str(number) for number in range(200)]
    assert header.metadata_total == 300


def test_half_a_surrogate_pair_becomes_something_that_can_be_said() -> None:
    header = read(safetensors_of(rb'{"__metadata__":{"k":"a\ud83d"},"\ude00":' + TENSOR + b"}"))
    for text in (header.metadata[0].value, header.tensors[0].name):
        assert str(text).encode() == str(text).replace("\ufffd", "?").encode()


TENSOR = b'{"dtype":"U8","shape":[2],"data_offsets":[0,2]}'


@pytest.mark.parametrize(
    "tensor",
    [
        b"{}",
        b'{"dtype":"U8","shape":[2]}',
        b'{"dtype":"U8","data_offsets":[0,2]}',
        b'{"shape":[2],"data_offsets":[0,2]}',
        b'{"dtype":8,"shape":[2],"data_offsets":[0,2]}',
        b'{"dtype":"","shape":[2],"data_offsets":[0,2]}',
        b'{"dtype":"%b","shape":[2],"data_offsets":[0,2]}' % (b"U" * 41),
        '{"dtype":"Ü8","shape":[2],"data_offsets":[0,2]}'.encode(),
        b'{"dtype":"U8","shape":2,"data_offsets":[0,2]}',
        b'{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}',
        b'{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}',
        b'{"dtype":"U8","shape":[true],"data_offsets":[0,2]}',
        b'{"dtype":"U8","shape":[[2]],"data_offsets":[0,2]}',
        b'{"dtype":"U8","shape":[0,9007199254740993],"data_offsets":[0,2]}',
        b'{"dtype":"U8","shape":[99999],"data_offsets":[0,2]}',
        b'{"dtype":"U8","shape":[2],"data_offsets":[0,1025]}',
        b'{"dtype":"U8","shape":[2],"data_offsets":[2,0]}',
        b'{"dtype":"U8","shape":[2],"data_offsets":[-2,0]}',
        b'{"dtype":"U8","shape":[2],"data_offsets":[0]}',
        b'{"dtype":"U8","shape":[2],"data_offsets":"02"}',
        b'{"dtype":"U8","shape":[2],"data_offsets":[0,2],"more":' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"dtype":"U8","shape":[2],"data_offsets":[0,2],"more":' + b"[" * 2000 + b"}",
        b'{"dtype":"U8","shape":[' + b"9" * 4050 + b"]}",
    ],
)
def test_a_tensor_that_is_none_is_refused(tensor: bytes) -> None:
    assert read(safetensors_of(b'{"a":' + TENSOR + b"}")).tensors
    told = refusal(safetensors_of(b'{"a":' + tensor + b"}"))
    assert told.startswith(("'model.safetensors' cannot be read: it", "'model.safetensors' cannot be read: the tensor"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "ends before its header"),
        (b"\0" * 7, "ends before its header"),
        (struct.pack("<Q", 100) + b"{}", "ends before its header"),
        (b"\xff" * 100, "longer than 16 MiB"),
        (safetensors_of(b""), "not JSON"),
        (safetensors_of(b"null"), "not JSON"),
        (safetensors_of(b'{"a":' + TENSOR), "not JSON"),
        (safetensors_of(b'{"a":' + TENSOR + b"} x"), "not JSON"),
        (safetensors_of(b'{"__metadata__":{"a":1}}'), "not JSON"),
        (safetensors_of(b'{"\xff":' + TENSOR + b"}"), "UTF-8"),
        (safetensors_of(rb'{"\x":' + TENSOR + b"}"), "no JSON string"),
        (safetensors_of(b'{"%b":%b}' % (b"a" * 1000, TENSOR)), "more than 1000 bytes"),
        (safetensors_of(b'{"a":' + TENSOR + b"}", data=b"1"), "ends before the last"),
    ],
)
def test_what_is_broken_is_refused_with_the_reason(content: bytes, why: str) -> None:
    assert why in refusal(content)


# --- GGUF


Value = tuple[int, bytes, Any, int | None]


def f32(number: float) -> float:
    """The nearest number of 32 bits."""
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def _scalars(kind: int, code: str, numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Value]:
    return numbers.map(lambda number: (kind, struct.pack(f"<{code}", number), number, None))


def _integers(kind: int, code: str, bits: int, *, signed: bool) -> st.SearchStrategy[Value]:
    least = -(2 ** (bits - 1)) if signed else 0
    return _scalars(kind, code, st.integers(least, least + 2**bits - 1))


def _text(text: str) -> Value:
    return 8, gguf_string(text), text, len(text.encode())


def _array(items: list[Value]) -> Value:
    kind = items[0][0] if items else 4
    return 9, gguf_array(kind, [it[1] for it in items]), tuple(it[2] for it in items)[:20], len(items)


values = st.one_of(
    _integers(0, "B", 8, signed=False),
    _integers(1, "b", 8, signed=True),
    _integers(2, "H", 16, signed=False),
    _integers(3, "h", 16, signed=True),
    _integers(4, "I", 32, signed=False),
    _integers(5, "i", 32, signed=True),
    _scalars(6, "f", st.floats(width=32, allow_nan=False, allow_infinity=False)),
    _scalars(7, "?", st.booleans()),
    _integers(10, "Q", 64, signed=False),
    _integers(11, "q", 64, signed=True),
    _scalars(12, "d", st.floats(allow_nan=False, allow_infinity=False)),
    texts.map(_text),
    st.lists(texts.map(_text), max_size=30).map(_array),
    st.lists(_integers(11, "q", 64, signed=True), max_size=30).map(_array),
)
KINDS = ("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64")


def gguf(tensors: dict[str, list[int]], pairs: dict[str, Value], version: int = 3) -> tuple[bytes, list[int]]:
    """A file of 32-bit zeros, and where each tensor begins: data aligned to 32 bytes, as the format says."""
    told, offset, offsets = [], 0, []
    for name, shape in tensors.items():
        told.append(gguf_tensor(name, shape, offset=offset))
        offsets.append(offset)
        offset += -(-4 * math.prod(shape) // 32) * 32
    written = [gguf_pair(key, kind, value) for key, (kind, value, _, _) in pairs.items()]
    head = gguf_header(len(tensors), len(pairs), version) + b"".join(written + told)
    head += bytes(-len(head) % 32)
    return head + bytes(offset), [len(head) + it for it in offsets]


@given(
    st.dictionaries(texts, st.lists(st.integers(0, 5), max_size=4), max_size=5),
    st.dictionaries(texts.filter(lambda key: key != "general.alignment"), values, max_size=6),
    st.sampled_from([2, 3]),
)
def test_gguf_comes_back_as_it_was_written(
    tensors: dict[str, list[int]], pairs: dict[str, Value], version: int
) -> None:
    content, offsets = gguf(tensors, pairs, version)
    header = read(content, "whatever.bin")
    assert header.tensors == [
        Tensor(name, "F32", tuple(shape), 4 * math.prod(shape), offset)
        for (name, shape), offset in zip(tensors.items(), offsets, strict=True)
    ]
    assert (header.format, header.total, header.metadata_total) == ("gguf", len(tensors), len(pairs))
    for entry, (key, (kind, _, value, length)) in zip(header.metadata, pairs.items(), strict=True):
        assert (entry.key, entry.length) == (key, length)
        assert entry.kind.startswith(KINDS[kind])
        assert type(entry.value) is type(value)
        assert entry.value == value or f32(entry.value) == value  # type: ignore[arg-type]


def pair(value: Value) -> Entry:
    """What is told of one value."""
    return read(gguf({}, {"k": value})[0]).metadata[0]


def test_numbers_are_told_as_people_write_them() -> None:
    for number in (1e-5, 0.1, 10_000.0, 3.4028235e38, 0.33333334, -2.5):
        assert pair((6, struct.pack("<f", number), None, None)).value == number
    assert pair((12, struct.pack("<d", 1e-5), None, None)).value == 1e-5
    for code, kind in (("f", 6), ("d", 12)):
        for text in ("nan", "inf", "-inf"):
            assert pair((kind, struct.pack(f"<{code}", float(text)), None, None)).value == text


def test_long_arrays_and_texts_are_cut_and_their_length_is_told() -> None:
    tokens = pair((9, gguf_array(8, [gguf_string(f"tök{number}") for number in range(5000)]), None, None))
    assert tokens == Entry("k", "array of string", tuple(f"tök{number}" for number in range(20)), 5000)
    scores = pair((9, gguf_array(6, [struct.pack("<f", 0.1)] * 300_000), None, None))
    assert scores == Entry("k", "array of f32", (0.1,) * 20, 300_000)
    template = pair((8, gguf_string("ü" * 9_999), None, None))
    assert template == Entry("k", "string", "ü" * 2000, 19_998)
    assert pair((9, gguf_array(8, [gguf_string("ü" * 101)]), None, None)).value == ("ü" * 100,)
    assert pair((8, struct.pack("<Q", 3) + b"a\xff\0", None, None)).value == "a\ufffd\0"


def test_arrays_within_arrays_are_counted_and_not_shown() -> None:
    nested = gguf_array(9, [gguf_array(5, [bytes(4)] * 3), gguf_array(8, [gguf_string("x")])])
    assert pair((9, nested, None, None)) == Entry("k", "array of array", (), 2)
    deeper = gguf_array(9, [gguf_array(9, [gguf_array(5, [])])])
    assert "nested too deeply" in refusal(gguf({}, {"k": (9, deeper, None, None)})[0])
    many = gguf_array(9, [gguf_array(0, [])] * 10_001)
    assert "more than 10000 arrays" in refusal(gguf({}, {"k": (9, many, None, None)})[0])


@pytest.mark.parametrize(
    ("kind", "shape", "dtype", "size_bytes"),
    [
        (1, [3, 5], "F16", 30),
        (30, [], "BF16", 2),
        (2, [64, 3], "Q4_0", 6 * 18),
        (12, [512, 2], "Q4_K", 4 * 144),
        (14, [256], "Q6_K", 210),
        (39, [32, 7], "MXFP4", 7 * 17),
        (12, [255, 256], "Q4_K", None),
        (4, [32], "type 4", None),
        (2**32 - 1, [32], "type 4294967295", None),
    ],
)
def test_types_have_the_names_and_sizes_of_ggml(
    kind: int, shape: list[int], dtype: str, size_bytes: int | None
) -> None:
    content = gguf_header(1, 0) + gguf_tensor("w", shape, kind)
    start = -(-len(content) // 32) * 32
    [tensor] = read(content.ljust(start + 66_000, b"\0")).tensors
    assert tensor == Tensor("w", dtype, tuple(shape), size_bytes, start)


def test_data_begins_where_the_alignment_says() -> None:
    told = gguf_header(1, 1) + gguf_pair("general.alignment", 4, struct.pack("<I", 256)) + gguf_tensor("w", [4])
    assert read(told.ljust(256 + 16, b"\0")).tensors[0].offset_bytes == 256
    assert "ends before the last" in refusal(told.ljust(256 + 15, b"\0"))
    assert read(gguf_header(0, 0)).total == 0, "nothing has to be padded"
    for kind, value in ((4, bytes(4)), (11, struct.pack("<q", -32)), (8, gguf_string("32"))):
        told = gguf_header(1, 1) + gguf_pair("general.alignment", kind, value) + gguf_tensor("w", [4])
        assert "alignment" in refusal(told.ljust(300, b"\0"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"GGUF", "ends before its header"),
        (gguf_header(0, 0, version=1), "version 1"),
        (gguf_header(0, 0, version=4), "version 4"),
        (struct.pack(">4sIQQ", b"GGUF", 3, 0, 0), "version 50331648"),
        (gguf_header(1, 0) + gguf_string("a") + struct.pack("<I", 9) + bytes(1000), "9 dimensions"),
        (gguf_header(1, 0) + gguf_tensor("a", [2**32, 2**32]) + bytes(1000), "than the file has bits"),
        (gguf_header(1, 0) + gguf_tensor("a", [0, U64_MAX]) + bytes(1000), "than the file has bits"),
        (gguf_header(1, 0) + gguf_tensor("a", [4], offset=U64_MAX) + bytes(1000), "ends before the last"),
        (gguf_header(1, 0) + gguf_tensor("a" * 1001, [4]) + bytes(1000), "more than 1000 bytes"),
        (gguf_header(0, 1) + struct.pack("<Q", U64_MAX) + bytes(1000), "more than 1000 bytes"),
        (gguf_header(0, 1) + gguf_pair("k", 8, struct.pack("<Q", U64_MAX)) + bytes(9000), "ends before its header"),
        (gguf_header(0, 1) + gguf_pair("k", 13, bytes(1000)), "kind 13"),
        (gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 4, U64_MAX)) + bytes(1000), "ends before"),
        (gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 8, U64_MAX)) + bytes(1000), "ends before"),
        (gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 13, 1)) + bytes(1000), "kind 13"),
        (gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 13, 0)) + bytes(1000), "kind 13"),
        (gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 9, U64_MAX)) + bytes(1000), "more than 10000 arrays"),
        (gguf_header(0, U64_MAX) + bytes(1000), "keys"),
        (gguf_header(U64_MAX, 0) + bytes(1000), "more than 100000 tensors"),
    ],
)
def test_gguf_that_lies_is_refused_with_the_reason(content: bytes, why: str) -> None:
    assert why in refusal(content, "m.gguf")


# --- which files, and which of their tensors


def test_the_bytes_say_what_a_file_is() -> None:
    assert read(safetensors({"a": [2]}), "weights.bin").format == "safetensors"
    assert read(gguf({}, {})[0], "weights.safetensors").format == "gguf"
    for content in (b"", b"PK\3\4" + bytes(100), b"# A readme", bytes(100), b'{"a": 1}'):
        assert refusal(content, "weights.bin").startswith("'weights.bin' is neither safetensors nor GGUF")


LAYERS = {f"layers.{number}.{part}": [2] for number in range(50) for part in ("Weight", "bias")}


def test_tensors_come_page_by_page_and_by_name() -> None:
    content = safetensors(LAYERS)
    pages = [read(content, wanted=Wanted(offset=offset, limit=30)) for offset in range(0, 120, 30)]
    assert [it.name for page in pages for it in page.tensors] == list(LAYERS)
    assert {(page.total, page.matching, page.parameters) for page in pages} == {(100, 100, 200)}
    found = read(content, wanted=Wanted("4.WEIGHT", offset=1, limit=3))
    assert [it.name for it in found.tensors] == [f"layers.{number}.Weight" for number in (14, 24, 34)]
    assert (found.total, found.matching, found.parameters) == (100, 5, 200)
    assert read(content, wanted=Wanted("nothing")).tensors == []


def test_a_large_file_is_told_from_its_first_bytes() -> None:
    reads: list[tuple[int, int]] = []
    content = safetensors_of(b'{"w":{"dtype":"BF16","shape":[100000,70000],"data_offsets":[0,14000000000]}}', b"")

    def read(start: int, length: int) -> bytes:
        reads.append((start, length))
        return content[start : start + length] + bytes(max(0, length - len(content)))

    header = read_header(WeightFile("model.safetensors", 10**6 + 14 * 10**9, read))
    assert header.parameters == 7 * 10**9
    assert (len(reads), sum(length for _, length in reads) < 10**6) == (1, True)


def test_a_vocabulary_is_read_in_a_few_turns() -> None:
    reads = 0
    tokens = gguf_array(8, [gguf_string(f"token {number}") for number in range(250_000)])
    content = gguf({"w": [4]}, {"tokens": (9, tokens, None, None)})[0]

    def read(start: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        return content[start : start + length]

    header = read_header(WeightFile("m.gguf", len(content), read))
    assert (header.metadata[0].length, header.tensors[0].name) == (250_000, "w")
    assert reads < 10


def test_what_reading_raises_comes_through() -> None:
    def read(start: int, length: int) -> bytes:
        raise TimeoutError("the store")

    with pytest.raises(TimeoutError):
        read_header(WeightFile("m.gguf", 100, read))


# --- hostile bytes


def attempt(content: bytes, path: str, size_bytes: int | None = None) -> Header | None:
    """Nothing but `Invalid` may come of it, and whatever is told can be sent."""
    try:
        header = read_header(file(path, content, size_bytes))
    except Invalid as error:
        error.detail.encode()
        return None
    json.dumps([(it.name, it.dtype, it.shape) for it in header.tensors], allow_nan=False, ensure_ascii=False).encode()
    json.dumps([(it.key, it.value) for it in header.metadata], allow_nan=False, ensure_ascii=False).encode()
    return header


@given(st.binary(max_size=400), st.sampled_from([b"", b"GGUF\3\0\0\0", b"\x40\0\0\0\0\0\0\0{"]), st.integers(0, 2**70))
def test_no_bytes_make_reading_fail_otherwise(content: bytes, begin: bytes, size_bytes: int) -> None:
    attempt(begin + content, "m.safetensors", size_bytes)


@given(st.data(), st.sampled_from(["m.gguf", "m.safetensors"]))
def test_no_change_to_a_real_file_makes_reading_fail_otherwise(data: st.DataObject, path: str) -> None:
    tensors = {"embedding": [10, 4], "norm": [4], "scale": [], "none": [0, 7]}
    pairs = {"a": _text("b"), "c": _array([_text("d"), _text("e")]), "f": (4, bytes(4), 0, None)}
    content = bytearray(gguf(tensors, pairs)[0] if path == "m.gguf" else safetensors(tensors, {"a": "b"}))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        content.append(0)
    header = attempt(bytes(content), path)
    assert header is None or header.parameters <= 8 * len(content)


@given(st.integers(0, 400), st.booleans())
def test_a_file_that_is_cut_short_is_refused_or_whole(length: int, as_gguf: bool) -> None:
    tensors = {"a": [3, 4], "b": [5]}
    content = gguf(tensors, {"k": _text("v")})[0] if as_gguf else safetensors(tensors, {"k": "v"})
    header = attempt(content[:length], "m.safetensors")
    # After the last tensor stand up to 31 bytes of padding.
    assert (header is None) or (length >= len(content) - 31 and header.total == 2)


def many_members(size: int) -> bytes:
    member = b'"":{"dtype":"U8","shape":[],"data_offsets":[0,0]}'
    return safetensors_of(b"{" + (member + b",") * (size // 50) + member + b"}")


@pytest.mark.parametrize(
    "build",
    [
        many_members,
        lambda size: safetensors_of(b'{"' + b"\\" * size),
        lambda size: safetensors_of(b'{"__metadata__":{' + b'"a":"b",' * (size // 8) + b"}}"),
        lambda size: safetensors_of(b'{"__metadata__":{}' + b',"__metadata__":{}' * (size // 18) + b"}"),
        lambda size: safetensors_of(b'{"__metadata__":{"a":"' + rb"\u0041" * (size // 6) + b'"}}'),
        lambda size: safetensors_of(b'{"a":' + b"[" * size),
        lambda size: safetensors_of(
            b'{"":{"dtype":"U8","data_offsets":[0,0],"shape":[0' + b",1" * 2000 + b"]}" * (size // 4000)
        ),
        lambda size: gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 8, 2**63)) + bytes(size),
        lambda size: gguf_header(0, 1) + gguf_pair("k", 9, struct.pack("<IQ", 9, 2**63)) + bytes(size),
        lambda size: gguf_header(0, 100_000) + gguf_pair("", 9, struct.pack("<IQ", 8, 0)) * (size // 24),
        lambda size: gguf_header(100_000, 0) + gguf_tensor("", []) * (size // 24) + bytes(size // 4),
    ],
    ids=range(11),
)
def test_hostile_headers_cost_no_more_than_their_bytes(build: Callable[[int], bytes]) -> None:
    long, short = build(4 * MIB), build(MIB // 2)  # tracing memory is slow, so that is done on the short one
    start = time.perf_counter()
    attempt_page(long)
    assert time.perf_counter() - start < 10  # a twentieth of that in truth
    tracemalloc.start()
    attempt_page(short)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2 * MIB


def attempt_page(content: bytes) -> None:
    """As the API asks for it: memory is for one page."""
    with suppress(Invalid):
        read(content, wanted=Wanted(limit=200))
