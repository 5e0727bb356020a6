"""Small writers of safetensors and GGUF, for tests: they know the formats by themselves, not by the code under test."""

import json
import math
import struct
from collections.abc import Mapping, Sequence

from steelyard.server.core.files.heads import WeightFile

U64_MAX = 2**64 - 1


def file(path: str, content: bytes, size_bytes: int | None = None) -> WeightFile:
    """A file of these bytes, which may say that it is longer: nobody builds gigabytes for a test."""
    size = len(content) if size_bytes is None else size_bytes
    return WeightFile(path, size, lambda start, length: content[start : start + length])


def safetensors(shapes: Mapping[str, Sequence[int]], metadata: Mapping[str, str] | None = None) -> bytes:
    """A whole file of 32-bit zeros, as the reference implementation lays it out: header padded to 8 bytes."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata is not None else {}
    offset = 0
    for name, shape in shapes.items():
        end = offset + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return safetensors_of(text, bytes(offset))


def safetensors_of(header: bytes, data: bytes = bytes(1024)) -> bytes:
    """A file with this header, whatever it is."""
    return struct.pack("<Q", len(header)) + header + data


def gguf_string(text: str) -> bytes:
    """A string of GGUF."""
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_header(tensor_count: int, pair_count: int, version: int = 3) -> bytes:
    """The first 24 bytes."""
    return b"GGUF" + struct.pack("<IQQ", version, tensor_count, pair_count)


def gguf_tensor(name: str, shape: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    """What is told of one tensor."""
    return gguf_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf_pair(key: str, kind: int, value: bytes) -> bytes:
    """A key with its value."""
    return gguf_string(key) + struct.pack("<I", kind) + value


def gguf_array(kind: int, values: Sequence[bytes]) -> bytes:
    """The value of an array."""
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)
