"""Repositories of container tools: manifests, tags, what is pushed to a repository, and uploads that end by a digest"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT = sa.DateTime(timezone=True)


def _line(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    _create_holdings()
    _create_manifests()
    op.create_table(
        "blob_uploads",
        sa.Column("id", _line(32), nullable=False),
        sa.Column("org_id", _BIG, sa.ForeignKey("orgs.id", name="fk_blob_uploads_org_id"), nullable=False),
        sa.Column("name_key", _line(96), nullable=False),
        sa.Column("principal", _line(50), nullable=False),
        sa.Column("stage_id", _line(32), nullable=False),
        sa.Column("received_bytes", _BIG, nullable=False),
        sa.Column("sha256", _line(64), nullable=True),
        sa.Column("sha512", _line(128), nullable=True),
        sa.Column("wants_sha512", sa.Boolean(), nullable=False),
        sa.Column("key", _line(80), nullable=True),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("touched_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blob_uploads"),
        sa.UniqueConstraint("stage_id", name="uq_blob_uploads_stage_id"),
    )
    op.create_index("ix_blob_uploads_org_id", "blob_uploads", ["org_id"])
    op.create_index("ix_blob_uploads_touched_at", "blob_uploads", ["touched_at"])


def _create_holdings() -> None:
    model, blob = "fk_repository_blobs_model_id", "fk_repository_blobs_blob_id"
    op.create_table(
        "repository_blobs",
        sa.Column("model_id", _BIG, sa.ForeignKey("models.id", name=model, ondelete="CASCADE"), nullable=False),
        sa.Column("blob_id", _BIG, sa.ForeignKey("blobs.id", name=blob), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "blob_id", name="pk_repository_blobs"),
    )
    op.create_index("ix_repository_blobs_blob_id", "repository_blobs", ["blob_id"])
    named = "fk_blob_digests_blob_id"
    op.create_table(
        "blob_digests",
        sa.Column("digest", _line(135), nullable=False),
        sa.Column("blob_id", _BIG, sa.ForeignKey("blobs.id", name=named, ondelete="CASCADE"), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_blob_digests"),
    )
    op.create_index("ix_blob_digests_blob_id", "blob_digests", ["blob_id"])


def _create_manifests() -> None:
    model, tagged = "fk_manifests_model_id", "fk_manifest_tags_model_id"
    op.create_table(
        "manifests",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("model_id", _BIG, sa.ForeignKey("models.id", name=model, ondelete="CASCADE"), nullable=False),
        sa.Column("digest", _line(135), nullable=False),
        sa.Column("media_type", _line(255), nullable=False),
        sa.Column("artifact_type", _line(255), nullable=True),
        sa.Column("subject", _line(135), nullable=True),
        sa.Column("annotations", sa.JSON(), nullable=True),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_manifests"),
        sa.UniqueConstraint("model_id", "digest", name="uq_manifests_model_id_digest"),
    )
    op.create_index("ix_manifests_subject", "manifests", ["model_id", "subject", "id"])
    op.create_index("ix_manifests_size", "manifests", ["model_id", "made", "size_bytes"])
    to = "fk_manifest_tags_manifest_id"
    op.create_table(
        "manifest_tags",
        sa.Column("model_id", _BIG, sa.ForeignKey("models.id", name=tagged, ondelete="CASCADE"), nullable=False),
        sa.Column("form", _line(10), nullable=False),
        sa.Column("name", _line(128), nullable=False),
        sa.Column("manifest_id", _BIG, sa.ForeignKey("manifests.id", name=to, ondelete="CASCADE"), nullable=False),
        sa.Column("updated_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "form", "name", name="pk_manifest_tags"),
    )
    op.create_index("ix_manifest_tags_manifest_id", "manifest_tags", ["manifest_id"])
    of, named = "fk_manifest_blobs_manifest_id", "fk_manifest_blobs_blob_id"
    op.create_table(
        "manifest_blobs",
        sa.Column("manifest_id", _BIG, sa.ForeignKey("manifests.id", name=of, ondelete="CASCADE"), nullable=False),
        sa.Column("digest", _line(135), nullable=False),
        sa.Column("blob_id", _BIG, sa.ForeignKey("blobs.id", name=named), nullable=True),
        sa.Column("tar_path", sa.Text(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("manifest_id", "digest", name="pk_manifest_blobs"),
    )
    op.create_index("ix_manifest_blobs_blob_id", "manifest_blobs", ["blob_id"])
    op.create_index("ix_manifest_blobs_digest", "manifest_blobs", ["digest"])


def downgrade() -> None:
    for table in (
        "blob_uploads",
        "manifest_blobs",
        "manifest_tags",
        "manifests",
        "blob_digests",
        "repository_blobs",
    ):
        op.drop_table(table)
