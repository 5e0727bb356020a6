"""The pages that show the API: all that they load comes from here, without the internet."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from tests.house import Registered


class References(HTMLParser):
    """Every address that a page loads something from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        self.found |= {
            value for name, value in attrs if name in ("src", "href", "spec-url", "data", "action") and value
        }

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.scripts.append(data)


def _addresses(page: str, scripts_too: bool = True) -> set[str]:
    parsed = References(page)
    inside = re.findall(r"""(?:url|Url)['"]?\s*:\s*['"]([^'"]+)['"]""", "\n".join(parsed.scripts))
    styles = re.findall(r"url\(\s*['\"]?([^'\")]+)", page)
    return parsed.found | set(inside) | set(styles)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_loads_everything_from_here(page: str, registry: Registered) -> None:
    shown = registry.client.get(page)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    found = _addresses(shown.text)
    assert {"/openapi.json", "/docs/assets/favicon.png"} < found
    for address in found:
        absolute = urljoin("http://127.0.0.1/docs", address)
        assert urlsplit(absolute).netloc == "127.0.0.1", f"{page} loads {address}"
        assert registry.client.get(absolute).status_code == 200, f"{page} loads {address}"


def test_the_stylesheet_loads_nothing_from_elsewhere(registry: Registered) -> None:
    style = registry.client.get("/docs/assets/swagger-ui.css").text
    for address in re.findall(r"url\(\s*['\"]?([^'\")]+)", style):
        assert address.startswith("data:"), address
    assert "@import" not in style


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_may_run_only_its_own_scripts_and_ask_only_here(page: str, registry: Registered) -> None:
    headers = registry.client.get(page).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in policy["script-src"]
    assert not re.search(r"https?:|\*", headers["content-security-policy"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_pages_need_no_token_and_leave_no_path_out_of_their_folder(registry: Registered) -> None:
    assert registry.client.get("/docs/assets/swagger-ui-bundle.js").status_code == 200
    for path in ("../../pyproject.toml", "%2e%2e/core.py", "..%2fcore.py", "%5c..%5ccore.py", "x%00.js"):
        answer = registry.client.get(f"/docs/assets/{path}")
        assert answer.status_code in (400, 404), unquote(path)
        assert answer.json()["code"] == answer.status_code, unquote(path)
