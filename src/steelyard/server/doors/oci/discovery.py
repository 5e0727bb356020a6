"""What a repository has: its tags, and what refers to a manifest (OCI distribution-spec 1.1, "Content Discovery").

A repository that was never pushed to has nothing, which is what those are told who may push to it: tools ask before.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse

from steelyard.server.core.manifests import rows, tagging
from steelyard.server.core.manifests.formats import OCI_INDEX
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Manifest
from steelyard.server.doors.calls import Call, CallHere
from steelyard.server.doors.oci.blobs import read_digest
from steelyard.server.doors.oci.calls import OciRepo, OciRoute, RepoPath, rights_at
from steelyard.server.doors.oci.errors import PageInvalid

router = APIRouter(route_class=OciRoute)
MOST_REFERRERS = 1_000  # on a page
MOST_INDEX_BYTES = 3 * 2**20  # of a page: tools read some 4 MiB, and annotations may be long
_MOST_ELSE_BYTES = 1_000  # that are said of a manifest besides its annotations: digest, types

NumberQuery = Annotated[str | None, Query()]
LastQuery = Annotated[str | None, Query()]
TypeQuery = Annotated[str | None, Query(alias="artifactType")]


def _find(session: Session, call: Call, repo: OciRepo) -> Found | None:
    """The model; None where the caller may make it. Raises as `OciRepo.get`."""
    found = repo.find(session, call.actor)
    if found is None and "push" not in rights_at(session, call.actor, repo):
        return repo.get(session, call.actor)
    return found


def _read_number(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise PageInvalid(f"`{name}` must be a number that is not negative, and not {text[:50]!r}.")
    return int(text)


def _next(path: str, query: Mapping[str, Any]) -> dict[str, str]:
    """Where the list goes on, from the root of the server: whatever proxies stand before it, that is right."""
    return {"Link": f'<{path}?{urlencode(query)}>; rel="next"'}


@router.get("/v2/{org}/{name}/tags/list")
def list_tags(call: CallHere, repo: RepoPath, n: NumberQuery = None, last: LastQuery = None) -> Response:
    """List the tags in the order of ASCII, those after `last`, `n` at most."""
    most = _read_number(n, "n")
    with call.read() as session:
        found = _find(session, call, repo)
        tags = tagging.list_tags(session, found) if found else []
    after = [tag for tag in tags if last is None or tag > last]
    page = after[:most]
    is_cut = bool(page) and len(page) < len(after)
    headers = _next(f"{repo.path}/tags/list", {"n": most, "last": page[-1]}) if is_cut else {}
    return JSONResponse({"name": f"{repo.slug}/{repo.name}", "tags": page}, headers=headers)


@router.get("/v2/{org}/{name}/referrers/{digest}")
def list_referrers(
    call: CallHere,
    repo: RepoPath,
    digest: str,
    artifact_type: TypeQuery = None,
    n: NumberQuery = None,
    last: LastQuery = None,
) -> Response:
    """List the manifests that refer to one, in the order in which they came, as an index. That it is not there itself
    is no error. `n` and `last` are ours: the `Link` of a page that is not the last one has them."""
    subject, after_id, most = read_digest(digest), _read_number(last, "last") or 0, _read_number(n, "n")
    with call.read() as session:
        found = _find(session, call, repo)
        wanted = min(most or MOST_REFERRERS, MOST_REFERRERS)
        listed: Sequence[tuple[int, int]] = ()
        if found and _can_be(artifact_type):
            chosen_type = artifact_type or None
            listed = rows.list_referrers(
                session, found.model.id, subject, artifact_type=chosen_type, after_id=after_id, limit=wanted + 1
            )
        ids, is_cut = _cut(listed, wanted)
        page = rows.get_all(session, ids)
    headers = {"OCI-Filters-Applied": "artifactType"} if artifact_type else {}
    if is_cut:
        chosen = {"artifactType": artifact_type} if artifact_type else {}
        paging = {} if most is None else {"n": most}
        headers |= _next(f"{repo.path}/referrers/{subject}", {**chosen, **paging, "last": page[-1].id})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_describe(each) for each in page]}
    return JSONResponse(index, headers=headers, media_type=OCI_INDEX)


def _cut(listed: Sequence[tuple[int, int]], most: int) -> tuple[list[int], bool]:
    """So many as a page may have, of `(id, size_bytes)`, and whether there are more. What is said of a manifest here is
    no longer than it is itself, and than its annotations may be."""
    page: list[int] = []
    page_bytes = 0
    for id_, size_bytes in listed:
        page_bytes += min(size_bytes, rows.MOST_ANNOTATION_BYTES) + _MOST_ELSE_BYTES
        if len(page) == most or (page and page_bytes > MOST_INDEX_BYTES):
            return page, True
        page.append(id_)
    return page, False


def _can_be(artifact_type: str | None) -> bool:
    """Whether any manifest can be of this type: there are no others, and no database need be asked for those."""
    return not artifact_type or (artifact_type.isascii() and artifact_type.isprintable())


def _describe(manifest: Manifest) -> dict[str, Any]:
    described = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size_bytes,
        "artifactType": manifest.artifact_type,
        "annotations": manifest.annotations,
    }
    return {key: value for key, value in described.items() if value is not None}
