"""From staged runs to one object: inside the store where it can be, through the registry where stores refuse.

A store copies a small object in one call, and a large one in parts. Parts have 5 MiB or more, but for the last, so
that what came in smaller runs is fetched and sent again.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

from steelyard.server.storage import LEAST_PART_BYTES
from steelyard.server.storage.s3.bucket import Bucket, SentPart
from steelyard.server.storage.s3.staging import Manifest, Span

_AT_ONCE = 4
_FULL_PARTS = 5000  # of the 10,000 that a store takes: odd runs need some, too

Part = tuple[Span, ...]
"""What one part is made of: a span that the store copies, or such as are sent."""


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """What the store is asked to copy in one request. It could be more, but then it would be silent for minutes."""

    whole_bytes: int = 64 * 2**20
    part_bytes: int = 64 * 2**20


def make_object(bucket: Bucket, manifest: Manifest, key: str, limits: CopyLimits) -> None:
    """Make the object `key` of what the manifest names.

    Raises `Unmet` where it is there already, or a run is another by now; `Gone` where a run is not there.
    """
    first = manifest.spans[0] if manifest.spans else None
    if first is None:
        bucket.put(key, b"", only_new=True)
    elif first.source and first.is_object and manifest.size_bytes == first.length <= limits.whole_bytes:
        bucket.copy(first.source, key)
    else:
        _make_in_parts(bucket, list(plan_parts(manifest, limits.part_bytes)), key)


def _make_in_parts(bucket: Bucket, plan: list[Part], key: str) -> None:
    handle = bucket.begin(key)

    def make(number: int) -> SentPart:
        return _make_part(bucket, plan[number - 1], key, handle, number)

    try:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s3-copy") as threads:
            parts = list(threads.map(make, range(1, len(plan) + 1)))
        bucket.complete(key, handle, parts, only_new=True)
    except BaseException as fault:
        bucket.abort_after(fault, key, handle)
        raise


def _make_part(bucket: Bucket, part: Part, key: str, handle: str, number: int) -> SentPart:
    first = part[0]
    if first.source and len(part) == 1 and first.length >= LEAST_PART_BYTES:
        return bucket.copy_part(key, handle, number, first.source, first.start, first.length)
    return bucket.send_part(key, handle, number, b"".join(span.read(bucket) for span in part))


def plan_parts(manifest: Manifest, part_bytes: int) -> Iterator[Part]:
    """The parts of the whole, none too small but the last. `part_bytes`, twice the least or more, are the most that
    the store copies at once, unless that made too many."""
    most_bytes = max(part_bytes, math.ceil(manifest.size_bytes / _FULL_PARTS))
    gathered: list[Span] = []
    for span in manifest.spans:
        lacking = min(LEAST_PART_BYTES - _length(gathered), span.length) if gathered else 0
        if lacking:
            gathered.append(span.cut(0, lacking))
        if _length(gathered) == LEAST_PART_BYTES:
            yield tuple(gathered)
            gathered = []
        for piece in _evenly(span.cut(lacking, span.length - lacking), most_bytes):
            if piece.length >= LEAST_PART_BYTES:
                yield (piece,)
            else:
                gathered.append(piece)
    if gathered:
        yield tuple(gathered)


def _length(spans: Sequence[Span]) -> int:
    return sum(span.length for span in spans)


def _evenly(span: Span, most_bytes: int) -> Iterator[Span]:
    """Pieces of nearly one size; of zeros, which are sent, such as fit into memory."""
    if span.source is None:
        return span.pieces(LEAST_PART_BYTES)
    count = math.ceil(span.length / most_bytes)
    edges = [span.length * number // max(1, count) for number in range(count + 1)]
    return (span.cut(left, right - left) for left, right in pairwise(edges))
