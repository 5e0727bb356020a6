"""Who did what in an organisation, when, and from where."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from steelyard.server.core import audit, orgs
from steelyard.server.core.access import Action
from steelyard.server.core.audit import AuditFilter
from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import AuditEvent
from steelyard.server.doors.web import fields
from steelyard.server.doors.web.calls import CallHere, WebRoute
from steelyard.server.doors.web.fields import OrgPath
from steelyard.server.doors.web.frames import frame_org
from steelyard.server.doors.web.pages import url_path

router = APIRouter(route_class=WebRoute)
ROWS_ON_A_PAGE = 50
_LONGEST_DETAIL = 500
_MOST_DETAILS = 20

Word = Annotated[str, Query(max_length=200, pattern=r"^[^\u0000]*$")]
Target = Annotated[str, Query(max_length=400, pattern=r"^[^\u0000]*$")]
MomentText = Annotated[str, Query(max_length=40)]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was done. `details` are (what, value), each as text."""

    at: datetime
    actor: str
    action: str
    target: str
    details: list[tuple[str, str]]
    address: str | None
    request_id: str | None


@router.get("/{org}/-/audit")
def show_audit(
    call: CallHere,
    org: OrgPath,
    action: Word = "",
    actor: Word = "",
    target: Target = "",
    since: MomentText = "",
    until: MomentText = "",
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,15}$")] = None,
) -> Response:
    """The audit trail, newest first, or what of it passes a filter."""
    asked = {"action": action.strip(), "actor": actor.strip(), "target": target.strip()}
    begins, ends = fields.moment(since, "Since"), fields.moment(until, "Until")
    exact = {name: value or None for name, value in asked.items()}
    wanted = AuditFilter(exact["action"], exact["actor"], exact["target"], begins, ends)
    with call.read(LimitedAction.SEARCH) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_AUDIT, org)
        before_id = int(cursor) if cursor else None
        found = audit.list_events(session, org_row.id, wanted, limit=ROWS_ON_A_PAGE + 1, before_id=before_id)
        frame = frame_org(call, org_row, "audit")
    shown = found[:ROWS_ON_A_PAGE]
    query = {**asked, "since": _rfc3339(begins), "until": _rfc3339(ends)}
    here = (org, "-", "audit")
    following = str(shown[-1].id) if len(found) > len(shown) else None
    return call.page(
        "audit.html",
        title=f"Audit trail of {org}",
        json_twin=url_path("api", "v1", "org", org, "audit", **query, limit=str(ROWS_ON_A_PAGE), cursor=cursor),
        org=frame,
        asked={**asked, "since": _field(begins), "until": _field(ends)},
        is_filtered=any(query.values()),
        events=[_event(row) for row in shown],
        following=url_path(*here, **query, cursor=following) if following else None,
        first=url_path(*here, **query) if cursor else None,
    )


def _rfc3339(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None


def _field(at: datetime | None) -> str:
    """As the browser's field for a moment has it, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") if at else ""


def _event(row: AuditEvent) -> Event:
    told = [(name, value) for name, value in (row.details or {}).items() if value is not None]
    details = [(name, _said(value)) for name, value in told[:_MOST_DETAILS]]
    return Event(row.at, row.actor, row.action, row.target, details, row.address, row.request_id)


def _said(value: object) -> str:
    """A detail in words: some are what a caller sent, a reason or a list of keys."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_DETAIL else text[:_LONGEST_DETAIL] + "…"
