"""Where a request really came from, and by which address its sender knows us: behind trusted proxies, and without."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeGuard

from starlette.datastructures import Headers
from starlette.types import Scope

from steelyard.server.settings import Network


@dataclass(frozen=True, slots=True)
class Origin:
    """The caller's address, and the scheme and host that he used."""

    address: str | None
    scheme: str
    host: str

    @property
    def base_url(self) -> str:
        """What absolute links begin with when no public URL is configured."""
        return f"{self.scheme}://{self.host}"


def read_origin(scope: Scope, headers: Headers, trusted: Sequence[Network]) -> Origin:
    """Believe `X-Forwarded-*` only from a proxy that the operator named."""
    client = scope.get("client")
    peer = client[0] if client else None
    host = headers.get("host") or "localhost"
    if not _is_trusted(peer, trusted):
        return Origin(peer, scope["scheme"], host)
    return Origin(
        _first_untrusted(",".join(headers.getlist("x-forwarded-for")), trusted) or peer,
        "https" if _last(headers, "x-forwarded-proto") == "https" else scope["scheme"],
        _last(headers, "x-forwarded-host") or host,
    )


def sends_files(scope: Scope, headers: Headers, trusted: Sequence[Network]) -> bool:
    """Whether who sent this is a proxy of the operator's that says, as Rack's do, that X-Accel-Redirect is enough."""
    client = scope.get("client")
    says_so = headers.get("x-sendfile-type", "").lower() == "x-accel-redirect"
    return says_so and _is_trusted(client[0] if client else None, trusted)


def _is_trusted(address: str | None, trusted: Sequence[Network]) -> bool:
    return bool(trusted) and _is_address(address) and any(ip_address(address) in network for network in trusted)


def _is_address(text: str | None) -> TypeGuard[str]:
    try:
        return "%" not in (text or "%") and bool(ip_address(text or ""))  # a zone may be any text
    except ValueError:
        return False


def _first_untrusted(forwarded_for: str, trusted: Sequence[Network]) -> str | None:
    """The last hop that is no proxy of ours. What stands left of it, the caller may have written himself; so where that
    hop cannot be read, nothing is believed."""
    hops = [_bare(hop.strip()) for hop in forwarded_for.split(",")]
    hop = next((hop for hop in reversed(hops) if not _is_trusted(hop, trusted)), None)
    return hop if _is_address(hop) else None


def _bare(hop: str) -> str:
    """An address without the port that some proxies add: `192.0.2.1:443`, `[2001:db8::1]:443`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _last(headers: Headers, name: str) -> str:
    return headers.get(name, "").rpartition(",")[2].strip()
