"""Where tags lead, what a push to one means, and what goes when one is deleted, on either database."""

from dataclasses import dataclass

import pytest
from sqlalchemy import select

from steelyard.server.core import aliases, versions
from steelyard.server.core.access import Actor, Role
from steelyard.server.core.manifests import rows, tagging
from steelyard.server.core.manifests.rows import Form, NewManifest
from steelyard.server.core.models import Found
from steelyard.server.db.tables import AuditEvent, Manifest
from steelyard.server.errors import AlreadyExists, Conflict, Forbidden, NotFound
from steelyard.server.names import Digest
from tests.server.core.manifests.shelf import Shelf
from tests.server.doors.oci.pushing import IMAGE, digest_of


@dataclass
class Tags:
    """The tags of one model, as an owner and others of its organisation move them."""

    shelf: Shelf
    found: Found

    def actor(self, role: Role = Role.OWNER) -> Actor:
        return Actor("user:1", "ada", {self.found.org.id: role}, token_uuid="t")

    def push(self, content: bytes, *tags: str, role: Role = Role.CONTRIBUTOR) -> Manifest:
        """Keep a manifest and let tags lead to it."""
        new = NewManifest(Digest(digest_of(content)), IMAGE, content)
        with self.shelf.registry.database.write() as session:
            there = rows.find_manifest(session, self.found.model.id, new.digest)
            manifest = there or tagging.keep_pushed(session, self.actor(role), self.found, new)
            for tag in tags:
                tagging.point_tag(session, self.actor(role), self.found, tag, manifest)
        return manifest

    def alias(self, name: str, number: str) -> None:
        _, version = self.shelf.find(f"ada/Tiny:{number}")
        with self.shelf.registry.database.write() as session:
            aliases.set_alias(session, self.actor(), self.found, version, name)

    def lead(self, tag: str) -> tuple[Form, bytes | None, str | None] | None:
        """Form, the content that is kept, and the version's number."""
        with self.shelf.registry.database.read() as session:
            found = self.found
            session.add(found.model)
            session.refresh(found.model)
            lead = tagging.resolve_tag(session, found, tag)
            if lead is None:
                return None
            content = lead.manifest.content if lead.manifest else None
            return lead.form, content, lead.version.version if lead.version else None

    def listed(self) -> list[str]:
        with self.shelf.registry.database.read() as session:
            session.add(self.found.model)
            session.refresh(self.found.model)
            return tagging.list_tags(session, self.found)

    def delete(self, reference: str, role: Role = Role.OWNER) -> None:
        delete = tagging.delete_by_digest if ":" in reference else tagging.delete_tag
        with self.shelf.registry.database.write() as session:
            found = Found(session.merge(self.found.model), session.merge(self.found.org))
            delete(session, self.actor(role), found, reference)

    def actions(self) -> list[str]:
        with self.shelf.registry.database.read() as session:
            events = session.execute(select(AuditEvent.action, AuditEvent.target).order_by(AuditEvent.id))
            return [f"{action} {target}" for action, target in events if action.startswith(("tag.", "manifest."))]


@pytest.fixture
def tags(shelf: Shelf) -> Tags:
    """A model with the versions 1.0.0 and 2.0.0+cu12."""
    shelf.publish("ada/Tiny:1.0.0")
    found, _ = shelf.publish("ada/Tiny:2.0.0+cu12")
    return Tags(shelf, found)


def test_each_kind_of_tag_leads_to_its_own(tags: Tags) -> None:
    tags.alias("prod", "1.0.0")
    tags.push(b"an image", "plain")
    assert tags.lead("1.0.0") == (Form.ARTIFACT, None, "1.0.0")
    assert tags.lead("v1.0.0") == (Form.ARTIFACT, None, "1.0.0")
    assert tags.lead("2.0.0_cu12") == (Form.ARTIFACT, None, "2.0.0+cu12")
    assert tags.lead("latest") == (Form.ARTIFACT, None, "2.0.0+cu12")
    assert tags.lead("prod") == (Form.ARTIFACT, None, "1.0.0")
    assert tags.lead("plain") == (Form.ARTIFACT, b"an image", None)
    assert tags.lead("prod-image") == (Form.IMAGE, None, "1.0.0")
    assert tags.lead("latest-image") == (Form.IMAGE, None, "2.0.0+cu12")
    assert [tags.lead(tag) for tag in ("3.0.0", "plain-image", "Prod", "x" * 128)] == [None] * 4


def test_tags_are_listed_without_twins_and_yanked_versions(tags: Tags) -> None:
    tags.alias("prod", "1.0.0")
    tags.push(b"an image", "plain", "_first")
    assert tags.listed() == ["1.0.0", "2.0.0_cu12", "_first", "latest", "plain", "prod"]
    with tags.shelf.registry.database.write() as session:
        found = Found(session.merge(tags.found.model), session.merge(tags.found.org))
        yanked = versions.resolve(session, found, "2.0.0+cu12").version
        versions.yank(session, tags.actor(), found, yanked, "wrong")
    assert tags.listed() == ["1.0.0", "_first", "latest", "plain", "prod"]
    assert tags.lead("2.0.0_cu12") == (Form.ARTIFACT, None, "2.0.0+cu12")


@pytest.mark.parametrize(
    "tag", ["1.0.0", "v1.0.0", "latest", "1.0.0-image", "9.9.9-image", "latest-image", "prod-image"]
)
def test_what_publishing_sets_nobody_pushes_to(tags: Tags, tag: str) -> None:
    tags.alias("prod", "1.0.0")
    with pytest.raises(Conflict):
        tags.push(b"an image", tag)
    with tags.shelf.registry.database.read() as session:
        assert rows.find_tagged(session, tags.found.model.id, Form.ARTIFACT, tag) is None


def test_an_alias_leads_to_versions_only(tags: Tags) -> None:
    tags.alias("prod", "1.0.0")
    with pytest.raises(Conflict, match="'prod' is an alias"):
        tags.push(b"an image", "prod")


def test_a_versions_manifest_under_a_name_sets_an_alias(tags: Tags) -> None:
    first = tags.shelf.artifact(*tags.shelf.find("ada/Tiny:1.0.0"))
    second = tags.shelf.artifact(*tags.shelf.find("ada/Tiny:2.0.0+cu12"))
    tags.push(first.content, "prod")
    assert tags.lead("prod") == (Form.ARTIFACT, first.content, "1.0.0")
    tags.push(second.content, "prod", "latest", "2.0.0_cu12")
    assert tags.lead("prod") == (Form.ARTIFACT, second.content, "2.0.0+cu12")
    assert tags.actions() == []  # nothing but the alias moved


def test_a_plain_tag_stays_one_whatever_is_pushed_to_it(tags: Tags) -> None:
    tags.push(b"an image", "plain")
    first = tags.shelf.artifact(*tags.shelf.find("ada/Tiny:1.0.0"))
    tags.push(first.content, "plain")
    assert tags.lead("plain") == (Form.ARTIFACT, first.content, None)
    with pytest.raises(AlreadyExists):
        tags.alias("plain", "1.0.0")


def test_the_number_of_a_version_that_was_deleted_is_spent(tags: Tags) -> None:
    tags.delete("1.0.0")
    assert tags.lead("1.0.0") is None
    for tag in ("1.0.0", "v1.0.0"):
        with pytest.raises(Conflict, match="spent"):
            tags.push(b"an image", tag)


def test_a_deleted_tag_leaves_all_else(tags: Tags) -> None:
    manifest = tags.push(b"an image", "one", "two")
    tags.delete("one", Role.CONTRIBUTOR)
    assert (tags.lead("one"), tags.lead("two")) == (None, (Form.ARTIFACT, b"an image", None))
    tags.alias("prod", "1.0.0")
    tags.delete("prod", Role.CONTRIBUTOR)
    assert (tags.lead("prod"), tags.lead("1.0.0")) == (None, (Form.ARTIFACT, None, "1.0.0"))
    assert tags.actions() == [
        f"manifest.push ada/Tiny@{manifest.digest}",
        "tag.set ada/Tiny:one",
        "tag.set ada/Tiny:two",
        "tag.remove ada/Tiny:one",
    ]


def test_a_version_goes_by_its_number_for_owners_and_not_while_an_alias_holds_it(tags: Tags) -> None:
    tags.alias("prod", "1.0.0")
    with pytest.raises(Conflict, match="Move the alias first"):
        tags.delete("1.0.0")
    with pytest.raises(Forbidden):
        tags.delete("2.0.0_cu12", Role.CONTRIBUTOR)
    tags.delete("2.0.0_cu12")
    assert tags.listed() == ["1.0.0", "latest", "prod"]


@pytest.mark.parametrize("tag", ["latest", "1.0.0-image", "latest-image"])
def test_what_goes_with_a_version_is_not_deleted_alone(tags: Tags, tag: str) -> None:
    with pytest.raises(Conflict, match="goes with version"):
        tags.delete(tag)


def test_a_manifest_goes_with_its_tags_and_versions_or_not_at_all(tags: Tags) -> None:
    kept = tags.shelf.artifact(*tags.shelf.find("ada/Tiny:1.0.0"))
    tags.push(b"an image", "plain")
    tags.push(kept.content, "plain")
    tags.alias("prod", "1.0.0")
    with pytest.raises(Conflict):
        tags.delete(kept.digest)
    assert tags.lead("plain") == (Form.ARTIFACT, kept.content, None)
    tags.delete("prod")
    tags.delete(kept.digest)
    assert (tags.lead("plain"), tags.lead("1.0.0")) == (None, None)
    with pytest.raises(NotFound):
        tags.delete(kept.digest)


def test_the_manifest_beside_a_versions_is_not_deleted_alone(tags: Tags) -> None:
    beside = tags.shelf.native(*tags.shelf.find("ada/Tiny:1.0.0"))
    with pytest.raises(Conflict, match=r"goes with version 1\.0\.0"):
        tags.delete(beside.digest)


def test_only_owners_delete_manifests(tags: Tags) -> None:
    manifest = tags.push(b"an image", "plain")
    with pytest.raises(Forbidden):
        tags.delete(manifest.digest, Role.CONTRIBUTOR)
    assert tags.lead("plain") is not None
