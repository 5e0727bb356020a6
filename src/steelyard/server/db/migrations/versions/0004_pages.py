"""What the web pages need: sessions of browsers, identities, lineage to be read downwards, what lists show and sort by"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "browser_sessions",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("uuid", sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql"), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("former_sha256", sa.LargeBinary(32), nullable=True),
        sa.Column("former_until", _AT, nullable=True),
        sa.Column("user_id", _BIG, sa.ForeignKey("users.id", name="fk_browser_sessions_user_id"), nullable=False),
        sa.Column("token_id", _BIG, sa.ForeignKey("tokens.id", name="fk_browser_sessions_token_id"), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("rotated_at", _AT, nullable=False),
        sa.Column("used_at", _AT, nullable=False),
        sa.Column("expires_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_browser_sessions"),
        sa.UniqueConstraint("uuid", name="uq_browser_sessions_uuid"),
        sa.UniqueConstraint("secret_sha256", name="uq_browser_sessions_secret_sha256"),
    )
    op.create_index("ix_browser_sessions_former_sha256", "browser_sessions", ["former_sha256"])
    op.create_index("ix_browser_sessions_user_id", "browser_sessions", ["user_id"])
    op.create_index("ix_browser_sessions_token_id", "browser_sessions", ["token_id"])
    op.create_table(
        "identities",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("uuid", sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql"), nullable=False),
        sa.Column("issuer", sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql"), nullable=False),
        sa.Column("subject", sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql"), nullable=False),
        sa.Column("user_id", _BIG, sa.ForeignKey("users.id", name="fk_identities_user_id"), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("uuid", name="uq_identities_uuid"),
        sa.UniqueConstraint("issuer", "subject", name="uq_identities_issuer_subject"),
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"])
    op.add_column("tokens", sa.Column("identity_id", _BIG, nullable=True))
    op.add_column("versions", sa.Column("parameter_count", _BIG, nullable=True))
    op.create_index("ix_versions_downloads", "versions", ["model_id", "download_count"])
    op.create_index("ix_download_hits_hour", "download_hits", ["version_id", "hour"])
    _create_parents()
    _note_parents()


# --- what was made from a model: found so far only from the side of what was made


def _create_parents() -> None:
    number = sa.String(120).with_variant(sa.String(120, collation="C"), "postgresql")
    made, model = "fk_version_parents_version_id", "fk_version_parents_parent_model_id"
    op.create_table(
        "version_parents",
        sa.Column("version_id", _BIG, sa.ForeignKey("versions.id", name=made, ondelete="CASCADE"), nullable=False),
        sa.Column("parent_model_id", _BIG, sa.ForeignKey("models.id", name=model, ondelete="CASCADE"), nullable=False),
        sa.Column("parent_version", number, nullable=False),
        sa.PrimaryKeyConstraint("version_id", "parent_model_id", "parent_version", name="pk_version_parents"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_version_parents_parent", "version_parents", ["parent_model_id", "parent_version", "version_id"])


_VERSIONS = sa.table(
    "versions",
    *(sa.column(name) for name in ("id", "model_id", "base_model")),
    sa.column("origin", sa.JSON()),
    sa.column("parents", sa.JSON()),
)
_MODELS = sa.table("models", *(sa.column(name) for name in ("id", "org_id", "name_key")))
_ORGS = sa.table("orgs", sa.column("id"), sa.column("slug"))
_PARENTS = sa.table(
    "version_parents", *(sa.column(name) for name in ("version_id", "parent_model_id", "parent_version"))
)
_ROWS_AT_ONCE = 200
_NUMBER = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII)


def _note_parents() -> None:
    """For every version that is there, as `core.publish` does for new ones."""
    connection, after = op.get_bind(), 0
    some = sa.select(_VERSIONS).where(sa.cast(_VERSIONS.c.parents, sa.Text()) != "[]").order_by(_VERSIONS.c.id)
    while versions := connection.execute(some.where(_VERSIONS.c.id > after).limit(_ROWS_AT_ONCE)).all():
        after = versions[-1].id
        names = _names_of({model_id for version in versions for _, model_id in version.parents})
        rows = [row for version in versions for row in _parents_of(version, names)]
        if rows:
            connection.execute(_PARENTS.insert(), rows)


def _names_of(model_ids: set[int]) -> Mapping[int, str]:
    """A number may be another model's by now: SQLite gives it again."""
    query = sa.select(_MODELS.c.id, _ORGS.c.slug, _MODELS.c.name_key).join(_ORGS, _ORGS.c.id == _MODELS.c.org_id)
    ids, names = sorted(model_ids), {}
    for first in range(0, len(ids), 500):
        found = op.get_bind().execute(query.where(_MODELS.c.id.in_(ids[first : first + 500])))
        names.update({row.id: f"{row.slug}/{row.name_key}" for row in found})
    return names


def _parents_of(version: Any, names: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    recorded = {name: model_id for name, model_id in version.parents if names.get(model_id) == name}
    found = {(recorded.get(name), number) for name, number in _said_of(version)}
    for model_id, number in sorted(pair for pair in found if pair[0] is not None):
        if number or model_id != version.model_id:
            yield {"version_id": version.id, "parent_model_id": model_id, "parent_version": number}


def _said_of(version: Any) -> Iterator[tuple[str, str]]:
    """`org/name` and the number of each parent that it names, in lower case; empty where it names no number."""
    listed = version.origin.get("derived_from")
    parents = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    said = [_named(parent.get("name"), parent.get("version")) for parent in parents]
    name, number = _named(version.base_model, None)
    if number or name not in dict(said):
        said.append((name, number))
    yield from said


def _named(text: Any, number: Any) -> tuple[str, str]:
    slug, _, rest = str(text or "").partition("/")
    bare = re.split("[:@]", rest, maxsplit=1)[0]
    numbers = [one for one in (number, rest[len(bare) + 1 :]) if isinstance(one, str) and _NUMBER.fullmatch(one)]
    return f"{slug}/{bare}".lower(), next((one for one in numbers if len(one) <= 120), "")


def downgrade() -> None:
    op.drop_table("version_parents")
    op.drop_index("ix_download_hits_hour", "download_hits")
    op.drop_index("ix_versions_downloads", "versions")
    op.drop_column("versions", "parameter_count")
    op.drop_column("tokens", "identity_id")
    op.drop_table("identities")
    op.drop_table("browser_sessions")
