"""Addresses: what the registry's base URL may be, which origin a URL belongs to, how a path is spelled in a URL."""

from ipaddress import ip_address
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from steelyard.client.errors import InvalidSettings, UnexpectedAnswer

_DEFAULT_PORTS = {"http": 80, "https": 443}


def base_url(text: str) -> str:
    """A registry address in its one spelling: no trailing slash, no `/api/v1`, no default port.

    Raises InvalidSettings for anything but http(s), and for a user name or token inside the address.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidSettings(f"{text!r} is no address: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise InvalidSettings(f"{text!r} is no registry address; write it like https://registry.example.com")
    if parts.username is not None or parts.password is not None:
        raise InvalidSettings("a registry address carries no user name or token; use `steelyard login` for the token")
    if parts.query or parts.fragment:
        raise InvalidSettings(f"{text!r} has a query or a fragment; a registry address has neither")
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{shown}:{port}"
    path = parts.path.rstrip("/").removesuffix("/api/v1")
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def origin(url: str) -> str:
    """`scheme://host:port` of an http(s) URL, lower-case, port always written.

    Raises UnexpectedAnswer for any other URL: links from a registry pass through here.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise UnexpectedAnswer("the registry gave a link that is not http or https; it is not followed")
    return f"{parts.scheme}://{host}:{port or _DEFAULT_PORTS[parts.scheme]}"


def linked(base: str, link: str) -> str:
    """Where a link of the registry leads, seen from `base`.

    Raises UnexpectedAnswer for a link that is not http(s), or leads from https down to http.
    """
    try:
        target = urljoin(base, link)
    except ValueError:
        target = ""
    if origin(base).startswith("https:") and not origin(target).startswith("https:"):
        raise UnexpectedAnswer("the registry gave a link from https to http; it is not followed")
    origin(target)
    return target


def without_query(url: str) -> str:
    """The URL without query and fragment, which may carry a ticket: what errors may show."""
    return url.split("?", 1)[0].split("#", 1)[0]


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine by name or number."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def route(*segments: str) -> str:
    """A path under `/api/v1` of these raw segments, each percent-encoded whole."""
    return "/api/v1/" + "/".join(quote(segment, safe="") for segment in segments)
