"""Publishing what was pushed as a manifest: the version, its manifest and its tags appear in one transaction.

Where all files are raw layers, that is at once. Tars have to be unpacked first: until then the manifest is kept and its
tag leads to it, as any tag does; see `unpacking`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from steelyard.server.core import aliases, jobs, orgs, publish
from steelyard.server.core.access import Actor
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.files.reading import count_parameters_of, open_key
from steelyard.server.core.jobs import Lease, LeaseLost
from steelyard.server.core.manifests import describing, holdings, rows
from steelyard.server.core.manifests.formats import Descriptor, ParsedManifest, parse_object
from steelyard.server.core.manifests.recognising import Dialect
from steelyard.server.core.manifests.rows import Form, NamedBlob, NewManifest
from steelyard.server.core.models import Found, find_model
from steelyard.server.core.publish import NewVersion
from steelyard.server.core.versions import find_version
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Manifest, Model
from steelyard.server.errors import AlreadyExists, Invalid, NotFound
from steelyard.server.names import ModelName, OrgSlug, Tag
from steelyard.server.names import Version as SemVer
from steelyard.server.storage import BlobStore

MOST_CONFIG_BYTES = 32 * 2**20  # as much as a publish by the native API may have


class NotHeld(NotFound):
    """The repository does not hold what a manifest names, or not any more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is, or will be, by name."""

    slug: OrgSlug
    name: ModelName


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest that becomes the version `number`; `forms` says as which of its manifests. Where it was pushed by
    another spelling of the number, `v1.2.3` say, that `tag` leads there, too. `sent_to_org` is the digest of a config
    that was sent to the organisation, and need not be in the repository."""

    manifest: NewManifest
    number: SemVer
    tag: Tag
    forms: tuple[Form, ...] = (Form.ARTIFACT,)
    sent_to_org: str | None = None


def read_config(store: BlobStore, config: Descriptor, held: HeldBlob | bytes) -> dict[str, Any]:
    """The config of a model, which the store has, or which is one that we made. Raises `Invalid` where it is no JSON
    object."""
    if config.size_bytes > MOST_CONFIG_BYTES:
        raise Invalid(f"The config {config.digest} is larger than is read ({MOST_CONFIG_BYTES} bytes).")
    if isinstance(held, bytes):
        return parse_object(held, f"The config {config.digest}")
    with open_key(store, held.key) as blob:
        content = blob.read(0, held.size_bytes)
    return parse_object(content, f"The config {config.digest}")


def new_version(
    dialect: Dialect, parsed: ParsedManifest, config: Mapping[str, Any], pushed: Pushed, artifacts: Mapping[str, str]
) -> NewVersion:
    """What is to be published of a pushed model with these files, path -> OID."""
    return NewVersion(
        artifacts=artifacts,
        number=pushed.number,
        description=describing.describe(dialect, parsed, config),
        origin=describing.origin_of(dialect, parsed, config, pushed.manifest.digest),
        via="oci",
    )


def find_earlier(session: Session, found: Found, pushed: Pushed) -> Manifest | None:
    """The manifest that a published version has already, if it is this one. Raises `AlreadyExists` for another one:
    a digest that was given out once stays, and which one a version has that came by another door is for `making` to
    say; for the number of a version that was deleted; and where the tag leads elsewhere."""
    _refuse_led_elsewhere(session, found, pushed)
    if find_version(session, found.model.id, pushed.number) is None:
        publish.check_unspent(session, found, pushed.number)
        return None
    kept = [rows.find_tagged(session, found.model.id, form, pushed.number.tag) for form in Form]
    for manifest in kept:
        if manifest is not None and manifest.digest == pushed.manifest.digest:
            return manifest
    raise AlreadyExists(
        f"{found.full_name}:{pushed.number} is published with another manifest, and versions never change. Push under "
        "a new number."
    )


def _refuse_led_elsewhere(session: Session, found: Found, pushed: Pushed) -> None:
    """Raise `AlreadyExists` where another spelling of the number is an alias, or a tag of something else. A tag that
    goes with what the number led to so far, a manifest that could not be unpacked say, gives place as that does."""
    tag, number_tag = pushed.tag, pushed.number.tag
    if tag == number_tag:
        return
    version = aliases.find_version_of_alias(session, found.model.id, tag)
    if version is not None and version.version != str(pushed.number):
        raise AlreadyExists(
            f"'{tag}' is an alias of {found.full_name}:{version.version}. Push under {number_tag}, or remove the alias."
        )
    there = rows.find_tagged(session, found.model.id, Form.ARTIFACT, tag)
    if there is None or there.digest == pushed.manifest.digest:
        return
    before = rows.find_tagged(session, found.model.id, Form.ARTIFACT, number_tag)
    is_published = find_version(session, found.model.id, pushed.number) is not None
    if is_published or before is None or before.id != there.id:
        raise AlreadyExists(
            f"{found.full_name}:{tag} is a tag of something else that was pushed there, {there.digest}. Delete the "
            f"tag, or push under {number_tag}."
        )


def publish_pushed(
    database: Database, store: BlobStore, actor: Actor, place: Place, new: NewVersion, pushed: Pushed
) -> Manifest:
    """Publish a version with the manifest that it was pushed as, all in one transaction. Waits for the store, to read
    headers of weights. Raises what `publish.publish` and `find_earlier` do, and `NotHeld`."""
    parameters = _count_parameters(database, store, actor, place, new)
    with database.write() as session:
        return _publish(session, actor, place, new, pushed, parameters)


def publish_unpacked(
    database: Database, store: BlobStore, actor: Actor, place: Place, new: NewVersion, pushed: Pushed, lease: Lease
) -> None:
    """As `publish_pushed`, at the end of the job that unpacked it, which ends in the same transaction. Publishes
    nothing where the tag does not lead to the manifest any more: it or its model was deleted. Raises `LeaseLost`,
    too."""
    parameters = _count_parameters(database, store, actor, place, new)
    with database.write() as session:
        if not jobs.finish(session, lease):
            raise LeaseLost
        if _is_wanted(session, actor, place, pushed):
            _publish(session, actor, place, new, pushed, parameters)


def _count_parameters(database: Database, store: BlobStore, actor: Actor, place: Place, new: NewVersion) -> int | None:
    with database.read() as session:
        org = orgs.get_org(session, actor, place.slug)
        weights = publish.look_ahead(session, actor, org, place.name, new, ())
    return count_parameters_of(store, weights)


def _is_wanted(session: Session, actor: Actor, place: Place, pushed: Pushed) -> bool:
    model = find_model(session, orgs.get_org(session, actor, place.slug), place.name, lock=True)
    there = rows.find_tagged(session, model.id, Form.ARTIFACT, pushed.number.tag) if model else None
    return there is not None and there.digest == pushed.manifest.digest


def _publish(
    session: Session, actor: Actor, place: Place, new: NewVersion, pushed: Pushed, parameters: int | None
) -> Manifest:
    org = orgs.get_org(session, actor, place.slug)
    model = find_model(session, org, place.name, lock=True)
    earlier = model and find_earlier(session, Found(model, org), pushed)
    if earlier:
        return earlier
    if model is not None:
        _make_way(session, model, pushed)
    published = publish.publish(session, actor, org, place.name, new, parameters=parameters)
    return _keep(session, published.found, pushed)


def keep_pending(session: Session, found: Found, pushed: Pushed) -> Manifest:
    """Keep the manifest of a version that cannot be published yet, and let its tag lead there. Raises `AlreadyExists`
    while another one is being made into that version, and what `find_earlier` does."""
    earlier = find_earlier(session, found, pushed)
    if earlier is not None:
        return earlier
    there = rows.find_tagged(session, found.model.id, Form.ARTIFACT, pushed.number.tag)
    is_other = there is not None and there.digest != pushed.manifest.digest
    if there is not None and is_other and jobs.is_wanted(session, jobs.UNPACK, job_prefix(there, pushed.number.tag)):
        raise AlreadyExists(
            f"{found.full_name}:{pushed.number} is being unpacked from another manifest, {there.digest}. Push under a "
            "new number, or wait what becomes of that one."
        )
    return _keep(session, found, replace(pushed, forms=(Form.ARTIFACT,)))


def job_prefix(manifest: Manifest, tag: Tag) -> str:
    """How the subject of a job begins that makes a version of a manifest under this tag."""
    return f"{manifest.id}:{tag_mark(manifest, tag)}:"


def tag_mark(manifest: Manifest, tag: str) -> str:
    """A tag of a manifest in few letters: a job's subject has no room for more. The digest is in it, since a row's id
    may be another manifest's once the row was deleted."""
    return hashlib.sha256(f"{manifest.digest} {tag}".encode()).hexdigest()[:16]


def _make_way(session: Session, model: Model, pushed: Pushed) -> None:
    """What the number's tag led to before, this manifest while it was unpacked say, gives place to the version: a tag
    that is no version's may be moved by whoever pushes."""
    if find_version(session, model.id, pushed.number) is None:
        rows.remove_tag(session, model.id, Form.ARTIFACT, pushed.number.tag)


def _keep(session: Session, found: Found, pushed: Pushed) -> Manifest:
    model_id = found.model.id
    new = replace(pushed.manifest, blobs=_held_now(session, found, pushed))
    manifest = rows.keep_manifest(session, model_id, new)
    for form in pushed.forms:
        rows.set_tag(session, model_id, form, pushed.number.tag, manifest)
    if pushed.tag != pushed.number.tag:
        rows.set_tag(session, model_id, Form.ARTIFACT, pushed.tag, manifest)
    return manifest


def _held_now(session: Session, found: Found, pushed: Pushed) -> list[NamedBlob]:
    """What the manifest names, as it is held in this transaction: bytes that were there before it may have been cleaned
    up, and their row be another's by now. Raises `NotHeld`."""
    digests = [blob.digest for blob in pushed.manifest.blobs if blob.content is None]
    held = holdings.find_all(session, found.model.id, digests, drafts=True)
    config = pushed.sent_to_org
    if config is not None and config not in held and (sent := holdings.find_held_in_org(session, found.org.id, config)):
        held[config] = sent
    if missing := [digest for digest in digests if digest not in held]:
        raise NotHeld(f"'{found.full_name}' does not hold {missing[0]}. Push that blob first.")
    return [
        blob if blob.content is not None else NamedBlob(blob.digest, held[blob.digest].id)
        for blob in pushed.manifest.blobs
    ]
