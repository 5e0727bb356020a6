"""What a pushed model says of itself, in the registry's words: from its config, and from annotations.

Sources: CNCF model-spec (`config.md`), the Kitfile as KitOps puts it into a ModelKit's config, and OCI image-spec 1.1
(`annotations.md`). Nobody wrote these for us: what is missing or of another kind is let by, and what is too long cut.
"""

from collections.abc import Mapping
from typing import Any

from steelyard.server.core.manifests.formats import ParsedManifest
from steelyard.server.core.manifests.recognising import Dialect
from steelyard.server.core.publish import Description

_IMAGE = "org.opencontainers.image."
_KIT_VERSION = "ml.kitops.modelkit.cli-version"
_MOST_SHORT, _MOST_SUMMARY, _MOST_CARD = 200, 2_000, 1_000_000  # as everybody may publish
_MOST_URLS = 100


def describe(dialect: Dialect, parsed: ParsedManifest, config: Mapping[str, Any]) -> Description:
    """What the model is, as far as it says."""
    if dialect is Dialect.MODELPACK:
        return _of_model_pack(parsed, _mapping(config.get("descriptor")), _mapping(config.get("config")))
    if dialect is Dialect.KITOPS:
        return _of_kitfile(parsed, _mapping(config.get("package")), _mapping(config.get("model")))
    return _of_annotations(parsed)


def origin_of(dialect: Dialect, parsed: ParsedManifest, config: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Where the model is from: pushed as the manifest of this digest, and what that tells of its making."""
    said = _mapping(config.get("descriptor")) if dialect is Dialect.MODELPACK else {}
    tool = {Dialect.MODELPACK: "modelpack", Dialect.KITOPS: "kitops"}.get(dialect, "oci")
    created_with = {"tool": tool, "version": _line(parsed.annotations.get(_KIT_VERSION))}
    origin = {
        "source": "oci",
        "manifest": digest,
        "url": _first(said.get("sourceURL"), said.get("docURL"), _noted(parsed, "source"), _noted(parsed, "url")),
        "revision": _first(said.get("revision"), _noted(parsed, "revision")),
        "created_with": {key: value for key, value in created_with.items() if value},
    }
    return {key: value for key, value in origin.items() if value}


def _of_model_pack(parsed: ParsedManifest, general: Mapping[str, Any], technical: Mapping[str, Any]) -> Description:
    noted = _of_annotations(parsed)
    urls = [url for url in map(_line, _strings(general.get("datasetsURL"))) if url]
    return Description(
        framework=_line(technical.get("format"), 100),
        summary=_summary(general.get("description")) or noted.summary,
        description=_card(general.get("description")) or noted.description,
        architecture=_line(technical.get("architecture")),
        license=_line(" AND ".join(_strings(general.get("licenses")))) or noted.license,
        pretty_name=_first(general.get("title"), general.get("name")) or noted.pretty_name,
        dataset_refs=urls[:_MOST_URLS] or None,
    )


def _of_kitfile(parsed: ParsedManifest, package: Mapping[str, Any], model: Mapping[str, Any]) -> Description:
    noted = _of_annotations(parsed)
    words = package.get("description") or model.get("description")
    return Description(
        framework=_first(model.get("framework"), model.get("format"), most=100),
        summary=_summary(words) or noted.summary,
        description=_card(words) or noted.description,
        license=_first(model.get("license"), package.get("license")) or noted.license,
        pretty_name=_first(package.get("name"), model.get("name")) or noted.pretty_name,
    )


def _of_annotations(parsed: ParsedManifest) -> Description:
    words = _noted(parsed, "description")
    return Description(
        summary=_summary(words),
        description=_card(words),
        license=_line(_noted(parsed, "licenses")),
        pretty_name=_line(_noted(parsed, "title")),
    )


def _noted(parsed: ParsedManifest, name: str) -> str | None:
    return parsed.annotations.get(_IMAGE + name)


# --- what may stand in a description


def _mapping(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, dict) else {}


def _strings(said: Any) -> list[str]:
    return [each for each in said if isinstance(each, str) and each] if isinstance(said, list) else []


def _first(*said: Any, most: int = _MOST_SHORT) -> str | None:
    return next((line for each in said if (line := _line(each, most))), None)


def _line(said: Any, most: int = _MOST_SHORT) -> str | None:
    """One line of text, however it was written."""
    return " ".join(said.replace("\0", " ").split())[:most] or None if isinstance(said, str) else None


def _summary(said: Any) -> str | None:
    """The first paragraph."""
    return _line(said.strip().partition("\n\n")[0], _MOST_SUMMARY) if isinstance(said, str) else None


def _card(said: Any) -> str | None:
    """The text as it is, where there is more to it than the summary."""
    if not isinstance(said, str) or len(said) <= _MOST_SHORT:
        return None
    return said.replace("\0", "")[:_MOST_CARD]
