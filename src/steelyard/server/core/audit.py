"""The audit trail: who did what, when, from where. Rows are added in the transaction that does the thing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor
from steelyard.server.db.tables import AuditEvent


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events to show: exact action, actor and target, and a half-open span of time."""

    action: str | None = None
    actor: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def record(
    session: Session, actor: Actor, action: str, target: str, *, org_id: int | None = None, **details: Any
) -> None:
    """Add an event. `action` is `noun.verb`; `target` names the thing as people name it."""
    session.add(
        AuditEvent(
            org_id=org_id,
            actor=actor.name,
            token_uuid=actor.token_uuid,
            action=action,
            target=target,
            details=details,
            address=actor.address,
            request_id=actor.request_id,
        )
    )


def list_events(
    session: Session, org_id: int, wanted: AuditFilter, *, limit: int, before_id: int | None
) -> list[AuditEvent]:
    """Events of an organisation, newest first; `before_id` goes on where the last page ended."""
    query = select(AuditEvent).where(AuditEvent.org_id == org_id).order_by(AuditEvent.id.desc()).limit(limit)
    for column, value in (
        (AuditEvent.action, wanted.action),
        (AuditEvent.actor, wanted.actor),
        (AuditEvent.target, wanted.target),
    ):
        query = query if value is None else query.where(column == value)
    if wanted.since is not None:
        query = query.where(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEvent.at < wanted.until)
    if before_id is not None:
        query = query.where(AuditEvent.id < before_id)
    return list(session.scalars(query))
