"""Signing in by an OpenID provider: through an independent one as a person would, and every step by one of ours.

What is not to be believed of a provider is in `test_openid_lies.py`.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import pytest

from tests.house import Person, Registered
from tests.house.openid import CLIENT_ID, OwnProvider, independent_provider, own_provider
from tests.house.registries import open_registered
from tests.server.doors.web.openid_walks import come_back, consent, name_of, settings_of, sign_in, start
from tests.server.doors.web.visiting import Visitor

GRACE = {"sub": "grace-1", "preferred_username": "Grace.Hopper", "email": "grace@example.org", "email_verified": True}
CALLBACK = "/-/oidc/callback"


@pytest.fixture(scope="module")
def provider() -> Iterator[OwnProvider]:
    with own_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, provider: OwnProvider) -> Iterator[Registered]:
    """A registry that asks our own provider, and makes users of strangers."""
    data = tmp_path_factory.mktemp("openid") / "data"
    with open_registered(data=data, limits="off", **settings_of(provider.issuer), oidc_create_users=True) as opened:
        yield opened


@pytest.fixture(autouse=True)
def honest(provider: OwnProvider) -> None:
    provider.be_honest()
    provider.person = {"sub": f"somebody-{time.monotonic_ns()}"}


# --- an independent provider


def test_a_full_login_against_an_independent_provider(tmp_path: Path) -> None:
    with (
        independent_provider(GRACE) as issuer,
        open_registered(
            data=tmp_path / "data", **{**settings_of(issuer), "oidc_timeout_seconds": 60.0}, oidc_create_users=True
        ) as registered,
    ):
        browser = Visitor(registered)
        page = browser.get("/-/login?next=/-/me")
        (link,) = [href for href in page.links("main a") if href.startswith("/-/oidc/")]
        assert "Sign in with Example ID" in page.texts("main a")
        asked = start(browser, link)
        assert httpx2.get(asked, timeout=60).status_code == 200
        sent_back = httpx2.post(asked, data={"sub": "grace-1"}, timeout=60)
        page = come_back(browser, sent_back.headers["location"], follow=False)
        assert (page.status, page.response.headers["location"]) == (303, "/-/me")
        assert name_of(browser) == "grace-hopper"
        (user,) = [u for u in registered.admin.get("/users").json()["users"] if u["username"] == "grace-hopper"]
        assert user["email_address"] == "grace@example.org" and not user["is_admin"]
        other = Visitor(registered)
        sent_back = httpx2.post(start(other), data={"sub": "grace-1"}, timeout=60)
        come_back(other, sent_back.headers["location"])
        assert name_of(other) == "grace-hopper"  # the same one again
        denied = httpx2.post(start(Visitor(registered)), data={"action": "deny"}, timeout=60)
        assert denied.status_code in (302, 303) and "error=access_denied" in denied.headers["location"]


# --- our own, while it is honest


def test_what_the_provider_is_asked(registered: Registered, provider: OwnProvider) -> None:
    browser = Visitor(registered)
    page = browser.get("/-/oidc/start?next=/-/me", follow=False)
    url = urlsplit(page.response.headers["location"])
    asked = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer}/authorize"
    assert asked.pop("tenant") == "1"  # which the provider's own address has
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert all(len(asked.pop(name)) == 43 for name in ("state", "nonce", "code_challenge"))
    assert asked == {
        "client_id": CLIENT_ID,
        "response_type": "code",
        "code_challenge_method": "S256",
        "redirect_uri": f"http://127.0.0.1{CALLBACK}",
        "scope": "openid profile email",
    }
    cookie = page.response.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Max-Age=600"))
    assert "form-action 'self'" in page.response.headers["content-security-policy"]


def test_the_session_hangs_on_a_token_of_its_own(registered: Registered, provider: OwnProvider) -> None:
    provider.person |= {"preferred_username": "token-holder"}
    browser = Visitor(registered)
    sign_in(browser)
    page = browser.get("/-/me")
    assert "signed in by Example ID" in page.text()
    browser.submit(page, "/-/logout")
    assert name_of(browser) is None
    admin = Visitor(registered).sign_in(registered.admin)
    assert admin.get("/-/me").status == 200
    made = registered.admin.post("/users/token-holder/api-keys").json()
    holder = Person(registered.client, "token-holder", made["key"])
    assert [key["name"] for key in holder.get("/user/api-keys").json()["api_keys"]] == ["made by admin"]


def test_revoking_that_token_ends_the_session(registered: Registered, provider: OwnProvider) -> None:
    provider.person |= {"preferred_username": "revoker"}
    browser = Visitor(registered)
    sign_in(browser)
    made = registered.admin.post("/users/revoker/api-keys").json()
    person = Person(registered.client, "revoker", made["key"])
    (key,) = [k for k in person.get("/user/api-keys").json()["api_keys"] if k["name"] == "signed in by Example ID"]
    assert key["expires_at"] is not None
    assert person.delete(f"/user/api-keys/{key['id']}").status_code == 204
    assert name_of(browser) is None


def test_signing_in_as_somebody_else_ends_the_session_before(registered: Registered, ada: Person) -> None:
    browser = Visitor(registered).sign_in(ada)
    before = dict(browser.client.cookies)
    sign_in(browser)
    assert name_of(browser) != ada.name
    robbed = Visitor(registered)
    robbed.client.cookies.update(before)
    assert name_of(robbed) is None


def test_a_disabled_user_is_refused(registered: Registered, provider: OwnProvider) -> None:
    provider.person |= {"preferred_username": "leaver"}
    browser = Visitor(registered)
    sign_in(browser)
    assert registered.admin.patch("/users/leaver", {"disabled": True}).status_code == 200
    assert name_of(browser) is None
    page = sign_in(browser)
    assert page.status == 403 and "disabled" in page.text()
    assert name_of(browser) is None


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"preferred_username": "Åsa.Öberg@example.org"}, ["asa-oberg", "asa-oberg-2"]),
        ({"email": "maria@example.org"}, ["maria", "maria-2"]),
        ({"preferred_username": "admin"}, ["admin-2", "admin-3"]),
        ({"preferred_username": "settings"}, ["settings-2", "settings-3"]),
        ({"preferred_username": "system"}, ["system-2", "system-3"]),
        ({"preferred_username": "x" * 300}, ["x" * 50, "x" * 50 + "-2"]),
    ],
)
def test_new_users_get_names_that_nobody_has(
    registered: Registered, provider: OwnProvider, claims: dict[str, Any], names: list[str]
) -> None:
    for name in names:
        provider.person = {"sub": f"{name}-{time.monotonic_ns()}", **claims}
        browser = Visitor(registered)
        sign_in(browser)
        assert name_of(browser) == name


def test_of_a_name_without_letters_a_new_one_is_made(registered: Registered, provider: OwnProvider) -> None:
    provider.person |= {"preferred_username": "../..//", "email": 7}
    browser = Visitor(registered)
    sign_in(browser)
    assert (name_of(browser) or "").startswith("user-")


def test_an_address_that_nobody_has_proven_is_not_kept(registered: Registered, provider: OwnProvider) -> None:
    provider.person |= {"preferred_username": "unproven", "email": "ceo@example.org", "email_verified": "true"}
    sign_in(Visitor(registered))
    (user,) = [u for u in registered.admin.get("/users?limit=200").json()["users"] if u["username"] == "unproven"]
    assert user["email_address"] is None


def test_a_public_client_sends_no_secret(tmp_path: Path, provider: OwnProvider) -> None:
    provider.is_public = True
    chosen = {**settings_of(provider.issuer), "oidc_client_secret": None, "oidc_create_users": True}
    with open_registered(data=tmp_path / "data", **chosen) as registered:
        browser = Visitor(registered)
        sign_in(browser)
        assert name_of(browser)


def test_behind_a_public_url_no_host_header_chooses_where_codes_go(tmp_path: Path, provider: OwnProvider) -> None:
    chosen = {**settings_of(provider.issuer), "public_url": "https://models.example.org"}
    with open_registered(data=tmp_path / "data", **chosen) as registered:
        page = Visitor(registered).get("/-/oidc/start", follow=False, headers={"Host": "evil.example.org"})
    (address,) = parse_qs(urlsplit(page.response.headers["location"]).query)["redirect_uri"]
    assert address == f"https://models.example.org{CALLBACK}"
    assert page.response.headers["set-cookie"].startswith("__Host-steelyard-oidc=")
    assert "Secure" in page.response.headers["set-cookie"]


def test_without_a_provider_there_is_no_such_page(tmp_path: Path) -> None:
    with open_registered(data=tmp_path / "data") as registered:
        browser = Visitor(registered)
        assert not [href for href in browser.get("/-/login").links() if "oidc" in href]
        assert [browser.get(path).status for path in ("/-/oidc/start", CALLBACK)] == [404, 404]


@pytest.mark.parametrize(
    "following", ["https://evil.example.org/", "//evil.example.org", "/\\evil.example.org", "/" * 2000]
)
def test_nobody_is_led_elsewhere_after(registered: Registered, following: str) -> None:
    browser = Visitor(registered)
    url = consent(start(browser, f"/-/oidc/start?{urlencode({'next': following})}"))
    assert come_back(browser, url, follow=False).response.headers["location"] == "/"


# --- strangers, where users are not made of them


def test_strangers_are_refused_unless_they_have_linked(tmp_path: Path, provider: OwnProvider) -> None:
    with open_registered(data=tmp_path / "data", **settings_of(provider.issuer)) as registered:
        ada = registered.user("ada")
        provider.person |= {"preferred_username": "ada", "email": "ada@example.com", "email_verified": True}
        stranger = Visitor(registered)
        page = sign_in(stranger)
        assert page.status == 403 and "linked" in page.text()
        assert name_of(stranger) is None  # neither by the name nor by the address of hers
        browser = Visitor(registered).sign_in(ada)
        page = sign_in(browser, "/-/oidc/start?link=true")
        assert page.title == "Is this you?" and provider.person["sub"] in page.text()
        assert ada.get("/user/identities").json() == {"identities": []}
        page = browser.submit(page, "/-/oidc/link")
        assert page.status in (200, 404), page.response.text
        (identity,) = ada.get("/user/identities").json()["identities"]
        assert (identity["issuer"], identity["subject"]) == (provider.issuer, provider.person["sub"])
        sign_in(stranger)
        assert name_of(stranger) == "ada"
        assert ada.delete(f"/user/identities/{identity['id']}").status_code == 204
        assert name_of(stranger) is None  # who signed in by it is out
        assert sign_in(stranger).status == 403
        actions = [event["action"] for event in ada.get("/org/ada/audit").json()["events"]]
        assert actions[:2] == ["identity.unlink", "session.begin"] and "identity.link" in actions


def test_a_link_is_asked_for_by_whoever_is_signed_in_and_by_a_page_of_ours(
    registered: Registered, ada: Person, bob: Person
) -> None:
    nobody = Visitor(registered)
    page = nobody.get("/-/oidc/start?link=true", follow=False)
    assert page.status == 303 and page.response.headers["location"].startswith("/-/login?")
    browser, other = Visitor(registered).sign_in(ada), Visitor(registered).sign_in(bob)
    page = sign_in(browser, "/-/oidc/start?link=true")
    proof = page.fields("/-/oidc/link")["proof"]
    assert browser.post("/-/oidc/link", {"proof": proof}).status == 403  # without a ticket of the session's pages
    ticket = other.get("/-/me").fields("/-/logout")["csrf"]
    assert other.post("/-/oidc/link", {"proof": proof, "csrf": ticket}).status == 400  # what another was shown
    own = page.fields("/-/oidc/link")["csrf"]
    assert browser.post("/-/oidc/link", {"proof": proof[:-3] + "abc", "csrf": own}).status == 400
    assert ada.get("/user/identities").json() == bob.get("/user/identities").json() == {"identities": []}


def test_a_token_that_may_do_less_than_its_owner_links_nothing(registered: Registered, ada: Person) -> None:
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    for wish in ({"access": "read"}, {"org": ada.name}, {"expires_at": soon}):
        key = ada.post("/user/api-keys", {"name": "less", **wish}).json()["key"]
        browser = Visitor(registered).sign_in(Person(registered.client, ada.name, key))
        assert browser.get("/-/oidc/start?link=true", follow=False).status == 403


def test_an_identity_belongs_to_one_person(registered: Registered, ada: Person, bob: Person) -> None:
    first, second = Visitor(registered).sign_in(ada), Visitor(registered).sign_in(bob)
    first.submit(sign_in(first, "/-/oidc/start?link=true"), "/-/oidc/link")
    page = second.submit(sign_in(second, "/-/oidc/start?link=true"), "/-/oidc/link")
    assert page.status == 409 and "another user" in page.text()


# --- the way back, walked by somebody else, twice, or too late


def replaced(url: str, **said: str | None) -> str:
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **said}
    return f"{parts.path}?{urlencode({name: value for name, value in query.items() if value is not None})}"


def test_another_browser_cannot_finish_what_one_began(registered: Registered) -> None:
    url = consent(start(Visitor(registered)))
    robber = Visitor(registered)
    page = come_back(robber, url)
    assert page.status == 400 and "begun in another browser" in page.text()
    start(robber)  # even with a flow of its own under way
    assert come_back(robber, url).status == 400
    assert name_of(robber) is None


@pytest.mark.parametrize("state", [None, "", "x" * 43, "ü", "\udc80"])
def test_a_state_of_somebody_elses_is_refused(registered: Registered, state: str | None) -> None:
    browser = Visitor(registered)
    url = consent(start(browser))
    shown = None if state is None else state.encode("utf-8", "surrogatepass").decode("latin-1")
    assert come_back(browser, replaced(url, state=shown)).status == 400
    assert name_of(browser) is None


def test_a_flow_is_walked_once(registered: Registered) -> None:
    browser = Visitor(registered)
    url = consent(start(browser))
    kept = dict(browser.client.cookies)
    come_back(browser, url)
    assert name_of(browser)
    assert come_back(browser, url).status == 400  # the cookie is gone
    again = Visitor(registered)
    again.client.cookies.update(kept)
    page = come_back(again, url)  # and with it, the provider takes no code twice
    assert page.status == 400 and name_of(again) is None


def test_a_flow_ends_after_ten_minutes(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Visitor(registered)
    url = consent(start(browser))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 601)
    page = come_back(browser, url)
    assert page.status == 400 and "ten minutes" in page.text()


def test_one_browser_has_one_flow(registered: Registered) -> None:
    browser = Visitor(registered)
    first = consent(start(browser))
    second = consent(start(browser))
    assert come_back(browser, first).status == 400
    assert come_back(browser, second).status == 400  # it was tried, and is over


def test_a_ticket_for_something_else_is_no_flow(registered: Registered, ada: Person) -> None:
    browser = Visitor(registered).sign_in(ada)
    ticket = browser.get("/-/me").fields("/-/logout")["csrf"]
    browser.client.cookies.set("steelyard-oidc", ticket)
    assert browser.get(f"{CALLBACK}?code=x&state=x").status == 400


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ({"error": "access_denied", "code": None}, 403, "not let in"),
        ({"error": "server_error", "code": None}, 502, "server_error"),
        ({"error": "<script>\n", "code": None}, 502, "no reason"),
        ({"code": None}, 502, "no reason"),
        ({"code": "made up"}, 400, "Begin again"),
        ({"iss": "https://other.example.org"}, 400, "Another sign-in provider"),
    ],
)
def test_what_goes_wrong_there_is_told(
    registered: Registered, said: dict[str, str | None], status: int, words: str
) -> None:
    browser = Visitor(registered)
    page = come_back(browser, replaced(consent(start(browser)), **said))
    assert page.status == status and words in page.text()
    assert "/-/login" in page.links("main a")
    assert "<script>" not in page.response.text.partition("<main")[2]
    assert name_of(browser) is None
