"""Where the links and images of a card lead: into the files of its version, or elsewhere, but never without a click."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from posixpath import normpath
from urllib.parse import quote, unquote

from steelyard.server.doors.web.pages import url_path

PREFIX = "card-"  # before every id, so that none of them is one of the page's
SCHEMES = ("http", "https", "mailto")
IMAGES = (".gif", ".jpeg", ".jpg", ".png", ".webp")
_LONGEST_URL = 1_000
_MOST_CHARACTERS = 500_000  # of the addresses of one card, since a reference can be used again and again
_MOST_IMAGES = 300
_LONGEST_NAME = 100
_FIRST_RANK, _LAST_RANK = 3, 6  # of headings: above are the page's own
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ODD = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class CardPlace:
    """Where a card is shown, and the folder of its version that it lies in: relative links are relative to these."""

    org: str
    name: str
    ref: str
    folder: str = ""

    def url(self, kind: str, path: str) -> str:
        """A file of this version as a page (`blob`), its bytes (`raw`), or a folder (`tree`)."""
        return url_path(self.org, self.name, kind, self.ref, *([path] if path else []))


class Links:
    """The addresses and the names of one card, in the order in which it has them."""

    def __init__(self, place: CardPlace) -> None:
        self._place = place
        self._names: set[str] = set()
        self._headings = Counter[str]()
        self._characters = self._images = 0
        self._rank = _FIRST_RANK - 1

    def open_link(self, url: str, name: str = "") -> str:
        """`<a>`; without an address where the card may not lead there."""
        address = self._address(url)
        return f"<a{_attribute('href', address)}{self._id(name)}>"

    def image(self, url: str, alt: str, sizes: Mapping[str, str], *, in_link: bool) -> str:
        """An image of the version itself; of any other a link, or in a link its words."""
        path = self._path(url)
        alt = alt.strip() or (_last_part(url) if path and in_link else "")
        if path and path.lower().endswith(IMAGES) and self._images < _MOST_IMAGES:
            self._images += 1
            shape = "".join(_attribute(key, value) for key, value in sizes.items())
            source = f"{self._place.url('raw', path)}?inline"
            return f'<img src="{escape(source)}" alt="{escape(alt)}"{shape} loading="lazy">'
        address = None if in_link else self._address(url)
        words = escape(alt or (_last_part(url) if address else ""))
        return f'<a href="{escape(address)}">{words}</a>' if address and words else words

    def open_heading(self, rank: int, name: str) -> tuple[str, str]:
        """A heading below those of the page, none of them left out between."""
        self._rank = min(rank + _FIRST_RANK - 1, self._rank + 1, _LAST_RANK)
        return f"<h{self._rank}{self._id(name)}>", f"</h{self._rank}>"

    def name_of(self, text: str) -> str:
        """What a heading is called in links to it, as code hosts and the Hub make it: no name is given twice."""
        name = re.sub(r"[^\w -]", "", text.strip().lower()).replace(" ", "-")[:_LONGEST_NAME]
        self._headings[name] += 1
        return name if self._headings[name] == 1 else f"{name}-{self._headings[name] - 1}"

    def _id(self, name: str) -> str:
        """An id is given once."""
        if not name or len(name) > _LONGEST_NAME + 9 or name in self._names:
            return ""
        self._names.add(name)
        return _attribute("id", PREFIX + quote(name, safe=""))

    # --- addresses

    def _address(self, url: str) -> str | None:
        """Where a link leads; None where it may not."""
        if len(url) > _LONGEST_URL:
            return None
        url = url.strip()
        if url.startswith("#"):
            return _anchor(url[1:])
        path = self._path(url)
        if path is None:
            return self._elsewhere(url)
        fragment = url.partition("#")[2]
        is_folder = not path or url.partition("#")[0].partition("?")[0].endswith("/")
        address = self._place.url("tree" if is_folder else "blob", path)
        return self._counted(address + (f"#{quote(unquote(fragment), safe='')}" if fragment else ""))

    def _elsewhere(self, url: str) -> str | None:
        url = _ODD.sub("", url)
        scheme = _SCHEME.match(url)
        if url.startswith("//"):
            return self._counted(f"https:{url}")
        return self._counted(url) if scheme and scheme[1].lower() in SCHEMES else None

    def _path(self, url: str) -> str | None:
        """The path in the version that a relative address means, `""` its root; None for every other address."""
        url = url.strip()
        if len(url) > _LONGEST_URL or url.startswith(("//", "#")) or _SCHEME.match(_ODD.sub("", url)):
            return None
        path = unquote(url.partition("#")[0].partition("?")[0]).replace("\\", "/")
        within = normpath((path if path.startswith("/") else f"{self._place.folder}/{path}").lstrip("/") or ".")
        is_sayable = path.isprintable() and path and within != ".." and not within.startswith("../")
        return ("" if within == "." else within) if is_sayable else None

    def _counted(self, address: str) -> str | None:
        self._characters += len(address)
        return address if len(address) <= 2 * _LONGEST_URL and self._characters <= _MOST_CHARACTERS else None


def _anchor(fragment: str) -> str | None:
    return f"#{PREFIX}{quote(unquote(fragment)[:_LONGEST_NAME], safe='')}" if fragment else None


def _attribute(name: str, value: str | None) -> str:
    return "" if value is None else f' {name}="{escape(value)}"'


def _last_part(url: str) -> str:
    return unquote(url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2])[:_LONGEST_NAME]
