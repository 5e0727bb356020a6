"""Somebody with a browser that runs no script: cookies, links, forms. What he gets is read as HTML."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi.testclient import TestClient
from selectolax.lexbor import LexborHTMLParser, LexborNode

from tests.house import Person, Registered

HTML = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


@dataclass(frozen=True)
class Page:
    """An answer that is a page."""

    response: httpx2.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def html(self) -> LexborHTMLParser:
        return LexborHTMLParser(self.response.text)

    @property
    def path(self) -> str:
        """Where it was found, after redirects."""
        return str(self.response.url.raw_path.decode())

    @property
    def title(self) -> str:
        return self.text("h1")

    def all(self, selector: str) -> list[LexborNode]:
        return self.html.css(selector)

    def text(self, selector: str = "main") -> str:
        """The text of the first such element, its space made single."""
        found = self.html.css_first(selector)
        assert found is not None, f"no {selector} on {self.path}:\n{self.response.text}"
        return " ".join(found.text(separator=" ").split())

    def texts(self, selector: str) -> list[str]:
        return [" ".join(node.text(separator=" ").split()) for node in self.all(selector)]

    def links(self, selector: str = "a") -> list[str]:
        return [node.attributes.get("href") or "" for node in self.all(selector)]

    def form(self, action: str) -> LexborNode:
        """The first form that is sent there (without its query)."""
        for form in self.all("form"):
            if (form.attributes.get("action") or "").partition("?")[0] == action:
                return form
        raise AssertionError(f"no form to {action} on {self.path}; there are: {list(self._actions())}")

    def _actions(self) -> Iterator[str | None]:
        return (form.attributes.get("action") for form in self.all("form"))

    def fields(self, action: str) -> dict[str, str]:
        """What that form sends as it stands."""
        found: dict[str, str] = {}
        for field in self.form(action).css("input, textarea, select"):
            given = field.attributes
            is_off = given.get("type") in ("checkbox", "radio") and "checked" not in given
            if name := given.get("name"):
                if field.tag == "select":
                    chosen = field.css_first("option[selected]") or field.css_first("option")
                    found[name] = (chosen.attributes.get("value") or "") if chosen else ""
                elif not is_off:
                    found[name] = field.text() if field.tag == "textarea" else given.get("value") or ""
        return found


class Visitor:
    """A browser of its own, with its own cookies, at a registry in this process."""

    def __init__(self, registered: Registered) -> None:
        self.client = TestClient(
            registered.client.app,
            base_url=str(registered.client.base_url),
            raise_server_exceptions=False,
        )

    def get(self, path: str, *, follow: bool = True, **kwargs: Any) -> Page:
        headers = {"Accept": HTML, "Sec-Fetch-Site": "same-origin", **kwargs.pop("headers", {})}
        return Page(self.client.get(path, headers=headers, follow_redirects=follow, **kwargs))

    def post(self, path: str, fields: dict[str, Any], *, follow: bool = True, **kwargs: Any) -> Page:
        headers = {"Accept": HTML, "Sec-Fetch-Site": "same-origin", **kwargs.pop("headers", {})}
        return Page(self.client.post(path, data=fields, headers=headers, follow_redirects=follow, **kwargs))

    def submit(self, page: Page, action: str, *, follow: bool = True, **fields: Any) -> Page:
        """Fill in a form of a page, and send it. `None` leaves a field out."""
        sent = {name: value for name, value in {**page.fields(action), **fields}.items() if value is not None}
        whole = page.form(action).attributes.get("action") or action
        return self.post(whole, sent, follow=follow, headers={"Referer": str(page.response.url)})

    def sign_in(self, person: Person) -> "Visitor":
        page = self.submit(self.get("/-/login"), "/-/login", token=person.token, follow=False)
        assert page.status == 303, page.response.text
        return self
