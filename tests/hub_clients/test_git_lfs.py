"""Git LFS with the registry as its store: the recipe of docs/clients.md, by the git-lfs that people use, beside the
Hub's client. What it does alone: `test_git_lfs_alone.py`.

The repository itself is with another server, here a folder.
"""

import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house import Registered
from tests.hub_clients.conftest import Counted, Machines, People
from tests.hub_clients.driver import MB
from tests.hub_clients.environments import GIT_LFS
from tests.hub_clients.machines import Machine

pytestmark = pytest.mark.thorough

WEIGHTS = "model.safetensors"
LARGE_BYTES = 20 * MB  # more than one part of the registry's
_CREDENTIALS = '!f() { test "$1" = get && echo username=token && echo "password=$HF_TOKEN"; }; f'


@dataclass(frozen=True)
class Clone:
    """A working copy of somebody's on a machine."""

    machine: Machine
    folder: Path

    def git(self, *arguments: str) -> str:
        """What a command of git's prints, once it ended well."""
        done = self.try_git(*arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def try_git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of git's, however it ends."""
        return self.machine.run(["git", "-C", str(self.folder), *arguments])

    def hf(self, *arguments: str) -> None:
        """A command of the Hub's client."""
        done = self.machine.run([str(self.machine.environment.programs / "hf"), *arguments])
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"

    def write(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def commit(self, words: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", words)


def clone_on(machine: Machine, origin: Path) -> Clone:
    """A clone that has no files yet, on a machine that is set up as docs/clients.md says."""
    machine.environment.install()
    home = Clone(machine, machine.home)
    for key, value in {
        "user.name": "Ada",
        "user.email": "ada@example.com",
        "init.defaultBranch": "main",
        f"credential.{machine.endpoint}.helper": _CREDENTIALS,
    }.items():
        home.git("config", "--global", key, value)
    home.git("lfs", "install")
    home.git("clone", "--quiet", "--no-checkout", str(origin), "work")
    return Clone(machine, machine.home / "work")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Where the repository is: with somebody who keeps no large files."""
    place = tmp_path / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(place)], check=True)
    return place


@pytest.fixture
def repo(people: People, origin: Path) -> str:
    """The model that the files are to be of."""
    return f"{people(GIT_LFS).name}/{origin.parent.name.replace('_', '-')}"[:90]


@pytest.fixture
def author(machines: Machines, origin: Path, repo: str) -> Clone:
    """A clone with one commit of a large file and a small one, not pushed."""
    made = clone_on(machines(GIT_LFS), origin)
    made.hf("repos", "create", repo)
    made.git("lfs", "track", "*.safetensors")
    made.git("config", "--file", ".lfsconfig", "lfs.url", f"{made.machine.endpoint}/{repo}.git/info/lfs")
    made.write("README.md", b"# Mine\n")
    made.write(WEIGHTS, random.Random(repo).randbytes(LARGE_BYTES))
    made.commit("First")
    return made


def publish(author: Clone, repo: str, number: str) -> None:
    """Make a version of what lies in the working copy."""
    author.hf("upload", repo, str(author.folder))
    author.hf("repos", "tag", "create", repo, number)


def test_what_git_lfs_sent_is_published_without_being_sent_again_and_checked_out_elsewhere(
    author: Clone, repo: str, origin: Path, machines: Machines, counted: Counted
) -> None:
    before = counted.bytes("received")
    author.git("push", "origin", "main")
    pushed = counted.bytes("received")
    assert LARGE_BYTES < pushed - before < LARGE_BYTES + MB
    publish(author, repo, "1.0.0")
    assert counted.bytes("received") - pushed < MB

    other = clone_on(machines(GIT_LFS), origin)
    other.git("checkout", "main")
    assert (other.folder / WEIGHTS).read_bytes() == (author.folder / WEIGHTS).read_bytes()
    assert "OK" in other.git("lfs", "fsck")


def test_what_is_a_version_already_git_lfs_does_not_send(author: Clone, repo: str, counted: Counted) -> None:
    publish(author, repo, "1.0.0")
    before = counted.bytes("received", ".git/info/lfs")
    author.git("push", "origin", "main")
    assert counted.bytes("received", ".git/info/lfs") - before < 10_000


def test_a_change_goes_from_one_clone_to_another(author: Clone, repo: str, origin: Path, machines: Machines) -> None:
    author.git("push", "origin", "main")
    publish(author, repo, "1.0.0")
    other = clone_on(machines(GIT_LFS), origin)
    other.git("checkout", "main")

    author.write(WEIGHTS, random.Random("second").randbytes(LARGE_BYTES))
    author.commit("Second")
    author.git("push", "origin", "main")
    publish(author, repo, "1.1.0")
    other.git("pull", "--quiet")
    assert (other.folder / WEIGHTS).read_bytes() == (author.folder / WEIGHTS).read_bytes()


def test_somebody_who_may_not_see_the_model_gets_nothing(
    author: Clone, repo: str, origin: Path, machines: Machines, registry: Registered
) -> None:
    author.git("push", "origin", "main")
    publish(author, repo, "1.0.0")
    machine = machines(GIT_LFS)
    stranger = Machine(machine.environment, machine.endpoint, registry.user("stranger").token or "", machine.home)
    done = clone_on(stranger, origin).try_git("checkout", "main")
    assert done.returncode != 0
    assert f"There is no model '{repo}', or you may not see it." in done.stderr
