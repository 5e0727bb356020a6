"""How a request reaches a native handler: on which paths, and with how large a body."""

from typing import ClassVar

from fastapi import Request
from starlette.routing import Match
from starlette.types import Scope

from steelyard.server.doors.calls import KIB, MIB, CallRoute, TicketCallRoute

_BODY_BYTES = 256 * KIB
_LARGER_BODIES = {"begin_uploads": MIB, "complete_upload": 2 * MIB}  # a thousand objects, ten thousand parts
_LARGEST_BODY = "publish_model"  # up to the setting: a hundred thousand files, and a card
_FIXED_WORDS = {"{name}": ("facets", "activity"), "{version}": ("aliases", "compare", "versions", "visibility")}


class NativeRoute(CallRoute):
    """A route whose caller must show a valid token."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as every door does, but a trailing slash is nothing's (contract section 4)."""
        if scope["path"].endswith("/") or self._stands_for_a_word(scope):
            return Match.NONE, {}
        return super().matches(scope)

    def _stands_for_a_word(self, scope: Scope) -> bool:
        """Whether a name would be read where a fixed word stands: those win, for every method (contract section 4)."""
        _, _, last = self.path_format.rpartition("/")
        return str(scope["path"]).rpartition("/")[2] in _FIXED_WORDS.get(last, ())

    def most_body_bytes(self, request: Request) -> int:
        """All but publishing reads little."""
        configured = super().most_body_bytes(request)
        return configured if self.name == _LARGEST_BODY else min(configured, _LARGER_BODIES.get(self.name, _BODY_BYTES))


class PublicRoute(NativeRoute):
    """A route that an operator may open to callers without a token: it shows nothing but public models to them."""

    admits_anonymous: ClassVar[bool] = True


class TicketRoute(NativeRoute, TicketCallRoute):
    """A route whose URL carries its own right; credentials are not looked at."""
