"""What of a file can be shown: the beginning of a text, a small image, what weights say of themselves, or nothing.

Files come from strangers: what they are is told by their bytes, and SVG is a text, since as an image it could run
scripts and load things.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from steelyard.server.core.files.reading import open_key, read_header_of
from steelyard.server.core.files.tensors import ALL, Header, Wanted
from steelyard.server.core.files.trees import File
from steelyard.server.errors import Invalid
from steelyard.server.storage import BlobStore

MOST_TEXT_BYTES = 512 * 1024
MOST_LINES = 10_000
MOST_IMAGE_BYTES = 16 * 1024**2
SIGNATURE_BYTES = 12
_WEIGHTS = (".safetensors", ".gguf")


@dataclass(frozen=True, slots=True)
class TextPreview:
    """The first lines of a text, without what ends them; `is_cut` says that there are more."""

    lines: Sequence[str]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class ImagePreview:
    """An image that a browser may show as what it is."""

    media_type: str


@dataclass(frozen=True, slots=True)
class WeightsPreview:
    """What a header tells."""

    header: Header


@dataclass(frozen=True, slots=True)
class NoPreview:
    """Nothing can be shown; `reason` is a sentence, where there is more to say than that these are bytes."""

    reason: str | None = None


Preview = TextPreview | ImagePreview | WeightsPreview | NoPreview


def look_into(store: BlobStore, file: File, key: str, wanted: Wanted = ALL) -> Preview:
    """What can be shown of a file; of weights the tensors that are wanted. Reads the store, never the whole of a large
    file, and raises what that raises."""
    if file.path.lower().endswith(_WEIGHTS):
        return _look_at_weights(store, file, key, wanted)
    with open_key(store, key) as blob:
        begin = blob.read(0, min(file.size_bytes, MOST_TEXT_BYTES))
    if media_type := image_type(begin):
        if file.size_bytes <= MOST_IMAGE_BYTES:
            return ImagePreview(media_type)
        return NoPreview(f"This image is larger than the {MOST_IMAGE_BYTES // 1024**2} MiB that are shown.")
    return _as_text(begin, is_cut=len(begin) < file.size_bytes) or NoPreview()


def image_type(begin: bytes) -> str | None:
    """The media type of an image by its first `SIGNATURE_BYTES` bytes; None for all but PNG, JPEG, GIF and WebP."""
    if begin.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if begin.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if begin.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if begin[:4] == b"RIFF" and begin[8:12] == b"WEBP" else None


def _look_at_weights(store: BlobStore, file: File, key: str, wanted: Wanted) -> Preview:
    try:
        return WeightsPreview(read_header_of(store, file, key, wanted))
    except Invalid as error:
        return NoPreview(error.detail)


def _as_text(begin: bytes, *, is_cut: bool) -> TextPreview | None:
    """The lines, if this is UTF-8 without NUL; where it is cut, the last character may be."""
    if b"\0" in begin:
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(begin, final=not is_cut)
    except UnicodeDecodeError:
        return None
    *lines, rest = text.split("\n", MOST_LINES)
    is_longer = len(lines) == MOST_LINES and rest != ""
    if rest and not is_longer:
        lines.append(rest)
    return TextPreview([line.removesuffix("\r") for line in lines], is_cut or is_longer)
