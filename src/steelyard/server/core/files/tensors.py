"""What a file of weights holds: its tensors and its metadata, read from its header by range, never from the whole file.

Knows safetensors and GGUF 2 and 3. The files come from strangers: whatever they say, reading ends soon, holds some
40 MiB at most beside what it answers, and raises nothing but `Invalid` and what reading bytes raises.
"""

import json
import math
import re
import struct
from dataclasses import dataclass, field, replace
from typing import Literal

from steelyard.server.core.files import gguf, safetensors
from steelyard.server.core.files.heads import Head, UnreadableError, WeightFile
from steelyard.server.errors import Invalid

MOST_TENSORS = 100_000  # of one file
_HEADER_MAX_BYTES = 32 * 1024**2  # a vocabulary of 260,000 pieces takes 16
_LONGEST_NAME_BYTES = 1_000
_LONGEST_TYPE = 40
_MOST_ENTRIES = 200
_MOST_ITEMS = 20
_MOST_ARRAYS = 10_000  # within others
LONGEST_TEXT_BYTES = 4_000
_LONGEST_ITEM_BYTES = 200
_LARGEST_NUMBER = 2**53  # of a shape; JavaScript reads no larger one
_DEFAULT_ALIGNMENT = 32

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as its file has it. `shape` has the dimensions in the file's order: in GGUF the one that runs fastest
    comes first, in safetensors last. `size_bytes` is None for a type that is not known here, `offset_bytes` counts
    from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int | None
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a file's metadata. `length` is of a text its bytes, of an array its items, and None of a number; the
    value may have less of them."""

    key: str
    kind: str
    value: Scalar | tuple[Scalar, ...]
    length: int | None = None


@dataclass(slots=True)
class Header:
    """What a header tells: of all tensors (`total` of them, `parameters` numbers), of those whose names have what was
    looked for (`matching`), and of these one page. Of the metadata the first 200 of `metadata_total` keys."""

    format: Literal["safetensors", "gguf"]
    metadata: list[Entry] = field(default_factory=list)
    metadata_total: int = 0
    tensors: list[Tensor] = field(default_factory=list)
    total: int = 0
    matching: int = 0
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tensors: those whose names have `search` in them, in any case of letters; `limit` of them from `offset`."""

    search: str = ""
    offset: int = 0
    limit: int = MOST_TENSORS


ALL = Wanted()


def read_header(file: WeightFile, wanted: Wanted = ALL) -> Header:
    """The header of a safetensors or GGUF file, by what it is and not by its name; tensors in the file's order.

    Raises `Invalid` for a file that is neither, is broken, or is larger in its header than is read; and what `read`
    raises.
    """
    head = Head(file, _HEADER_MAX_BYTES)
    try:
        if head.peek(4) == gguf.MAGIC:
            return _Reading(Header("gguf"), file, wanted).read_gguf(head)
        if file.ending == "safetensors" or safetensors.is_begun(head):
            return _Reading(Header("safetensors"), file, wanted).read_safetensors(head)
    except UnreadableError as error:
        raise Invalid(f"'{file.path}' cannot be read: {error}.") from error
    raise Invalid(f"'{file.path}' is neither safetensors nor GGUF: only these have a header that is shown.")


class _Reading:
    """One header on its way."""

    def __init__(self, header: Header, file: WeightFile, wanted: Wanted) -> None:
        self._header = header
        self._file = file
        self._wanted = wanted
        self._search = wanted.search.casefold()
        self._end = wanted.offset + wanted.limit
        self._furthest = 0
        self._alignment = _DEFAULT_ALIGNMENT
        self._arrays_left = _MOST_ARRAYS

    def read_safetensors(self, head: Head) -> Header:
        members = safetensors.list_members(safetensors.take_header(head))
        for member in members:
            if member["tensor"] is None:
                self._note_metadata(member)
            else:
                self._note(_safetensors_tensor(member["name"], member["tensor"]))
        return self._finish(head.position)

    def _note_metadata(self, member: re.Match[bytes]) -> None:
        for pair in safetensors.list_metadata(member):
            if self._is_kept():
                text = pair["value"]
                value = _text_of_json(text, LONGEST_TEXT_BYTES)
                self._header.metadata.append(Entry(_name_of_json(pair["key"]), "string", value, len(text) - 2))

    def read_gguf(self, head: Head) -> Header:
        tensor_count, pair_count = gguf.take_counts(head)
        _check_total(tensor_count)
        for _ in range(pair_count):
            self._note_pair(head)
        for _ in range(tensor_count):
            self._note(_gguf_tensor(head))
        return self._finish(-(-head.position // self._alignment) * self._alignment)

    def _note_pair(self, head: Head) -> None:
        key, kind = _take_name(head), head.take_u32()
        if kind == gguf.ARRAY:
            entry = self._take_array(head, key)
        elif kind == gguf.STRING:
            length = head.take_u64()
            entry = Entry(key, "string", _take_text(head, length, LONGEST_TEXT_BYTES), length)
        else:
            value = _take_scalar(head, kind)
            entry = Entry(key, gguf.KIND_NAMES[kind], value)
        if key == "general.alignment":
            self._alignment = _alignment(entry.value)
        if self._is_kept():
            self._header.metadata.append(entry)

    def _take_array(self, head: Head, key: str) -> Entry:
        kind, length = head.take_u32(), head.take_u64()
        if kind == gguf.ARRAY:
            return self._skip_arrays(head, key, length)
        shown = min(length, _MOST_ITEMS)
        items = tuple(_take_item(head, kind) for _ in range(shown))
        gguf.skip_items(head, kind, length - shown)
        return Entry(key, f"array of {gguf.KIND_NAMES[kind]}", items, length)

    def _skip_arrays(self, head: Head, key: str, length: int) -> Entry:
        """What nobody writes is not shown, only counted."""
        self._arrays_left -= length
        if self._arrays_left < 0:
            raise UnreadableError(f"it has more than {_MOST_ARRAYS} arrays within arrays")
        for _ in range(length):
            gguf.skip_value(head, gguf.ARRAY, gguf.DEEPEST)
        return Entry(key, "array of array", (), length)

    def _is_kept(self) -> bool:
        self._header.metadata_total += 1
        return self._header.metadata_total <= _MOST_ENTRIES

    def _note(self, tensor: Tensor) -> None:
        header = self._header
        _check_total(header.total + 1)
        header.total += 1
        header.parameters += self._check_shape(tensor)
        self._furthest = max(self._furthest, tensor.offset_bytes + (tensor.size_bytes or 0))
        if self._search in tensor.name.casefold():
            if self._wanted.offset <= header.matching < self._end:
                header.tensors.append(tensor)
            header.matching += 1

    def _check_shape(self, tensor: Tensor) -> int:
        numbers = math.prod(tensor.shape)
        if max(tensor.shape, default=0) > _LARGEST_NUMBER or numbers > 8 * self._file.size_bytes:
            raise UnreadableError(
                f"the tensor '{tensor.name[:200]}' says that it has more numbers than the file has bits"
            )
        return numbers

    def _finish(self, data_start: int) -> Header:
        """Offsets count from the end of the header until it is known where that is."""
        if self._header.total and data_start + self._furthest > self._file.size_bytes:
            raise UnreadableError("it ends before the last of its tensors does")
        tensors = self._header.tensors
        tensors[:] = [replace(tensor, offset_bytes=data_start + tensor.offset_bytes) for tensor in tensors]
        return self._header


def _check_total(count: int) -> None:
    if count > MOST_TENSORS:
        raise UnreadableError(f"it says that it has more than {MOST_TENSORS} tensors, and no more are read")


# --- safetensors


def _safetensors_tensor(name: bytes, members: bytes) -> Tensor:
    try:
        said = json.loads(b"{%b}" % members)
        dtype, shape, (start, end) = said["dtype"], said["shape"], said["data_offsets"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UnreadableError("it has a tensor without a dtype, a shape or data_offsets") from None
    told = _name_of_json(name)
    called = f"the tensor '{told[:200]}'"
    if not isinstance(dtype, str) or not 0 < len(dtype) <= _LONGEST_TYPE or not dtype.isascii():
        raise UnreadableError(f"{called} has a dtype that is none")
    if not isinstance(shape, list) or not all(_is_natural(number) for number in (*shape, start, end)) or start > end:
        raise UnreadableError(f"{called} has a shape or data_offsets that are none")
    return Tensor(told, dtype, tuple(shape), end - start, start)


def _is_natural(number: object) -> bool:
    return type(number) is int and number >= 0


def _name_of_json(text: bytes) -> str:
    if len(text) > _LONGEST_NAME_BYTES:
        raise UnreadableError(f"it has a name of more than {_LONGEST_NAME_BYTES} bytes")
    return _decode(text)


_WHOLE_CHARACTERS = re.compile(rb'"(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*+', re.DOTALL)


def _text_of_json(text: bytes, most_bytes: int) -> str:
    """A JSON string, or as much of it as its first bytes tell."""
    if len(text) <= most_bytes + 2:
        return _decode(text)
    whole = _WHOLE_CHARACTERS.match(text[: most_bytes + 1])
    assert whole is not None, "it begins with a quotation mark"
    return _decode(whole[0].decode(errors="ignore").encode() + b'"')


def _decode(text: bytes) -> str:
    try:
        return _sayable(json.loads(text.decode()))
    except ValueError:
        raise UnreadableError("it has a text that is no JSON string in UTF-8") from None


def _sayable(text: str) -> str:
    """JSON can spell half of a surrogate pair, and nothing else can."""
    return text.encode(errors="replace").decode()


# --- GGUF


def _gguf_tensor(head: Head) -> Tensor:
    name, shape, kind = _take_name(head), gguf.take_shape(head), head.take_u32()
    dtype, block, block_bytes = gguf.TENSOR_TYPES.get(kind, (f"type {kind}", 0, 0))
    size_bytes = None
    if block and (shape[0] if shape else 1) % block == 0:
        size_bytes = math.prod(shape) // block * block_bytes
    return Tensor(name, dtype, tuple(shape), size_bytes, head.take_u64())


def _take_name(head: Head) -> str:
    length = head.take_u64()
    if length > _LONGEST_NAME_BYTES:
        raise UnreadableError(f"it has a name of more than {_LONGEST_NAME_BYTES} bytes")
    return head.take(length).decode(errors="replace")


def _take_text(head: Head, length: int, most_bytes: int) -> str:
    taken = head.take(min(length, most_bytes))
    head.skip(length - len(taken))
    return taken.decode(errors="replace" if len(taken) == length else "ignore")


def _take_scalar(head: Head, kind: int) -> Scalar:
    if kind not in gguf.SCALARS:  # of an empty array nobody asks
        raise UnreadableError(f"it has a value of kind {kind}, which GGUF has not")
    [value] = struct.unpack(f"<{gguf.SCALARS[kind]}", head.take(gguf.SCALAR_BYTES[kind]))
    if not isinstance(value, float):
        return value  # type: ignore[no-any-return]
    if not math.isfinite(value):
        return str(value)  # JSON has no such number
    return _as_written(value) if gguf.KIND_NAMES[kind] == "f32" else value


def _as_written(number: float) -> float:
    """The shortest decimal that is this number in 32 bits: in 64, 1e-05 would be 9.999999747378752e-06."""
    candidates = (float(f"{number:.{digits}g}") for digits in range(6, 9))
    return next((it for it in candidates if struct.unpack("<f", struct.pack("<f", it))[0] == number), number)


def _take_item(head: Head, kind: int) -> Scalar:
    if kind == gguf.STRING:
        return _take_text(head, head.take_u64(), _LONGEST_ITEM_BYTES)
    return _take_scalar(head, kind)


def _alignment(value: object) -> int:
    if not isinstance(value, int) or not 0 < value <= _LARGEST_NUMBER:
        raise UnreadableError("its alignment is none")
    return value
