"""Downloads: who asked for which version, and how often a version was taken.

Asking for a whole version writes an activity row at once. Counting is gathered in memory and written within seconds, so
that serving a file costs no write: one per version, caller and hour.
"""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor, visible_to
from steelyard.server.core.models import Found
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Download, DownloadHit, Model, Org, Token, Version, utc_now
from steelyard.server.errors import NotFound

HOUR_SECONDS = 3600
_DAY_HOURS = 24
_EPOCH = date(1970, 1, 1)
MOST_DAYS = 365


@dataclass(frozen=True, slots=True)
class ActivityFilter:
    """Which downloads to show."""

    user_uuid: str | None = None
    model_name: str | None = None


def start_download(session: Session, actor: Actor, found: Found, version: Version) -> Download:
    """Note that the caller asks for a whole version. It is ready at once: the tar is written while it is sent."""
    now = utc_now()
    download = Download(
        org_id=found.org.id,
        version_id=version.id,
        model_name=found.model.name,
        model_version=version.version,
        format="tar",
        status="ready",
        principal=actor.principal,
        user_uuid=actor.user_uuid,
        file_size_bytes=version.size_bytes,
        created_at=now,
        completed_at=now,
    )
    session.add(download)
    session.flush()
    return download


def get_download(session: Session, actor: Actor, slug: str, download_uuid: str) -> tuple[Download, Version | None]:
    """A download that the caller began himself, and its version if that is still there; raises `NotFound`."""
    query = (
        select(Download).join(Org, Org.id == Download.org_id).where(Org.slug == slug, Download.uuid == download_uuid)
    )
    download = session.scalar(query.where(Download.principal == actor.principal))
    version = session.get(Version, download.version_id) if download and download.version_id else None
    if download is None or _is_beyond(session, actor, download, version):
        raise NotFound("You began no such download here. `POST …/download` begins one.")
    return download, version


def _is_beyond(session: Session, actor: Actor, download: Download, version: Version | None) -> bool:
    """Whether the caller's token is narrowed to another organisation, and may not see what a wider one of his did."""
    if actor.narrowed_to_org_id in (None, download.org_id):
        return False
    model_id = version.model_id if version else None
    return session.scalar(select(Model.id).where(Model.id == model_id, visible_to(actor))) is None


def list_activity(
    session: Session, org_id: int, wanted: ActivityFilter, *, limit: int, offset: int
) -> tuple[list[Download], int]:
    """Downloads of an organisation's models, newest first, and how many there are in all."""
    conditions = [Download.org_id == org_id]
    if wanted.user_uuid is not None:
        conditions.append(Download.user_uuid == wanted.user_uuid)
    if wanted.model_name is not None:
        conditions.append(func.lower(Download.model_name) == wanted.model_name.rpartition("/")[2].lower())
    total = session.scalar(select(func.count()).select_from(Download).where(*conditions)) or 0
    rows = session.scalars(select(Download).where(*conditions).order_by(Download.id.desc()).offset(offset).limit(limit))
    return list(rows), total


@dataclass(frozen=True, slots=True)
class Day:
    """How often the versions of a model were taken on one day, in UTC."""

    day: date
    downloads: int


def count_downloads(session: Session, found: Found) -> int:
    """How often the versions that a model has were ever taken."""
    total = select(func.coalesce(func.sum(Version.download_count), 0)).where(Version.model_id == found.model.id)
    return int(session.scalar(total) or 0)


def list_days(session: Session, found: Found, *, days: int, today: date | None = None) -> list[Day]:
    """The downloads of a model on each of so many days, at most 365, up to and with today: those of the versions that
    it has now."""
    last = today or datetime.now(UTC).date()
    first = last - timedelta(days=min(days, MOST_DAYS) - 1)
    number = DownloadHit.hour // _DAY_HOURS
    query = (
        select(number, func.count())
        .join(Version, Version.id == DownloadHit.version_id)
        .where(Version.model_id == found.model.id, DownloadHit.hour >= (first - _EPOCH).days * _DAY_HOURS)
        .group_by(number)
    )
    counted = {_EPOCH + timedelta(days=int(day)): count for day, count in session.execute(query)}
    some = (first + timedelta(days=place) for place in range((last - first).days + 1))
    return [Day(day, counted.get(day, 0)) for day in some]


@dataclass(frozen=True, slots=True)
class _Hit:
    """By the version's UUID: the number of a deleted one may be given again before this is written down."""

    version_uuid: str
    principal: str
    hour: int


class Usage:
    """What was taken and by which token, since it was last written down. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hits: set[_Hit] = set()
        self._tokens: dict[str, datetime] = {}

    def note_download(self, version: Version, actor: Actor) -> None:
        """Count a version as taken by this caller in this hour; an anonymous one is told by his address."""
        self.note_download_of(version.uuid, actor)

    def note_download_of(self, version_uuid: str, actor: Actor) -> None:
        """The same, for who knows no more of the version."""
        principal = f"address:{actor.address}" if actor.is_anonymous else actor.principal
        with self._lock:
            self._hits.add(_Hit(version_uuid, principal, int(time.time()) // HOUR_SECONDS))

    def note_token(self, token_uuid: str) -> None:
        """Remember when a token was used last."""
        with self._lock:
            self._tokens[token_uuid] = utc_now()

    def write_down(self, database: Database) -> None:
        """One short transaction with all that was noted; what could not be written is kept for the next time."""
        with self._lock:
            hits, tokens, self._hits, self._tokens = self._hits, self._tokens, set(), {}
        if not hits and not tokens:
            return
        try:
            with database.write() as session:
                for hit in hits:
                    _count(session, hit)
                for uuid, at in tokens.items():
                    session.execute(update(Token).where(Token.uuid == uuid).values(last_used_at=at))
        except Exception:
            with self._lock:
                self._hits |= hits
                self._tokens = {**tokens, **self._tokens}
            raise


def _count(session: Session, hit: _Hit) -> None:
    version_id = session.scalar(select(Version.id).where(Version.uuid == hit.version_uuid))
    if version_id is None or session.get(DownloadHit, (version_id, hit.principal, hit.hour)) is not None:
        return  # deleted meanwhile, or counted already
    session.add(DownloadHit(version_id=version_id, principal=hit.principal, hour=hit.hour))
    session.execute(update(Version).where(Version.id == version_id).values(download_count=Version.download_count + 1))
