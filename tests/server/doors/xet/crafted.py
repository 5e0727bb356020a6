"""Xorbs and shards as a client makes them, and as no client would."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from steelyard.server.xet import hashes, xorbs

END = b"\xff" * 32 + bytes(16)
_TAG = b"HFRepoMetaData\0" + bytes((85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169))


@dataclass(frozen=True)
class Xorb:
    """A run of chunks, and the body by which it is sent."""

    chunks: tuple[bytes, ...]

    @property
    def table(self) -> list[tuple[bytes, int]]:
        return [(hashes.chunk_hash(chunk), len(chunk)) for chunk in self.chunks]

    @property
    def hash(self) -> bytes:
        return hashes.xorb_hash(self.table)

    @property
    def name(self) -> str:
        return hashes.to_text(self.hash)

    @property
    def body(self) -> bytes:
        return b"".join(xorbs.pack(chunk) for chunk in self.chunks)

    def term(self, start: int = 0, end: int | None = None) -> "Term":
        """These chunks of it as a part of a file, told truly."""
        end = len(self.chunks) if end is None else end
        run = self.table[start:end]
        proof = hashes.range_hash([name for name, _ in run])
        return Term(self.hash, sum(size for _, size in run), start, end, proof)


@dataclass(frozen=True)
class Term:
    """A part of a file, as a shard tells it."""

    xorb: bytes
    raw_bytes: int
    start: int
    end: int
    proof: bytes


@dataclass(frozen=True)
class File:
    """A file, as a shard tells it; `sha256` is plain hex."""

    hash: bytes
    sha256: str | None
    terms: tuple[Term, ...]
    flags: int = 0xC0000000

    @property
    def name(self) -> str:
        return hashes.to_text(self.hash)

    def but(self, **changed: object) -> "File":
        return replace(self, **changed)  # type: ignore[arg-type]


@dataclass
class Shard:
    """What a client says of files and of the xorbs it made for them."""

    files: Sequence[File]
    xorbs: Sequence[Xorb] = field(default_factory=tuple)

    @property
    def body(self) -> bytes:
        head = _TAG + struct.pack("<QQ", 2, 0)
        files = b"".join(_file(each) for each in self.files)
        return head + files + END + b"".join(_xorb(each) for each in self.xorbs) + END


def file_of(*terms: tuple[Xorb, int, int]) -> File:
    """The file that these runs make, told truly."""
    runs = [chunk for xorb, start, end in terms for chunk in xorb.table[start:end]]
    raw = b"".join(b"".join(xorb.chunks[start:end]) for xorb, start, end in terms)
    told = tuple(xorb.term(start, end) for xorb, start, end in terms)
    return File(hashes.file_hash(runs), hashlib.sha256(raw).hexdigest(), told)


def _file(told: File) -> bytes:
    rows = [told.hash + struct.pack("<IIQ", told.flags, len(told.terms), 0)]
    rows += [t.xorb + struct.pack("<IIII", 0, t.raw_bytes, t.start, t.end) for t in told.terms]
    if told.flags & 1 << 31:
        rows += [t.proof + bytes(16) for t in told.terms]
    if told.flags & 1 << 30:
        rows.append(hashes.field_of_sha256(told.sha256 or "") + bytes(16))
    return b"".join(rows)


def _xorb(xorb: Xorb) -> bytes:
    rows, offset = [xorb.hash + struct.pack("<IIII", 0, len(xorb.chunks), sum(map(len, xorb.chunks)), 0)], 0
    for name, size in xorb.table:
        rows.append(name + struct.pack("<IIII", offset, size, 0, 0))
        offset += size
    return b"".join(rows)
