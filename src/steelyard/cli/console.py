"""What the command writes: data to stdout, talk to stderr, and nothing a registry sent that could steer a terminal."""

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

_STEERING = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))  # turn text around


class Console:
    """One command's output, for people or, with `--json`, for programs: then stderr carries nothing but an error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, value: object, human: Callable[[], None]) -> None:
        """The result: `value` as JSON, or what `human` prints."""
        if self.as_json:
            self.json(value)
        else:
            human()

    def json(self, value: object) -> None:
        """A JSON document on stdout."""
        click.echo(json.dumps(value, indent=2, sort_keys=True))

    def line(self, text: str) -> None:
        """A line of data."""
        click.echo(plain(text))

    def say(self, text: str) -> None:
        """A line of talk."""
        if not self.as_json:
            click.echo(plain(text, lines=True), err=True)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Rows under headers, in columns as wide as what is in them."""
        cells = [tuple(plain(cell_text(cell)) for cell in row) for row in rows]
        widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
        for row in (tuple(headers), *cells):
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def fields(self, pairs: Mapping[str, object]) -> None:
        """Name and value, a line each; what is empty is left out."""
        shown = {name: cell_text(value) for name, value in pairs.items() if value not in (None, "", (), [], {})}
        width = max(map(len, shown), default=0) + 1
        for name, text in shown.items():
            click.echo(f"{name + ':':<{width}} {plain(text)}")


def cell_text(value: object) -> str:
    """A value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell_text(item) for item in value)
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return str(value)


def plain(text: str, *, lines: bool = False) -> str:
    """The text without control characters and without what turns it around; line ends stay where `lines` says so."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if (char == "\n" and lines) or _harmless(char) else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _harmless(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") and char not in _STEERING


def human_size(size_bytes: int | None) -> str:
    """Bytes in the largest decimal unit that leaves a number of one to three digits."""
    if size_bytes is None:
        return ""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def as_dict(value: Any) -> Any:
    """The JSON a thing of the client came from."""
    return dict(value.raw)
