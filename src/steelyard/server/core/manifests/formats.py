"""Manifests as container tools write them: what one says, read from bytes that may come from anybody.

Sources: OCI image-spec 1.1 (`manifest.md`, `image-index.md`, `descriptor.md`) and Docker's "Image Manifest Version 2,
Schema 2". Unknown members are let by, as both demand. Nobody is asked here whether what a manifest names is there.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from steelyard.server.errors import Invalid
from steelyard.server.names import Digest, InvalidName

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

MOST_ITEMS = 500_000  # in a document: of a megabyte of `{},` would be made thirty
_MOST_SIZE_BYTES = 2**63 - 1
_LONGEST_TYPE = 255
_ELSEWHERE = ("application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign.")


class Kind(StrEnum):
    """What a manifest is of: config and layers, or other manifests."""

    IMAGE = "image"
    INDEX = "index"


_KINDS = {
    OCI_MANIFEST: Kind.IMAGE,
    DOCKER_MANIFEST: Kind.IMAGE,
    OCI_INDEX: Kind.INDEX,
    DOCKER_LIST: Kind.INDEX,
}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of something that it names by digest."""

    media_type: str
    digest: Digest
    size_bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()

    @property
    def is_distributable(self) -> bool:
        """False for a layer that need not be pushed: its licence forbids it, and its `urls` have it."""
        return not self.media_type.startswith(_ELSEWHERE)


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """A manifest as it was understood. An image has `config` and `layers`, an index has `manifests`.

    `artifact_type` is the one by which referrers are told apart: of an image that names none, its config's.
    """

    kind: Kind
    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What must be there in bytes: config and layers."""
        return (self.config, *self.layers) if self.config else self.layers


def parse_manifest(media_type: str, content: bytes) -> ParsedManifest:
    """Read a manifest that came as this `Content-Type` ("" for none). Raises `Invalid`."""
    document = parse_object(content, "The manifest")
    media_type = _choose_type(media_type, document)
    if document.get("schemaVersion") != 2 or isinstance(document.get("schemaVersion"), bool):
        _refuse("`schemaVersion` must be 2; manifests of schema 1 have no digests that could be relied on")
    kind = _KINDS[media_type]
    other = ("manifests",) if kind is Kind.IMAGE else ("config", "layers")
    if both := [name for name in other if document.get(name) is not None]:
        _refuse(f"{media_type} has no `{both[0]}`; what is both an image and an index is read differently by everybody")
    subject = document.get("subject")
    parsed = ParsedManifest(
        kind,
        media_type,
        subject=_descriptor(subject, "subject").digest if subject is not None else None,
        artifact_type=_text(document, "artifactType", "") or None,
        annotations=_strings(document, "annotations", ""),
        manifests=_descriptors(document, "manifests"),
    )
    return _with_config(parsed, document) if kind is Kind.IMAGE else parsed


def check_size(named: Descriptor, size_bytes: int) -> None:
    """Raise `Invalid` where what is named is not as long as the manifest says."""
    if named.size_bytes != size_bytes:
        _refuse(f"{named.digest} is {size_bytes} bytes long, and not {named.size_bytes}")


def parse_object(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object from outside (RFC 8259: neither NaN nor Infinity) whose texts any database can hold but for NUL;
    `what` begins the words of the `Invalid` that is raised otherwise. A member that is there twice is refused: which
    of its values was meant, nobody can say."""
    if sum(map(content.count, (b"{", b"[", b","))) > MOST_ITEMS:
        raise Invalid(f"{what} has more than {MOST_ITEMS} items in it, and no more are read.")
    try:
        parsed = json.loads(content.decode(), object_pairs_hook=_without_repeats, parse_constant=_no_number)
        if b"\\u" in content:
            json.dumps(parsed, ensure_ascii=False).encode()  # a lone surrogate is no Unicode
    except RecursionError as error:
        raise Invalid(f"{what} is nested deeper than is read.") from error
    except ValueError as error:
        raise Invalid(f"{what} is not valid JSON: {_reason(error)}.") from error
    if not isinstance(parsed, dict):
        raise Invalid(f"{what} must be a JSON object.")
    return parsed


# --- the parts


def _choose_type(announced: str, document: Mapping[str, Any]) -> str:
    """What the manifest is, by the header of its request and by its own word, which must not differ (image-spec 1.1,
    `manifest.md`: it is left out of some)."""
    announced = announced.partition(";")[0].strip()
    said = _text(document, "mediaType", "")
    if announced and said and announced != said:
        _refuse(f"it came as {announced[:100]!r} and calls itself {said[:100]!r}: say the same in both places")
    chosen = announced or said
    if chosen not in _KINDS:
        _refuse(f"{chosen[:100]!r} is not a kind that is kept here, which are {', '.join(_KINDS)}")
    return chosen


def _with_config(parsed: ParsedManifest, document: Mapping[str, Any]) -> ParsedManifest:
    config = _descriptor(document.get("config"), "config")
    return ParsedManifest(
        parsed.kind,
        parsed.media_type,
        config=config,
        layers=_descriptors(document, "layers"),
        subject=parsed.subject,
        artifact_type=parsed.artifact_type or config.media_type,
        annotations=parsed.annotations,
    )


def _descriptors(document: Mapping[str, Any], name: str) -> tuple[Descriptor, ...]:
    """A list of them; none at all is written as `null` by some."""
    listed = document.get(name)
    if listed is None:
        return ()
    if not isinstance(listed, list):
        _refuse(f"`{name}` must be a list")
    return tuple(_descriptor(each, f"{name}[{place}]") for place, each in enumerate(listed))


def _descriptor(said: Any, where: str) -> Descriptor:
    if not isinstance(said, dict):
        _refuse(f"`{where}` must be an object with `mediaType`, `digest` and `size`")
    media_type, size_bytes = _text(said, "mediaType", where), said.get("size")
    if not media_type:
        _refuse(f"`{where}.mediaType` is missing")
    if not isinstance(size_bytes, int) or isinstance(size_bytes, bool) or not 0 <= size_bytes <= _MOST_SIZE_BYTES:
        _refuse(f"`{where}.size` must be how many bytes that is")
    digest = said.get("digest")
    try:
        parsed = Digest.parse(digest if isinstance(digest, str) else "")
    except InvalidName as error:
        _refuse(f"`{where}.digest`: {error}")
    urls = said.get("urls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        _refuse(f"`{where}.urls` must be a list of strings")
    return Descriptor(media_type, parsed, size_bytes, _strings(said, "annotations", where), tuple(urls))


def _text(document: Mapping[str, Any], name: str, where: str) -> str:
    """The name of a type, "" where there is none."""
    said = document.get(name)
    if said is None:
        return ""
    if not isinstance(said, str) or len(said) > _LONGEST_TYPE or not (said.isascii() and said.isprintable()):
        _refuse(f"`{_at(where, name)}` must be a string of at most {_LONGEST_TYPE} printable ASCII characters")
    return said


def _strings(document: Mapping[str, Any], name: str, where: str) -> dict[str, str]:
    """String -> string, and no NUL in either."""
    said = document.get(name)
    if said is None:
        return {}
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        _refuse(f"`{_at(where, name)}` must be an object whose values are strings")
    if any("\0" in key or "\0" in value for key, value in said.items()):
        _refuse(f"`{_at(where, name)}` has a NUL character in it")
    return said


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _refuse(why: str) -> NoReturn:
    raise Invalid(f"The manifest cannot be kept: {why}.")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        [(repeated, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {repeated[:100]!r} is there more than once")
    return made


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _reason(error: ValueError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)
