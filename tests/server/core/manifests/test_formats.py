"""What a manifest says, by hand for each kind; what is none; and that whatever comes, only `Invalid` is raised."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steelyard.server.core.manifests.formats import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Kind,
    check_size,
    parse_manifest,
    parse_object,
)
from steelyard.server.errors import Invalid

SHA256, SHA512 = "sha256:" + "ab" * 32, "sha512:" + "cd" * 64
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": SHA256, "size": 2}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": SHA512, "size": 3}


def image(**fields: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER], **fields}


def index(**fields: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**LAYER, "mediaType": OCI_MANIFEST}], **fields}


def as_bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_an_image_manifest() -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": SHA512, "size": 5}
    content = as_bytes(image(annotations={"a": "b"}, subject=subject, artifactType="text/x", custom={"x": [None, 1.5]}))
    parsed = parse_manifest(OCI_MANIFEST, content)
    assert parsed.kind is Kind.IMAGE
    assert parsed.media_type == OCI_MANIFEST
    assert parsed.config is not None
    assert (parsed.config.digest, parsed.config.size_bytes) == (SHA256, 2)
    assert [(each.digest, each.size_bytes, each.is_distributable) for each in parsed.layers] == [(SHA512, 3, True)]
    assert parsed.blobs == (parsed.config, *parsed.layers)
    assert parsed.subject == SHA512
    assert parsed.artifact_type == "text/x"
    assert parsed.annotations == {"a": "b"}
    assert parsed.manifests == ()


def test_an_index() -> None:
    parsed = parse_manifest(OCI_INDEX, as_bytes(index(artifactType="text/x")))
    assert (parsed.kind, parsed.config, parsed.layers, parsed.blobs) == (Kind.INDEX, None, (), ())
    assert [each.digest for each in parsed.manifests] == [SHA512]
    assert parsed.artifact_type == "text/x"


@pytest.mark.parametrize(
    ("media_type", "document"),
    [(DOCKER_MANIFEST, image(mediaType=DOCKER_MANIFEST)), (DOCKER_LIST, index(mediaType=DOCKER_LIST))],
    ids=["manifest", "list"],
)
def test_what_docker_writes(media_type: str, document: dict[str, Any]) -> None:
    assert parse_manifest(media_type, as_bytes(document)).media_type == media_type


def test_the_type_of_an_artifact_is_what_referrers_are_told_apart_by() -> None:
    assert parse_manifest(OCI_MANIFEST, as_bytes(image())).artifact_type == CONFIG["mediaType"]
    assert parse_manifest(OCI_MANIFEST, as_bytes(image(artifactType=""))).artifact_type == CONFIG["mediaType"]
    assert parse_manifest(OCI_INDEX, as_bytes(index())).artifact_type is None


@pytest.mark.parametrize("missing", ["mediaType", "layers", "annotations"])
def test_what_may_be_missing_or_null(missing: str) -> None:
    document = {**image(annotations={}), missing: None}
    nulled = parse_manifest(OCI_MANIFEST, as_bytes(document))
    del document[missing]
    assert parse_manifest(OCI_MANIFEST, as_bytes(document)) == nulled


def test_the_type_is_told_by_the_header_the_body_or_both_alike() -> None:
    content = as_bytes(image())
    with_parameters = parse_manifest(OCI_MANIFEST + "; charset=utf-8", content)
    assert with_parameters == parse_manifest("", content) == parse_manifest(OCI_MANIFEST, content)
    with pytest.raises(Invalid, match="say the same in both places"):
        parse_manifest(DOCKER_MANIFEST, content)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_layers_that_nobody_may_push(media_type: str) -> None:
    layer = {**LAYER, "mediaType": media_type, "urls": ["https://example.com/layer"]}
    [parsed] = parse_manifest(OCI_MANIFEST, as_bytes(image(layers=[layer]))).layers
    assert not parsed.is_distributable
    assert parsed.urls == ("https://example.com/layer",)


WRONG = {
    "no-json": (b"{", "not valid JSON"),
    "no-utf-8": (b'{"a": "\xff"}', "not UTF-8"),
    "no-object": (b"[]", "must be a JSON object"),
    "twice": (b'{"schemaVersion": 2, "schemaVersion": 2}', "more than once"),
    "twice-inside": (b'{"a": {"b": 1, "b": 2}}', "more than once"),
    "nan": (b'{"a": NaN}', "NaN is not a number"),
    "surrogate": (b'{"a": "\\ud800"}', "not UTF-8"),
    "deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper"),
    "wide": (b'{"a":[' + b"{}," * 600_000 + b"{}]}", "more than 500000 items"),
    "schema-1": (as_bytes(image(schemaVersion=1)), "schemaVersion"),
    "schema-true": (as_bytes(image(schemaVersion=True)), "schemaVersion"),
    "no-schema": (as_bytes({"mediaType": OCI_MANIFEST}), "schemaVersion"),
    "no-config": (as_bytes(image(config=None)), "`config` must be an object"),
    "both": (as_bytes(image(manifests=[])), "has no `manifests`"),
    "layers-of-another-kind": (as_bytes(image(layers={})), "`layers` must be a list"),
    "layer-of-another-kind": (as_bytes(image(layers=["x"])), r"`layers\[0\]` must be an object"),
    "no-type": (as_bytes(image(layers=[{**LAYER, "mediaType": ""}])), "mediaType` is missing"),
    "type-of-another-kind": (as_bytes(image(artifactType=5)), "`artifactType` must be a string"),
    "type-too-long": (as_bytes(image(artifactType="x" * 256)), "at most 255"),
    "type-with-nul": (as_bytes(image(artifactType="a\0b")), "printable"),
    "no-digest": (as_bytes(image(config={**CONFIG, "digest": None})), "config.digest"),
    "digest-of-another-kind": (as_bytes(image(config={**CONFIG, "digest": "md5:" + "a" * 32})), "is not a digest"),
    "size-below-nothing": (as_bytes(image(config={**CONFIG, "size": -1})), "config.size"),
    "size-true": (as_bytes(image(config={**CONFIG, "size": True})), "config.size"),
    "size-in-parts": (as_bytes(image(config={**CONFIG, "size": 2.0})), "config.size"),
    "size-too-large": (as_bytes(image(config={**CONFIG, "size": 2**63})), "config.size"),
    "annotation-of-another-kind": (as_bytes(image(annotations={"a": 1})), "values are strings"),
    "annotation-with-nul": (as_bytes(image(annotations={"a": "\0"})), "NUL"),
    "urls-of-another-kind": (as_bytes(image(config={**CONFIG, "urls": [1]})), "list of strings"),
    "subject-of-another-kind": (as_bytes(image(subject="x")), "`subject` must be an object"),
    "number-without-end": (b'{"a": ' + b"1" * 5_000 + b"}", "not valid JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_manifest(name: str) -> None:
    content, words = WRONG[name]
    with pytest.raises(Invalid, match=words):
        parse_manifest(OCI_MANIFEST, content)


def test_an_index_with_layers_is_neither() -> None:
    with pytest.raises(Invalid, match="has no `layers`"):
        parse_manifest(OCI_INDEX, as_bytes(index(layers=[])))


@pytest.mark.parametrize("media_type", ["", "text/html", "application/vnd.docker.distribution.manifest.v1+prettyjws"])
def test_other_types_are_not_kept(media_type: str) -> None:
    with pytest.raises(Invalid, match="is not a kind that is kept here"):
        parse_manifest(media_type, as_bytes({"schemaVersion": 2}))


def test_a_size_that_is_not_that_of_the_bytes() -> None:
    parsed = parse_manifest(OCI_MANIFEST, as_bytes(image()))
    assert parsed.config is not None
    check_size(parsed.config, 2)
    with pytest.raises(Invalid, match=f"{SHA256} is 3 bytes long, and not 2"):
        check_size(parsed.config, 3)


# --- whatever comes

_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([SHA256, 2])
_names = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations", "digest", "size", "urls"]
)
_documents = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names | st.text(max_size=5), inner, max_size=6),
)


@given(fields=st.dictionaries(_names | st.text(max_size=5), _documents, max_size=5), is_index=st.booleans())
def test_any_document_is_read_or_refused(fields: dict[str, Any], is_index: bool) -> None:
    whole = index(**fields) if is_index else image(**fields)
    try:
        parsed = parse_manifest("", json.dumps(whole).encode())
    except Invalid as error:
        assert error.detail.encode()
    else:
        assert parsed.media_type == whole["mediaType"]
        assert all(each.size_bytes >= 0 for each in (*parsed.blobs, *parsed.manifests))
        assert not any("\0" in text for pair in parsed.annotations.items() for text in pair)


@given(content=st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b'"\\ud800"')
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        assert isinstance(parse_object(content, "It"), dict)
    except Invalid as error:
        assert error.detail.startswith("It ")
