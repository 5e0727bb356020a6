"""Files in chunks, past every door: what a client of Xet sends, handed to core as a door hands it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from uuid import uuid4

from sqlalchemy import select

from steelyard.server.context import Registry
from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.xet import chunks, shards
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Org, OrgXorb, Xorb
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore
from steelyard.server.xet import hashes
from steelyard.server.xet.chunking import split
from steelyard.server.xet.shards import FileInfo, Shard, Term, parse_shard, write_dedup_shard
from steelyard.server.xet.xorbs import Chunk, pack
from tests.house.people import Registered


@dataclass(frozen=True)
class Packed:
    """A xorb: its chunks unpacked, and as they are sent."""

    raws: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(map(pack, self.raws))

    @property
    def chunks(self) -> list[Chunk]:
        return [Chunk(hashes.chunk_hash(raw), len(raw), len(pack(raw))) for raw in self.raws]

    @property
    def hash(self) -> bytes:
        return hashes.xorb_hash((chunk.hash, chunk.raw_bytes) for chunk in self.chunks)

    @property
    def name(self) -> str:
        return hashes.to_text(self.hash)

    def term(self, start: int = 0, end: int | None = None) -> Term:
        """Chunks of it as a part of a file, told truly."""
        end = len(self.raws) if end is None else end
        run = self.chunks[start:end]
        proof = hashes.range_hash(chunk.hash for chunk in run)
        return Term(self.hash, sum(chunk.raw_bytes for chunk in run), start, end, proof)


@dataclass(frozen=True)
class Part:
    """A run of a xorb's chunks in a file; all of them where nothing else is said."""

    xorb: Packed
    start: int = 0
    end: int | None = None

    @property
    def raws(self) -> tuple[bytes, ...]:
        return self.xorb.raws[self.start : self.end]


def some_raws(seed: int, count: int, least: int = 8_192, most: int = 60_000) -> tuple[bytes, ...]:
    """Chunks of random bytes, every third of them easy to pack."""
    random = Random(seed)
    sizes = [random.randint(least, most) for _ in range(count)]
    return tuple(
        bytes([seed % 256]) * size if not index % 3 else random.randbytes(size) for index, size in enumerate(sizes)
    )


def content_of(parts: Sequence[Part]) -> bytes:
    """The bytes of a file made of these."""
    return b"".join(raw for part in parts for raw in part.raws)


def told(parts: Sequence[Part], *, sha256: str | None = None) -> FileInfo:
    """A file made of these, told truly; `sha256` is what the client claims."""
    run = [(hashes.chunk_hash(raw), len(raw)) for part in parts for raw in part.raws]
    return FileInfo(hashes.file_hash(run), [part.xorb.term(part.start, part.end) for part in parts], sha256)


def shard_of(*files: FileInfo, xorbs: Sequence[Packed] = ()) -> Shard:
    """What a client says of files, and of xorbs that it made for them."""
    section = write_dedup_shard([(xorb.hash, xorb.chunks) for xorb in xorbs], created_at=0, expires_at=0)
    return Shard(list(files), parse_shard(section).xorbs)


@dataclass(frozen=True)
class Parts:
    """What core needs of a registry, also of one that servers run on."""

    database: Database
    store: BlobStore
    settings: Settings


@dataclass(frozen=True)
class Sender:
    """Who sends chunks to an organisation of a registry."""

    of: Registered | Parts
    slug: str

    @property
    def registry(self) -> Registry | Parts:
        if isinstance(self.of, Parts):
            return self.of
        registry = self.of.client.app.state.registry  # type: ignore[attr-defined]
        assert isinstance(registry, Registry)
        return registry

    @property
    def org(self) -> Org:
        with self.registry.database.read() as session:
            return session.scalars(select(Org).where(Org.slug == self.slug)).one()

    def send(self, xorb: Packed, *, as_hash: bytes | None = None, chunks_said: list[Chunk] | None = None) -> bool:
        """Send a xorb; answers whether it is new to the organisation."""
        stage_id, registry = uuid4().hex, self.registry
        with registry.store.stage(stage_id, 0) as writer:
            writer.write([xorb.body])
        said = xorb.chunks if chunks_said is None else chunks_said
        return chunks.keep_xorb(registry.database, registry.store, self.org.id, as_hash or xorb.hash, said, stage_id)

    def say(self, *files: FileInfo, xorbs: Sequence[Packed] = ()) -> list[tuple[int, int]]:
        """Send a shard; answers what was told of its verification."""
        return self.say_shard(shard_of(*files, xorbs=xorbs))

    def say_shard(self, shard: Shard) -> list[tuple[int, int]]:
        """The same, as it is."""
        heard: list[tuple[int, int]] = []
        registry = self.registry
        room = Room(registry.settings, registry.store.free_bytes())
        shards.keep_shard(registry.database, registry.store, self.org, shard, room, lambda *at: heard.append(at))
        return heard

    def make(self, *parts: Part) -> str:
        """Send the xorbs of a file and the shard that makes it of them; answers its OID."""
        xorbs = list(dict.fromkeys(part.xorb for part in parts))
        for xorb in xorbs:
            self.send(xorb)
        digest = hashlib.sha256(content_of(parts)).hexdigest()
        self.say(told(parts, sha256=digest), xorbs=xorbs)
        return f"sha256:{digest}"

    def make_of(self, content: bytes, most_chunks: int = 1024) -> str:
        """The same for some bytes, cut as clients cut them."""
        raws = tuple(split([content]))
        return self.make(*(Part(Packed(raws[at : at + most_chunks])) for at in range(0, len(raws), most_chunks)))

    def age(self, *, days: int) -> None:
        """Make it so long ago that the organisation was last told of its xorbs."""
        with self.registry.database.write() as session:
            for link in session.scalars(select(OrgXorb).where(OrgXorb.org_id == self.org.id)):
                link.touched_at -= timedelta(days=days)

    def xorbs(self) -> dict[str, str | None]:
        """Every xorb that the registry knows, and its key."""
        with self.registry.database.read() as session:
            return {xorb.hash: xorb.key for xorb in session.scalars(select(Xorb))}

    def stored(self) -> dict[str, int]:
        """What the store holds of whole blobs and xorbs, by its own account: key -> size."""
        return {name.name: name.size_bytes for name in self.registry.store.scan() if name.kind == "blob"}
