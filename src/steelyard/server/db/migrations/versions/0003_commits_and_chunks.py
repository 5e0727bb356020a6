"""Commits, branches and tags of the Hub's clients; chunks of Xet's"""

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
    op.add_column("blobs", sa.Column("git_sha1", _line(40), nullable=True))
    op.add_column("versions", sa.Column("commit_id", _BIG, nullable=True))
    op.create_index("ix_versions_commit_id", "versions", ["commit_id"])


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
        sa.Column("blob_id", _BIG, sa.ForeignKey("blobs.id", name="fk_recipes_blob_id"), nullable=False),
        sa.Column("file_hash", _line(64), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("blob_id", name="pk_recipes"),
        sa.UniqueConstraint("file_hash", name="uq_recipes_file_hash"),
    )
    op.create_table(
        "recipe_xorbs",
        sa.Column(
            "blob_id",
            _BIG,
            sa.ForeignKey("recipes.blob_id", name="fk_recipe_xorbs_blob_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("xorb_id", _BIG, sa.ForeignKey("xorbs.id", name="fk_recipe_xorbs_xorb_id"), nullable=False),
        sa.PrimaryKeyConstraint("blob_id", "xorb_id", name="pk_recipe_xorbs"),
    )
    op.create_index("ix_recipe_xorbs_xorb_id", "recipe_xorbs", ["xorb_id"])


def downgrade() -> None:
    op.drop_index("ix_versions_commit_id", "versions")
    op.drop_column("versions", "commit_id")
    op.drop_column("blobs", "git_sha1")
    op.drop_column("orgs", "xet_generation")
    for table in ("recipe_xorbs", "recipes", "dedup_chunks", "org_xorbs", "xorbs", "tags", "branches", "commits"):
        op.drop_table(table)
