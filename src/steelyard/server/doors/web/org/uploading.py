"""Publishing a small model from a browser, without a client: a form with files, which works without a script."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from steelyard.server.core import blobs, models, orgs
from steelyard.server.core.access import Action
from steelyard.server.core.files import cards, reading
from steelyard.server.core.files.cards import Card
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import ModelFilter
from steelyard.server.core.publish import NewVersion, Published
from steelyard.server.db.tables import Org
from steelyard.server.doors.publishing import publish_new
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute, invalid
from steelyard.server.doors.web.fields import LONGEST_LABEL, OrgPath, checked_text, parsed
from steelyard.server.doors.web.frames import frame_org
from steelyard.server.doors.web.org.receiving_files import MOST_BYTES, MOST_FILES, Intake
from steelyard.server.doors.web.pages import url_path
from steelyard.server.errors import Fault
from steelyard.server.names import ModelName, OrgSlug, check_artifact_paths
from steelyard.server.names import Version as SemVer

_MOST_SUGGESTED = 200
_LONGEST_SUMMARY = 2_000
_FIRST = "1.0.0"


class UploadRoute(WebRoute):
    """A page whose form is read by its handler, as it arrives. Its ticket stands in the address: it is looked at
    before any of the body is."""

    async def read_form(self, request: Request) -> Mapping[str, list[str]]:
        """Nothing yet."""
        return {}


router = APIRouter(route_class=UploadRoute)
Given = Annotated[str, Query(max_length=2_000, pattern=r"^[^\u0000]*$")]


@dataclass(frozen=True, slots=True)
class Suggested:
    """A model of the organisation, and the version that would come next."""

    name: str
    following: str


@router.get("/{org}/-/upload")
def show_upload(
    call: CallHere,
    org: OrgPath,
    name: Given = "",
    version: Given = "",
    summary: Given = "",
    license: Given = "",  # noqa: A002 - the field's name
) -> Response:
    """The form, filled in as far as the address says."""
    with call.read(LimitedAction.SEARCH) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.PUBLISH, org)
        suggested = _suggested(session, call, org)
        frame = frame_org(call, org_row, "upload")
    following = next((one.following for one in suggested if one.name == name), _FIRST if name else "")
    return call.page(
        "upload.html",
        title=f"Upload to {org}",
        json_twin=url_path("api", "v1", "org", org, "models"),
        org=frame,
        suggested=suggested,
        given={"name": name, "version": version or following, "summary": summary, "license": license},
        most_bytes=min(MOST_BYTES, call.registry.settings.max_file_bytes or MOST_BYTES),
        most_files=MOST_FILES,
    )


def _suggested(session: Session, call: WebCall, slug: str) -> list[Suggested]:
    page = models.list_models(
        session, call.actor, slug, ModelFilter(), sort_by="name", descending=False, page=1, limit=_MOST_SUGGESTED
    )
    return [Suggested(row.model.name, str(SemVer.parse(row.latest.version).bump("patch"))) for row in page.rows]


@router.post("/{org}/-/upload")
async def upload_model(call: CallHere, org: OrgPath) -> Response:
    """Take the files, and publish them as a version: whole or not at all."""
    intake = Intake(call, await run_in_threadpool(_get_org, call, org))
    await intake.receive()
    published = await call.at_the_store(_publish, call, org, intake)
    full = f"{published.found.full_name}:{published.version.version}"
    notice = f"{full} is published." if published.created else f"{full} was there already, the same."
    return call.go(url_path(org, published.found.model.name, "v", published.version.version), notice=notice)


def _get_org(call: WebCall, slug: OrgSlug) -> Org:
    """Whose the model is to be, before anything is read for it. Raises `Forbidden`."""
    with call.read() as session:
        return orgs.get_org_to(session, call.actor, Action.PUBLISH, slug)


def _publish(call: WebCall, slug: OrgSlug, intake: Intake) -> Published:
    call.take(LimitedAction.PUBLISH)
    name = parsed("model name", ModelName.parse, intake.text("name"))
    number = parsed("version", SemVer.parse, intake.text("version"))
    if not intake.files:
        raise invalid("Files", "choose one at least. Nothing was published.")
    card = _read_card(call, intake.files)
    summary = checked_text(intake.text("summary"), "Summary", most=_LONGEST_SUMMARY)
    license_ = checked_text(intake.text("license"), "Licence", most=LONGEST_LABEL)
    said = card.description
    new = NewVersion(
        artifacts=intake.files,
        number=number,
        description=replace(said, summary=summary or said.summary, license=license_ or said.license),
        metrics=card.metrics,
        via="web",
    )
    faults = [
        Fault(("body", path), message, "invalid_path") for path, message in check_artifact_paths(list(intake.files))
    ]
    return publish_new(call, slug, name, new, faults)


def _read_card(call: WebCall, files: Mapping[str, str]) -> Card:
    """What the model's README says of it in its front matter. Raises `Invalid` where that cannot be read."""
    oid = files.get(cards.README_NAME)
    if oid is None:
        return Card()
    with call.registry.database.read() as session:
        key = blobs.find_keys(session, [oid])[oid]
    with reading.open_key(call.registry.store, key) as readme:
        return cards.read_card(readme.read(0, cards.MOST_README_BYTES))
