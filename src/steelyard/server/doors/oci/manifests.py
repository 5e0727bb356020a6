"""Manifests of a repository: PUT, GET, HEAD, DELETE (OCI distribution-spec 1.1, "Pulling manifests", "Pushing
manifests", "Deleting tags", "Deleting manifests"). What came is kept to the byte, with the type it came as.

The native API's own dialect has the same operations at `/api/v1`; there a tag leads to a version as its clients write
one, and nothing but such manifests is taken.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from steelyard.server.core import models
from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.manifests import keeping, making, tagging
from steelyard.server.core.manifests.formats import parse_manifest
from steelyard.server.core.manifests.keeping import Incoming
from steelyard.server.core.manifests.recognising import Dialect, recognise
from steelyard.server.core.manifests.rows import Form
from steelyard.server.core.manifests.tagging import Lead
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Manifest
from steelyard.server.doors.calls import MIB, Call, CallHere
from steelyard.server.doors.oci import pulling
from steelyard.server.doors.oci.calls import OciRepo, OciRoute, RepoPath
from steelyard.server.doors.oci.errors import DigestInvalid, ManifestInvalid, ManifestUnknown
from steelyard.server.doors.oci.publishing import push_version
from steelyard.server.doors.oci.twins import get_image
from steelyard.server.errors import Invalid
from steelyard.server.names import Digest, InvalidName, Tag

MOST_MANIFEST_BYTES = 8 * MIB  # twice what every registry has to take
MOST_TAGS = 50  # in one PUT


class ManifestRoute(OciRoute):
    """A route that takes a manifest, which may be larger than the bodies of other requests."""

    most_bytes: ClassVar[int] = MOST_MANIFEST_BYTES

    def most_body_bytes(self, request: Request) -> int:
        """Whatever other operations read."""
        return self.most_bytes

    def answer_now(self, request: Request) -> Response | None:
        """What is pulled, which is asked for most."""
        return pulling.answer_now(request) if request.scope["path"].startswith("/v2/") else None


router = APIRouter(route_class=ManifestRoute)
TagQuery = Annotated[list[str] | None, Query()]


# --- GET and HEAD


@router.get("/v2/{org}/{name}/manifests/{reference}")
@router.head("/v2/{org}/{name}/manifests/{reference}", name="head_manifest")
async def get_manifest(request: Request, call: CallHere, repo: RepoPath, reference: str) -> Response:
    """Get a manifest by its digest or by a tag, to the byte. One of a version that nobody asked for yet is made."""
    found, lead = await run_in_threadpool(_find_lead, call, repo, reference)
    manifest = lead.manifest or await _make(call, found, lead)
    answer = pulling.manifest_response(request, manifest)
    if lead.version is not None and pulling.is_taken(request, answer):
        call.registry.usage.note_download(lead.version, call.actor)
    return answer


def _find_lead(call: Call, repo: OciRepo, reference: str) -> tuple[Found, Lead]:
    """Where a reference leads. Raises `ManifestUnknown`."""
    with call.read() as session:
        found = repo.get(session, call.actor)
        lead = _resolve(session, repo, found, reference)
    if lead is None:
        raise ManifestUnknown(f"'{found.full_name}' has no manifest '{reference[:200]}'. `tags/list` lists the tags.")
    return found, lead


def _resolve(session: Session, repo: OciRepo, found: Found, reference: str) -> Lead | None:
    if ":" in reference:
        return tagging.resolve_digest(session, found, _read_digest(reference))
    try:
        tag = Tag.parse(reference)
    except InvalidName:
        return None
    resolve = tagging.resolve_tag if repo.base == "/v2" else tagging.resolve_config
    return resolve(session, found, tag)


async def _make(call: Call, found: Found, lead: Lead) -> Manifest:
    """The manifest of a version in a form that nobody asked for yet."""
    version, registry = lead.version, call.registry
    assert version is not None, "only versions have manifests that are made"
    if lead.form is Form.IMAGE:
        return await get_image(call, found, version)
    make = making.find_or_make if lead.form is Form.ARTIFACT else making.find_or_make_config
    return await run_in_threadpool(make, registry.database, registry.trees, found, version)


def _read_digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidName as error:
        raise DigestInvalid(f"{error}.") from error


# --- PUT


@dataclass(frozen=True, slots=True)
class Sent:
    """A manifest that was sent, and under which tags it is to be kept besides its digest."""

    manifest: Incoming
    tags: Sequence[Tag]
    by_digest: bool

    @classmethod
    def read(cls, request: Request, content: bytes, reference: str, more_tags: Sequence[str]) -> "Sent":
        """Raises `DigestInvalid`, also where the bytes are not those of the digest; `ManifestInvalid`, `Invalid`."""
        if len(more_tags) > MOST_TAGS:
            raise ManifestInvalid(f"A manifest takes at most {MOST_TAGS} tags in one request.")
        by_digest = _read_digest(reference) if ":" in reference else None
        digest = _digest(content, by_digest.algorithm if by_digest else "sha256")
        if by_digest and not hmac.compare_digest(by_digest, digest):
            raise DigestInvalid(f"The manifest does not match its digest: these bytes are {digest}. Nothing was kept.")
        names = more_tags if by_digest else [reference, *more_tags]
        parsed = parse_manifest(request.headers.get("content-type", ""), content)
        keeping.check_count(parsed)
        tags = [_read_tag(name) for name in dict.fromkeys(names)]
        return cls(Incoming(content, digest, parsed), tags, by_digest is not None)


def _digest(content: bytes, algorithm: str) -> Digest:
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


def _read_tag(text: str) -> Tag:
    try:
        return Tag.parse(text)
    except InvalidName as error:
        raise ManifestInvalid(f"{error}.") from error


@router.put("/v2/{org}/{name}/manifests/{reference}")
async def put_manifest(
    request: Request, call: CallHere, repo: RepoPath, reference: str, tag: TagQuery = None
) -> Response:
    """Keep a manifest by its digest, and let tags lead to it. The repository is made where it is not there."""
    content = await request.body()
    sent = await run_in_threadpool(Sent.read, request, content, reference, tag or [])
    await _take(call, repo, sent)
    manifest, location = sent.manifest, f"{repo.path}/manifests/{quote(reference, safe=':')}"
    headers = {"Location": location, "Docker-Content-Digest": manifest.digest}
    if manifest.parsed.subject is not None:
        headers["OCI-Subject"] = manifest.parsed.subject
    if tag:
        headers["OCI-Tag"] = ", ".join(tag)
    return Response(status_code=201, headers=headers)


async def _take(call: Call, repo: OciRepo, sent: Sent) -> None:
    """A model is published under the tags that are numbers; the rest leads to the manifest as it is."""
    manifest = sent.manifest
    dialect = recognise(manifest.parsed)
    numbers = {tag: number for tag in sent.tags if dialect and (number := tagging.read_number(tag))}
    if repo.base != "/v2" and (dialect is not Dialect.NATIVE or not numbers or len(numbers) < len(sent.tags)):
        raise Invalid(
            f"This address takes the manifests of models, with a config of the type {making.NATIVE_CONFIG_TYPE}, each "
            "by the number of its version. Container tools push whatever else to `/v2/`."
        )
    if numbers:
        await run_in_threadpool(_look_for_room, call, repo, manifest)
    for tag, number in numbers.items():
        await push_version(call, repo, number, tag, manifest.parsed, manifest.content, digest=manifest.digest)
    rest = [tag for tag in sent.tags if tag not in numbers]
    if rest or not numbers or sent.by_digest:
        await run_in_threadpool(_keep, call, repo, manifest, rest)


def _look_for_room(call: Call, repo: OciRepo, manifest: Incoming) -> None:
    room = _room(call)
    with call.read() as session:
        org = repo.get_org_to_push(session, call.actor)
        keeping.check_room(session, org, repo.find(session, call.actor), manifest, room)


def _room(call: Call) -> Room:
    return Room(call.registry.settings, call.registry.store.free_bytes())


def _keep(call: Call, repo: OciRepo, incoming: Incoming, tags: Sequence[Tag]) -> None:
    """One transaction: the manifest is there and all its tags lead to it, or nothing is."""
    room = _room(call)
    with call.write() as session:
        org = repo.get_org_to_push(session, call.actor)
        keeping.check_room(session, org, repo.find(session, call.actor), incoming, room)
        model = models.find_model(session, org, repo.name, lock=True)
        model = model or models.create_model(session, call.actor, org, repo.name, is_public=False)
        found = Found(model, org)
        manifest = keeping.keep_manifest(session, call.actor, found, incoming)
        for tag in tags:
            tagging.point_tag(session, call.actor, found, tag, manifest)


# --- DELETE


@router.delete("/v2/{org}/{name}/manifests/{reference}")
def delete_manifest(call: CallHere, repo: RepoPath, reference: str) -> Response:
    """Delete a tag, or a manifest with all its tags. What is a version's goes with the version, by the rules for
    deleting one."""
    with call.write() as session:
        found = repo.get(session, call.actor)
        if ":" in reference:
            tagging.delete_by_digest(session, call.actor, found, _read_digest(reference))
        else:
            tagging.delete_tag(session, call.actor, found, _read_known(reference))
    return Response(status_code=202)


def _read_known(text: str) -> Tag:
    """A tag that may be there. Raises `ManifestUnknown` for what can be none."""
    try:
        return Tag.parse(text)
    except InvalidName as error:
        raise ManifestUnknown(f"There is no such tag: {error}.") from error
