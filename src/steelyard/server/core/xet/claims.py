"""What a shard claims, checked against the xorbs that its organisation has, before a byte of its files is read.

A shard is a few bytes that can name many, again and again: how large its files are, how often they repeat chunks and
into how many pieces they fall is looked at first, and of the chunks' hashes few are in memory at a time.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.xet import chunks
from steelyard.server.core.xet.chunks import KnownXorb
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import Org, Recipe, Xorb
from steelyard.server.errors import Invalid, TooLarge
from steelyard.server.storage.chunked import Layout, Term
from steelyard.server.xet import hashes
from steelyard.server.xet import shards as told
from steelyard.server.xet.hashes import Hash
from steelyard.server.xet.shards import FileInfo, Shard, XorbInfo
from steelyard.server.xet.xorbs import Chunk, unpack_run

GoOn = Callable[[], None]
"""Is asked now and then, and raises what ends the work early."""

_TABLES_BYTES = 16 * 2**20
"""Tables of chunks in memory for one shard: of 400 xorbs as clients make them, of 50 with the most chunks."""
_TERMS_OF_ANY_FILE, _LEAST_TERM_BYTES = 256, 32 * 2**10
"""A file may have as many terms as the first, and one more for each of the second. Clients keep to runs of four to
eight chunks of some 64 KiB each, once they have made 128 of them (xet-core's fragmentation prevention)."""
_REPEATED_BYTES, _REPEATS = 16 * 2**30, 16
"""The files of a shard may be as long as the first, and the xorbs they name, each so often."""


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file of a shard that fits the xorbs. `sha256_hex` is the client's claim; `first` is its first chunk."""

    file_hash: Hash
    layout: Layout
    sha256_hex: str | None
    first: Hash | None

    @property
    def size_bytes(self) -> int:
        return self.layout.size_bytes

    @property
    def xorb_ids(self) -> list[int]:
        return sorted({term.xorb_id for term in self.layout.terms})


def check_shard(database: Database, org: Org, shard: Shard, room: Room, go_on: GoOn) -> list[CheckedFile]:
    """The files of a shard, which are what it says if the bytes of its xorbs are. Begins the grace of all xorbs that it
    names anew, so that none goes while they are read. Raises `Invalid` with a reason for the user, and `TooLarge`."""
    known = _find_known(database, org, shard)
    for file in shard.files:
        _check_size(file, room)
    _check_repeats(shard, known)
    _check_quota(database, org, shard.files, room)
    tables = _Tables(database, lambda: _refuse_unknown(database, org))
    for xorb in shard.xorbs:
        go_on()
        _check_xorb(xorb, known[xorb.hash], tables)
    return [_check_file(file, known, tables, go_on) for file in shard.files]


# --- how much it is


def _find_known(database: Database, org: Org, shard: Shard) -> dict[Hash, KnownXorb]:
    """Every xorb that the shard names."""
    named = {xorb.hash for xorb in shard.xorbs} | {term.xorb_hash for file in shard.files for term in file.terms}
    with database.read() as session:
        known = chunks.find_known(session, org.id, named)
    if len(known) < len(named):
        _refuse_unknown(database, org)
    with database.write() as session:
        is_still_there = chunks.touch(session, org.id, [xorb.id for xorb in known.values()])
    if not is_still_there:
        _refuse_unknown(database, org)
    return known


def _refuse_unknown(database: Database, org: Org) -> NoReturn:
    """A client that was told otherwise would go on so for weeks: it begins with an empty cache the next time."""
    with database.write() as session:
        chunks.empty_caches(session, [org.id])
    raise Invalid(
        f"This builds on chunks that '{org.slug}' does not have, or not any more. Push again: what is missing is then "
        "sent. If this is said once more, remove the folder `xet` of the Hugging Face cache (HF_HOME)."
    )


def _size_of(file: FileInfo) -> int:
    """How long the file is, if its terms are as long as they say."""
    return sum(term.raw_bytes for term in file.terms)


def _check_size(file: FileInfo, room: Room) -> None:
    size_bytes, most_bytes = _size_of(file), room.settings.max_file_bytes
    if most_bytes and size_bytes > most_bytes:
        raise TooLarge(
            f"A file of {size_bytes} bytes is larger than this server takes (max_file_bytes = {most_bytes})."
        )
    most_terms = _TERMS_OF_ANY_FILE + size_bytes // _LEAST_TERM_BYTES
    if len(file.terms) > most_terms:
        raise Invalid(
            f"The file {hashes.to_text(file.file_hash)} of {size_bytes} bytes is made of {len(file.terms)} pieces; "
            f"this server takes {most_terms} of that size. Push it by a client without chunks (HF_HUB_DISABLE_XET=1)."
        )


def _check_repeats(shard: Shard, known: dict[Hash, KnownXorb]) -> None:
    """To read the same chunks over and over costs who sends them nothing, and everybody else his turn."""
    size_bytes = sum(_size_of(file) for file in shard.files)
    named = {term.xorb_hash for file in shard.files for term in file.terms}
    most_bytes = _REPEATED_BYTES + _REPEATS * sum(known[name].raw_bytes for name in named)
    if size_bytes > most_bytes:
        raise TooLarge(
            f"These files have {size_bytes} bytes together and repeat the same chunks more often than this server "
            f"reads them ({most_bytes} bytes). Push fewer at once, or by a client without chunks "
            "(HF_HUB_DISABLE_XET=1)."
        )


def _check_quota(database: Database, org: Org, files: Sequence[FileInfo], room: Room) -> None:
    """As will be asked for each file when its bytes are read, for all of them before."""
    quota_bytes = room.settings.quota_org_bytes
    if not quota_bytes:
        return
    with database.read() as session:
        held_bytes, more_bytes = blobs.held_bytes(session, org.id), _new_bytes(session, org, files)
    if more_bytes and held_bytes + more_bytes > quota_bytes:
        raise TooLarge(
            f"'{org.slug}' holds {held_bytes} bytes and {more_bytes} more would pass its quota "
            f"(quota_org_bytes = {quota_bytes}). Delete versions or ask the operator."
        )


def _new_bytes(session: Session, org: Org, files: Sequence[FileInfo]) -> int:
    """How long those files are together that the organisation does not hold yet, by their names and lengths."""
    claimed = {file.file_hash: (f"sha256:{file.sha256}", _size_of(file)) for file in files}
    held = blobs.find_held(session, org.id, {oid for oid, _ in claimed.values()})
    new = {name: size for name, (oid, size) in claimed.items() if oid not in held or held[oid].size_bytes != size}
    for some in in_batches(list(new)):
        proven = select(Recipe.file_hash).where(Recipe.org_id == org.id)
        for text in session.scalars(proven.where(Recipe.file_hash.in_(map(hashes.to_text, some)))):
            new.pop(hashes.from_text(text), None)
    return sum(new.values())


# --- chunk by chunk


class _Tables:
    """The chunks of xorbs, each xorb's loaded when they are asked for, and those kept that were asked for last."""

    def __init__(self, database: Database, refuse: Callable[[], NoReturn]) -> None:
        self._database, self._refuse = database, refuse
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0

    def run(self, xorb: KnownXorb, start: int, end: int) -> list[Chunk]:
        """Chunks `start` to `end`, which the xorb has."""
        return unpack_run(self._get(xorb.id), start, end)

    def _get(self, xorb_id: int) -> bytes:
        if xorb_id in self._kept:
            self._kept.move_to_end(xorb_id)
            return self._kept[xorb_id]
        table = self._kept[xorb_id] = self._load(xorb_id)
        self._kept_bytes += len(table)
        while self._kept_bytes > _TABLES_BYTES and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return table

    def _load(self, xorb_id: int) -> bytes:
        with self._database.read() as session:
            table = session.scalar(select(Xorb.chunks).where(Xorb.id == xorb_id))
        return self._refuse() if table is None else table


def _check_xorb(said: XorbInfo, known: KnownXorb, tables: _Tables) -> None:
    if said.chunk_count != known.chunk_count or any(
        (one.hash, one.raw_bytes) != (other.hash, other.raw_bytes)
        for one, other in zip(said.chunks, tables.run(known, 0, known.chunk_count), strict=True)
    ):
        raise Invalid(
            f"The shard tells other chunks of the xorb {hashes.to_text(said.hash)} than those that were sent."
        )


def _check_file(file: FileInfo, known: dict[Hash, KnownXorb], tables: _Tables, go_on: GoOn) -> CheckedFile:
    run = _list_chunks(file, known, tables, go_on)
    first = list(islice(run, 1))
    if hashes.file_hash((chunk.hash, chunk.raw_bytes) for chunk in chain(first, run)) != file.file_hash:
        raise Invalid(f"The chunks of the file {hashes.to_text(file.file_hash)} make a file of another hash.")
    terms = [Term(known[term.xorb_hash].id, term.start, term.end, term.raw_bytes) for term in file.terms]
    return CheckedFile(file.file_hash, Layout(terms), file.sha256, first[0].hash if first else None)


def _list_chunks(file: FileInfo, known: dict[Hash, KnownXorb], tables: _Tables, go_on: GoOn) -> Iterator[Chunk]:
    """All chunks of a file, term by term, each term checked before its chunks come."""
    for index, term in enumerate(file.terms):
        go_on()
        yield from _check_term(term, f"Term {index} of the file {hashes.to_text(file.file_hash)}", known, tables)


def _check_term(term: told.Term, name: str, known: dict[Hash, KnownXorb], tables: _Tables) -> list[Chunk]:
    xorb = known[term.xorb_hash]
    if not 0 <= term.start < term.end <= xorb.chunk_count:
        raise Invalid(f"{name} names chunks that its xorb does not have.")
    run = tables.run(xorb, term.start, term.end)
    if sum(chunk.raw_bytes for chunk in run) != term.raw_bytes:
        raise Invalid(f"{name} has another length than its chunks.")
    if term.range_hash != hashes.range_hash(chunk.hash for chunk in run):
        raise Invalid(f"{name} has a wrong verification hash, or none.")
    return run
