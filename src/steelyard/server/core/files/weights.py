"""How many parameters a model has, read from the headers of its weights by range, never from whole files.

Knows safetensors and GGUF 2 and 3. The files come from strangers: whatever they say, counting ends soon, holds some
20 MiB at most and raises nothing.
"""

import math
import re
from collections.abc import Iterable, Sequence

from steelyard.server.core.files import gguf, safetensors
from steelyard.server.core.files.heads import Head, UnreadableError, WeightFile

_HEADERS_MAX_BYTES = 64 * 1024**2  # of one model; 200,000 tensors need about 30 MiB
_FILES_MAX = 1024  # a header is at least one request to a remote store


def count_parameters(files: Iterable[WeightFile]) -> int | None:
    """How many numbers the model's tensors hold; None without weights of a known format, or with any that is broken.

    The shards of one set of weights count together. What is the same model over again does not count twice: of
    several sets in one folder (full and half precision, a consolidated file) the largest counts, GGUF counts only
    where there is no safetensors file, and of GGUF sets, which are quantisations, only the largest. Where a format
    packs several small numbers into one element, elements are counted. Raises what `read` raises.
    """
    chosen = _choose(sorted(files, key=lambda file: file.path))
    if not chosen or len(chosen) > _FILES_MAX:
        return None
    total, left_bytes = 0, _HEADERS_MAX_BYTES
    try:
        for file in chosen:
            head = Head(file, left_bytes)
            total += _count_file(file, head)
            left_bytes -= head.position
    except UnreadableError:
        return None
    return total


def size_category(parameters: int | None, size_bytes: int) -> str:
    """`tiny` below 100 million parameters, `small` below 1, `medium` below 10, `large` below 100 billion, else `huge`.

    Without a count of parameters the bytes are taken for 16-bit weights.
    """
    count = size_bytes // 2 if parameters is None else parameters
    limits = {"tiny": 10**8, "small": 10**9, "medium": 10**10, "large": 10**11}
    return next((category for category, limit in limits.items() if count < limit), "huge")


SHARD = re.compile(r"-[0-9]{1,9}-of-[0-9]{1,9}(?=\.[a-z]+\Z)")


def _choose(files: Sequence[WeightFile]) -> list[WeightFile]:
    """The files that together are the model once."""
    safetensors = _group_shards(file for file in files if file.ending == "safetensors")
    if not safetensors:
        return max(_group_shards(file for file in files if file.ending == "gguf").values(), key=_size, default=[])
    largest: dict[str, list[WeightFile]] = {}
    for name, shards in safetensors.items():
        folder = name.rpartition("/")[0]
        largest[folder] = max(largest.get(folder, []), shards, key=_size)
    return [file for shards in largest.values() for file in shards]


def _size(files: Sequence[WeightFile]) -> int:
    return sum(file.size_bytes for file in files)


def _group_shards(files: Iterable[WeightFile]) -> dict[str, list[WeightFile]]:
    """Files by what their path is without its `-00001-of-00003`."""
    sets: dict[str, list[WeightFile]] = {}
    for file in files:
        sets.setdefault(SHARD.sub("", file.path.lower()), []).append(file)
    return sets


def _count_file(file: WeightFile, head: Head) -> int:
    count = _count_gguf(head) if file.ending == "gguf" else _count_safetensors(head)
    if count > 8 * file.size_bytes:  # no known quantisation needs less than a bit
        raise UnreadableError("its shapes have more numbers than it has bits")
    return count


_SHAPE = re.compile(rb'"shape"[ \t\r\n]*+:[ \t\r\n]*+\[([0-9, \t\r\n]*+)\]')


def _count_safetensors(head: Head) -> int:
    members = safetensors.list_members(safetensors.take_header(head))
    return sum(_count_shape(member["tensor"]) for member in members if member["tensor"] is not None)


def _count_shape(tensor: bytes) -> int:
    if not (shape := _SHAPE.search(tensor)):
        raise UnreadableError("it has a tensor without a shape")
    dimensions = shape[1].split(b",") if shape[1].strip() else []
    try:
        return math.prod(map(int, dimensions))
    except ValueError:
        raise UnreadableError("it has a shape that is not of numbers") from None


def _count_gguf(head: Head) -> int:
    tensor_count, pair_count = gguf.take_counts(head)
    for _ in range(pair_count):
        head.skip(head.take_u64())
        gguf.skip_value(head, head.take_u32())
    return sum(_count_gguf_tensor(head) for _ in range(tensor_count))


def _count_gguf_tensor(head: Head) -> int:
    head.skip(head.take_u64())  # the name
    count = math.prod(gguf.take_shape(head))
    head.skip(4 + 8)  # the type and the offset of the data
    return count
