"""Xorbs that no file is made of any more, and that no client may build on either. `blobs` has the same of whole bytes.

A client that sent a xorb, or was told of one, builds on it for weeks without asking. So what no recipe needs stays for
a grace longer than that; and where it goes sooner, the clients of its organisation begin with empty caches.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.xet import chunks
from steelyard.server.db.tables import Garbage, OrgBlob, OrgXorb, Recipe, RecipeXorb, Xorb, utc_now


def list_unneeded(session: Session, until: datetime) -> list[int]:
    """Xorbs of which some organisation's link was not needed since that moment, or that have none. Only a look."""
    links = session.scalars(select(OrgXorb.xorb_id).where(_unneeded_link(until)))
    return sorted({*links, *session.scalars(select(Xorb.id).where(*_ORPHANED))})


def let_go(session: Session, some: Sequence[int], until: datetime) -> tuple[list[tuple[str, int]], bool]:
    """Let go of those of these that are unneeded still: the links, then the xorbs that nobody has any more.

    Answers `(hash, size_bytes)` of those with bytes of their own, whose keys are in `garbage`; and whether anything
    went, so that bytes may be unneeded by now that others stood over.
    """
    links = (OrgXorb.xorb_id.in_(some), _unneeded_link(until))
    gone = session.execute(select(OrgXorb.org_id, OrgXorb.xorb_id, OrgXorb.touched_at).where(*links)).all()
    session.execute(delete(OrgXorb).where(*links), execution_options={"synchronize_session": False})
    remembered = utc_now() - timedelta(seconds=chunks.CLIENTS_REMEMBER_SECONDS)
    chunks.empty_caches(session, {row.org_id for row in gone if row.touched_at > remembered})
    query = select(Xorb.id, Xorb.hash, Xorb.key, Xorb.size_bytes).where(Xorb.id.in_(some), *_ORPHANED)
    orphans = session.execute(query).all()
    session.execute(delete(Xorb).where(Xorb.id.in_([row.id for row in orphans])))
    stored = [row for row in orphans if row.key is not None]
    session.add_all(Garbage(key=row.key) for row in stored)
    return [(row.hash, row.size_bytes) for row in stored], bool(gone or orphans)


_ORPHANED = (~exists().where(OrgXorb.xorb_id == Xorb.id), ~exists().where(RecipeXorb.xorb_id == Xorb.id))


def _unneeded_link(until: datetime) -> ColumnElement[bool]:
    needed = exists().where(
        RecipeXorb.xorb_id == OrgXorb.xorb_id, Recipe.id == RecipeXorb.recipe_id, Recipe.org_id == OrgXorb.org_id
    )
    return (OrgXorb.touched_at <= until) & ~needed


Named = list[tuple[str, int]]
"""Names and sizes."""


def list_collectable(session: Session, blobs_until: datetime, xorbs_until: datetime) -> tuple[Named, Named]:
    """What a clean-up would let go: `(oid, size_bytes)` of blobs, and `(hash, size_bytes)` of xorbs.

    Each may keep the other: a file its xorbs, and a xorb the blob that it stands over.
    """
    going = blobs.list_collectable(session, blobs_until)
    xorbs = session.execute(select(Xorb.id, Xorb.hash, Xorb.key, Xorb.blob_id, Xorb.size_bytes)).all()
    users, told = _list_users(session, blobs_until), _list_told(session, blobs_until, xorbs_until)
    while True:
        kept = [row for row in xorbs if row.id in told or (users.get(row.id, set()) - {row.blob_id}) - going.keys()]
        built_on = {row.blob_id for row in kept} & going.keys()
        if not built_on:
            break
        for blob_id in built_on:
            del going[blob_id]
    stay = {row.id for row in kept}
    return list(going.values()), [(row.hash, row.size_bytes) for row in xorbs if row.key and row.id not in stay]


def _list_users(session: Session, blobs_until: datetime) -> dict[int, set[int]]:
    """Xorb -> the blobs that are made of it, still when links of blobs have gone."""
    users: dict[int, set[int]] = {}
    held = (OrgBlob.org_id == Recipe.org_id, OrgBlob.blob_id == Recipe.blob_id)
    stays = Recipe.org_id.is_(None) | exists().where(*held, ~blobs.unneeded_link(blobs_until))
    query = select(RecipeXorb.xorb_id, Recipe.blob_id).join(Recipe, Recipe.id == RecipeXorb.recipe_id).where(stays)
    for xorb_id, blob_id in session.execute(query):
        users.setdefault(xorb_id, set()).add(blob_id)
    return users


def _list_told(session: Session, blobs_until: datetime, xorbs_until: datetime) -> set[int]:
    """Xorbs that a client may build on when links of blobs have gone."""
    held = exists().where(
        RecipeXorb.xorb_id == OrgXorb.xorb_id,
        Recipe.id == RecipeXorb.recipe_id,
        Recipe.org_id == OrgXorb.org_id,
        OrgBlob.blob_id == Recipe.blob_id,
        OrgBlob.org_id == OrgXorb.org_id,
        ~blobs.unneeded_link(blobs_until),
    )
    return set(session.scalars(select(OrgXorb.xorb_id).where((OrgXorb.touched_at > xorbs_until) | held)))
