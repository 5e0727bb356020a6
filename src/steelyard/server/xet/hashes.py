"""The hashes of Xet: of chunks, of xorbs, of files, of runs of chunks, and how each is written as text.

Everything is BLAKE3 under four fixed keys; a tree of hashes has nodes whose extent depends on the hashes below them.
Source: the Xet protocol specification (`spec/hashing.md` of xet-core), recomputed against hf_xet 1.8.0.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from blake3 import blake3

Hash = bytes
"""32 bytes."""

HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)
"""The hash of a xorb or a file without chunks."""

_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_RANGE_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = NO_HASH

_TEXT = re.compile(r"[0-9a-f]{64}")
_WORDS = struct.Struct("<4Q")

_FEWEST_CHILDREN = 3
"""Fewer children end a node only where the list ends."""
_MOST_CHILDREN = 9
_CUT = 4
"""A node ends at a child whose hash this divides."""


def to_text(hash_: Hash) -> str:
    """The 64 hex digits that stand for a hash in URLs and JSON: each eight bytes reversed, little-endian numbers."""
    return "{:016x}{:016x}{:016x}{:016x}".format(*_WORDS.unpack(hash_))


def from_text(text: str) -> Hash:
    """The hash that `to_text` writes as `text`. Raises ValueError for all but 64 lower-case hex digits."""
    if not _TEXT.fullmatch(text):
        raise ValueError("a Xet hash is 64 lower-case hex digits")
    return _WORDS.pack(*(int(text[start : start + 16], 16) for start in range(0, 64, 16)))


def sha256_of_field(field: bytes) -> str:
    """The ordinary hex of a SHA-256 that a shard carries: there it went through `from_text` like a hash of Xet."""
    return to_text(field)


def field_of_sha256(sha256_hex: str) -> bytes:
    """The 32 bytes by which a shard carries a SHA-256."""
    return from_text(sha256_hex)


def remainder(hash_: Hash, divisor: int) -> int:
    """`hash mod divisor` as Xet means it: of the last eight bytes, little-endian."""
    return int.from_bytes(hash_[24:], "little") % divisor


def is_asked_for(chunk: Hash) -> bool:
    """Whether clients ask a server for this chunk by itself (beside the first chunk of each file): one in 1024."""
    return remainder(chunk, 1024) == 0


def chunk_hash(data: bytes | memoryview) -> Hash:
    """The hash of one chunk's raw bytes."""
    return blake3(data, key=_CHUNK_KEY).digest()


def xorb_hash(chunks: Iterable[tuple[Hash, int]]) -> Hash:
    """The hash of a xorb of these chunks, each with its raw length, in order. They are read once and not held."""
    level = iter(chunks)
    while len(first := list(islice(level, 2))) == 2:
        level = _parents(chain(first, level))
    return first[0][0] if first else NO_HASH


def file_hash(chunks: Iterable[tuple[Hash, int]]) -> Hash:
    """The hash of a file of these chunks, each with its raw length, in order. They are read once and not held."""
    root = xorb_hash(chunks)
    return root if root == NO_HASH else blake3(root, key=_FILE_KEY).digest()


def range_hash(hashes: Iterable[Hash]) -> Hash:
    """What proves that a shard's author knows the chunks of a term: a hash over their hashes."""
    return blake3(b"".join(hashes), key=_RANGE_KEY).digest()


def _parents(level: Iterable[tuple[Hash, int]]) -> Iterator[tuple[Hash, int]]:
    """The nodes over these."""
    children: list[tuple[Hash, int]] = []
    for child in level:
        children.append(child)
        if len(children) == _MOST_CHILDREN or (len(children) >= _FEWEST_CHILDREN and child[0][24] % _CUT == 0):
            yield _node(children)
            children.clear()
    if children:
        yield _node(children)


def _node(children: list[tuple[Hash, int]]) -> tuple[Hash, int]:
    text = "".join(f"{to_text(hash_)} : {size_bytes}\n" for hash_, size_bytes in children)
    return blake3(text.encode(), key=_NODE_KEY).digest(), sum(size_bytes for _, size_bytes in children)
