"""Both servers asked for the same thing at the same moment: it happens once, and in an order."""

import time
from collections import Counter
from collections.abc import Callable

import httpx2
import pytest
from sqlalchemy import select

from steelyard.server.db.tables import AliasMove, DownloadHit, Model
from tests.house import Person
from tests.house.people import path_of
from tests.replicas.at_once import at_once, on_both
from tests.replicas.site import Replicas, Somebody

PEOPLE = 16


def publishing(model: str, **body: object) -> Callable[[Person, int], httpx2.Response]:
    """Publish under this number, or with this bump."""
    return lambda person, _: person.post(f"{path_of(model)}/versions", body)


def test_of_different_contents_under_one_number_exactly_one_is_published(replicas: Replicas) -> None:
    ada = replicas.user("different")
    oids = ada.one.upload("different/tiny", *(b"weights %d" % number for number in range(PEOPLE)))
    for version in ("1.0.0", "1.1.0", "1.2.0"):

        def publish(person: Person, number: int, version: str = version) -> httpx2.Response:
            body = {"version": version, "artifacts": {"model.bin": oids[number]}}
            return person.post("/org/different/models/tiny/versions", body)

        answers = at_once(on_both(replicas, ada, PEOPLE), publish)
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: PEOPLE - 1}
        [won] = [number for number, answer in enumerate(answers) if answer.status_code == 201]
        for person in (ada.one, ada.two, ada.through):
            assert person.get(f"/org/different/models/tiny/{version}").json()["artifacts"] == {"model.bin": oids[won]}


def test_of_the_same_contents_one_is_published_and_the_others_find_it(replicas: Replicas) -> None:
    ada = replicas.user("same")
    [oid] = ada.one.upload("same/tiny", b"weights")
    publish = publishing("same/tiny", version="1.0.0", artifacts={"model.bin": oid})
    answers = at_once(on_both(replicas, ada, PEOPLE), publish)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: PEOPLE - 1}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_bump_with_one_key_gives_one_number_on_whichever_server(replicas: Replicas) -> None:
    ada = replicas.user("retried")
    [oid] = ada.one.upload("retried/tiny", b"weights")
    body = {"bump": "minor", "artifacts": {"model.bin": oid}}
    for turn in (1, 2, 3):

        def bump(person: Person, _: int, turn: int = turn) -> httpx2.Response:
            return person.post("/org/retried/models/tiny/versions", body, headers={"Idempotency-Key": f"turn-{turn}"})

        answers = at_once(on_both(replicas, ada, PEOPLE), bump)
        assert Counter(answer.status_code for answer in answers) == {201: 1, 200: PEOPLE - 1}
        assert {answer.json()["version"] for answer in answers} == {f"0.{turn}.0"}


def test_bumps_with_keys_of_their_own_give_each_its_number_and_the_highest_is_the_latest(replicas: Replicas) -> None:
    ada = replicas.user("bumped")
    [oid] = ada.one.upload("bumped/tiny", b"weights")

    def bump(person: Person, number: int) -> httpx2.Response:
        body = {"bump": "patch", "artifacts": {"model.bin": oid}}
        return person.post("/org/bumped/models/tiny/versions", body, headers={"Idempotency-Key": f"run-{number}"})

    answers = at_once(on_both(replicas, ada, PEOPLE), bump)
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["version"] for answer in answers} == {f"0.0.{number}" for number in range(1, PEOPLE + 1)}
    assert ada.two.get("/org/bumped/models/tiny").json()["version"] == f"0.0.{PEOPLE}"


def test_moves_of_an_alias_from_both_make_one_history(replicas: Replicas) -> None:
    ada = replicas.user("moving")
    versions = [f"1.{number}.0" for number in range(PEOPLE)]
    for version in versions:
        assert ada.one.publish(f"moving/tiny:{version}", {"model.bin": b"weights"}).status_code == 201

    def move(person: Person, number: int) -> int:
        moved = person.post(f"/org/moving/models/tiny/{versions[number]}/aliases", {"alias": "prod"})
        return moved.status_code

    for _ in range(3):
        assert set(at_once(on_both(replicas, ada, PEOPLE), move)) == {200}
    moves = history_of(replicas, "tiny", "prod")
    assert moves[0][0] is None
    assert [move[0] for move in moves[1:]] == [move[1] for move in moves[:-1]], "each begins where the last one ended"
    assert ada.two.get("/org/moving/models/tiny/prod").json()["version"] == moves[-1][1]


def history_of(replicas: Replicas, model: str, alias: str) -> list[tuple[str | None, str | None]]:
    """`(from, to)` of every step, in their order."""
    query = select(AliasMove.from_version, AliasMove.to_version).join(Model, Model.id == AliasMove.model_id)
    with replicas.database() as database, database.read() as session:
        rows = session.execute(query.where(Model.name == model, AliasMove.alias == alias).order_by(AliasMove.id))
        return [(row[0], row[1]) for row in rows]


def test_of_two_owners_who_remove_each_other_one_remains(replicas: Replicas) -> None:
    for turn in range(6):
        org = f"shared-{turn}"
        one, two = replicas.user(f"first-{turn}"), replicas.user(f"second-{turn}")
        assert replicas.admin.one.post("/orgs", {"key": org, "owner": one.name}).status_code == 201
        added = one.one.post(f"/org/{org}/members", {"username": two.name, "role": "owner"})
        assert added.status_code == 201
        others = [two.name, one.name]
        answers = at_once(
            [one.one, two.two],
            lambda person, number, org=org, others=others: person.delete(f"/org/{org}/members/{others[number]}"),  # type: ignore[misc]
        )
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 204 and statuses[1] in (403, 404, 409), statuses
        left = (one if answers[0].status_code == 204 else two).one.get(f"/org/{org}/members").json()["members"]
        assert [member["role"] for member in left] == ["owner"]


@pytest.fixture
def crowd(replicas: Replicas) -> list[Somebody]:
    """People who may all see what is public."""
    return [replicas.user(f"reader-{number}") for number in range(8)]


def test_downloads_are_counted_once_a_caller_on_whichever_servers_he_asks(
    replicas: Replicas, crowd: list[Somebody]
) -> None:
    ada = replicas.user("counted")
    assert ada.one.publish("counted/tiny:1.0.0", {"model.bin": b"weights"}, is_public=True).status_code == 201
    path = "/org/counted/models/tiny/1.0.0"

    def download(person: Person, number: int) -> None:
        for _ in range(2):
            assert person.post(f"{path}/download").status_code == 200
        assert person.request("GET", f"{path}/files/model.bin", follow_redirects=True).content == b"weights"

    at_once([person for reader in crowd for person in (reader.one, reader.two, reader.through)], download)
    counted, hits, hours = wait_for_counts(replicas, ada, path, len(crowd))
    assert counted == hits
    assert len(crowd) <= hits <= len(crowd) * hours, "an hour may have ended meanwhile"


def wait_for_counts(replicas: Replicas, ada: Somebody, path: str, least: int) -> tuple[int, int, int]:
    """What the API counts, how many rows stand behind it, and of how many hours; once nothing is outstanding."""
    time.sleep(2.5)  # both servers write down every second
    deadline = time.monotonic() + 10
    while (counted := int(ada.two.get(path).json()["download_count"])) < least and time.monotonic() < deadline:
        time.sleep(0.1)
    version = ada.one.get(path).json()["id"]
    with replicas.database() as database, database.read() as session:
        from steelyard.server.db.tables import Version

        query = select(DownloadHit.hour).join(Version, Version.id == DownloadHit.version_id)
        hours = list(session.scalars(query.where(Version.uuid == version)))
    return counted, len(hours), len(set(hours))
