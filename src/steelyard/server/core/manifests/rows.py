"""Manifests and tags as rows: what was pushed to a repository, or made for a version of it, to the byte.

What a tag means, and what a push does to the registry, is not decided here: see `tagging`.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session

from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import Manifest, ManifestBlob, ManifestTag, Model, OrgBlob, utc_now
from steelyard.server.errors import Invalid
from steelyard.server.names import Digest

MOST_ANNOTATION_BYTES = 64 * 2**10  # of one manifest, that lists of referrers repeat; the manifest has all of them
_QUIETLY = {"synchronize_session": False}


class Form(StrEnum):
    """What a tag is asked for as: what it leads to; a version's twin that runtimes mount; the native API's manifest."""

    ARTIFACT = "artifact"
    IMAGE = "image"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class NamedBlob:
    """What a manifest names: bytes of this row; with `tar_path`, a tar of them alone; or `content` of ours."""

    digest: str
    blob_id: int | None = None
    tar_path: str | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewManifest:
    """A manifest that is to be kept, and what of it will be asked for. `made` ones are ours, for a version."""

    digest: Digest
    media_type: str
    content: bytes
    artifact_type: str | None = None
    subject: str | None = None
    annotations: Mapping[str, str] | None = None
    blobs: Sequence[NamedBlob] = ()
    made: bool = False


def find_manifest(session: Session, model_id: int, digest: str) -> Manifest | None:
    """The manifest of this digest in a model's repository."""
    return session.scalar(select(Manifest).where(Manifest.model_id == model_id, Manifest.digest == digest))


def find_tagged(session: Session, model_id: int, form: Form, name: str) -> Manifest | None:
    """The manifest that a tag's row leads to."""
    tagged = select(Manifest).join(ManifestTag, ManifestTag.manifest_id == Manifest.id)
    return session.scalar(
        tagged.where(ManifestTag.model_id == model_id, ManifestTag.form == form, ManifestTag.name == name)
    )


def keep_manifest(session: Session, model_id: int, new: NewManifest) -> Manifest:
    """The row of a manifest, new or there already. Raises `Invalid` where the same bytes are there as another type."""
    there = find_manifest(session, model_id, new.digest)
    if there is not None:
        if there.media_type != new.media_type:
            raise Invalid(f"{new.digest} is here as {there.media_type}, and not as {new.media_type}.")
        return there
    manifest = Manifest(
        model_id=model_id,
        digest=new.digest,
        media_type=new.media_type,
        artifact_type=new.artifact_type,
        subject=new.subject,
        annotations=_listed(new.annotations),
        size_bytes=len(new.content),
        content=new.content,
        made=new.made,
    )
    session.add(manifest)
    session.flush()
    rows = {
        blob.digest: {
            "manifest_id": manifest.id,
            "digest": blob.digest,
            "blob_id": blob.blob_id,
            "tar_path": blob.tar_path,
            "content": blob.content,
        }
        for blob in new.blobs
    }
    if rows:
        session.execute(insert(ManifestBlob), list(rows.values()))
    return manifest


def _listed(annotations: Mapping[str, str] | None) -> dict[str, str] | None:
    """What lists say of a manifest, which is nothing where it is too long."""
    if annotations is None or len(json.dumps(annotations, ensure_ascii=False).encode()) > MOST_ANNOTATION_BYTES:
        return None
    return dict(annotations)


def set_tag(session: Session, model_id: int, form: Form, name: str, manifest: Manifest) -> None:
    """Let a tag lead to a manifest, from wherever it leads now."""
    row = session.get(ManifestTag, (model_id, form, name))
    if row is None:
        session.add(ManifestTag(model_id=model_id, form=form, name=name, manifest_id=manifest.id))
    else:
        row.manifest_id, row.updated_at = manifest.id, utc_now()
    session.flush()


def remove_tag(session: Session, model_id: int, form: Form, name: str) -> bool:
    """Take a tag's row away. False where there is none."""
    row = session.get(ManifestTag, (model_id, form, name))
    if row is None:
        return False
    session.delete(row)
    session.flush()
    return True


def names_of(session: Session, manifest: Manifest, form: Form) -> list[str]:
    """The tags that lead to a manifest in this form, sorted."""
    query = select(ManifestTag.name).where(ManifestTag.manifest_id == manifest.id, ManifestTag.form == form)
    return list(session.scalars(query.order_by(ManifestTag.name)))


def list_tags(session: Session, model_id: int) -> list[str]:
    """The names of all rows that lead to artifacts, those of versions among them, sorted."""
    query = select(ManifestTag.name).where(ManifestTag.model_id == model_id, ManifestTag.form == Form.ARTIFACT)
    return list(session.scalars(query.order_by(ManifestTag.name)))


def list_referrers(
    session: Session, model_id: int, subject: str, *, artifact_type: str | None = None, after_id: int = 0, limit: int
) -> list[tuple[int, int]]:
    """`(id, size_bytes)` of manifests that refer to one of this digest, whether that is there or not, in the order in
    which they came."""
    query = select(Manifest.id, Manifest.size_bytes)
    query = query.where(Manifest.model_id == model_id, Manifest.subject == subject, Manifest.id > after_id)
    if artifact_type is not None:
        query = query.where(Manifest.artifact_type == artifact_type)
    return [(id_, size_bytes) for id_, size_bytes in session.execute(query.order_by(Manifest.id).limit(limit))]


def get_all(session: Session, ids: Collection[int]) -> list[Manifest]:
    """These manifests, in the order in which they came."""
    found = (session.scalars(select(Manifest).where(Manifest.id.in_(some))) for some in in_batches(ids))
    return sorted(chain.from_iterable(found), key=lambda manifest: manifest.id)


# --- what goes


def delete_manifest(session: Session, org_id: int, manifest: Manifest) -> None:
    """A manifest goes, with its tags. The grace of the bytes that it named begins now."""
    _delete(session, org_id, [manifest.id])


def forget_version(session: Session, org_id: int, model_id: int, tag: str) -> None:
    """A version was deleted: its tag goes in every form, also the one with a `v` before it, with each manifest that no
    other tag leads to."""
    named = (ManifestTag.model_id == model_id, ManifestTag.name == tag)
    ids = list(session.scalars(select(ManifestTag.manifest_id).where(*named)))
    session.execute(delete(ManifestTag).where(*named), execution_options=_QUIETLY)
    spelled = (ManifestTag.model_id == model_id, ManifestTag.name == f"v{tag}", ManifestTag.manifest_id.in_(ids))
    session.execute(delete(ManifestTag).where(*spelled), execution_options=_QUIETLY)
    tagged = exists().where(ManifestTag.manifest_id == Manifest.id)
    _delete(session, org_id, list(session.scalars(select(Manifest.id).where(Manifest.id.in_(ids), ~tagged))))


def delete_all(session: Session, org_id: int, model_id: int) -> None:
    """A model goes: all its manifests do, with their tags."""
    _delete(session, org_id, list(session.scalars(select(Manifest.id).where(Manifest.model_id == model_id))))


def _delete(session: Session, org_id: int, manifest_ids: Collection[int]) -> None:
    named = select(ManifestBlob.blob_id).where(ManifestBlob.manifest_id.in_(manifest_ids))
    held = (OrgBlob.org_id == org_id, OrgBlob.blob_id.in_(named))
    session.execute(update(OrgBlob).where(*held).values(touched_at=utc_now()), execution_options=_QUIETLY)
    for table, column in ((ManifestTag, ManifestTag.manifest_id), (ManifestBlob, ManifestBlob.manifest_id)):
        session.execute(delete(table).where(column.in_(manifest_ids)), execution_options=_QUIETLY)
    session.execute(delete(Manifest).where(Manifest.id.in_(manifest_ids)), execution_options=_QUIETLY)


def has_any(session: Session, model: Model) -> bool:
    """Whether anything was pushed to a model's repository, or made for it."""
    return session.scalar(select(Manifest.id).where(Manifest.model_id == model.id).limit(1)) is not None
