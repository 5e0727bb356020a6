"""What clients push for each other to read, once for all the tests of a run."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.house import Person, Registered
from tests.hub_clients.conftest import Counted, Machines, People, slug_of
from tests.hub_clients.driver import EXCHANGED, digest, exchanged
from tests.hub_clients.environments import Environment
from tests.hub_clients.machines import Machine

ORG = "yard"
PLAIN = Environment("2.4.0")
_CUT_WITHIN_SECONDS = 120

Tagged = tuple[str, str]  # a repository and a tag
Digests = Mapping[str, str]


@dataclass(frozen=True)
class Pushed:
    """One version: who pushed it, what he may have taken over from, and how many bytes that sent."""

    pusher: Environment
    digests: Digests
    sent_bytes: int


@dataclass
class Exchange:
    """All that was pushed."""

    people: People
    machines: Machines
    counted: Counted
    pushed: dict[Tagged, Pushed] = field(default_factory=dict)

    def push_all(self, pushers: Iterable[Environment]) -> None:
        """Everybody pushes two versions of a model of his own; and who has Xet, the second of what another pushed
        plainly, on a machine that knows nothing of the first."""
        everybody = list(dict.fromkeys([PLAIN, *pushers]))
        for pusher in everybody:
            machine = self.machines(pusher)
            for version in (1, 2):
                self._push(machine, repo_of(pusher), version, author=pusher)
        self._wait_until_cut(repo_of(each) for each in everybody if not each.xet)
        for editor in (each for each in everybody if each.xet):
            self._push(self.machines(editor), edited_repo_of(editor), 2, author=PLAIN)

    def _push(self, machine: Machine, repo: str, version: int, *, author: Environment) -> None:
        pusher = machine.environment
        before = self.counted.bytes("received")
        names = {"author": author.name, "editor": pusher.name}
        machine.drive("push", {"repo": repo, "version": version, **names})
        files = exchanged(version=version, **names)
        digests = {path: digest(data) for path, data in files.items()}
        self.pushed[repo, f"{version}.0.0"] = Pushed(pusher, digests, self.counted.bytes("received") - before)

    def _wait_until_cut(self, repos: Iterable[str]) -> None:
        """Until files that came whole are offered in chunks: that is done in the background."""
        deadline = time.monotonic() + _CUT_WITHIN_SECONDS
        waiting = [f"/{repo}/resolve/{version}.0.0/{quote(EXCHANGED)}" for repo in repos for version in (1, 2)]
        reader = self.people(PLAIN)
        while waiting := [path for path in waiting if not _is_cut(reader, path)]:
            assert time.monotonic() < deadline, f"not cut into chunks: {waiting}"
            time.sleep(0.5)


def _is_cut(reader: Person, path: str) -> bool:
    found = reader.request("HEAD", str(reader.client.base_url.join(path)))
    assert found.status_code == 200, path
    return "x-xet-hash" in found.headers


def repo_of(pusher: Environment) -> str:
    """The model that is the client's own."""
    return f"{ORG}/{slug_of(pusher)}"


def edited_repo_of(editor: Environment) -> str:
    """The model that has the client's edition of what another pushed."""
    return f"{ORG}/edited-by-{slug_of(editor)}"


def found_org(registry: Registered, people: Iterable[Person]) -> None:
    """The organisation in which everybody exchanges models."""
    registry.org(ORG, **{person.name: "contributor" for person in people})
