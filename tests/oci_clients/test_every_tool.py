"""Every tool, everything that it offers, with every kind of credentials, on every kind of store.

What a tool does not offer is said with the reason, in its `lacks`; docs/clients.md has it, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import pytest

from tests.oci_clients.clients import Action, Client
from tests.oci_clients.conftest import MakeClient, Place, login_of
from tests.oci_clients.machines import Login, Ran
from tests.oci_clients.samples import Sample
from tests.oci_clients.tools import TOOLS

pytestmark = pytest.mark.thorough

TAG = "blue"
UNKNOWN_TOKEN = Login("ada", "syd_neverGivenToAnybody")


class By(StrEnum):
    """By what somebody is known to the registry, or not."""

    OWNER = "owner"
    READER = "reader"
    STRANGER = "stranger"
    WRONG = "wrong token"
    NOBODY = "no token"


MAY = {
    By.OWNER: set(Action),
    By.READER: {Action.LOGIN, Action.PULL, Action.LIST},
    By.STRANGER: {Action.LOGIN},
    By.WRONG: set[Action](),
    By.NOBODY: set[Action](),
}
_UNKNOWN = (
    "unauthorized",
    "Unauthorized",
    "authentication failed",
    "Authentication failed",
    "authenticate",
    "invalid username/password",
    "requires a token",
)
_NOT_FOUND = ("There is no", "404", "not found", "Not Found", "may not exist", "no such tag")
_DENIED = ("denied", "You may not", "Forbidden", "403")
SAYS = {By.READER: _DENIED, By.STRANGER: _NOT_FOUND, By.WRONG: _UNKNOWN, By.NOBODY: _UNKNOWN}
"""What somebody reads who may not, one of these words at least."""


@dataclass(frozen=True)
class Case:
    """One cell of the table, without the store."""

    tool: type[Client]
    action: Action
    by: By

    @property
    def is_allowed(self) -> bool:
        return self.action in MAY[self.by]

    def __str__(self) -> str:
        return f"{self.tool.name}-{self.action}-{self.by}".replace(" ", "_")


def cases() -> Iterator[Case]:
    """All that are offered. Nobody logs in without a token."""
    for tool in TOOLS:
        for action in Action:
            for by in By:
                if action not in tool.lacks and (action, by) != (Action.LOGIN, By.NOBODY):
                    yield Case(tool, action, by)


def login_by(by: By, place: Place) -> Login | None:
    """What he types who is known by this."""
    people = {By.OWNER: place.owner, By.READER: place.reader, By.STRANGER: place.stranger}
    if by in people:
        return login_of(people[by])
    return UNKNOWN_TOKEN if by is By.WRONG else None


@dataclass(frozen=True)
class Scene:
    """A private model with a tag, before somebody uses a tool on it."""

    case: Case
    place: Place
    client: Client
    sample: Sample
    repository: str
    digest: str

    @property
    def ref(self) -> str:
        return self.place.ref(self.repository, TAG)

    @property
    def fresh(self) -> str:
        """Another model, which is not there yet."""
        return f"{self.repository}-too"

    def act(self) -> Ran:
        """Have the tool do it."""
        client = self.client
        fresh = self.place.ref(self.fresh, TAG)
        login = login_by(self.case.by, self.place)
        verbs = {
            Action.LOGIN: lambda: client.log_in(login or UNKNOWN_TOKEN),
            Action.PUSH: lambda: client.push(self.sample, fresh),
            Action.PULL: lambda: client.pull(self.ref),
            Action.LIST: lambda: client.list_tags(self.ref.rpartition(":")[0]),
            Action.MOUNT: lambda: client.mount(self.ref, fresh),
            Action.DELETE: lambda: client.delete(self.ref),
        }
        return verbs[self.case.action]()

    def check_done(self, ran: Ran, uploaded_bytes: float) -> None:
        """What it was to do is done, by the registry's own word."""
        referee = self.place.referee
        if self.case.action in (Action.PUSH, Action.MOUNT):
            assert referee.files(self.fresh, TAG) == self.sample.files
            assert ran.out.strip() == referee.digest(self.fresh, TAG)
        if self.case.action is Action.PUSH:
            assert uploaded_bytes > self.sample.size_bytes
        if self.case.action is Action.MOUNT:
            assert uploaded_bytes < 10_000, "the layer was sent again"
        if self.case.action is Action.PULL:
            assert self.client.pulled(self.ref) == self.sample.files
        if self.case.action is Action.LIST:
            assert ran.out.split() == [TAG, "green"]
        if self.case.action is Action.DELETE:
            assert referee.digest(self.repository, TAG) is None
        else:
            assert referee.digest(self.repository, TAG) == self.digest

    def check_refused(self, ran: Ran) -> None:
        """Nothing came of it, and the person can read why."""
        assert not ran.ended_well, ran
        assert any(words in f"{ran.out}{ran.said}" for words in SAYS[self.case.by]), ran
        referee = self.place.referee
        assert referee.digest(self.repository, TAG) == self.digest
        assert referee.digest(self.fresh, TAG) is None


@pytest.mark.parametrize("case", [pytest.param(case, id=str(case)) for case in cases()])
def test_a_tool_does_what_its_user_may_and_says_what_he_may_not(
    case: Case, place: Place, use: MakeClient, sample: Sample, repository: str
) -> None:
    carrier = case.tool.carrier(sample)
    for tag in (TAG, "green"):
        place.referee.push(repository, tag, carrier)
    client = use(case.tool, place, login_by(case.by, place))
    scene = Scene(case, place, client, sample, repository, carrier.digest)
    before = place.referee.uploaded_bytes()
    ran = scene.act()
    if case.is_allowed:
        assert ran.ended_well, ran
        scene.check_done(ran, place.referee.uploaded_bytes() - before)
    else:
        scene.check_refused(ran)


@pytest.mark.parametrize("tool", [pytest.param(tool, id=tool.name) for tool in TOOLS])
def test_what_a_tool_is_said_to_lack_is_not_written(tool: type[Client]) -> None:
    verbs = {Action.LOGIN: "log_in", Action.LIST: "list_tags", Action.MOUNT: "mount", Action.DELETE: "delete"}
    without = {action for action, verb in verbs.items() if getattr(tool, verb) is getattr(Client, verb)}
    assert set(tool.lacks) == without
