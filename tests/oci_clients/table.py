"""The table of container tools, in docs/clients.md. `python -m tests.oci_clients.table` writes it, with the versions
that are on this machine; tests/oci_clients/test_page.py sees that it names what the tests try.
"""

import re
import sys
from pathlib import Path

from tests.oci_clients.clients import Action, Client
from tests.oci_clients.tools import TOOLS

PAGE = Path(__file__).parents[2] / "docs/clients.md"
BEGIN, END = "<!-- tools: `python -m tests.oci_clients.table` writes this -->\n", "<!-- /tools -->"
BLOCK = re.compile(f"({re.escape(BEGIN)})(.*)({re.escape(END)})", re.DOTALL)
HEAD = ("tool", "version", *Action)


def row(tool: type[Client], version: str) -> tuple[str, ...]:
    """What one tool does."""
    return (tool.name, version, *("no: " + tool.lacks[action] if action in tool.lacks else "✓" for action in Action))


def table() -> str:
    """The table, as Markdown."""
    head, *body = (f"| {' | '.join(cells)} |" for cells in (HEAD, *(row(tool, tool.version()) for tool in TOOLS)))
    return "\n".join([head, "|---" * len(HEAD) + "|", *body, ""])


def main() -> None:
    """Put the table into the page."""
    text, count = BLOCK.subn(lambda found: found[1] + table() + found[3], PAGE.read_text("utf-8"))
    if not count:
        sys.exit(f"{PAGE.name} has no place for the table, between\n{BEGIN}{END}")
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
