"""How a request of Git LFS reaches a handler: which repository it is about, and by what right."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from steelyard.server.core import orgs
from steelyard.server.core.access import Action, Actor
from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import Org
from steelyard.server.doors.calls import ANONYMOUS, Call, CallRoute, TicketCallRoute, call_by
from steelyard.server.doors.credentials import read_secret
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.repos import Repo
from steelyard.server.errors import Forbidden, NotFound, RateLimited, Unauthenticated

MOST_BODY_BYTES = 2 * 2**20  # ten thousand parts, each with the store's name of it


class LfsRoute(CallRoute):
    """A route that an operator may open to callers without a token: it shows nothing but public models to them."""

    admits_anonymous: ClassVar[bool] = True

    def most_body_bytes(self, request: Request) -> int:
        """A thousand objects, or the parts of one."""
        return min(MOST_BODY_BYTES, super().most_body_bytes(request))

    async def open_call(self, request: Request) -> Call:
        """Who is calling. Raises `Unauthenticated`, and after many times `Forbidden`, to git-lfs: it has its helper
        forget a wrong password at each 401 and asks it again at once, for ever when the helper has no other. A 429 it
        would wait out, and go on."""
        is_git_lfs = request.headers.get("authorization", "").lower().startswith("basic ")
        try:
            if is_git_lfs:
                await run_in_threadpool(_count_unreadable, request)
            return await super().open_call(request)
        except RateLimited as error:
            if not is_git_lfs:
                raise
            raise Forbidden(
                "The password that git sends for this server is no token of it (any more), and was sent too often. "
                f"Give git another one, and push again in {error.retry_after_seconds} seconds.",
                headers=error.headers,
            ) from error


def _count_unreadable(request: Request) -> None:
    """A password that cannot be one, as an empty one, is sent again and again like any other that is wrong."""
    try:
        read_secret(request.headers)
    except Unauthenticated:
        address = notes_of(request.scope).origin.address or "?"
        request.app.state.registry.limiter.take(LimitedAction.SIGN_IN_FAILURES, address)
        raise


class LinkRoute(TicketCallRoute):
    """A route behind a link that we signed."""

    def most_body_bytes(self, request: Request) -> int:
        """Of those that read JSON."""
        return min(MOST_BODY_BYTES, super().most_body_bytes(request))


class LockRoute(CallRoute):
    """A route that tells everybody the same."""

    async def open_call(self, request: Request) -> Call:
        """Nobody in particular: credentials are not looked at."""
        return call_by(request, ANONYMOUS)


@dataclass(frozen=True, slots=True)
class LfsRepo(Repo):
    """A model's name, and where its LFS server is: `/org/name.git/info/lfs`."""

    @property
    def path(self) -> str:
        """Where all that Git LFS asks of this model begins."""
        return f"/{self.slug}/{self.name}.git/info/lfs"

    def subject_of(self, digest: str) -> str:
        """Bytes of this model, as the tickets of links to them name them."""
        return f"{self.slug}/{self.name.key}@{digest}"

    def get_org_to_push(self, session: Session, actor: Actor, *, may_be_new: bool) -> Org:
        """The organisation, if the caller may publish to the model, or in the place of one that `may_be_new`. Raises
        `NotFound` alike for what he may not see and may not make, `Forbidden` or `Unauthenticated`."""
        try:
            return self.get_to(session, actor, Action.PUBLISH).org
        except NotFound as missing:
            if not may_be_new:
                raise
            try:
                return orgs.get_org_to(session, actor, Action.PUBLISH, self.slug)
            except (NotFound, Forbidden, Unauthenticated):
                raise missing from None


RepoPath = Annotated[LfsRepo, Depends(LfsRepo.at_path)]
TicketQuery = Annotated[str, Query(max_length=2_000)]
