"""Tags of a repository: where one leads, what a push to one means, and what goes when one is deleted.

A tag is one of these, and one name leads to one thing:

- a version's number, in which `_` stands for `+`; with a `v` before it, too, unless that was pushed as a tag;
- `latest`, which is the latest version where there is one;
- an alias;
- any other name, kept as pushed: the rows of `manifest_tags` in the form `artifact`.

A number, `latest` or an alias followed by `-image` leads to the version's twin, which we make; nobody pushes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, undefer

from steelyard.server.core import aliases, versions
from steelyard.server.core.access import Action, Actor, allow
from steelyard.server.core.audit import record
from steelyard.server.core.manifests import rows
from steelyard.server.core.manifests.rows import Form, NewManifest
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Alias as AliasRow
from steelyard.server.db.tables import Manifest, ManifestTag, SpentVersion, Version
from steelyard.server.errors import Conflict, NotFound
from steelyard.server.names import IMAGE_SUFFIX, Alias, InvalidName
from steelyard.server.names import Version as SemVer

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a reference leads. One to a version whose manifest nobody asked for yet has none: it is to be made."""

    form: Form
    manifest: Manifest | None = None
    version: Version | None = None


def read_number(tag: str) -> SemVer | None:
    """The version's number that a tag is, be it with a `v` before it."""
    return _read_exact(tag.removeprefix("v"))


def _read_exact(tag: str) -> SemVer | None:
    try:
        return SemVer.parse_tag(tag)
    except InvalidName:
        return None


# --- where a reference leads. Each query brings the manifest's bytes along: pulls are what this is asked for most.


def resolve_tag(session: Session, found: Found, tag: str) -> Lead | None:
    """Where a tag leads, in one query for a number and for what was pushed under another name."""
    is_ours = tag == LATEST or _read_exact(tag) is not None
    kept = None if is_ours else _find_kept(session, found.model.id, tag)
    if kept is not None:
        return Lead(Form.ARTIFACT, kept, _find_spelled(session, found, tag, kept))
    lead = _resolve_version(session, found, tag, Form.ARTIFACT)
    if lead is None and is_ours:
        kept = _find_kept(session, found.model.id, tag)
        return Lead(Form.ARTIFACT, kept) if kept else None
    if lead is None and tag.endswith(IMAGE_SUFFIX):
        return _resolve_version(session, found, tag.removesuffix(IMAGE_SUFFIX), Form.IMAGE)
    return lead


def resolve_config(session: Session, found: Found, tag: str) -> Lead | None:
    """Where a tag leads in the native API's own dialect: to versions alone."""
    return _resolve_version(session, found, tag, Form.CONFIG)


def resolve_digest(session: Session, found: Found, digest: str) -> Lead | None:
    """The manifest of this digest, and the version whose it is."""
    query = select(Manifest).where(Manifest.model_id == found.model.id, Manifest.digest == digest)
    manifest = session.scalar(query.options(undefer(Manifest.content)))
    if manifest is None:
        return None
    for form, version in _versions_of(session, manifest):
        return Lead(form, manifest, version)
    return Lead(Form.ARTIFACT, manifest)


def _find_spelled(session: Session, found: Found, tag: str, kept: Manifest) -> Version | None:
    """The version that was pushed with a `v` before its number, where this is its manifest."""
    number = read_number(tag)
    lead = _find_lead(session, found.model.id, number, Form.ARTIFACT) if number else None
    is_its_own = lead is not None and lead.manifest is not None and lead.manifest.id == kept.id
    return lead.version if lead and is_its_own else None


def _find_kept(session: Session, model_id: int, tag: str) -> Manifest | None:
    query = select(Manifest).join(ManifestTag, ManifestTag.manifest_id == Manifest.id)
    query = query.where(ManifestTag.model_id == model_id, ManifestTag.form == Form.ARTIFACT, ManifestTag.name == tag)
    return session.scalar(query.options(undefer(Manifest.content)))


def _resolve_version(session: Session, found: Found, tag: str, form: Form) -> Lead | None:
    """The version that a number, `latest` or an alias names, with its manifest in this form where that is kept."""
    if tag == LATEST:
        version = versions.find_latest(session, found)
    elif exact := _read_exact(tag):
        return _find_lead(session, found.model.id, exact, form)
    else:
        version = aliases.find_version_of_alias(session, found.model.id, tag) if _may_be_alias(tag) else None
    if version is not None:
        return _find_lead(session, found.model.id, SemVer.parse(version.version), form)
    number = read_number(tag)
    return _find_lead(session, found.model.id, number, form) if number else None


def _find_lead(session: Session, model_id: int, number: SemVer, form: Form) -> Lead | None:
    tagged = and_(ManifestTag.model_id == model_id, ManifestTag.form == form, ManifestTag.name == number.tag)
    query = select(Version, Manifest).select_from(Version).outerjoin(ManifestTag, tagged)
    query = query.outerjoin(Manifest, Manifest.id == ManifestTag.manifest_id)
    query = query.where(Version.model_id == model_id, Version.version == str(number))
    row = session.execute(query.options(undefer(Manifest.content))).first()
    return Lead(form, row[1], row[0]) if row else None


def _may_be_alias(tag: str) -> bool:
    try:
        Alias.parse(tag)
    except InvalidName:
        return False
    return True


def _versions_of(session: Session, manifest: Manifest) -> Iterator[tuple[Form, Version]]:
    """The versions whose manifest this is, each with the form in which it is."""
    tags = select(ManifestTag.form, ManifestTag.name).where(ManifestTag.manifest_id == manifest.id)
    for form, name in session.execute(tags.order_by(ManifestTag.form, ManifestTag.name)).all():
        number = read_number(name)
        version = number and name == number.tag and versions.find_version(session, manifest.model_id, number)
        if version:
            yield Form(form), version


# --- what a push to a tag means


def keep_pushed(session: Session, actor: Actor, found: Found, new: NewManifest) -> Manifest:
    """Keep a manifest that was pushed, by its digest."""
    manifest = rows.keep_manifest(session, found.model.id, new)
    target = f"{found.full_name}@{new.digest}"
    record(session, actor, "manifest.push", target, org_id=found.org.id, media_type=new.media_type)
    return manifest


def point_tag(session: Session, actor: Actor, found: Found, tag: str, manifest: Manifest) -> None:
    """Have a tag lead to a manifest of the repository, from wherever it leads now; a version's manifest that is pushed
    to a name sets an alias. What the tag leads to already changes nothing.

    Raises `Conflict` for a tag that is a version's or ours, and what setting an alias does.
    """
    if _leads_there(session, found, tag, manifest):
        return
    _refuse_ours(session, found, tag)
    version = _find_published(session, manifest)
    if version is not None and _is_to_be_alias(session, found, tag):
        allow(actor, Action.SET_ALIAS, found.org.id)
        aliases.set_alias(session, actor, found, version, tag)
        return
    if aliases.find_version_of_alias(session, found.model.id, tag) is not None:
        raise Conflict(f"'{tag}' is an alias of a version of {found.full_name}, and leads to versions only.")
    rows.set_tag(session, found.model.id, Form.ARTIFACT, tag, manifest)
    record(session, actor, "tag.set", f"{found.full_name}:{tag}", org_id=found.org.id, digest=manifest.digest)


def _leads_there(session: Session, found: Found, tag: str, manifest: Manifest) -> bool:
    lead = resolve_tag(session, found, tag)
    return lead is not None and lead.manifest is not None and lead.manifest.id == manifest.id


def _refuse_ours(session: Session, found: Found, tag: str) -> None:
    """Raise `Conflict` for what only publishing sets: versions, `latest`, and the twins of versions."""
    full, number = f"{found.full_name}:{tag}", read_number(tag)
    if number is not None and versions.find_version(session, found.model.id, number):
        raise Conflict(f"{full} is published, and versions never change. Publish under a new number.")
    if number is not None and is_spent(session, found, number):
        raise Conflict(f"{full} was published and deleted; its number is spent. Use a new one.")
    if tag == LATEST and found.model.latest_version_id is not None:
        raise Conflict(f"{full} is the latest version by itself. Publish a higher number instead.")
    rest = tag.removesuffix(IMAGE_SUFFIX)
    if rest != tag and (rest == LATEST or read_number(rest) or _resolve_version(session, found, rest, Form.IMAGE)):
        raise Conflict(f"{full} is the image of '{rest}', which this server makes. Use a tag that ends otherwise.")


def is_spent(session: Session, found: Found, number: SemVer) -> bool:
    """Whether a version of this number was deleted: it is never given again."""
    return session.get(SpentVersion, (found.org.id, found.model.name_key, str(number))) is not None


def _find_published(session: Session, manifest: Manifest) -> Version | None:
    """The version whose manifest it is; the newest, where several numbers were pushed with the same bytes."""
    mine = (version for form, version in _versions_of(session, manifest) if form is Form.ARTIFACT)
    return max(mine, key=lambda version: version.id, default=None)


def _is_to_be_alias(session: Session, found: Found, tag: str) -> bool:
    """Whether a name may become an alias: one that was pushed as a tag stays one."""
    return _may_be_alias(tag) and rows.find_tagged(session, found.model.id, Form.ARTIFACT, tag) is None


# --- what goes


def delete_tag(session: Session, actor: Actor, found: Found, tag: str) -> None:
    """A tag goes: a number takes its version along, which is for owners, an alias or other tag leaves all else.

    Raises `NotFound`; `Conflict` for `latest` and twins, which go with their versions, and while an alias holds one.
    """
    lead = resolve_tag(session, found, tag)
    if lead is None:
        raise NotFound(f"'{found.full_name}' has no tag '{tag}'.")
    if lead.version is None:
        allow(actor, Action.PUBLISH, found.org.id)
        rows.remove_tag(session, found.model.id, Form.ARTIFACT, tag)
        record(session, actor, "tag.remove", f"{found.full_name}:{tag}", org_id=found.org.id)
    elif lead.form is Form.IMAGE or tag == LATEST:
        raise Conflict(f"'{tag}' goes with version {lead.version.version}. Delete that, by its number, or yank it.")
    elif _names_by_number(session, found, tag):
        allow(actor, Action.DELETE, found.org.id)
        versions.delete_version(session, actor, found, lead.version)
    else:
        allow(actor, Action.SET_ALIAS, found.org.id)
        aliases.remove_alias(session, actor, found, lead.version, tag)


def _names_by_number(session: Session, found: Found, tag: str) -> bool:
    """Whether a tag that leads to a version is its number, and not an alias."""
    return not _may_be_alias(tag) or aliases.find_version_of_alias(session, found.model.id, tag) is None


def delete_by_digest(session: Session, actor: Actor, found: Found, digest: str) -> None:
    """A manifest goes with all its tags, and each version whose manifest it is: all of it, or nothing. For owners.

    Raises `NotFound`; `Conflict` while an alias holds a version, and for what we make beside a version's manifest.
    """
    allow(actor, Action.DELETE, found.org.id)
    manifest = rows.find_manifest(session, found.model.id, digest)
    if manifest is None:
        raise NotFound(f"'{found.full_name}' has no manifest {digest}.")
    named = list(_versions_of(session, manifest))
    its_own = {version.id: version for form, version in named if form is Form.ARTIFACT}
    for _, version in named:
        if version.id not in its_own:
            raise Conflict(f"{digest} goes with version {version.version}. Delete that, by its number, or yank it.")
    for version in its_own.values():
        versions.delete_version(session, actor, found, version)
    rows.delete_manifest(session, found.org.id, manifest)
    record(session, actor, "manifest.delete", f"{found.full_name}@{digest}", org_id=found.org.id)


# --- what there is


def list_tags(session: Session, found: Found) -> list[str]:
    """All tags in the order of ASCII: versions, `latest`, aliases, and what was pushed under other names.

    No twins, which are as many again and need nobody's choice; and no yanked versions: tools take the highest that they
    are told of. Both answer whoever asks for them.
    """
    model_id = found.model.id
    numbers = session.execute(select(Version.version, Version.standing).where(Version.model_id == model_id)).all()
    shown: dict[str, bool] = {SemVer.parse(number).tag: standing > 0 for number, standing in numbers}
    tags = {*shown, *rows.list_tags(session, model_id)}
    tags = {tag for tag in tags if shown.get(tag.removeprefix("v"), True)}
    tags.update(session.scalars(select(AliasRow.alias).where(AliasRow.model_id == model_id)))
    if found.model.latest_version_id is not None:
        tags.add(LATEST)
    return sorted(tags)
