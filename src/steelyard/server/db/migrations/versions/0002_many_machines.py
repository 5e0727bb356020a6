"""Leased jobs, and uploads that go straight to the store"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _line(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("kind", _line(20), nullable=False),
        sa.Column("subject", _line(80), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_by", _line(32), nullable=True),
        sa.Column("attempts", _BIG, nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_jobs_kind_subject")),
    )
    op.create_index("ix_jobs_due", "jobs", ["run_at"])
    # Not by a batch: on SQLite that makes the table anew, and the parts of uploads go with the old one.
    op.add_column("uploads", sa.Column("handle", sa.Text(), nullable=True))
    op.add_column("uploads", sa.Column("checksums", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("uploads", "checksums")
    op.drop_column("uploads", "handle")
    op.drop_index("ix_jobs_due", "jobs")
    op.drop_table("jobs")
