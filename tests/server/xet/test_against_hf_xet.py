"""The formats against the client everybody has: what hf_xet computes, what it sends, and what it makes of our bytes."""

import hashlib
import random
import time
from pathlib import Path

import hf_xet
import numpy as np
import pytest

from steelyard.server.xet import chunking
from steelyard.server.xet.chunking import LEAST_CHUNK_BYTES, MOST_CHUNK_BYTES, boundaries, split
from steelyard.server.xet.hashes import chunk_hash, file_hash, from_text, range_hash, to_text
from steelyard.server.xet.shards import FileInfo, parse_shard, write_dedup_shard
from steelyard.server.xet.xorbs import MOST_CHUNKS, Chunk, XorbReader, pack, plain_header, unpack
from tests.server.xet.cas import Cas, reconstruction

MIB = 2**20
FLOATS = np.random.default_rng(0).standard_normal(500_000).astype("f4").tobytes()
TEXT = b"".join(b"line %d of text %d\n" % (number, number * number) for number in range(50_000))
NOISE = random.Random(0).randbytes(MIB)


def hash_by_client(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "hashed"
    path.write_bytes(data)
    (hashed,) = hf_xet.hash_files([str(path)])
    return str(hashed.hash)


def hash_by_us(data: bytes) -> str:
    chunks = split(data[start : start + MIB] for start in range(0, len(data), MIB))
    return to_text(file_hash((chunk_hash(chunk), len(chunk)) for chunk in chunks))


@pytest.mark.parametrize(
    "size",
    [0, 1, 2, 63, 64, 65, 10_000]
    + [edge + by for edge in (LEAST_CHUNK_BYTES, MOST_CHUNK_BYTES) for by in (-1, 0, 1)]
    + [5_000_000, 20_000_000],
)
def test_a_file_of_any_size_has_the_hash_that_the_client_computes(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert hash_by_us(data) == hash_by_client(tmp_path, data)


@pytest.mark.parametrize(
    "data",
    [
        bytes(3_000_000),
        bytes(MOST_CHUNK_BYTES * 9),
        b"\xff" * 1_000_000,
        TEXT,
        FLOATS,
        NOISE * 4,
        bytes(range(256)) * 999,
    ],
    ids=["zeros", "whole chunks of zeros", "ones", "text", "floats", "repetition", "a cycle"],
)
def test_a_file_of_any_kind_has_the_hash_that_the_client_computes(tmp_path: Path, data: bytes) -> None:
    assert hash_by_us(data) == hash_by_client(tmp_path, data)


def test_every_bit_of_the_table_takes_part_in_cuts_that_the_client_makes_too(tmp_path: Path) -> None:
    """A cut is where the upper 16 bits of the hash are zero: each of the entries that add up to it, shifted as they
    are, has a say in them by its own bits there. A wrong bit would move such a cut."""
    windows = windows_by_last_byte()
    assert len(windows) == 256
    filler = bytes(LEAST_CHUNK_BYTES)
    data = b"".join(filler + window for window in windows.values())
    period = len(filler) + 64
    assert list(boundaries([data])) == list(range(period, len(data) + 1, period))
    says = [0] * 256
    for window in windows.values():
        for shift, byte in enumerate(reversed(window)):
            says[byte] |= 0xFFFF << 48 >> shift
    assert says == [0xFFFF_FFFF_FFFF_FFFF] * 256
    assert hash_by_us(data) == hash_by_client(tmp_path, data)


def windows_by_last_byte() -> dict[int, bytes]:
    """For each byte, 64 that end with it and after which a cut is allowed: before it, or among zeros, there is none."""
    windows: dict[int, bytes] = {}
    rng = np.random.default_rng(5)
    while len(windows) < 256:
        noise = rng.integers(0, 256, 4 * MIB, dtype=np.uint8)
        for end in np.flatnonzero(chunking._gear_hashes(noise) < 1 << 48) + 64:
            window = noise[end - 64 : end].tobytes()
            first, *_ = boundaries([bytes(LEAST_CHUNK_BYTES) + window + b"x"])
            if first == LEAST_CHUNK_BYTES + 64:
                windows.setdefault(window[-1], window)
    return windows


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """One file for each way in which the client stores chunks, a short one, and an empty one."""
    contents = {"floats": FLOATS, "text": TEXT, "noise": NOISE, "short": b"hello", "empty": b""}
    paths = {name: tmp_path / name for name in contents}
    for name, path in paths.items():
        path.write_bytes(contents[name])
    return paths


def read(body: bytes) -> XorbReader:
    reader = XorbReader()
    for start in range(0, len(body), 100_000):
        reader.feed(body[start : start + 100_000])
    assert reader.finish() == len(body)
    return reader


def test_what_the_client_uploads_is_read_and_proves_true(cas: Cas, tmp_path: Path, files: dict[str, Path]) -> None:
    cas.push(tmp_path / "home", *files.values())
    xorbs = {from_text(name): read(body) for name, body in cas.xorbs.items()}
    assert all(reader.hash() == name for name, reader in xorbs.items())
    (shard,) = map(parse_shard, cas.shards)
    assert [(x.hash, [(c.hash, c.raw_bytes) for c in x.chunks]) for x in shard.xorbs] == [
        (name, [(c.hash, c.raw_bytes) for c in reader.chunks]) for name, reader in xorbs.items()
    ]
    told = {assemble(cas, xorbs, file): file for file in shard.files}
    assert set(told) == {path.read_bytes() for path in files.values()}
    for content, file in told.items():
        assert file.sha256 == (hashlib.sha256(content).hexdigest() if content else None)


def assemble(cas: Cas, xorbs: dict[bytes, XorbReader], file: FileInfo) -> bytes:
    """What a shard says a file is, when all that it says of it is true."""
    content, chunks = b"", []
    for term in file.terms:
        run = xorbs[term.xorb_hash].chunks[term.start : term.end]
        assert term.range_hash == range_hash(chunk.hash for chunk in run)
        assert term.raw_bytes == sum(chunk.raw_bytes for chunk in run)
        content += b"".join(list(unpack(cas.xorbs[to_text(term.xorb_hash)]))[term.start : term.end])
        chunks += [(chunk.hash, chunk.raw_bytes) for chunk in run]
    assert file.file_hash == file_hash(chunks)
    return content


def test_every_scheme_is_among_what_the_client_uploads(cas: Cas, tmp_path: Path, files: dict[str, Path]) -> None:
    cas.push(tmp_path / "home", *files.values())
    schemes = set()
    for name, body in cas.xorbs.items():
        start = 0
        for chunk in read(body).chunks:
            schemes.add(body[start + 4])
            start += chunk.stored_bytes
        assert start == len(body), name
    assert schemes == {0, 1, 2}


def test_a_client_sends_nothing_again_of_what_it_is_told_is_there(cas: Cas, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(FLOATS)
    cas.push(tmp_path / "first", path)
    now = int(time.time())
    known = [(from_text(name), read(body).chunks) for name, body in cas.xorbs.items()]
    answer = write_dedup_shard(known, created_at=now, expires_at=now + 3600)
    cas.dedup.update({to_text(chunk.hash): answer for _, chunks in known for chunk in chunks})
    first_bytes = sum(map(len, cas.xorbs.values()))
    cas.xorbs.clear()
    path.write_bytes(FLOATS[:1_000_000] + b"more" + FLOATS[1_000_000:])
    cas.push(tmp_path / "second", path)
    assert 0 < sum(map(len, cas.xorbs.values())) < first_bytes / 5
    (file,) = parse_shard(cas.shards[-1]).files
    assert known[0][0] in {term.xorb_hash for term in file.terms}


@pytest.mark.parametrize("packed", [True, False])
def test_the_client_reads_the_chunks_that_we_write(cas: Cas, tmp_path: Path, packed: bool) -> None:
    content = TEXT + NOISE
    raws = list(split([content]))
    stored = [pack(raw) if packed else plain_header(len(raw)) + raw for raw in raws]
    chunks = [Chunk(chunk_hash(raw), len(raw), len(chunk)) for raw, chunk in zip(raws, stored, strict=True)]
    reader = read(b"".join(stored))
    assert reader.chunks == chunks
    name = to_text(reader.hash())
    cas.xorbs[name] = b"".join(stored)
    file = file_hash((chunk.hash, chunk.raw_bytes) for chunk in chunks)
    cas.reconstructions[to_text(file)] = reconstruction(cas.url, name, len(content), len(chunks), reader.stored_bytes)
    assert cas.pull(tmp_path, file, len(content)) == content


@pytest.mark.thorough
def test_as_many_chunks_as_the_client_puts_into_a_xorb_are_read(cas: Cas, tmp_path: Path) -> None:
    """Small files fill a xorb by the number of its chunks: a few thousand files of one chunk each."""
    paths = [tmp_path / str(number) for number in range(MOST_CHUNKS + 100)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    cas.push(tmp_path / "home", *paths)
    assert max(len(read(body).chunks) for body in cas.xorbs.values()) == MOST_CHUNKS
    assert sum(len(parse_shard(body).files) for body in cas.shards) == len(paths)
