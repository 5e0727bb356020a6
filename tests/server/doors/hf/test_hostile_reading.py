"""Whatever address is asked for is answered, or refused as the fault of who asks: never as one of ours."""

from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.doors.hf.errors import speaks_at
from tests.house import Person
from tests.house.registries import open_registered
from tests.server.doors.hf.published import publish

_ROUTES = (
    "/api/models/{repo}",
    "/api/models/{repo}/revision/{odd}",
    "/api/models/{repo}/tree/main/{odd}",
    "/api/models/{repo}/tree/{odd}?recursive=true&cursor={odd}",
    "/api/models/{repo}/commits/main?after={odd}&limit={odd}",
    "/api/models/{repo}/xet-read-token/{odd}",
    "/api/models/{odd}/{odd}/refs",
    "/api/models/{odd}",
    "/api/models?search={odd}&author={odd}&filter={odd}&sort={odd}",
    "/api/models?limit={odd}&cursor={odd}",
    "/{repo}/resolve/main/{odd}",
    "/{repo}/resolve/{odd}/README.md",
    "/{odd}/{odd}/raw/{odd}/{odd}",
    "/api/{odd}",
    "/api/organizations/{odd}/settings/repositories",
    "/api/models/{odd}/{odd}/auth-check/write",
    "/api/models/{odd}/{odd}/discussions",
    "/api/models/{repo}/xet-write-token/{odd}",
    "/api/models/{repo}/resolve-cache/{odd}",
    "/api/datasets/{odd}",
    "/datasets/{odd}/{odd}/resolve/{odd}/{odd}",
    "/{odd}/resolve/{odd}/{odd}",
    "/{repo}.git/info/lfs/objects/{odd}?ticket={odd}",
    "/{odd}/{odd}.git/info/lfs/{odd}",
    "/cas/{odd}/{odd}/v1/reconstructions/{odd}",
)
_odd = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"\0", b"..", b"%2F", b"a" * 5_000, b"\xff", b"*" * 300, b"^", b">=1 <1", b"-1", b"1e9"]),
)


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody with a model, in this process."""
    with open_registered(data=tmp_path_factory.mktemp("odd") / "data", limits="off") as registered:
        person = registered.user("ada")
        publish(person)
        yield person


@pytest.mark.parametrize("route", _ROUTES)
@given(odd=_odd)
def test_no_address_is_a_fault_of_ours(ada: Person, route: str, odd: bytes) -> None:
    url = route.replace("{repo}", "ada/tiny").replace("{odd}", quote_from_bytes(odd, safe=""))
    answered = ada.get(f"http://127.0.0.1{url}")
    assert answered.status_code < 500, url
    if answered.status_code >= 400 and speaks_at(answered.request.url.raw_path.decode().partition("?")[0]):
        assert answered.json().keys() == {"error"}
        assert answered.headers["x-error-message"].isascii()


@given(body=st.one_of(st.binary(max_size=200), _odd.map(lambda odd: b"paths=" + odd + b"&expand=true")))
def test_no_form_is_a_fault_of_ours(ada: Person, body: bytes) -> None:
    for kind in ("application/x-www-form-urlencoded", "application/json", "text/plain"):
        headers = {"Content-Type": kind}
        url = "http://127.0.0.1/api/models/ada/tiny/paths-info/main"
        assert ada.request("POST", url, content=body, headers=headers).status_code in (200, 400)
