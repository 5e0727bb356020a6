"""Models that were made from each other, published without a request; and what a caller sees of them."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from steelyard.server.context import Registry
from steelyard.server.core import models, versions
from steelyard.server.core.access import Actor, Role
from steelyard.server.core.lineage import descent
from steelyard.server.core.lineage.descent import Lineage, Node
from steelyard.server.core.lineage.sharing import Sharing, get_sharing
from steelyard.server.core.models import Found
from steelyard.server.core.publish import Description, NewVersion, publish
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Model, Org, OrgBlob, Version
from steelyard.server.names import ModelName
from steelyard.server.names import Version as SemVer
from tests.house import Registered

STRANGER = Actor("user:eve", "eve", token_uuid="eve")


class Families:
    """A registry, and in it the organisations that are named in what is published."""

    def __init__(self, registered: Registered) -> None:
        registry: Registry = registered.client.app.state.registry  # type: ignore[attr-defined]
        self.database: Database = registry.database

    def member(self, *slugs: str) -> Actor:
        """Somebody in these organisations, which are made if need be."""
        with self.database.write() as session:
            roles = dict.fromkeys([self._org(session, slug).id for slug in slugs], Role.OWNER)
        return Actor("user:ada", "ada", roles, user_id=None, token_uuid="ada")

    def publish(
        self,
        ref: str,
        *parents: str | Mapping[str, Any],
        base: str | None = None,
        files: Mapping[str, int] | None = None,
        public: bool = True,
        by: Actor | None = None,
        **origin: Any,
    ) -> None:
        """Publish `org/name:version`, made from these. A file is of as many bytes as is said here, and the same as
        others of its size and last name. Its publisher sees every model there is, unless it is `by` somebody."""
        full, _, number = ref.partition(":")
        slug, _, name = full.partition("/")
        derived = [{"name": parent} if isinstance(parent, str) else dict(parent) for parent in parents]
        said = {**origin, **({"derived_from": derived} if derived else {})}
        with self.database.write() as session:
            org = self._org(session, slug)
            artifacts = {path: self._hold(session, org, path, size) for path, size in (files or {"a.bin": 1}).items()}
            everywhere = dict.fromkeys(session.scalars(select(Org.id)), Role.OWNER)
            actor = by or Actor("user:all", "all", everywhere, token_uuid="all")
            new = NewVersion(
                artifacts, SemVer.parse(number), description=Description(base_model=base), origin=said, is_public=public
            )
            publish(session, actor, org, ModelName.parse(name), new)

    def delete(self, ref: str) -> None:
        """A version, or a whole model."""
        full, _, number = ref.partition(":")
        with self.database.write() as session:
            found = self._found(session, full)
            actor = Actor("user:all", "all", {found.org.id: Role.OWNER}, token_uuid="all")
            if number:
                version = versions.get_exact(session, found, SemVer.parse(number))
                versions.delete_version(session, actor, found, version)
            else:
                models.delete_model(session, actor, found)

    # --- what is seen

    def lineage(self, ref: str, actor: Actor = STRANGER) -> Lineage:
        with self.database.read() as session:
            found, version = self._version(session, ref)
            return descent.get_lineage(session, actor, found, version)

    def edges(self, ref: str, actor: Actor = STRANGER) -> set[str]:
        """The edges in words: `a/x:1.0.0 <- a/base (finetune)`."""
        return edges_of(self.lineage(ref, actor))

    def sharing(self, ref: str, actor: Actor = STRANGER) -> Sharing:
        with self.database.read() as session:
            _, version = self._version(session, ref)
            return get_sharing(session, actor, version)

    def sharers(self, ref: str, actor: Actor = STRANGER) -> list[tuple[str, int]]:
        """Who has how many of the bytes."""
        shared = self.sharing(ref, actor).sharers
        return [(f"{it.found.full_name}:{it.version.version}", it.shared_bytes) for it in shared]

    # --- rows

    def _version(self, session: Session, ref: str) -> tuple[Found, Version]:
        full, _, number = ref.partition(":")
        found = self._found(session, full)
        return found, versions.get_exact(session, found, SemVer.parse(number))

    def _found(self, session: Session, full: str) -> Found:
        slug, _, name = full.partition("/")
        query = (
            select(Model, Org).join(Org, Org.id == Model.org_id).where(Org.slug == slug, Model.name_key == name.lower())
        )
        return Found(*session.execute(query).one())

    def _org(self, session: Session, slug: str) -> Org:
        org = session.scalar(select(Org).where(Org.slug == slug))
        if org is None:
            org = Org(slug=slug, name=slug)
            session.add(org)
            session.flush()
        return org

    def _hold(self, session: Session, org: Org, path: str, size_bytes: int) -> str:
        """The OID of a file that the organisation then holds."""
        digest = hashlib.sha256(f"{path.rpartition('/')[2]} {size_bytes}".encode()).hexdigest()
        oid = f"sha256:{digest}"
        blob_id = session.scalar(select(Blob.id).where(Blob.oid == oid))
        if blob_id is None:
            blob = Blob(oid=oid, size_bytes=size_bytes, key=f"{digest}.00000000")
            session.add(blob)
            session.flush()
            blob_id = blob.id
        if session.get(OrgBlob, (org.id, blob_id)) is None:
            session.execute(insert(OrgBlob).values(org_id=org.id, blob_id=blob_id))
        return oid


def edges_of(lineage: Lineage) -> set[str]:
    """The edges in words."""
    nodes = [name_of(node) for node in lineage.nodes]
    return {f"{nodes[edge.child]} <- {nodes[edge.parent]} ({edge.relation or edge.kind})" for edge in lineage.edges}


def name_of(node: Node) -> str:
    """`org/name:version`, and `?` behind what is elsewhere."""
    return node.name + (f":{node.version}" if node.version else "") + ("?" if node.kind == "elsewhere" else "")


def names_of(nodes: Iterable[Node]) -> set[str]:
    return {name_of(node) for node in nodes}
