"""docs/cli.md says what the command does: its tables and its reference are made from the command.

`python -m tests.cli.test_docs` makes them anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from steelyard.cli import main
from steelyard.cli.failures import EXIT_CODES, Exit
from steelyard.client.card import _KNOWN
from tests.cli.test_commands import SCENARIO

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
WIDTH = 110
ANEW = "make it anew: python -m tests.cli.test_docs"


def exit_codes() -> str:
    """The table of exit codes."""
    return "\n".join(
        ["| code | meaning |", "|---|---|", *(f"| {code} | {text} |" for code, text in EXIT_CODES.items())]
    )


def json_shapes() -> str:
    """Which keys each command's JSON has, as the tests of the command hold it to."""
    shapes: dict[str, str] = {}
    for line, keys in SCENARIO:
        words = line.split()
        name = " ".join(words[:2]) if isinstance(main.commands.get(words[0]), click.Group) else words[0]
        shown = ", ".join(f"`{key}`" for key in keys.removeprefix("[] ").split())
        shapes.setdefault(name, f"an array of {shown}" if keys.startswith("[] ") else shown)
    return "\n".join(
        ["| command | keys |", "|---|---|", *(f"| `{name}` | {keys} |" for name, keys in sorted(shapes.items()))]
    )


def reference() -> str:
    """Every command's help."""
    return "\n\n".join(f"### steelyard {name}\n\n```text\n{text}\n```" for name, text in helps(main, ""))


def helps(group: click.Group, above: str) -> Iterator[tuple[str, str]]:
    """(name, help) of every command below a group, groups with options of their own included."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        full = f"{above} {name}".strip()
        if not isinstance(command, click.Group) or command.params:
            yield full, help_of(command, f"steelyard {full}")
        if isinstance(command, click.Group):
            yield from helps(command, full)


def help_of(command: click.Command, name: str) -> str:
    names = main.context_settings["help_option_names"]
    context = click.Context(command, info_name=name, terminal_width=WIDTH, help_option_names=names)
    return re.sub(r" +$", "", command.get_help(context), flags=re.MULTILINE)


SECTIONS = {"exit codes": exit_codes, "json": json_shapes, "reference": reference}


def marked(section: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {section}: .*? -->\n).*?(<!-- /{section} -->)", re.DOTALL)


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_made_from_the_command_is_that_of_the_command(section: str) -> None:
    found = marked(section).search(PAGE.read_text("utf-8"))
    assert found and found[0] == f"{found[1]}{SECTIONS[section]()}\n{found[2]}", ANEW


def test_every_exit_code_is_explained() -> None:
    assert set(EXIT_CODES) == set(Exit)


def test_every_key_of_a_card_is_documented() -> None:
    page = PAGE.read_text("utf-8")
    assert [key for key in sorted(_KNOWN) if f"`{key}`" not in page] == []


def test_every_variable_the_client_reads_is_documented() -> None:
    sources = (Path(__file__).parents[2] / "src" / "steelyard").glob("c*/*.py")
    read = {
        name
        for source in sources
        if source.stem not in ("serve", "admin")
        for name in re.findall(r"STEELYARD_[A-Z]+", source.read_text("utf-8"))
    }
    page = PAGE.read_text("utf-8")
    assert read and [name for name in sorted(read) if f"`{name}`" not in page] == []


def write() -> None:
    """Put what is made into the page."""
    text = PAGE.read_text("utf-8")
    for section, make in SECTIONS.items():
        text = marked(section).sub(lambda found, make=make: f"{found[1]}{make()}\n{found[2]}", text)  # type: ignore[misc]
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    write()
