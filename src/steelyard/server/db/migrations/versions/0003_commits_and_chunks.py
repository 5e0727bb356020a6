"""Commits, branches and tags of the Hub's clients; chunks of Xet's"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _line(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_commits()
    _create_chunks()
    # Not by batches: on SQLite those make tables anew, and what refers to the old ones goes with them.
    op.add_column("orgs", sa.Column("xet_generation", _BIG, server_default="0", nullable=False))
    op.add_column("org_blobs", sa.Column("git_sha1", _line(40), nullable=True))
    op.add_column("versions", sa.Column("commit_id", _BIG, nullable=True))
    op.create_index("ix_versions_commit_id", "versions", ["commit_id"])
    _commit_versions()


def _create_commits() -> None:
    op.create_table(
        "commits",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("model_id", _BIG, sa.ForeignKey("models.id", name="fk_commits_model_id"), nullable=False),
        sa.Column("sha", _line(40), nullable=False),
        sa.Column("tree_id", _BIG, sa.ForeignKey("trees.id", name="fk_commits_tree_id"), nullable=False),
        sa.Column("parent_id", _BIG, sa.ForeignKey("commits.id", name="fk_commits_parent_id"), nullable=True),
        sa.Column("is_draft", sa.Boolean(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", _line(140), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_commits"),
        sa.UniqueConstraint("model_id", "sha", name="uq_commits_model_id_sha"),
    )
    op.create_index("ix_commits_tree_id", "commits", ["tree_id"])
    op.create_index("ix_commits_parent_id", "commits", ["parent_id"])
    op.create_table(
        "branches",
        sa.Column("model_id", _BIG, sa.ForeignKey("models.id", name="fk_branches_model_id"), nullable=False),
        sa.Column("name", _line(250), nullable=False),
        sa.Column("commit_id", _BIG, sa.ForeignKey("commits.id", name="fk_branches_commit_id"), nullable=False),
        sa.Column("updated_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "name", name="pk_branches"),
    )
    op.create_index("ix_branches_commit_id", "branches", ["commit_id"])
    op.create_table(
        "tags",
        sa.Column("model_id", _BIG, sa.ForeignKey("models.id", name="fk_tags_model_id"), nullable=False),
        sa.Column("name", _line(250), nullable=False),
        sa.Column("commit_id", _BIG, sa.ForeignKey("commits.id", name="fk_tags_commit_id"), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "name", name="pk_tags"),
    )
    op.create_index("ix_tags_commit_id", "tags", ["commit_id"])


def _create_chunks() -> None:
    op.create_table(
        "xorbs",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("hash", _line(64), nullable=False),
        sa.Column("key", _line(80), nullable=True),
        sa.Column("blob_id", _BIG, sa.ForeignKey("blobs.id", name="fk_xorbs_blob_id"), nullable=True),
        sa.Column("blob_offset_bytes", _BIG, nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("raw_bytes", _BIG, nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_xorbs"),
        sa.UniqueConstraint("hash", name="uq_xorbs_hash"),
        sa.UniqueConstraint("key", name="uq_xorbs_key"),
    )
    op.create_index("ix_xorbs_blob_id", "xorbs", ["blob_id"])
    op.create_table(
        "org_xorbs",
        sa.Column("org_id", _BIG, sa.ForeignKey("orgs.id", name="fk_org_xorbs_org_id"), nullable=False),
        sa.Column(
            "xorb_id", _BIG, sa.ForeignKey("xorbs.id", name="fk_org_xorbs_xorb_id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("touched_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("org_id", "xorb_id", name="pk_org_xorbs"),
    )
    op.create_index("ix_org_xorbs_xorb_id", "org_xorbs", ["xorb_id"])
    op.create_table(
        "dedup_chunks",
        sa.Column("chunk_hash", _line(64), nullable=False),
        sa.Column(
            "xorb_id",
            _BIG,
            sa.ForeignKey("xorbs.id", name="fk_dedup_chunks_xorb_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("chunk_hash", "xorb_id", name="pk_dedup_chunks"),
    )
    op.create_index("ix_dedup_chunks_xorb_id", "dedup_chunks", ["xorb_id"])
    op.create_table(
        "recipes",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("blob_id", _BIG, sa.ForeignKey("blobs.id", name="fk_recipes_blob_id"), nullable=False),
        sa.Column("org_id", _BIG, sa.ForeignKey("orgs.id", name="fk_recipes_org_id"), nullable=True),
        sa.Column("file_hash", _line(64), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recipes"),
        sa.UniqueConstraint("blob_id", "org_id", name="uq_recipes_blob_id_org_id"),
    )
    op.create_index("ix_recipes_org_id_file_hash", "recipes", ["org_id", "file_hash"])
    op.create_table(
        "recipe_xorbs",
        sa.Column(
            "recipe_id",
            _BIG,
            sa.ForeignKey("recipes.id", name="fk_recipe_xorbs_recipe_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("xorb_id", _BIG, sa.ForeignKey("xorbs.id", name="fk_recipe_xorbs_xorb_id"), nullable=False),
        sa.PrimaryKeyConstraint("recipe_id", "xorb_id", name="pk_recipe_xorbs"),
    )
    op.create_index("ix_recipe_xorbs_xorb_id", "recipe_xorbs", ["xorb_id"])


# --- every version that is there gets a commit, as `core.publish` makes them: the same sha, whenever it was published


_MODELS = sa.table("models", *(sa.column(name) for name in ("id", "org_id", "name_key")), sa.column("created_at", _AT))
_ORGS = sa.table("orgs", sa.column("id"), sa.column("uuid"))
_VERSIONS = sa.table(
    "versions",
    *(sa.column(name) for name in ("id", "model_id", "version", "tree_id", "artifacts_hash", "summary")),
    sa.column("origin", sa.JSON()),
    sa.column("created_at", _AT),
)
_COMMITS = sa.table(
    "commits",
    *(sa.column(name) for name in ("id", "model_id", "sha", "tree_id", "parent_id")),
    sa.column("is_draft", sa.Boolean()),
    *(sa.column(name) for name in ("title", "message", "author")),
    sa.column("created_at", _AT),
)


def _commit_versions() -> None:
    """One line for each model, in the order of publishing; a commit gets its version's number."""
    connection = op.get_bind()
    models = sa.select(_MODELS, _ORGS.c.uuid).join_from(_MODELS, _ORGS, _ORGS.c.id == _MODELS.c.org_id)
    for model in connection.execute(models.order_by(_MODELS.c.id)).all():
        versions = sa.select(_VERSIONS).where(_VERSIONS.c.model_id == model.id).order_by(_VERSIONS.c.id)
        rows = list(_rows(model, connection.execute(versions).all()))
        if rows:
            connection.execute(_COMMITS.insert(), rows)
    op.execute("UPDATE versions SET commit_id = id")
    op.execute(
        "INSERT INTO branches (model_id, name, commit_id, updated_at) "
        "SELECT versions.model_id, 'main', versions.id, versions.created_at FROM versions WHERE versions.id IN "
        "(SELECT coalesce(models.latest_version_id, max(versions.id)) FROM models "
        "JOIN versions ON versions.model_id = models.id GROUP BY models.id)"
    )
    if connection.dialect.name == "postgresql":
        last = "(SELECT max(id) FROM commits)"
        op.execute(f"SELECT setval(pg_get_serial_sequence('commits', 'id'), coalesce({last}, 1), {last} IS NOT NULL)")


def _rows(model: Any, versions: Any) -> Iterator[dict[str, Any]]:
    identity = [model.uuid, model.name_key, _in_utc(model.created_at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")]
    parent_id = parent_sha = None
    for version in versions:
        title, message = f"Publish {version.version}", version.summary or ""
        author = (version.origin.get("registry") or {}).get("published_by") or ""
        said = ["version", *identity, parent_sha, version.artifacts_hash, title, message, author]
        sha = hashlib.sha1(json.dumps(said).encode(), usedforsecurity=False).hexdigest()
        yield {
            "id": version.id,
            "model_id": model.id,
            "sha": sha,
            "tree_id": version.tree_id,
            "parent_id": parent_id,
            "is_draft": False,
            "title": title,
            "message": message,
            "author": author,
            "created_at": version.created_at,
        }
        parent_id, parent_sha = version.id, sha


def _in_utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def downgrade() -> None:
    op.drop_index("ix_versions_commit_id", "versions")
    op.drop_column("versions", "commit_id")
    op.drop_column("org_blobs", "git_sha1")
    op.drop_column("orgs", "xet_generation")
    for table in ("recipe_xorbs", "recipes", "dedup_chunks", "org_xorbs", "xorbs", "tags", "branches", "commits"):
        op.drop_table(table)
    # What only drafts had: the release before would keep their bytes for ever.
    op.execute("DELETE FROM tree_blobs WHERE tree_id NOT IN (SELECT tree_id FROM versions)")
    op.execute("DELETE FROM trees WHERE id NOT IN (SELECT tree_id FROM versions)")
