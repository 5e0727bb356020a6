"""Budgets hold across servers: so many in total, not so many for each."""

from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice

import pytest

from tests.house import Person
from tests.replicas.at_once import at_once, on_both
from tests.replicas.site import Replicas, start_replicas
from tests.server.doors.native.models import refusal


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Servers with small budgets, which last for the hour that no test waits for."""
    budgets = {"limit_search": "20/hour", "limit_publish": "5/hour", "limit_sign_in_failures": "10/hour"}
    started = start_replicas(tmp_path_factory.mktemp("limited"), **budgets)
    yield started
    started.close()


def test_two_servers_and_nginx_take_from_one_budget(limited: Replicas) -> None:
    ada = limited.user("ada")
    people = islice(cycle([ada.one, ada.two, ada.through]), 60)
    statuses = [person.get("/org/ada/models").status_code for person in people]
    assert statuses == [200] * 20 + [429] * 40
    for person in (ada.one, ada.two, ada.through):
        refused = person.get("/org/ada/models")
        assert refusal(refused) == (429, "rate_limit_error")
        assert 3_500 < int(refused.headers["retry-after"]) <= 3_600
        assert refused.headers["ratelimit"] == f'"search";r=0;t={refused.headers["retry-after"]}'
        assert refused.headers["ratelimit-policy"] == '"search";q=20;w=3600'


def test_asked_at_the_same_moment_they_give_out_no_more_than_there_is(limited: Replicas) -> None:
    bob = limited.user("bob")

    def ask(person: Person, _: int) -> list[int]:
        return [person.get("/org/bob/models").status_code for _ in range(8)]

    answers = at_once(on_both(limited, bob, 8), ask)
    assert Counter(status for statuses in answers for status in statuses) == {200: 20, 429: 44}


def test_publishes_have_one_budget(limited: Replicas) -> None:
    eve = limited.user("eve")
    [oid] = eve.one.upload("eve/tiny", b"weights")
    statuses = [
        person.post("/org/eve/models/tiny/versions", {"version": f"1.{number}.0", "artifacts": {"a": oid}}).status_code
        for number, person in enumerate(islice(cycle([eve.one, eve.two]), 9))
    ]
    assert statuses == [201] * 5 + [429] * 4


def test_wrong_credentials_have_one_budget_by_the_address_that_proxies_tell(limited: Replicas) -> None:
    def guess(person: Person, address: str) -> int:
        headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": address}
        return person.get("/user", headers=headers).status_code

    ada = limited.user("locksmith")
    people = list(islice(cycle([ada.one, ada.two]), 16))
    assert [guess(person, "198.51.100.7") for person in people] == [401] * 10 + [429] * 6
    assert [guess(person, "198.51.100.8") for person in people] == [401] * 10 + [429] * 6, "another address"
    assert ada.two.get("/user", headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 200, "a good token"


def test_nginx_tells_the_address_that_calls_it_and_not_what_the_caller_says(limited: Replicas) -> None:
    ada = limited.user("liar")
    statuses = [
        ada.through.get(
            "/user", headers={"Authorization": "Bearer wrong", "X-Forwarded-For": f"203.0.113.{number}"}
        ).status_code
        for number in range(14)
    ]
    assert statuses == [401] * 10 + [429] * 4, "an address of his choice gives no budget of its own"
