"""The table of what passed, in docs/clients.md. `python -m tests.hub_clients.table` writes it from what the last runs
of `make test-clients` found, and refuses when a client was not tried or failed in something.
"""

import re
import sys
from pathlib import Path

from tests.hub_clients import results
from tests.hub_clients.driver import ACTIONS
from tests.hub_clients.environments import MATRIX, Environment

PAGE = Path(__file__).parents[2] / "docs/clients.md"
BEGIN, END = "<!-- clients: `python -m tests.hub_clients.table` writes this -->\n", "<!-- /clients -->"
BLOCK = re.compile(f"({re.escape(BEGIN)})(.*)({re.escape(END)})", re.DOTALL)
WITHOUT = "without"
HEAD = ("huggingface_hub", "hf_xet", *ACTIONS, "reads what was pushed by", "second version sends")


def row(environment: Environment) -> tuple[str, ...]:
    """What one client passed. Raises SystemExit when that is not everything."""
    found = results.find(environment)
    failed = [action for action in ACTIONS if found.get(action) is not True]
    everybody = f"{len(MATRIX)} of {len(MATRIX)}"
    if failed or found.get("reads") != everybody:
        sys.exit(
            f"{environment.name} has not passed everything, run `make test-clients`: {failed}, {found.get('reads')}"
        )
    second = str(found["second"]) if environment.xet else "all"
    return (environment.hub, environment.xet or WITHOUT, *("✓" for _ in ACTIONS), everybody, second)


def table() -> str:
    """The table, as Markdown."""
    lines = [HEAD, *(row(environment) for environment in MATRIX)]
    head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head, "|---" * len(HEAD) + "|", *body, ""])


def main() -> None:
    """Put the table into the page."""
    text, count = BLOCK.subn(lambda found: found[1] + table() + found[3], PAGE.read_text("utf-8"))
    if not count:
        sys.exit(f"{PAGE.name} has no place for the table, between\n{BEGIN}{END}")
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
