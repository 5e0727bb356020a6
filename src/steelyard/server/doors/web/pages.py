"""How a page is made: templates, what they are given, and the headers that every page has.

A page loads nothing from elsewhere and runs no script but ours (Content Security Policy 3): what people wrote, of whom
this server knows nothing, is shown on them.
"""

import gzip
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import Request, Response
from markupsafe import Markup, escape

from steelyard import __version__
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.web import assets

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "private, no-cache",
    "Vary": "Accept, Accept-Encoding, Cookie",
}
_WORTH_PACKING_BYTES = 1_000
_LONG_AGO_SECONDS = 31 * 86400


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page, as its frame shows it. `is_known` is false where nobody looked who it is."""

    name: str | None = None
    is_admin: bool = False
    csrf: str = ""
    notice: str | None = None
    server_url: str = ""
    is_known: bool = True


def page_response(request: Request, template: str, viewer: Viewer, *, status: int = 200, **context: Any) -> Response:
    """A page, packed where the browser can unpack it. The templates' own names are in `templates/layout.html`."""
    known = {"json_twin": None, "path": request.scope["path"], "request_id": notes_of(request.scope).request_id}
    body = render(template, viewer=viewer, **{**known, **context}).encode("utf-8", "replace")
    headers = dict(HEADERS)
    if len(body) > _WORTH_PACKING_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = gzip.compress(body, 5, mtime=0), "gzip"
    return Response(body, status, headers, media_type="text/html; charset=utf-8")


def redirect(path: str) -> Response:
    """Send a browser to a path of ours, to be read there (303). Raises nothing: what is no path of ours becomes `/`."""
    return Response(None, 303, {**HEADERS, "Location": local_path(path)})


def local_path(path: str) -> str:
    """The path, if it leads to this server and nowhere else; else `/`."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and path.isascii()
    return path if is_local and "\\" not in path else "/"


def render(template: str, *, viewer: Viewer, **context: Any) -> str:
    """A template as text."""

    def csrf() -> Markup:
        return Markup('<input type="hidden" name="csrf" value="{}">').format(viewer.csrf)

    return _environment().get_template(template).render(viewer=viewer, csrf=csrf, **context)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # not before somebody asks for a page

    environment = Environment(
        loader=PackageLoader("steelyard.server.doors.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"asset": assets.url_of, "steelyard_version": __version__, "url": url_path}
    environment.filters |= {"size": size, "count": count, "when": when, "visible": visible, "short": short_oid}
    return environment


# --- what templates say things with


def url_path(*segments: str, **query: str | list[str] | None) -> str:
    """A path of ours, each segment quoted; a `/` inside the last one stays, since files have them. Words with a value
    become its query."""
    *first, last = segments or ("",)
    path = "/" + "".join(f"{quote(segment, safe='@:+~')}/" for segment in first) + quote(last, safe="/@:+~")
    pairs = [(name, one) for name, some in query.items() for one in (some if isinstance(some, list) else [some])]
    asked = "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in pairs if value not in (None, ""))
    return f"{path}?{asked}" if asked else path


def size(size_bytes: int | None) -> str:
    """Bytes as people say them: `1.5 GB` (powers of 1,000)."""
    if size_bytes is None:
        return "unknown"
    amount, units = float(size_bytes), ["PB", "TB", "GB", "MB", "kB", "B"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop()
    unit = units[-1]
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.3g} {unit}"


def count(number: int | None) -> str:
    """A number as people say it: `7,241`, `1.2 million`, `7.6 billion`."""
    if number is None:
        return "unknown"
    for limit, word in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if number >= limit:
            return f"{number / limit:.3g} {word}"
    return f"{number:,}"


def when(moment: datetime | None) -> Markup:
    """A moment, as long ago as it is, with the exact one behind it."""
    if moment is None:
        return Markup("never")
    moment = moment.astimezone(UTC)
    exact = moment.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"), exact, _ago(moment)
    )


def _ago(moment: datetime) -> str:
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 0:
        return moment.strftime("%Y-%m-%d %H:%M")
    if seconds > _LONG_AGO_SECONDS:
        return moment.strftime("%Y-%m-%d")
    for limit, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if number := int(seconds // limit):
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


_PLAIN = re.compile(r"([\x20-\x7e\t\n]+)")


def visible(text: str) -> Markup:
    """Somebody's text with whatever would move or hide letters written out: `U+202E` turns a line around."""
    runs = enumerate(_PLAIN.split(text))
    shown = (escape(run) if is_plain % 2 else Markup("").join(map(_shown, run)) for is_plain, run in runs)
    return Markup("").join(shown)


def spelled(text: str) -> str:
    """The same where no markup can stand, as in a picture."""
    return "".join(letter if _is_seen(letter) else f"U+{ord(letter):04X}" for letter in text)


def _is_seen(character: str) -> bool:
    return character in "\n\t " or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def _shown(character: str) -> str | Markup:
    if _is_seen(character):
        return escape(character)
    return Markup('<span class="odd" title="a character that is not seen">U+{:04X}</span>').format(ord(character))


def short_oid(oid: str) -> str:
    """The first twelve digits of a digest."""
    return oid.rpartition(":")[2][:12]
