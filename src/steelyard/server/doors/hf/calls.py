"""How a request of the Hub's clients reaches a handler: on which paths, by whom, and which repository it is about."""

from typing import Annotated, ClassVar
from urllib.parse import urlencode

from fastapi import Depends, Request
from starlette.routing import Match
from starlette.types import Scope

from steelyard.server.core.history import revisions
from steelyard.server.doors.calls import Call, CallRoute
from steelyard.server.doors.repos import Repo


class HubRoute(CallRoute):
    """A route that an operator may open to callers without a token: it shows nothing but public models to them."""

    admits_anonymous: ClassVar[bool] = True

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as every door does; `/api/v1` is the native API's and `/v2` container tools', whatever would fit."""
        return (Match.NONE, {}) if scope["path"].startswith(("/api/v1/", "/v2/")) else super().matches(scope)


class TokenRoute(HubRoute):
    """A route whose caller must show a valid token."""

    admits_anonymous: ClassVar[bool] = False


def following(request: Request, call: Call, **changed: str) -> str:
    """The address of the next page: this one's, but for where it begins."""
    query = [(key, value) for key, value in request.query_params.multi_items() if key not in changed]
    return call.url(f"{request.scope['path']}?{urlencode([*query, *changed.items()])}")


async def _branch(revision: str) -> str:
    return revision.removeprefix(revisions.BRANCHES)


RepoPath = Annotated[Repo, Depends(Repo.at_path)]
RevisionPath = str  # anything: what it leads to, if anything, `core.history` knows
BranchPath = Annotated[str, Depends(_branch)]  # the name of a branch, also as `refs` spells it
