"""What passed, as the runs of the tests left it beside the environments: a file for each, so that a run of some adds
to what a run of others found.
"""

import json
from collections.abc import Mapping

from tests.hub_clients.environments import HOME, Environment

PLACE = HOME / "passed"


def keep(environment: Environment, passed: Mapping[str, bool | str]) -> None:
    """Remember what one client could do, or a few words on it. What is not mentioned stays as it was found."""
    PLACE.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**find(environment), **passed}, indent=1)
    (PLACE / f"{environment.name}.json").write_text(text + "\n", "utf-8")


def find(environment: Environment) -> dict[str, bool | str]:
    """What is known of a client; nothing where no run has tried it."""
    path = PLACE / f"{environment.name}.json"
    found: dict[str, bool | str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found
