"""The header of a GGUF file, version 2 or 3, little-endian: keys with values, then what is told of each tensor.

Source: ggml, `docs/gguf.md`, and for the sizes of blocks its `gguf-py/gguf/constants.py`. Every step of a loop takes
some bytes, so that a count that lies ends at the end of the file or the limit.
"""

import struct

from steelyard.server.core.files.heads import Head, UnreadableError

MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
"""The kinds of value of a fixed size, as `struct` calls them."""
SCALAR_BYTES = {kind: struct.calcsize(f"<{code}") for kind, code in SCALARS.items()}
KIND_NAMES = {
    0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", STRING: "string", ARRAY: "array",
    10: "u64", 11: "i64", 12: "f64",
}  # fmt: skip

# Type -> (name, numbers in a block, bytes of a block).
TENSOR_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36),
}  # fmt: skip

DEEPEST = 4  # arrays within arrays; ggml itself takes none
_DIMENSIONS_MAX = 8  # ggml itself stops at 4
_PAIRS_MAX = 100_000  # real files have a hundred


def take_counts(head: Head) -> tuple[int, int]:
    """How many tensors and how many pairs there are said to be, from the beginning of the file. Raises
    `UnreadableError`."""
    if head.take(4) != MAGIC:
        raise UnreadableError("it does not begin as GGUF does")
    if (version := head.take_u32()) not in (2, 3):
        raise UnreadableError(f"it says that it is version {version} of GGUF, and only 2 and 3 are read")
    tensor_count, pair_count = head.take_u64(), head.take_u64()
    if pair_count > _PAIRS_MAX:
        raise UnreadableError(f"it says that it has {pair_count} keys, and no more than {_PAIRS_MAX} are read")
    return tensor_count, pair_count


def skip_value(head: Head, kind: int, depth: int = 0) -> None:
    """Past the value of a pair, of any kind."""
    if kind == STRING:
        head.skip(head.take_u64())
    elif kind == ARRAY:
        _skip_array(head, depth)
    elif kind in SCALARS:
        head.skip(SCALAR_BYTES[kind])
    else:
        raise UnreadableError(f"it has a value of kind {kind}, which GGUF has not")


def _skip_array(head: Head, depth: int) -> None:
    if depth > DEEPEST:
        raise UnreadableError("its arrays are nested too deeply")
    kind, count = head.take_u32(), head.take_u64()
    if kind == ARRAY:
        for _ in range(count):
            _skip_array(head, depth + 1)
    else:
        skip_items(head, kind, count)


def skip_items(head: Head, kind: int, count: int) -> None:
    """Past so many items of an array, which are strings or of a fixed size."""
    if kind == STRING:
        head.skip_strings(count)
    elif kind in SCALARS:
        head.skip(count * SCALAR_BYTES[kind])
    else:
        raise UnreadableError(f"it has an array of kind {kind}, which GGUF has not")


def take_shape(head: Head) -> list[int]:
    """The dimensions of a tensor, the one that runs fastest first."""
    dimension_count = head.take_u32()
    if dimension_count > _DIMENSIONS_MAX:
        raise UnreadableError(f"it has a tensor of {dimension_count} dimensions")
    return [head.take_u64() for _ in range(dimension_count)]
