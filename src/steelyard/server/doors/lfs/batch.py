"""Git LFS's batch: which bytes are here, where to send those that are not, where to fetch them (git-lfs,
`docs/api/batch.md`). What is wrong with one object is said of that object, and the others go on.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, StrictInt, StringConstraints
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse

from steelyard.server.core import blobs
from steelyard.server.core.arrivals.uploads import Offer, Wanted
from steelyard.server.core.manifests import holdings
from steelyard.server.core.tickets import Ticket
from steelyard.server.db.tables import Org
from steelyard.server.doors import incoming
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.grants import grant_writing
from steelyard.server.doors.lfs.calls import LfsRepo, LfsRoute, RepoPath
from steelyard.server.doors.lfs.errors import MEDIA_TYPE
from steelyard.server.doors.lfs.keeping import MULTIPART, is_git_lfs, keep
from steelyard.server.errors import Conflict, Invalid, NotFound
from steelyard.server.names import InvalidName, Oid

router = APIRouter(route_class=LfsRoute)

XET, BASIC, SHA256 = "xet", "basic", "sha256"
MOST_OBJECTS = 1_000
_Object = dict[str, Any]


class AskedObject(BaseModel):
    """Bytes that a client has, or wants. What is wrong with them is said of them, so this takes nearly everything."""

    oid: Annotated[str, StringConstraints(max_length=200)]
    size: StrictInt


class BatchRequest(BaseModel):
    """What the client wants to do, and in which ways it can. Keys that we do not need (`ref`) are left alone."""

    operation: Literal["upload", "download"]
    transfers: list[Annotated[str, StringConstraints(max_length=50)]] = Field([BASIC], max_length=20)
    objects: list[AskedObject] = Field(max_length=MOST_OBJECTS)
    hash_algo: Annotated[str, StringConstraints(max_length=50)] = SHA256


@router.post("/{org}/{name}.git/info/lfs/objects/batch")
@waits_for_the_store
def begin_transfers(call: CallHere, repo: RepoPath, body: BatchRequest) -> Response:
    """Say of each object whether it is here, and give links for the rest."""
    if body.hash_algo != SHA256:
        raise Conflict(f"Objects are known by their {SHA256} here, not by {body.hash_algo}.")
    answer = _downloads(call, repo, body) if body.operation == "download" else _uploads(call, repo, body)
    return JSONResponse({**answer, "hash_algo": body.hash_algo}, media_type=MEDIA_TYPE)


def _faults(call: Call, objects: Sequence[AskedObject]) -> dict[int, _Object]:
    """Index -> the answer for each object that cannot be one."""
    found: dict[int, _Object] = {}
    for index, item in enumerate(objects):
        if fault := _fault(call, item):
            found[index] = _failed(item, Invalid.status, fault)
    return found


def _fault(call: Call, item: AskedObject) -> str | None:
    most_bytes = call.registry.settings.max_file_bytes
    try:
        Oid.parse(f"sha256:{item.oid}")
    except InvalidName as error:
        return str(error)
    if not 0 <= item.size <= 2**53:
        return f"{item.size} is no size of a file"
    if most_bytes and item.size > most_bytes:
        return f"This file is larger than this server takes (max_file_bytes = {most_bytes})."
    return None


def _failed(item: AskedObject, code: int, message: str) -> _Object:
    return {"oid": item.oid, "size": item.size, "error": {"code": code, "message": message}}


# --- sending


def choose_transfer(call: Call, offered: Sequence[str]) -> str:
    """How large files are to be sent, of what the client offers. Who offers Xet asks us to decide."""
    ours = (XET, MULTIPART) if call.registry.settings.xet else (MULTIPART,)
    return next((way for way in ours if way in offered), BASIC)


def _uploads(call: Call, repo: LfsRepo, body: BatchRequest) -> Mapping[str, Any]:
    faults = _faults(call, body.objects)
    wanted = [Wanted(Oid(f"sha256:{item.oid}"), item.size) for item in _sound(body, faults)]
    transfer, multipart = choose_transfer(call, body.transfers), MULTIPART in body.transfers
    if is_git_lfs(body.transfers):
        _keep_held(call, repo, wanted, make=transfer == XET)

    def find_org(session: Session) -> Org:
        return repo.get_org_to_push(session, call.actor, may_be_new=is_git_lfs(body.transfers))

    if transfer == XET:
        return {"transfer": XET, "objects": _by_xet(call, repo, body, faults)}
    offers = iter(incoming.begin_uploads(call, find_org, wanted, multipart=multipart))
    objects = [
        faults[index] if index in faults else _upload(call, repo, next(offers), multipart=multipart)
        for index in range(len(body.objects))
    ]
    return {"transfer": transfer, "objects": objects}


def _keep_held(call: Call, repo: LfsRepo, wanted: Sequence[Wanted], *, make: bool) -> None:
    """What git-lfs need not send is the model's from now on, too. Before anything is promised: nothing that was said
    to be here can go meanwhile."""
    with call.write() as session:
        keep(session, call.actor, repo, {item.oid: item.size_bytes for item in wanted}, make=make and bool(wanted))


def _by_xet(call: Call, repo: LfsRepo, body: BatchRequest, faults: Mapping[int, _Object]) -> list[_Object]:
    """For what is missing the way to the door of Xet, as the agent `git-xet` is told it; the Hub's clients know it. No
    uploads are begun: nobody would send them, and they would hold quota until they expire."""
    with call.read() as session:
        found = repo.get(session, call.actor)
        grant = grant_writing(call, found)
        held = blobs.find_held(session, found.org.id, {f"sha256:{item.oid}" for item in _sound(body, faults)})
    href = call.url(f"/api/models/{found.full_name}/xet-write-token/main")
    upload = {"href": href, "header": grant.headers}

    def way(item: AskedObject) -> _Object:
        verify = {"verify": _keeping(call, repo, item.oid, item.size)} if is_git_lfs(body.transfers) else {}
        return {"authenticated": True, "actions": {"upload": upload, **verify}}

    return [faults.get(index) or _unless_held(item, held, way) for index, item in enumerate(body.objects)]


def _sound(body: BatchRequest, faults: Mapping[int, _Object]) -> list[AskedObject]:
    return [item for index, item in enumerate(body.objects) if index not in faults]


def _unless_held(
    item: AskedObject, held: Mapping[str, blobs.HeldBlob], way: Callable[[AskedObject], _Object]
) -> _Object:
    return {"oid": item.oid, "size": item.size} | ({} if f"sha256:{item.oid}" in held else way(item))


def _upload(call: Call, repo: LfsRepo, offer: Offer, *, multipart: bool) -> _Object:
    known: _Object = {"oid": offer.wanted.oid.hex, "size": offer.wanted.size_bytes}
    if offer.upload is None:
        return known
    path = f"{repo.path}/uploads/{offer.upload.id}"
    if incoming.goes_in_one(offer.upload, multipart=multipart):
        actions = {"upload": _action(call, incoming.link(call, offer.upload, path, "upload"), {})}
        if not multipart:
            actions["verify"] = _keeping(call, repo, known["oid"], known["size"])
    else:
        header = incoming.part_links(call, offer.upload, path)
        actions = {
            "upload": _action(call, incoming.link(call, offer.upload, path, "complete"), header),
            "verify": {"href": call.url(f"{repo.path}/objects/verify")},
        }
    return {**known, "authenticated": True, "actions": actions}


def _keeping(call: Call, repo: LfsRepo, oid: str, size_bytes: int) -> dict[str, Any]:
    """Where git-lfs asks whether its bytes arrived, and so has them kept. It shows no credential there."""
    expires_at = int(time.time()) + call.registry.settings.ticket_ttl_seconds
    right = Ticket("keep", repo.subject_of(oid), call.actor.token_uuid, expires_at, oid, size_bytes)
    return _action(call, call.url(f"{repo.path}/objects/{oid}/keep?ticket={call.registry.tickets.sign(right)}"), {})


def _action(call: Call, href: str, header: Mapping[str, str]) -> dict[str, Any]:
    return {"href": href, "header": dict(header), "expires_in": call.registry.settings.ticket_ttl_seconds}


# --- fetching


def _downloads(call: Call, repo: LfsRepo, body: BatchRequest) -> Mapping[str, Any]:
    faults = _faults(call, body.objects)
    oids = {f"sha256:{item.oid}" for item in _sound(body, faults)}
    with call.read() as session:
        found = repo.get(session, call.actor)
        drafts = call.actor.role_in(found.org.id) is not None
        held = holdings.find_all(session, found.model.id, oids, drafts=drafts)
    objects = [faults.get(i) or _download(call, repo, item, held) for i, item in enumerate(body.objects)]
    return {"transfer": BASIC, "objects": objects}


def _download(call: Call, repo: LfsRepo, item: AskedObject, held: Mapping[str, blobs.HeldBlob]) -> _Object:
    blob = held.get(f"sha256:{item.oid}")
    if blob is None:
        return _failed(item, NotFound.status, f"'{repo.slug}/{repo.name}' has no such bytes.")
    ttl = call.registry.settings.download_ttl_seconds
    right = Ticket("download", repo.subject_of(item.oid), call.actor.token_uuid, int(time.time()) + ttl)
    href = call.url(f"{repo.path}/objects/{item.oid}?ticket={call.registry.tickets.sign(right)}")
    actions = {"download": {"href": href, "header": {}, "expires_in": ttl}}
    return {"oid": item.oid, "size": blob.size_bytes, "authenticated": True, "actions": actions}
