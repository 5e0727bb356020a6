"""Work that is done at least once, by whichever server leases it.

A row stands for the work until it is done. A server leases it for a while, extends the lease while it works, and ends
it; the lease of one that died runs out, and another server takes the work over. So two may be at it for a moment, and
whatever is done must bear that: who would undo something asks, in the transaction that does it, whether the lease is
still his. Leases are written in ordinary transactions, of which there is one at a time, so nobody leases a job twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import ClassVar

from sqlalchemy import ColumnElement, CursorResult, Update, and_, case, delete, func, or_, select, true, update
from sqlalchemy.orm import Session

from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import Job, utc_now

PROVE, CLEAN_UP, CHUNK, IMAGE, UNPACK = "prove", "gc", "chunk", "image", "unpack"
LONGEST_PAUSE_SECONDS = 60


class LeaseLost(Exception):
    """Somebody else has the work now: it was leased for too short a time, or not extended."""

    type: ClassVar[str] = "lease_lost"


class Stopped(Exception):
    """The server is about to end: whoever leases the job next begins anew."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How a kind of job stands: how many are `due` and nobody's, `running` under a lease, or to be done `later`."""

    kind: str
    due: int = 0
    running: int = 0
    later: int = 0
    oldest_due_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who leases, and for how long at a time."""

    id: str
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job. `mark` is this lease's own, so that it is not mistaken for a later one."""

    job_id: int
    kind: str
    subject: str
    mark: str
    attempts: int


def new_holder(lease_seconds: float) -> Holder:
    """A holder unlike all others: a server takes a new one each time that it starts."""
    return Holder(token_hex(8), lease_seconds)


def enqueue(session: Session, kind: str, subject: str = "", *, run_at: datetime | None = None) -> Job:
    """Have this done, at that time or as soon as somebody can. Once, however often it is asked for."""
    job = _find(session, kind, subject)
    if job is None:
        job = Job(kind=kind, subject=subject, run_at=run_at or utc_now())
        session.add(job)
        session.flush()
    return job


def enqueue_all(session: Session, kind: str, subjects: Sequence[str]) -> None:
    """Have this done of each of these, as soon as somebody can; of 500 at most."""
    waiting = set(session.scalars(select(Job.subject).where(Job.kind == kind, Job.subject.in_(subjects))))
    session.add_all(Job(kind=kind, subject=subject) for subject in subjects if subject not in waiting)


def forget(session: Session, kind: str) -> None:
    """Nobody has to do any of these."""
    session.execute(delete(Job).where(Job.kind == kind))


def schedule(session: Session, kind: str, run_at: datetime) -> None:
    """Have this done by that time at the latest: for what is done again and again."""
    job = enqueue(session, kind, run_at=run_at)
    job.run_at = min(job.run_at, run_at)


def take(session: Session, holder: Holder, kind: str, subject: str, *, forgotten: bool = False) -> Lease | None:
    """Enqueue and lease in one, due or not; None where it is leased.

    `forgotten` says that the holder knows of no lease of his own: one that is there is from a transaction whose end he
    never heard of, and he may have another.
    """
    job = enqueue(session, kind, subject)
    is_free = not _is_leased(job) or (forgotten and str(job.leased_by).startswith(holder.id))
    return _lease(job, holder) if is_free else None


def has_due(session: Session, kind: str) -> bool:
    """Whether there is something to claim. Only a look, so that idle servers write nothing."""
    return session.scalar(select(Job.id).where(*_due(kind)).limit(1)) is not None


def claim(session: Session, holder: Holder, kind: str, most: int) -> list[Lease]:
    """Lease what is due and nobody's, oldest first."""
    due = session.scalars(select(Job).where(*_due(kind)).order_by(Job.run_at, Job.id).limit(most))
    return [_lease(job, holder) for job in due]


def is_leased(session: Session, kind: str, subject: str) -> bool:
    """Whether somebody is at it."""
    job = _find(session, kind, subject)
    return job is not None and _is_leased(job)


def is_wanted(session: Session, kind: str, prefix: str) -> bool:
    """Whether there is something to do, or being done, of which the subject begins so."""
    begun = select(Job.id).where(Job.kind == kind, Job.subject.startswith(prefix, autoescape=True))
    return session.scalar(begun.limit(1)) is not None


def is_held(session: Session, lease: Lease) -> bool:
    """Whether the lease is still its holder's. One that ran out is, until somebody else leases the job."""
    return session.scalar(select(Job.id).where(*_held(lease))) is not None


def extend(session: Session, holder: Holder, leases: Collection[Lease]) -> None:
    """The holder lives. Leases that somebody else has by now stay his."""
    until = utc_now() + timedelta(seconds=holder.lease_seconds)
    for some in in_batches([lease.mark for lease in leases]):
        session.execute(update(Job).where(Job.leased_by.in_(some)).values(leased_until=until))


def finish(session: Session, lease: Lease) -> bool:
    """The work is done. False where the lease was lost: the job is then somebody else's, or done."""
    done: CursorResult[tuple[()]] = session.execute(delete(Job).where(*_held(lease)))  # type: ignore[assignment]
    return done.rowcount == 1


def do_again(session: Session, lease: Lease, run_at: datetime) -> None:
    """The work is done for this time."""
    session.execute(_give_up(lease).values(run_at=run_at, attempts=0, failure=None))


def postpone(session: Session, lease: Lease, failure: str) -> None:
    """The work failed: to be tried again after a pause that grows with every attempt."""
    pause = min(2 ** (lease.attempts - 1), LONGEST_PAUSE_SECONDS)
    session.execute(_give_up(lease).values(run_at=utc_now() + timedelta(seconds=pause), failure=failure))


def hand_back(session: Session, leases: Sequence[Lease]) -> None:
    """Nothing was begun of these: anybody may have them now."""
    for lease in leases:
        session.execute(_give_up(lease).values(attempts=lease.attempts - 1))


def forget_leases(session: Session, holder: Holder | None = None) -> None:
    """Nobody holds anything. For a server that knows itself to be alone, when it starts; with a `holder`, he holds
    nothing: for whoever takes the place of one that died."""
    his = Job.leased_by.startswith(holder.id, autoescape=True) if holder else true()
    session.execute(update(Job).where(his).values(leased_by=None, leased_until=None))


def list_backlogs(session: Session) -> list[Backlog]:
    """How each kind of which there are jobs stands now."""
    now = utc_now()
    leased, due = and_(Job.leased_until.is_not(None), Job.leased_until > now), Job.run_at <= now
    counted = select(
        Job.kind,
        func.sum(case((and_(due, ~leased), 1), else_=0)),
        func.sum(case((leased, 1), else_=0)),
        func.sum(case((and_(~due, ~leased), 1), else_=0)),
        func.min(case((and_(due, ~leased), Job.run_at))),
    ).group_by(Job.kind)
    return [
        Backlog(kind, due, running, later, (now - oldest).total_seconds() if oldest else 0.0)
        for kind, due, running, later, oldest in session.execute(counted)
    ]


def _find(session: Session, kind: str, subject: str) -> Job | None:
    return session.scalar(select(Job).where(Job.kind == kind, Job.subject == subject))


def _lease(job: Job, holder: Holder) -> Lease:
    job.leased_by = holder.id + token_hex(8)
    job.leased_until = utc_now() + timedelta(seconds=holder.lease_seconds)
    job.attempts += 1
    return Lease(job.id, job.kind, job.subject, job.leased_by, job.attempts)


def _is_leased(job: Job) -> bool:
    return job.leased_until is not None and job.leased_until > utc_now()


def _due(kind: str) -> tuple[ColumnElement[bool], ...]:
    now = utc_now()
    return (Job.kind == kind, Job.run_at <= now, or_(Job.leased_until.is_(None), Job.leased_until <= now))


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (Job.id == lease.job_id, Job.leased_by == lease.mark)


def _give_up(lease: Lease) -> Update:
    """Let go of the job, if it is still the holder's."""
    return update(Job).where(*_held(lease)).values(leased_by=None, leased_until=None)
