"""What of a file can be shown: told by its bytes, and by no more of them than are needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.files.previews import (
    MOST_LINES,
    MOST_TEXT_BYTES,
    ImagePreview,
    NoPreview,
    Preview,
    TextPreview,
    WeightsPreview,
    image_type,
    look_into,
)
from steelyard.server.core.files.trees import File
from steelyard.server.errors import StorageFailed
from steelyard.server.storage.memory import MemoryStore
from tests.server.core.files.weight_files import safetensors

KEY = "0" * 64 + ".00000000"


def stored(content: bytes) -> MemoryStore:
    store = MemoryStore()
    with store.stage("0" * 32, 0) as writer:
        writer.write([content])
    store.commit("0" * 32, KEY)
    return store


def preview(content: bytes, path: str = "file") -> Preview:
    return look_into(stored(content), File(path, "sha256:", len(content)), KEY)


def lines_of(content: bytes) -> list[str]:
    found = preview(content)
    assert isinstance(found, TextPreview)
    assert not found.is_cut
    return list(found.lines)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_lines_are_those_of_the_text(text: str) -> None:
    expected = text.encode().decode("utf-8-sig").split("\n")
    if expected[-1] == "":
        expected.pop()
    assert lines_of(text.encode()) == [line.removesuffix("\r") for line in expected]


@given(st.binary(max_size=60))
def test_any_bytes_are_shown_or_not(content: bytes) -> None:
    assert isinstance(preview(content), TextPreview | ImagePreview | NoPreview)


@pytest.mark.parametrize("lead", range(4))
def test_a_text_may_be_cut_within_a_character(lead: int) -> None:
    text = "x" * lead + "\U0001f600" * (MOST_TEXT_BYTES // 4)
    found = preview(text.encode() + b"\xff")  # what comes later is not looked at
    assert isinstance(found, TextPreview)
    assert found.is_cut
    assert found.lines == [text[: lead + (MOST_TEXT_BYTES - lead) // 4]]


def test_a_text_of_just_as_much_as_is_shown_is_whole() -> None:
    for content in (b"x" * MOST_TEXT_BYTES, b"\n" * MOST_LINES, b"\n" * (MOST_LINES - 1) + b"x"):
        lines_of(content)
    for content in (b"x" * (MOST_TEXT_BYTES + 1), b"\n" * MOST_LINES + b"x", b"\n" * (MOST_LINES + 1)):
        found = preview(content)
        assert isinstance(found, TextPreview)
        assert found.is_cut
        assert len(found.lines) <= MOST_LINES


def test_an_end_that_is_no_character_is_no_text() -> None:
    assert preview("grü".encode()[:-1]) == NoPreview()
    assert preview(b"a\0b") == NoPreview()


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xdb", "image/jpeg"),
        (b"GIF87a......", "image/gif"),
        (b"GIF89a......", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"<svg xmlns=", None),
        (b"BM\0\0\0\0", None),
        (b"\0\0\1\0\1\0", None),
        (b"GIF", None),
        (b"", None),
    ],
)
def test_images_are_told_by_their_first_bytes(begin: bytes, expected: str | None) -> None:
    assert image_type(begin) == expected


def test_weights_are_told_by_their_name_and_read_by_their_header() -> None:
    content = safetensors({"a": [2]})
    found = preview(content, "sub/M.SafeTensors")
    assert isinstance(found, WeightsPreview)
    assert found.header.total == 1
    assert preview(content, "sub/m.bin") == NoPreview()
    assert preview(b"text", "m.gguf") == NoPreview(
        "'m.gguf' is neither safetensors nor GGUF: only these have a header that is shown."
    )


def test_bytes_that_are_lost_are_said_to_be() -> None:
    with pytest.raises(StorageFailed):
        look_into(MemoryStore(), File("a.txt", "sha256:", 3), KEY)
