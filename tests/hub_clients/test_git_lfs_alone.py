"""The registry as a server of Git LFS alone: nothing is published, the commits are in a repository elsewhere.

By the git-lfs that people use, against a disk and against S3, where what is fetched comes straight from the store.
"""

import base64
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.house import Person, Registered, RunningServer, start_server
from tests.house.people import oid_of
from tests.house.seaweed import seaweed
from tests.hub_clients.driver import MB
from tests.hub_clients.environments import GIT_LFS
from tests.hub_clients.machines import Machine
from tests.hub_clients.test_git_lfs import Clone, clone_on

pytestmark = pytest.mark.thorough

Cloning = Callable[..., Clone]
FILES = {f"part-{number}.bin": MB + number for number in range(9)}  # more than git-lfs sends at once


@pytest.fixture(scope="module", params=["disk", "s3"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with public models open to everybody."""
    settings = seaweed().settings() if request.param == "s3" else {}
    place = tmp_path_factory.mktemp("alone")
    server = start_server(place / "data", port=None, anonymous_public="true", **settings)
    yield server
    server.stop()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def registered(running: RunningServer) -> Iterator[Registered]:
    """The people of the server."""
    with httpx2.Client(base_url=running.url, timeout=30) as client:
        yield Registered(client, running.token)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def ada(registered: Registered) -> Person:
    """Who owns the models."""
    return registered.user("ada")


@pytest.fixture
def model(ada: Person, tmp_path: Path) -> str:
    """A name that nothing has yet."""
    return f"{ada.name}/{tmp_path.name.replace('_', '-')}"[:90]


@pytest.fixture
def cloning(running: RunningServer, tmp_path: Path, model: str) -> Cloning:
    """Makes a clone of one repository on a machine of somebody's, whose git asks this model for large files."""
    origin, names = tmp_path / "origin.git", iter("abcdefgh")
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(origin)], check=True)

    def make(token: str | None) -> Clone:
        home = tmp_path / next(names)
        home.mkdir()
        clone = clone_on(Machine(GIT_LFS, running.url, token or "", home), origin)
        clone.git("config", "lfs.url", f"{running.url}/{model}.git/info/lfs")
        if token is None:
            clone.git("config", "--global", f"credential.{running.url}.helper", "!echo quit=1 #")  # and asks nobody
        return clone

    return make


@pytest.fixture
def author(cloning: Cloning, ada: Person) -> Clone:
    """A clone with a commit of several large files, not pushed."""
    made = cloning(ada.token)
    made.git("lfs", "track", "*.bin")
    for name, size_bytes in FILES.items():
        made.write(name, random.Random(f"{made.folder}{name}").randbytes(size_bytes))
    made.commit("First")
    return made


def same_files(one: Clone, other: Clone) -> bool:
    return all((one.folder / name).read_bytes() == (other.folder / name).read_bytes() for name in FILES)


def test_what_was_pushed_is_checked_out_elsewhere_and_nothing_was_said_of_locks(
    author: Clone, cloning: Cloning, ada: Person
) -> None:
    pushed = author.try_git("push", "origin", "main")
    assert pushed.returncode == 0, pushed.stderr
    assert "lock" not in (pushed.stdout + pushed.stderr).lower()
    other = cloning(ada.token)
    other.git("checkout", "main")
    assert same_files(author, other)
    assert "OK" in other.git("lfs", "fsck")


def test_a_lock_is_refused_in_clear_words(author: Clone) -> None:
    name = next(iter(FILES))
    for command in (["lock", name], ["unlock", name], ["locks"], ["locks", "--verify"]):
        done = author.try_git("lfs", *command)
        assert done.returncode != 0
        assert "keeps no locks of Git LFS" in done.stderr + done.stdout


def test_a_reader_pulls_and_does_not_push(author: Clone, cloning: Cloning, ada: Person, model: str) -> None:
    author.git("push", "origin", "main")
    reading = ada.post("/user/api-keys", {"name": model, "access": "read"})
    assert reading.status_code == 201, reading.text
    reader = cloning(reading.json()["key"])
    reader.git("checkout", "main")
    assert same_files(author, reader)
    reader.write("more.bin", b"of a reader" * 1000)
    reader.commit("More")
    refused = reader.try_git("push", "origin", "main")
    assert refused.returncode != 0
    assert "this token only reads" in refused.stderr


def test_a_stranger_and_nobody_get_nothing_of_a_private_model_and_all_of_a_public_one(
    author: Clone, cloning: Cloning, ada: Person, registered: Registered, model: str
) -> None:
    author.git("push", "origin", "main")
    stranger, nobody = cloning(registered.user("bob").token), cloning(None)
    for clone in (stranger, nobody):
        refused = clone.try_git("checkout", "main")
        assert refused.returncode != 0
    org, name = model.split("/")
    assert ada.patch(f"/org/{org}/models/{name}/visibility", {"is_public": True}).status_code == 200
    for clone in (stranger, cloning(None)):  # git-lfs remembers that nobody was asked for a password
        clone.git("checkout", "--force", "main")
        assert same_files(author, clone)


def test_a_wrong_token_ends_soon_and_says_why(author: Clone, cloning: Cloning) -> None:
    """The helper gives it whenever it is asked: the end is the registry's."""
    wrong = cloning("syd_wrong")
    wrong.git("lfs", "track", "*.bin")
    wrong.write("a.bin", b"not to be seen" * 1000)
    wrong.git("checkout", "--orphan", "wrong")
    wrong.commit("Wrong")
    refused = wrong.try_git("push", "origin", "wrong")
    assert refused.returncode != 0
    assert "is no token" in refused.stderr


@pytest.mark.parametrize("way", ["userinfo", "header"])
def test_the_token_may_be_in_the_address_or_in_a_header(
    way: str, author: Clone, cloning: Cloning, ada: Person, running: RunningServer, model: str
) -> None:
    author.git("push", "origin", "main")
    other = cloning(None)
    if way == "userinfo":
        address = running.url.replace("http://", f"http://git:{ada.token}@")
        other.git("config", "lfs.url", f"{address}/{model}.git/info/lfs")
    else:
        basic = base64.b64encode(f"git:{ada.token}".encode()).decode()
        other.git("config", "--global", f"http.{running.url}/.extraHeader", f"Authorization: Basic {basic}")
    other.git("checkout", "main")
    assert same_files(author, other)


def test_one_object_is_pushed_by_its_id_and_published_by_it(author: Clone, ada: Person, model: str) -> None:
    name = next(iter(FILES))
    data = (author.folder / name).read_bytes()
    author.git("lfs", "push", "--object-id", "origin", oid_of(data).removeprefix("sha256:"))
    org, bare = model.split("/")
    path = f"/org/{org}/models/{bare}"
    done = ada.post(f"{path}/versions", {"version": "1.0.0", "artifacts": {name: oid_of(data)}})
    assert done.status_code == 201, done.text
    assert ada.get(f"{path}/1.0.0/files/{name}", follow_redirects=True).content == data


def test_a_version_that_was_published_is_fetched_by_git_lfs(
    author: Clone, cloning: Cloning, ada: Person, model: str
) -> None:
    files = {name: (author.folder / name).read_bytes() for name in FILES}
    assert ada.publish(f"{model}:1.0.0", files).status_code == 201
    author.git("push", "--no-verify", "origin", "main")  # git alone: git-lfs sends nothing
    other = cloning(ada.token)
    other.git("checkout", "main")
    assert same_files(author, other)


def test_a_download_that_broke_off_goes_on(author: Clone, cloning: Cloning, ada: Person) -> None:
    author.git("push", "origin", "main")
    name = next(iter(FILES))
    data = (author.folder / name).read_bytes()
    other = cloning(ada.token)
    begun = other.folder / ".git/lfs/incomplete" / f"{oid_of(data).removeprefix('sha256:')}.part"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(data[: MB // 2])
    done = other.machine.run(
        ["env", "GIT_TRACE=1", "GIT_CURL_VERBOSE=1", "git", "-C", str(other.folder), "checkout", "main"]
    )
    assert done.returncode == 0, done.stderr
    assert f"Range: bytes={MB // 2}-" in done.stderr
    assert same_files(author, other)


def test_a_large_file_goes_there_and_back(author: Clone, cloning: Cloning, ada: Person) -> None:
    pieces = [random.Random(number).randbytes(MB) for number in range(10)]
    with (author.folder / "large.bin").open("wb") as file:
        for number in range(300):
            file.write(number.to_bytes(4, "big") + pieces[number % 10][4:])
    author.commit("Large")
    author.git("push", "origin", "main")
    other = cloning(ada.token)
    other.git("checkout", "main")
    assert (other.folder / "large.bin").stat().st_size == 300 * MB
    assert "OK" in other.git("lfs", "fsck")
