"""From rows to the bodies that the Hub's clients read, of every generation: what one leaves out, another dies of.

Source: the classes `ModelInfo`, `RepoFile`, `RepoFolder` and `GitCommitInfo` of huggingface_hub.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import Response
from pydantic_core import to_json

from steelyard.server.core.blobs import HubForm
from steelyard.server.core.files.trees import File
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Commit, Version

Json = dict[str, Any]


def json_response(content: Any, *, next_url: str | None = None) -> Response:
    """The body; where there is more of it, with the address at which it goes on."""
    headers = {"Link": f'<{next_url}>; rel="next"'} if next_url else {}
    return Response(to_json(content), headers=headers, media_type="application/json")


def moment(at: datetime) -> str:
    """ISO 8601 in milliseconds and `Z`, the only form that all clients read."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- models


@dataclass(frozen=True, slots=True)
class Shown:
    """What is known of a model at a revision; a new one has none. `base_model` is as far as the caller may know it, and
    `has_xet` whether this server exchanges chunks."""

    found: Found
    version: Version | None
    commit: Commit | None
    downloads: int
    base_model: str | None
    has_xet: bool


def model_info(shown: Shown) -> Json:
    """A model, without its files."""
    found, version, commit = shown.found, shown.version, shown.commit
    model = found.model
    info: Json = {
        "_id": hashlib.sha256(f"{found.full_name} {moment(model.created_at)}".encode()).hexdigest()[:24],
        "id": found.full_name,
        "modelId": found.full_name,
        "author": found.org.slug,
        "private": not model.is_public,
        "gated": False,
        "disabled": False,
        "downloads": shown.downloads,
        "downloadsAllTime": shown.downloads,
        "likes": 0,
        "tags": _tags(version, shown.base_model),
        "createdAt": moment(model.created_at),
        "lastModified": moment(commit.created_at if commit else model.updated_at),
        "xetEnabled": shown.has_xet,
    }
    if commit is not None:
        info["sha"] = commit.sha
    return info | _card(version, shown.base_model)


def _tags(version: Version | None, base_model: str | None) -> list[str]:
    """Everything one can filter by, in one list: kinds that are no plain tags have their name before them."""
    if version is None:
        return []
    tags = [*(version.tags or []), version.framework, *(version.task_categories or []), *(version.language or [])]
    tags += [f"dataset:{name}" for name in version.dataset_refs or []]
    tags += [f"base_model:{base_model}"] if base_model else []
    tags += [f"license:{version.license}"] if version.license else []
    return list(dict.fromkeys(tags))


def _card(version: Version | None, base_model: str | None) -> Json:
    """What its publisher said of it."""
    if version is None:
        return {}
    card = {
        "license": version.license,
        "language": version.language,
        "tags": version.tags,
        "datasets": version.dataset_refs,
        "base_model": base_model,
        "library_name": version.framework,
        "pipeline_tag": version.task,
        "pretty_name": version.pretty_name,
    }
    said = {key: value for key, value in card.items() if value}
    found = {"library_name": version.framework, "pipeline_tag": version.task, "usedStorage": version.size_bytes}
    return {"cardData": said} | {key: value for key, value in found.items() if value is not None}


def siblings(files: Iterable[File]) -> list[Json]:
    """Every file by its name: older clients take this list for all there is."""
    return [{"rfilename": file.path} for file in files]


def detailed_siblings(files: Iterable[File], forms: Mapping[str, HubForm]) -> list[Json]:
    """The same with sizes and digests; here the digest of large files is called `sha256`."""
    return [_sibling(file, forms.get(file.oid)) for file in files]


def _sibling(file: File, form: HubForm | None) -> Json:
    item: Json = {"rfilename": file.path, "size": file.size_bytes, "blobId": git_oid(file, form)}
    if form is None or form.git_sha1 is None:
        item["lfs"] = {"sha256": _hex(file), "size": file.size_bytes, "pointerSize": len(_pointer(file))}
    return item


def stored_repo(found: Found, version: Version | None, held_bytes: int) -> Json:
    """A model as its organisation sees what it takes: its latest version, of all that the organisation holds."""
    size_bytes = version.size_bytes if version else 0
    return {
        "id": found.full_name,
        "type": "model",
        "updatedAt": moment(found.model.updated_at),
        "visibility": "public" if found.model.is_public else "private",
        "storage": size_bytes,
        "storagePercent": round(100 * size_bytes / held_bytes, 2) if held_bytes else 0.0,
    }


# --- trees


def file_item(file: File, form: HubForm | None) -> Json:
    """A file of a tree. All but regular files are what Git LFS would keep beside it."""
    item: Json = {"type": "file", "path": file.path, "size": file.size_bytes, "oid": git_oid(file, form)}
    if form is None or form.git_sha1 is None:
        item["lfs"] = {"oid": _hex(file), "size": file.size_bytes, "pointerSize": len(_pointer(file))}
        if form is not None and form.xet_hash is not None:
            item["xetHash"] = form.xet_hash
    return item


def folder_item(path: str, oid: str) -> Json:
    """A folder of a tree."""
    return {"type": "directory", "path": path, "size": 0, "oid": oid}


def etag(file: File, form: HubForm) -> str:
    """What the Hub's clients name a file by in their caches: unquoted, 40 hex digits of a regular one, else 64."""
    return form.git_sha1 or _hex(file)


def git_oid(file: File, form: HubForm | None) -> str:
    """What Git calls the file: of one that is not regular, the pointer that Git LFS would put in its place."""
    if form is not None and form.git_sha1 is not None:
        return form.git_sha1
    pointer = _pointer(file)
    return hashlib.sha1(b"blob %d\0%b" % (len(pointer), pointer), usedforsecurity=False).hexdigest()


def _pointer(file: File) -> bytes:
    """Source: the Git LFS specification, "The Pointer"."""
    return f"version https://git-lfs.github.com/spec/v1\noid {file.oid}\nsize {file.size_bytes}\n".encode()


def _hex(file: File) -> str:
    return file.oid.removeprefix("sha256:")


# --- history


def commit_item(commit: Commit, author: str) -> Json:
    """One commit of a history."""
    return {
        "id": commit.sha,
        "title": commit.title,
        "message": commit.message,
        "date": moment(commit.created_at),
        "authors": [{"user": author}],
    }


def ref_item(kind: str, name: str, sha: str) -> Json:
    """A branch (`heads`) or a tag (`tags`)."""
    return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}
