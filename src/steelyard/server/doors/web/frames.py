"""What stands around the pages of one model, and of one organisation: its name, where one is, and where else to go."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from steelyard.server.core import versions
from steelyard.server.core.access import Action, may
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Org, Version
from steelyard.server.doors.web.calls import WebCall
from steelyard.server.doors.web.pages import url_path


@dataclass(frozen=True, slots=True)
class ModelFrame:
    """`ref` is what the address says (`latest` where it says nothing), `version` what that leads to; `tab` is the page
    that is shown: `card`, `versions`, `files`, `lineage` or `settings`."""

    org: str
    name: str
    tab: str
    is_public: bool
    ref: str
    version: str | None
    is_yanked: bool
    may_manage: bool
    may_publish: bool

    @property
    def full_name(self) -> str:
        """`org/name`."""
        return f"{self.org}/{self.name}"

    def url(self, *segments: str, **query: str) -> str:
        """A page of this model."""
        return url_path(self.org, self.name, *segments, **query)

    @property
    def card_url(self) -> str:
        """The card of the version that is shown."""
        return self.url() if self.ref == "latest" else self.url("v", self.ref)


def frame_model(
    session: Session, call: WebCall, found: Found, tab: str, version: Version | None = None, ref: str = "latest"
) -> ModelFrame:
    """The frame of a page about this model; about its latest version where none is named."""
    shown = version or versions.find_latest(session, found)
    manages = (Action.DELETE, Action.YANK, Action.SET_VISIBILITY, Action.SET_ALIAS)
    return ModelFrame(
        org=found.org.slug,
        name=found.model.name,
        tab=tab,
        is_public=found.model.is_public,
        ref=ref,
        version=shown.version if shown else None,
        is_yanked=bool(shown and shown.yanked_at),
        may_manage=any(may(call.actor, action, found.org.id) for action in manages),
        may_publish=may(call.actor, Action.PUBLISH, found.org.id),
    )


@dataclass(frozen=True, slots=True)
class OrgFrame:
    """`tab` is the page that is shown: `models`, `members`, `service-accounts`, `audit` or `upload`."""

    slug: str
    name: str
    tab: str
    role: str | None
    may_see_members: bool
    may_manage: bool
    may_audit: bool
    may_publish: bool


def frame_org(call: WebCall, org: Org, tab: str) -> OrgFrame:
    """The frame of a page about this organisation."""
    actor = call.actor
    return OrgFrame(
        slug=org.slug,
        name=org.name,
        tab=tab,
        role=actor.role_in(org.id),
        may_see_members=may(actor, Action.READ_MEMBERS, org.id),
        may_manage=may(actor, Action.MANAGE_MEMBERS, org.id),
        may_audit=may(actor, Action.READ_AUDIT, org.id),
        may_publish=may(actor, Action.PUBLISH, org.id),
    )
