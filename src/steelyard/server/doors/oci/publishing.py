"""A model that was pushed under a version's number becomes that version, by the verb that every door publishes by."""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.jobs import LeaseLost
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.manifests import holdings, making, publishing
from steelyard.server.core.manifests.formats import ParsedManifest, check_size
from steelyard.server.core.manifests.publishing import NotHeld, Place, Pushed
from steelyard.server.core.manifests.recognising import Dialect, Layout, lay_out, recognise
from steelyard.server.core.manifests.rows import Form, NamedBlob, NewManifest
from steelyard.server.core.models import Found
from steelyard.server.core.publish import NewVersion
from steelyard.server.core.versions import find_version
from steelyard.server.db.tables import Manifest, Org
from steelyard.server.doors.calls import Call
from steelyard.server.doors.incoming import LOOK_SECONDS
from steelyard.server.doors.oci.calls import OciRepo
from steelyard.server.doors.oci.errors import ManifestBlobUnknown
from steelyard.server.doors.wishes import read_wish
from steelyard.server.errors import Fault, Invalid, NotFound
from steelyard.server.names import Digest, Tag
from steelyard.server.names import Version as SemVer

_ANNOTATION = "io.dreadnode."
_WHAT_TO_DO = "Push the bytes to this repository first, then the manifest."


_Blobs = dict[str, HeldBlob | bytes]
"""Digest -> bytes that are held, or such as only we make."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A pushed model, understood. `earlier` is what its version has already, where it was pushed before."""

    pushed: Pushed
    earlier: Manifest | None
    dialect: Dialect
    config: Mapping[str, Any]
    layout: Layout
    artifacts: Mapping[str, str]


async def push_version(
    call: Call,
    repo: OciRepo,
    number: SemVer,
    tag: Tag,
    parsed: ParsedManifest,
    content: bytes,
    digest: Digest | None = None,
) -> Manifest:
    """Publish what was pushed as this version; `recognise` has said that it is a model. `tag` is the number as it was
    spelled, `digest` the name by which the manifest came, if by any. Answers the manifest that is kept now. Tars are
    unpacked first, and that is waited for as long as for a proof: the version may come later.

    Raises `AlreadyExists` where the number is something else's, `ManifestBlobUnknown` and `Invalid` naming what is not
    there or not right, and what `publish.publish` does.
    """
    call.take(LimitedAction.PUBLISH)
    sent = (digest or Digest("sha256:" + hashlib.sha256(content).hexdigest()), content)
    read = await call.at_the_store(_read, call, repo, number, tag, parsed, sent)
    if read.earlier is not None:
        return read.earlier
    try:
        if read.layout.tars:
            return await _unpack(call, repo, read.pushed)
        return await call.at_the_store(_publish, call, repo, parsed, read)
    except NotHeld as error:
        raise ManifestBlobUnknown(error.detail) from error


def _read(
    call: Call, repo: OciRepo, number: SemVer, tag: Tag, parsed: ParsedManifest, sent: tuple[Digest, bytes]
) -> _Read:
    dialect = recognise(parsed)
    if dialect is None:
        raise ValueError("what is no model is not published")
    _make_what_it_has(call, repo, number, dialect)
    with call.registry.database.read() as session:
        org = repo.get_org_to_push(session, call.actor)
        found = repo.find(session, call.actor)
        blobs = _find_held(session, org, found, dialect, parsed)
        pushed = _pushed(repo, number, tag, parsed, sent, blobs)
        earlier = publishing.find_earlier(session, found, pushed) if found else None
    if earlier is not None:
        return _Read(pushed, earlier, dialect, {}, Layout({}), {})
    config = _read_config(call, dialect, parsed, blobs)
    layout = Layout({}) if dialect is Dialect.NATIVE else lay_out(dialect, parsed, config)
    return _Read(pushed, None, dialect, config, layout, _artifacts(layout, blobs))


def _make_what_it_has(call: Call, repo: OciRepo, number: SemVer, dialect: Dialect) -> None:
    """A version that came by another door has the manifests that we make of it, though nobody has asked for them yet:
    no push gives it others."""
    database, trees = call.registry.database, call.registry.trees
    with database.read() as session:
        repo.get_org_to_push(session, call.actor)
        found = repo.find(session, call.actor)
        version = find_version(session, found.model.id, number) if found else None
    if found is None or version is None:
        return
    with suppress(NotFound):  # too many files for a manifest, which no push gives it, either
        making.find_or_make(database, trees, found, version)
    if dialect is Dialect.NATIVE:
        with suppress(NotFound):
            making.find_or_make_config(database, trees, found, version)


def _artifacts(layout: Layout, blobs: _Blobs) -> dict[str, str]:
    """Path -> OID of the raw layers. Raises `Invalid` for one that only we make: nobody holds its bytes."""
    artifacts: dict[str, str] = {}
    for path, layer in layout.raw.items():
        there = blobs[layer.digest]
        if isinstance(there, bytes):
            raise Invalid(f"{path} ({layer.digest}) is a config that was made here. Push its bytes as a blob first.")
        artifacts[path] = there.oid
    return artifacts


def _find_held(session: Session, org: Org, found: Found | None, dialect: Dialect, parsed: ParsedManifest) -> _Blobs:
    """What the manifest names, by digest. Raises `ManifestBlobUnknown` naming what is not there, and `Invalid`."""
    digests = {each.digest for each in parsed.blobs}
    held: _Blobs = dict(holdings.find_all(session, found.model.id, digests, drafts=True)) if found else {}
    for each in parsed.blobs:
        there = held.get(each.digest)
        if there is None and each is parsed.config:
            there = _find_config(session, org, found, dialect, each.digest)
        if there is None:
            raise ManifestBlobUnknown(f"This repository does not hold {each.digest}. {_WHAT_TO_DO}")
        check_size(each, len(there) if isinstance(there, bytes) else there.size_bytes)
        held[each.digest] = there
    return held


def _find_config(
    session: Session, org: Org, found: Found | None, dialect: Dialect, digest: Digest
) -> HeldBlob | bytes | None:
    """A config that was not pushed here: one that we made, of a version that is copied; or, in the API's dialect, whose
    files are sent to the organisation, one that was sent there, too."""
    if dialect is Dialect.NATIVE and (there := holdings.find_held_in_org(session, org.id, digest)):
        return there
    made = holdings.find_holding(session, found.model.id, digest, drafts=True) if found else None
    return made.content if made else None


def _pushed(
    repo: OciRepo, number: SemVer, tag: Tag, parsed: ParsedManifest, sent: tuple[Digest, bytes], blobs: _Blobs
) -> Pushed:
    """In the API's dialect the manifest is what that dialect is answered, and the tag leads container tools to the
    files, unless one of them pushed it."""
    manifest = NewManifest(
        *(sent[0], parsed.media_type, sent[1]),
        artifact_type=parsed.artifact_type,
        subject=parsed.subject,
        annotations=parsed.annotations or None,
        blobs=[_named(each.digest, blobs[each.digest]) for each in parsed.blobs],
    )
    if recognise(parsed) is not Dialect.NATIVE:
        return Pushed(manifest, number, tag)
    forms = (Form.CONFIG,) if repo.base != "/v2" else (Form.ARTIFACT, Form.CONFIG)
    config = parsed.config.digest if parsed.config and not isinstance(blobs[parsed.config.digest], bytes) else None
    return Pushed(manifest, number, tag, forms, config)


def _named(digest: Digest, there: HeldBlob | bytes) -> NamedBlob:
    return NamedBlob(digest, content=there) if isinstance(there, bytes) else NamedBlob(digest, there.id)


def _read_config(call: Call, dialect: Dialect, parsed: ParsedManifest, blobs: _Blobs) -> Mapping[str, Any]:
    """What the config says, where it says something."""
    if dialect is Dialect.FILES or parsed.config is None:
        return {}
    return publishing.read_config(call.registry.store, parsed.config, blobs[parsed.config.digest])


# --- raw files, and none


def _publish(call: Call, repo: OciRepo, parsed: ParsedManifest, read: _Read) -> Manifest:
    if read.dialect is Dialect.NATIVE:
        new = _native_version(repo, parsed, read)
    else:
        new = publishing.new_version(read.dialect, parsed, read.config, read.pushed, read.artifacts)
    registry, place = call.registry, Place(repo.slug, repo.name)
    return publishing.publish_pushed(registry.database, registry.store, call.actor, place, new, read.pushed)


def _native_version(repo: OciRepo, parsed: ParsedManifest, read: _Read) -> NewVersion:
    """The config is the body of a publish. Raises `Invalid` naming everything that is wrong with it, and where the
    manifest is not about the model and the number that it was pushed to."""
    said, number = parsed.annotations, read.pushed.number
    name = f"{repo.slug}/{repo.name}"
    faults = [
        _annotation_fault("type", said, "model", said.get(_ANNOTATION + "type") == "model"),
        _annotation_fault("name", said, name, said.get(_ANNOTATION + "name", "").lower() == name.lower()),
        _annotation_fault("version", said, str(number), said.get(_ANNOTATION + "version") == str(number)),
    ]
    new, more = read_wish(read.config, number)
    if found := (*(fault for fault in faults if fault), *more):
        raise Invalid(f"This is no manifest of {name}:{number}: {found[0].msg}."[:1_000], faults=found)
    return replace(new, via="oci")


def _annotation_fault(name: str, said: Mapping[str, str], wanted: str, is_right: bool) -> Fault | None:
    if is_right:
        return None
    key = _ANNOTATION + name
    told = json.dumps(said[key][:200]) if key in said else "missing"
    return Fault(("annotations", key), f"the annotation {key} must be {json.dumps(wanted)}, and is {told}")


# --- tars


async def _unpack(call: Call, repo: OciRepo, pushed: Pushed) -> Manifest:
    """Have the tars unpacked, and wait a while for the version that comes of it. Raises what that ended in."""
    until = time.monotonic() + call.registry.settings.prove_wait_seconds
    manifest, work = await run_in_threadpool(_begin_unpacking, call, repo, pushed)
    if work is not None and not await _is_done(work, until):
        return manifest
    while work is None and await run_in_threadpool(_is_pending, call, manifest, pushed) and time.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
    return manifest


def _begin_unpacking(call: Call, repo: OciRepo, pushed: Pushed) -> "tuple[Manifest, Future[None] | None]":
    with call.registry.database.write() as session:
        repo.get_org_to_push(session, call.actor)
        manifest = publishing.keep_pending(session, repo.get(session, call.actor), pushed)
    work = call.registry.unpacker.start(manifest, pushed.number, call.actor.token_uuid or "")
    return manifest, work


async def _is_done(work: "Future[None]", until: float) -> bool:
    """Whether it has ended by then; what it ended in is raised, unless another server has taken it over."""
    here = asyncio.wrap_future(work)
    done, _ = await asyncio.wait([here], timeout=max(0, until - time.monotonic()))
    if not done:
        here.add_done_callback(lambda late: late.cancelled() or late.exception())  # the unpacker logs it
        return False
    with suppress(LeaseLost):
        await here
    return True


def _is_pending(call: Call, manifest: Manifest, pushed: Pushed) -> bool:
    """Whether another server is still at it. Raises what it ended in, unless the version is there."""
    return call.registry.unpacker.is_pending(manifest, pushed.number)
