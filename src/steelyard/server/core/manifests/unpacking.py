"""Making a version of a pushed manifest whose files lie in tars: each is hashed and kept by itself, then published.

A job, done by whichever server leases it; one that begins again finds what the one before has kept. The manifest, its
tag and who pushed it are in the job's subject. What turns out wrong for good ends the job, and an owner finds it in the
audit trail; the tag leads to the manifest as before, and pushing it once more begins anew.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core import jobs, tokens
from steelyard.server.core.access import Action, Actor, allow
from steelyard.server.core.arrivals import unannounced, uploads
from steelyard.server.core.arrivals.unannounced import Arrival
from steelyard.server.core.arrivals.uploads import Room, Wanted
from steelyard.server.core.audit import record
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.files.reading import open_key
from steelyard.server.core.jobs import Lease, LeaseLost, Stopped
from steelyard.server.core.manifests import holdings, publishing, rows, tars
from steelyard.server.core.manifests.formats import ParsedManifest, parse_manifest
from steelyard.server.core.manifests.publishing import Place, Pushed
from steelyard.server.core.manifests.recognising import Dialect, Layout, check_paths, lay_out, recognise
from steelyard.server.core.manifests.rows import Form, NamedBlob, NewManifest
from steelyard.server.core.versions import find_version
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import AuditEvent, Manifest, Model, Org
from steelyard.server.errors import Conflict, Invalid, RateLimited, RegistryError, TooLarge
from steelyard.server.names import ArtifactPath, Digest, InvalidName, ModelName, Oid, OrgSlug, Tag
from steelyard.server.names import Version as SemVer
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore

FAILED = "unpack.failed"
MOST_FILES = 100_000  # as a publish may have
_AT_ONCE = 200  # kept in one transaction
_AT_ONCE_BYTES = 2**28
_LOOK_ABOVE_BYTES = 2**20  # whether there is room for one file is asked before it is written


@dataclass(frozen=True, slots=True)
class Task:
    """A manifest that shall become a version. `org` and `model` are where, `manifest` has its content loaded."""

    org: Org
    model: Model
    manifest: Manifest
    number: SemVer
    token_uuid: str

    @property
    def target(self) -> str:
        """The version, as people name it."""
        return f"{self.org.slug}/{self.model.name}:{self.number}"


def subject_of(manifest: Manifest, number: SemVer, token_uuid: str) -> str:
    """What the job is about. One row each, however often it is asked for."""
    return publishing.job_prefix(manifest, number.tag) + token_uuid


def unpack(
    database: Database, store: BlobStore, settings: Settings, lease: Lease, is_stopping: Callable[[], bool]
) -> None:
    """Make a version of the manifest, unless its tag leads elsewhere by now. Raises what is wrong with it, after it
    was noted; what may be better the next time, as it is; `Stopped` and `LeaseLost`."""
    task = _find_task(database, lease)
    if task is None:
        return
    try:
        _unpack(database, store, settings, task, lease, is_stopping)
    except RegistryError as error:
        if error.status >= RegistryError.status or isinstance(error, Conflict | RateLimited):
            raise
        _fail(database, task, lease, error)
        raise


def is_pending(session: Session, manifest: Manifest, number: SemVer) -> bool:
    """Whether a manifest is still to become a version. Raises `Invalid` with what went wrong, where neither that is so
    nor the version there."""
    if find_version(session, manifest.model_id, number) is not None:
        return False
    if jobs.is_wanted(session, jobs.UNPACK, publishing.job_prefix(manifest, number.tag)):
        return True
    org_id = select(Model.org_id).where(Model.id == manifest.model_id).scalar_subquery()
    failed = select(AuditEvent).where(AuditEvent.org_id == org_id, AuditEvent.action == FAILED)
    for event in session.scalars(failed.order_by(AuditEvent.id.desc()).limit(50)):
        if event.details.get("manifest") == manifest.digest:
            raise Invalid(str(event.details.get("reason")))
    return False


# --- what the job is about


def _find_task(database: Database, lease: Lease) -> Task | None:
    """The task of a job; None, and the job done, where there is nothing to be done any more."""
    with database.read() as session:
        task = _read_task(session, lease.subject)
    if task is None:
        with database.write() as session:
            jobs.finish(session, lease)
    return task


def _read_task(session: Session, subject: str) -> Task | None:
    manifest_id, mark, token_uuid = subject.split(":")
    query = select(Manifest, Model, Org).join(Model, Manifest.model_id == Model.id).join(Org, Model.org_id == Org.id)
    row = session.execute(query.where(Manifest.id == int(manifest_id))).first()
    if row is None:
        return None
    manifest, model, org = row
    tags = [
        tag for tag in rows.names_of(session, manifest, Form.ARTIFACT) if publishing.tag_mark(manifest, tag) == mark
    ]
    if not tags or find_version(session, model.id, SemVer.parse_tag(tags[0])) is not None:
        return None
    assert manifest.content is not None  # loaded, since it would not be there once the session has ended
    return Task(org, model, manifest, SemVer.parse_tag(tags[0]), token_uuid)


def _find_pusher(database: Database, task: Task) -> Actor:
    """Who pushed, as he may act now. Raises `Unauthenticated` or `Forbidden`."""
    with database.read() as session:
        actor = tokens.actor_of_token(session, task.token_uuid)
    allow(actor, Action.PUBLISH, task.org.id)
    return actor


# --- the work


def _unpack(
    database: Database,
    store: BlobStore,
    settings: Settings,
    task: Task,
    lease: Lease,
    is_stopping: Callable[[], bool],
) -> None:
    actor = _find_pusher(database, task)
    parsed = parse_manifest(task.manifest.media_type, task.manifest.content)
    dialect = recognise(parsed)
    if dialect is None or parsed.config is None:
        raise Invalid(f"{task.manifest.digest} is no model.")
    held = _find_held(database, task, parsed)
    config = (
        {} if dialect is Dialect.FILES else publishing.read_config(store, parsed.config, held[parsed.config.digest])
    )
    layout = lay_out(dialect, parsed, config)
    keeper = _Keeper(database, store, settings, task.org, is_stopping)
    artifacts = [(path, held[layer.digest].oid) for path, layer in layout.raw.items()]
    artifacts += keeper.keep_all(_files(store, layout, held, tars.Watch(is_stopping)))
    check_paths(path for path, _ in artifacts)
    if not artifacts:
        raise Invalid("There are no files in the layers of this manifest.")
    pushed = _pushed(task, parsed, held)
    new = publishing.new_version(dialect, parsed, config, pushed, dict(artifacts))
    place = Place(OrgSlug(task.org.slug), ModelName(task.model.name))
    publishing.publish_unpacked(database, store, actor, place, new, pushed, lease)


def _find_held(database: Database, task: Task, parsed: ParsedManifest) -> dict[str, HeldBlob]:
    digests = [each.digest for each in parsed.blobs]
    with database.read() as session:
        held = holdings.find_all(session, task.model.id, digests, drafts=True)
    missing = next((digest for digest in digests if digest not in held), None)
    if missing is not None:
        raise Invalid(f"The repository does not hold {missing} any more.")
    return held


def _files(store: BlobStore, layout: Layout, held: dict[str, HeldBlob], watch: tars.Watch) -> Iterator[tars.Member]:
    """The files of all tars, one after the other. Raises `Invalid` for a path that no file may have, before its bytes
    are read, and for too many of them."""
    count = len(layout.raw)
    for layer in layout.tars:
        with open_key(store, held[layer.digest].key) as blob:
            for member in tars.read_members(tars.Watched(blob, watch)):
                count += 1
                if count > MOST_FILES:
                    raise Invalid(f"The layers have more than {MOST_FILES} files in them, and no version has so many.")
                yield _checked(member)


def _checked(member: tars.Member) -> tars.Member:
    try:
        ArtifactPath.parse(member.path)
    except InvalidName as error:
        raise Invalid(f"A layer cannot be unpacked: {error}.") from error
    return member


def _pushed(task: Task, parsed: ParsedManifest, held: dict[str, HeldBlob]) -> Pushed:
    manifest = task.manifest
    new = NewManifest(
        Digest(manifest.digest),
        manifest.media_type,
        manifest.content,
        artifact_type=manifest.artifact_type,
        subject=manifest.subject,
        annotations=manifest.annotations,
        blobs=[NamedBlob(each.digest, held[each.digest].id) for each in parsed.blobs],
    )
    return Pushed(new, task.number, Tag(task.number.tag))


def _fail(database: Database, task: Task, lease: Lease, error: RegistryError) -> None:
    """Note what is wrong where an owner sees it; nobody does it again."""
    with database.write() as session:
        if not jobs.finish(session, lease):
            raise LeaseLost
        actor = _blamed(session, task)
        reason, digest = error.detail[:1_000], task.manifest.digest
        record(session, actor, FAILED, task.target, org_id=task.org.id, reason=reason, manifest=digest)


def _blamed(session: Session, task: Task) -> Actor:
    """Whoever pushed, even where his token is worth nothing any more."""
    with suppress(RegistryError):
        return tokens.actor_of_token(session, task.token_uuid)
    return Actor(principal="revoked", name="(revoked)", token_uuid=task.token_uuid)


# --- bytes


class _Keeper:
    """Has the organisation hold files as they come out of tars, many in one transaction."""

    def __init__(
        self, database: Database, store: BlobStore, settings: Settings, org: Org, is_stopping: Callable[[], bool]
    ) -> None:
        self._database, self._store, self._settings, self._org = database, store, settings, org
        self._is_stopping = is_stopping
        self._staged: dict[str, Arrival] = {}

    def keep_all(self, members: Iterator[tars.Member]) -> list[tuple[str, str]]:
        """Path and OID of each. Whatever goes wrong, nothing stays staged."""
        kept: list[tuple[str, str]] = []
        try:
            for member in members:
                kept.append((member.path, self._stage(member).oid))
                if self._is_full():
                    self._keep()
            self._keep()
        finally:
            self._discard()
        return kept

    def _is_full(self) -> bool:
        staged = self._staged.values()
        return len(staged) >= _AT_ONCE or sum(each.size_bytes for each in staged) >= _AT_ONCE_BYTES

    def _stage(self, member: tars.Member) -> Arrival:
        """Write one file to the store, and know it then."""
        self._check_room(member)
        stage_id, digest = uuid4().hex, hashlib.sha256()
        self._staged[stage_id] = Arrival(Oid(""), 0, lambda _key: None)
        with self._store.stage(stage_id, 0) as writer:
            for piece in member.pieces:
                if self._is_stopping():
                    raise Stopped
                digest.update(piece)
                writer.write([piece])
            writer.close()
        oid = Oid("sha256:" + digest.hexdigest())
        arrival = Arrival(oid, member.size_bytes, partial(self._store.commit, stage_id))
        self._staged[stage_id] = arrival
        return arrival

    def _check_room(self, member: tars.Member) -> None:
        if member.size_bytes <= _LOOK_ABOVE_BYTES and not self._is_too_large(member.size_bytes):
            return
        with self._database.read() as session:
            wanted = [Wanted(Oid(""), member.size_bytes)]
            try:
                uploads.check_room(session, self._org, wanted, self._room())
            except TooLarge as error:
                raise TooLarge(f"{member.path} does not fit: {error.detail}") from error

    def _is_too_large(self, size_bytes: int) -> bool:
        most = self._settings.max_file_bytes
        return bool(most) and size_bytes > most

    def _room(self) -> Room:
        return Room(self._settings, self._store.free_bytes())

    def _keep(self) -> None:
        """Have the organisation hold what is staged. The same bytes twice are one; the other is discarded."""
        unannounced.keep(self._database, self._store, self._org, list(self._staged.values()), self._room())
        self._discard()

    def _discard(self) -> None:
        """Forget what is staged, if it was not committed."""
        for stage_id in self._staged:
            self._store.discard(stage_id)
        self._staged.clear()
