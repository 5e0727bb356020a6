"""What one server did, the other one answers at once: never a stale latest, never a revoked token, never a 304 for
what has changed."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice

import httpx2
import pytest

from steelyard.server.names import Version
from tests.conftest import Tell
from tests.house import Person
from tests.house.people import path_of
from tests.replicas.site import Replicas, Somebody
from tests.server.doors.native.models import ModelAt


@dataclass
class Round:
    """One round of changes, all made `here`, each looked for `there`. Ada owns the model; Bob is a stranger."""

    number: int
    admin_here: Person
    ada_here: Person
    ada_there: Person
    bob_there: Person
    oid: str
    checks: Counter[str] = field(default_factory=Counter)

    @property
    def here(self) -> ModelAt:
        return ModelAt(self.ada_here, "ada/tiny")

    @property
    def version(self) -> str:
        return f"1.{self.number + 1}.0"

    def changes(self, kind: str, path: str, change: Callable[[], httpx2.Response]) -> httpx2.Response:
        """Ada's answer there, which had an ETag before the change and must not be that one any more."""
        before = self.ada_there.get(path)
        done = change()
        assert done.is_success, done.text
        after = self.ada_there.get(path, headers={"If-None-Match": before.headers.get("etag", '"none"')})
        assert after.status_code != 304, f"{kind}: {path} is answered as it was"
        self.checks[kind] += 1
        return after

    def is_latest(self, kind: str, version: str, change: Callable[[], httpx2.Response]) -> None:
        """After the change, `version` is the latest there, by every way of asking; and a 304 says so, too."""
        model = path_of("ada/tiny")
        latest = self.changes(kind, model, change)
        assert latest.json()["version"] == version
        assert self.ada_there.get(f"{model}/versions").json()["latest"]["version"] == version
        assert self.ada_there.get(f"{model}/%3E%3D1").json()["version"] == version
        file = self.ada_there.request("HEAD", f"{model}/latest/files/model.bin")
        assert file.headers["content-location"].endswith(f"/{version}/files/model.bin")
        self.stays(latest, model)
        self.checks[kind] += 4

    def stays(self, answered: httpx2.Response, path: str) -> None:
        """Asked again with its ETag it is a 304; but for downloads that were written down meanwhile."""
        again = self.ada_there.get(path, headers={"If-None-Match": answered.headers["etag"]})
        if again.status_code == 200:
            assert again.json() | {"download_count": 0} == answered.json() | {"download_count": 0}
            again = self.ada_there.get(path, headers={"If-None-Match": again.headers["etag"]})
        assert again.status_code == 304

    def bob_gets(self, kind: str, status: int, path: str = path_of("ada/tiny"), **headers: str) -> httpx2.Response:
        """Bob's answer there."""
        answer = self.bob_there.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        assert answer.status_code == status, (kind, answer.status_code, answer.text)
        self.checks[kind] += 1
        return answer

    def run(self) -> None:
        for part in (
            self.publishing,
            self.aliases,
            self.visibility,
            self.membership,
            self.people,
            self.tokens,
            self.deleting,
        ):
            part()

    def publishing(self) -> None:
        body = {"version": self.version, "artifacts": {"model.bin": self.oid}}
        earlier = f"1.{self.number}.0"
        self.is_latest("publish", self.version, lambda: self.here.post_version(**body))
        self.is_latest("yank", earlier, lambda: self.here.put(f"/{self.version}/yank", {"reason": "wrong"}))
        self.is_latest("unyank", self.version, lambda: self.here.delete(f"/{self.version}/yank"))
        path = f"{path_of('ada/tiny')}/{self.version}"
        after = self.changes("metrics", path, lambda: self.here.put(f"/{self.version}/metrics", {"a": self.number}))
        assert after.json()["metrics"] == {"a": self.number}

    def aliases(self) -> None:
        path = f"{path_of('ada/tiny')}/prod"
        for version in (self.version, "1.0.0", self.version):
            after = self.changes("alias", path, lambda version=version: self.here.set_alias("prod", version))  # type: ignore[misc]
            assert after.json()["version"] == version
        assert self.changes("alias", path, lambda: self.here.delete(f"/{self.version}/aliases/prod")).status_code == 404

    def visibility(self) -> None:
        self.bob_gets("hide", 404)
        self.here.patch("/visibility", {"is_public": True})
        shown = self.bob_gets("show", 200)
        self.bob_gets("show", 304, If_None_Match=shown.headers["etag"])
        self.here.patch("/visibility", {"is_public": False})
        self.bob_gets("hide", 404, If_None_Match=shown.headers["etag"])
        self.bob_gets("hide", 404, f"{path_of('ada/tiny')}/{self.version}/files/model.bin")

    def membership(self) -> None:
        metrics = f"{path_of('ada/tiny')}/{self.version}/metrics"
        self.ada_here.post("/org/ada/members", {"username": "bob", "role": "reader"})
        self.bob_gets("membership", 200)
        assert self.bob_there.put(metrics, {"a": 1}).status_code == 403
        self.ada_here.patch("/org/ada/members/bob", {"role": "contributor"})
        assert self.bob_there.put(metrics, {"a": 2}).status_code == 200
        self.ada_here.delete("/org/ada/members/bob")
        self.bob_gets("membership", 404)
        assert self.bob_there.put(metrics, {"a": 3}).status_code == 404
        self.checks["membership"] += 3

    def people(self) -> None:
        for disabled, status in ((True, 401), (False, 200)):
            assert self.admin_here.patch("/users/bob", {"disabled": disabled}).status_code == 200
            self.bob_gets("person", status, "/user")

    def tokens(self) -> None:
        made = self.ada_here.post("/user/api-keys", {"name": "short-lived"}).json()
        there = Person(self.ada_there.client, "ada", made["key"])
        assert there.get("/user").status_code == 200
        link = there.post(f"{path_of('ada/tiny')}/{self.version}/download").json()["url"]
        assert there.client.head(link).status_code == 200
        assert self.ada_here.delete(f"/user/api-keys/{made['id']}").status_code == 204
        assert there.get("/user").status_code == 401
        assert there.client.head(link).status_code == 401, "its links die with it"
        self.checks["token"] += 4

    def deleting(self) -> None:
        body = {"version": f"2.{self.number}.0", "artifacts": {"model.bin": self.oid}}
        self.is_latest("publish", f"2.{self.number}.0", lambda: self.here.post_version(**body))
        self.is_latest("delete", self.version, lambda: self.here.delete(f"/2.{self.number}.0"))
        assert self.ada_there.get(f"{path_of('ada/tiny')}/2.{self.number}.0").status_code == 404
        self.checks["delete"] += 1


def run_rounds(replicas: Replicas, count: int) -> Counter[str]:
    """So many rounds, made and looked at in turn by each server and through nginx; answers what was checked."""
    ada, bob = replicas.user("ada"), replicas.user("bob")
    assert ada.one.publish("ada/tiny:1.0.0", {"model.bin": b"weights"}).status_code == 201
    [oid] = ada.one.upload("ada/tiny", b"weights")
    ways = [("one", "two"), ("two", "one"), ("through", "one"), ("one", "through"), ("through", "through")]
    checks: Counter[str] = Counter()
    for number, (here, there) in enumerate(islice(cycle(ways), count)):
        people = (getattr(replicas.admin, here), getattr(ada, here), getattr(ada, there), getattr(bob, there))
        Round(number, *people, oid, checks).run()
    return checks


def test_what_one_server_did_the_other_answers_at_once(make_replicas: Callable[[], Replicas], tell: Tell) -> None:
    checks = run_rounds(make_replicas(), 4)
    tell(f"checks of what the other server did: {sum(checks.values())} ({dict(checks)}); stale answers: 0")
    assert sum(checks.values()) >= 150


@pytest.mark.thorough
def test_what_one_server_did_the_other_answers_at_once_many_times(
    make_replicas: Callable[[], Replicas], tell: Tell
) -> None:
    checks = run_rounds(make_replicas(), 100)
    tell(f"checks of what the other server did: {sum(checks.values())} ({dict(checks)}); stale answers: 0")
    assert sum(checks.values()) >= 4_000


# --- while it happens


@dataclass
class Readers:
    """Threads that read while others write. What was answered before a question began must be in its answer."""

    people: list[Person]
    look: Callable[[Person], int]
    done: threading.Event = field(default_factory=threading.Event)
    least: int = 0
    checks: int = 0

    def read(self, person: Person) -> int:
        """Ask until it is over; answers how often."""
        asked = 0
        while not self.done.is_set():
            least = self.least
            seen = self.look(person)
            assert seen >= least, f"answered {seen} after {least} was published"
            asked += 1
        return asked

    def during(self, write: Callable[[int], None], times: int) -> None:
        """Write so many times while all of them read."""
        with ThreadPoolExecutor(len(self.people)) as threads:
            reading = [threads.submit(self.read, person) for person in self.people]
            try:
                for number in range(1, times + 1):
                    write(number)
                    self.least = number
            finally:
                self.done.set()
            self.checks = sum(read.result() for read in reading)


def readers_of(replicas: Replicas, ada: Somebody, count: int) -> list[Person]:
    urls = islice(cycle([replicas.two.url, replicas.one.url, replicas.url]), count)
    return [replicas.person(url, ada.name, ada.token) for url in urls]


@pytest.mark.thorough
def test_nobody_reads_an_older_latest_than_was_published_before_he_asked(replicas: Replicas, tell: Tell) -> None:
    ada = replicas.user("busy")
    assert ada.one.publish("busy/tiny:0.0.0", {"model.bin": b"weights"}).status_code == 201
    [oid] = ada.one.upload("busy/tiny", b"weights")

    def publish(number: int) -> None:
        body = {"version": f"0.0.{number}", "artifacts": {"model.bin": oid}}
        writer = ada.one if number % 2 else ada.two
        assert writer.post("/org/busy/models/tiny/versions", body).status_code == 201

    def latest(person: Person) -> int:
        return Version.parse(person.get("/org/busy/models/tiny").json()["version"]).patch

    readers = Readers(readers_of(replicas, ada, 4), latest)
    readers.during(publish, 60)
    tell(f"reads of the latest beside 60 publishes on two servers: {readers.checks}; stale: 0")
    assert readers.checks >= 60


def test_a_token_is_refused_everywhere_from_the_moment_that_its_end_is_answered(replicas: Replicas) -> None:
    ada = replicas.user("careful")
    refused = 0
    for number in range(12):
        made = ada.one.post("/user/api-keys", {"name": f"key {number}"}).json()
        revoked = threading.Event()
        people = [replicas.person(url, "careful", made["key"]) for url in (replicas.one.url, replicas.two.url)]

        def use(person: Person, revoked: threading.Event = revoked) -> int:
            """Use the token until it is refused, and a while longer; answers how often it was refused."""
            refusals, until = 0, time.monotonic() + 20
            while refusals < 10 and time.monotonic() < until:
                was_revoked = revoked.is_set()
                status = person.get("/user").status_code
                assert status == 401 if was_revoked else status in (200, 401)
                refusals += status == 401
            return refusals

        with ThreadPoolExecutor(2) as threads:
            using = [threads.submit(use, person) for person in people]
            time.sleep(0.02)
            assert (ada.two if number % 2 else ada.one).delete(f"/user/api-keys/{made['id']}").status_code == 204
            revoked.set()
            refused += sum(each.result() for each in using)
    assert refused == 12 * 2 * 10
