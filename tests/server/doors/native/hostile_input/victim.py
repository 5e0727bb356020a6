"""Whom hostile requests are aimed at, and what must be as it was after them."""

from dataclasses import dataclass
from typing import Any

from tests.house import Person, Registered

MODEL = "/org/victim/models/treasure"
TREASURE = b"the treasure"


def _uncounted(value: Any) -> Any:
    """The same without how often it was fetched: to count that is no loss."""
    if isinstance(value, dict):
        return {key: _uncounted(child) for key, child in value.items() if key != "download_count"}
    return [_uncounted(child) for child in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Victim:
    """A registry with a model that nothing here may change, and its owner."""

    registered: Registered
    owner: Person

    def state(self, *paths: str) -> list[Any]:
        """What can be seen of the model at these addresses, but for how often it was fetched."""
        answers = [self.owner.get(MODEL + path) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        return [_uncounted(answer.json()) for answer in answers]

    def whole_state(self) -> list[Any]:
        """All that can be seen of it, its bytes too."""
        paths = ("", "/versions", "/aliases", "/1.0.0", "/2.0.0-rc.1", "/compare?versions=1.0.0&versions=stable")
        files = [self.owner.get(f"{MODEL}/1.0.0/files/{path}").content for path in ("model.bin", "deep/er/café.json")]
        return [*self.state(*paths), *files]


def seeded(registered: Registered) -> Victim:
    """Put in what the requests here aim at, and what they must not reach."""
    owner = registered.user("victim")
    registered.user("bystander")
    assert owner.post("/org/victim/service-accounts", {"name": "robot"}).status_code == 201
    files = {"model.bin": TREASURE, "deep/er/café.json": b"{}"}
    said = {"summary": "Ours", "aliases": ["stable"], "metrics": {"accuracy": 0.5}, "origin": {"source": "upload"}}
    for version in ("1.0.0", "2.0.0-rc.1"):
        assert owner.publish(f"victim/treasure:{version}", files, **said).status_code == 201
    assert owner.publish("victim/decoy:1.0.0", {"model.bin": b"decoy"}).status_code == 201
    return Victim(registered, owner)
