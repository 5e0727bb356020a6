"""Which clients are served: those that keep their headers small and, of our own, those that are not too old."""

import re

from starlette.datastructures import Headers

from steelyard.server.errors import BadRequest, UpgradeRequired
from steelyard.server.names import InvalidName
from steelyard.server.names import Version as SemVer

MOST_HEADER_BYTES = 32 * 1024
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[\w.~!$&'()*+,;=%-]+)(:[0-9]*)?", re.ASCII)  # RFC 3986 section 3.2.2
_OURS = re.compile(r"steelyard/(\S{1,120})")
_ALWAYS_SERVED = re.compile(r"(/api/v1)?/(health|ready|config|metrics)")


def refuse_huge_headers(headers: Headers) -> None:
    """Raise `BadRequest` for headers that no honest client sends."""
    if sum(len(name) + len(value) for name, value in headers.raw) > MOST_HEADER_BYTES:
        raise BadRequest(f"The headers of this request take more than {MOST_HEADER_BYTES} bytes together.")


def refuse_odd_hosts(headers: Headers) -> None:
    """Raise `BadRequest` for a Host that is malformed or there twice (RFC 9112 section 3.2): links are made of it.

    None at all is right in HTTP/1.0, which probes still speak and the server does not tell apart.
    """
    hosts = headers.getlist("host")
    if len(hosts) > 1 or (hosts and not _HOST.fullmatch(hosts[0])):
        raise BadRequest("Send one Host header, with the name or address of this server.")


def refuse_outdated(oldest: str | None, path: str, headers: Headers) -> None:
    """Raise `UpgradeRequired` for a client of ours older than `oldest`; other programs are never refused."""
    ours = _OURS.match(headers.get("user-agent", ""))
    if oldest is None or ours is None or _ALWAYS_SERVED.fullmatch(path):
        return
    try:
        outdated = SemVer.parse(ours[1]) < SemVer.parse(oldest)
    except InvalidName:
        return
    if outdated:
        raise UpgradeRequired(
            f"This client is steelyard {ours[1]}; this server serves {oldest} and newer. "
            "Upgrade with `pip install --upgrade steelyard`.",
            headers={"Upgrade": f"steelyard/{oldest}", "Connection": "Upgrade"},
        )
