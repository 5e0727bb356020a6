"""The manifest behind a reference, in one statement: what every pull begins with.

It finds what is kept, and what it finds `tagging` would find, too. What is to be made yet, twins, and why something is
not there, only `tagging` knows.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Select, and_, bindparam, func, select
from sqlalchemy.orm import aliased

from steelyard.server.core.access import Actor, sees
from steelyard.server.core.manifests.rows import Form
from steelyard.server.core.manifests.tagging import LATEST
from steelyard.server.db.tables import Alias, Manifest, ManifestTag, Model, Org, Version
from steelyard.server.names import Digest, InvalidName, ModelName, OrgSlug, Tag
from steelyard.server.names import Version as SemVer


@dataclass(frozen=True, slots=True)
class Pulled:
    """A manifest to the byte, and the version that is taken by it, if one is."""

    digest: str
    media_type: str
    content: bytes
    version_uuid: str | None

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return len(self.content)


def find_pulled(connection: Connection, actor: Actor, slug: OrgSlug, name: ModelName, reference: str) -> Pulled | None:
    """The manifest that a digest or a tag leads to, if the caller may see it."""
    statement, named = _ask(reference)
    row = connection.execute(statement, {"slug": slug, "key": name.key, **named}).first()
    if row is None or not sees(actor, row.org_id, is_public=row.is_public):
        return None
    return Pulled(row.digest, row.media_type, row.content, row.uuid)


def _ask(reference: str) -> tuple[Select[int, bool, str, str, bytes, str | None], dict[str, str]]:
    """What to ask for a reference. Raises `InvalidName`."""
    if ":" in reference:
        return _BY_DIGEST, {"digest": Digest.parse(reference)}
    tag = Tag.parse(reference)
    if tag == LATEST:
        return _LATEST, {}
    try:
        return _BY_NUMBER, {"number": str(SemVer.parse_tag(tag)), "tag": tag}
    except InvalidName:
        return _BY_NAME, {"tag": tag}


_found = select(Model.org_id, Model.is_public, Manifest.digest, Manifest.media_type, Manifest.content, Version.uuid)
_found = _found.select_from(Model).join(Org, Org.id == Model.org_id)
_found = _found.where(Org.slug == bindparam("slug"), Model.name_key == bindparam("key"))
_of_version = and_(
    ManifestTag.model_id == Model.id,
    ManifestTag.form == Form.ARTIFACT.value,
    ManifestTag.name == func.replace(Version.version, "+", "_"),
)
_tagged = Manifest.id == ManifestTag.manifest_id
_kept = aliased(ManifestTag)

_BY_NUMBER = (
    _found.join(Version, and_(Version.model_id == Model.id, Version.version == bindparam("number")))
    .join(
        ManifestTag,
        and_(
            ManifestTag.model_id == Model.id,
            ManifestTag.form == Form.ARTIFACT.value,
            ManifestTag.name == bindparam("tag"),
        ),
    )
    .join(Manifest, _tagged)
)
_LATEST = _found.join(Version, Version.id == Model.latest_version_id).join(ManifestTag, _of_version)
_LATEST = _LATEST.join(Manifest, _tagged)
_BY_NAME = (  # what was pushed as a tag, or else an alias
    _found.outerjoin(
        _kept,
        and_(_kept.model_id == Model.id, _kept.form == Form.ARTIFACT.value, _kept.name == bindparam("tag")),
    )
    .outerjoin(Alias, and_(Alias.model_id == Model.id, Alias.alias == bindparam("tag"), _kept.manifest_id.is_(None)))
    .outerjoin(Version, Version.id == Alias.version_id)
    .outerjoin(ManifestTag, _of_version)
    .join(Manifest, Manifest.id == func.coalesce(_kept.manifest_id, ManifestTag.manifest_id))
)
_BY_DIGEST = (  # and a version whose tag leads there, if there is one
    _found.join(Manifest, and_(Manifest.model_id == Model.id, Manifest.digest == bindparam("digest")))
    .outerjoin(ManifestTag, _tagged)
    .outerjoin(
        Version,
        and_(Version.model_id == Model.id, Version.version == func.replace(ManifestTag.name, "_", "+")),
    )
    .order_by(Version.uuid.is_(None), ManifestTag.form, ManifestTag.name)
    .limit(1)
)
