"""What the OpenAPI document says of names is what `names` takes: no more, and no less."""

from collections.abc import Callable

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steelyard.server.doors import grammars
from steelyard.server.doors.native.parameters import read_reference
from steelyard.server.names import (
    RESERVED_ALIASES,
    RESERVED_MODEL_NAMES,
    RESERVED_SLUGS,
    Alias,
    ArtifactPath,
    InvalidName,
    ModelName,
    Oid,
    OrgSlug,
    Version,
)

PARSERS: dict[str, tuple[grammars.Schema, Callable[[str], object]]] = {
    "slug": (grammars.SLUG, OrgSlug.parse_any),
    "new slug": (grammars.NEW_SLUG, OrgSlug.parse),
    "model": (grammars.MODEL_NAME, ModelName.parse),
    "version": (grammars.VERSION, Version.parse),
    "alias": (grammars.ALIAS, Alias.parse),
    "reference": (grammars.REFERENCE, read_reference),
    "oid": (grammars.OID, Oid.parse),
    "path": (grammars.ARTIFACT_PATH, ArtifactPath.parse),
}
VALIDATORS = {name: jsonschema_rs.validator_for(schema) for name, (schema, _) in PARSERS.items()}

# Pieces that the grammars are made of, so that what is put together from them is often nearly right.
_WORDS = (
    "0 1 01 10 x X * a Z abc . - _ __ + , || < >= ^ ~ = 1.2.3 1.2 -rc.1 +b -image .git / .. \\ con NUL lpt1 C: $ é ٣"
)
PIECES = st.sampled_from(
    [*_WORDS.split(), " ", "  ", "\n", "\x7f", "\x85", "latest", "sha256:", "f" * 64, "0" * 40, "A" * 30]
)
TEXTS = st.one_of(st.text(max_size=12), st.lists(PIECES, max_size=9).map("".join))
RESERVED = sorted(RESERVED_SLUGS | RESERVED_MODEL_NAMES | RESERVED_ALIASES)


def is_taken(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except InvalidName:
        return False
    return True


@pytest.mark.parametrize("kind", PARSERS)
@given(text=TEXTS | st.sampled_from(RESERVED) | st.sampled_from(RESERVED).map(str.title))
@example(text="")
@example(text="1.2.3\n")
@example(text="1 - 2 || ~3 ,<4")
@example(text="1.0.0-image")
@example(text="1_0")
@example(text="1.2.3_4")
@example(text="a/con.txt")
@example(text="console/a. b")
def test_the_document_takes_what_names_takes(kind: str, text: str) -> None:
    _, parse = PARSERS[kind]
    assert VALIDATORS[kind].is_valid(text) == is_taken(parse, text)


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        ("slug", "a" * 64),
        ("model", "a" * 96),
        ("version", "1.0.0-" + "a" * 114),
        ("alias", "a" * 50),
        ("path", "a/" * 511 + "aa"),
    ],
)
def test_the_longest_is_taken_and_nothing_longer(kind: str, longest: str) -> None:
    _, parse = PARSERS[kind]
    assert VALIDATORS[kind].is_valid(longest)
    assert is_taken(parse, longest)
    assert not VALIDATORS[kind].is_valid(longest + "a")
    assert not is_taken(parse, longest + "a")


def test_only_the_bytes_of_a_path_are_beyond_a_pattern() -> None:
    """The one known gap: 255 bytes of UTF-8 a part, which `names` counts."""
    path = "é" * 200
    assert VALIDATORS["path"].is_valid(path)
    assert not is_taken(ArtifactPath.parse, path)
