"""Keeping a manifest that was pushed: what it names is in the repository, and there is room for it."""

from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor
from steelyard.server.core.arrivals import uploads
from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.manifests import formats, holdings, images, rows, tagging
from steelyard.server.core.manifests.formats import Descriptor, ParsedManifest
from steelyard.server.core.manifests.holdings import Holding
from steelyard.server.core.manifests.rows import NamedBlob, NewManifest
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Manifest, Org
from steelyard.server.errors import Invalid, NotFound
from steelyard.server.names import Digest

MOST_DESCRIPTORS = 10_000  # in one manifest: each is looked up, and has a row


class BlobMissing(NotFound):
    """A manifest names bytes that the repository does not hold. The code is of the specification of OCI."""

    code: ClassVar = "MANIFEST_BLOB_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A manifest that was pushed, as it was understood, and the digest by which it is to be kept."""

    content: bytes
    digest: Digest
    parsed: ParsedManifest


def check_count(parsed: ParsedManifest) -> None:
    """Raise `Invalid` for a manifest that names more than is looked up."""
    count = len(parsed.blobs) + len(parsed.manifests)
    if count > MOST_DESCRIPTORS:
        raise Invalid(f"The manifest names {count} blobs and manifests, and one may name {MOST_DESCRIPTORS} at most.")


def check_room(session: Session, org: Org, found: Found | None, incoming: Incoming, room: Room) -> None:
    """Raise `TooLarge` where the organisation or the disk has no room for it. One that is here already takes none."""
    uploads.check_floor(room.settings, room.free_bytes)
    if found is None or rows.find_manifest(session, found.model.id, incoming.digest) is None:
        uploads.check_quota(session, org, len(incoming.content), room.settings)


def keep_manifest(session: Session, actor: Actor, found: Found, incoming: Incoming) -> Manifest:
    """The manifest's row, new or there already. Raises `BlobMissing` for bytes that are not in the repository, and
    `Invalid` where they are not as long as the manifest says."""
    parsed = incoming.parsed
    there = rows.find_manifest(session, found.model.id, incoming.digest)
    if there is not None and there.media_type == parsed.media_type:
        return there
    new = NewManifest(
        incoming.digest,
        parsed.media_type,
        incoming.content,
        artifact_type=parsed.artifact_type,
        subject=parsed.subject,
        annotations=parsed.annotations or None,
        blobs=name_blobs(session, found, parsed),
    )
    return tagging.keep_pushed(session, actor, found, new)


def name_blobs(session: Session, found: Found, parsed: ParsedManifest) -> list[NamedBlob]:
    """What a manifest names, which the repository must hold, but for layers that nobody may distribute. Other
    manifests, of an index or as `subject`, need not be there (distribution-spec 1.1, "Pushing Manifests")."""
    digests = {blob.digest for blob in parsed.blobs}
    held = holdings.find_all(session, found.model.id, digests, drafts=True)
    made = holdings.find_made(session, found.model.id, digests - held.keys())
    named: dict[str, NamedBlob] = {}
    for blob in parsed.blobs:
        if blob.digest in held:
            formats.check_size(blob, held[blob.digest].size_bytes)
            named[blob.digest] = NamedBlob(blob.digest, held[blob.digest].id)
        elif blob.digest in made:
            named[blob.digest] = _name_made(blob, made[blob.digest])
        elif blob.is_distributable:
            raise BlobMissing(f"'{found.full_name}' does not hold {blob.digest}. Push that blob first.")
    return list(named.values())


def _name_made(blob: Descriptor, made: Holding) -> NamedBlob:
    if made.blob is None:
        formats.check_size(blob, len(made.content or b""))
        return NamedBlob(blob.digest, content=made.content)
    formats.check_size(blob, images.plan_tar(made.blob, made.tar_path or "").size_bytes)
    return NamedBlob(blob.digest, made.blob.id, made.tar_path)
