"""One sign-in under way, and the words that go to and fro with the browser. Loads no library: pages know of it even
where there is no provider.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

_LONGEST_WORD = 100


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in under way. All that it is known by is made of one secret that only its browser has, so that whoever
    sees one part of it has no other."""

    root: str = field(repr=False)
    redirect_uri: str

    @property
    def state(self) -> str:
        """By this we know our own flow when somebody is sent back (RFC 6749 section 10.12)."""
        return self._part("state")

    @property
    def nonce(self) -> str:
        """By this we know that an ID token was made for this flow."""
        return self._part("nonce")

    @property
    def verifier(self) -> str:
        """By this the provider knows that whoever has a code has begun the flow (RFC 7636): 43 characters."""
        return self._part("verifier")

    def _part(self, name: str) -> str:
        made = hmac.digest(self.root.encode(), name.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode()

    def is_of(self, state: str) -> bool:
        """Whether this is our state."""
        return hmac.compare_digest(self.state.encode(), state.encode("utf-8", "surrogatepass"))


def plain_word(said: object) -> str:
    """An error's code as it may be shown: RFC 6749 section 5.2 has printable ASCII."""
    is_plain = isinstance(said, str) and said.isascii() and said.isprintable() and 0 < len(said) <= _LONGEST_WORD
    return str(said) if is_plain else "no reason"
