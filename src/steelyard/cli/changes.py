"""`steelyard alias`, `metrics`, `yank`, `delete`, `visibility`: what may change about a published version."""

import math
import sys

import click

from steelyard.cli.console import Console, as_dict
from steelyard.cli.failures import usage_error
from steelyard.cli.session import Session, connected


@click.group()
def alias() -> None:
    """Movable names for versions, such as `production`."""


@alias.command("set")
@click.argument("reference", metavar="ORG/NAME:VERSION")
@click.argument("alias")
@click.option("--protected/--unprotected", default=None, help="Whether only owners may move it (owners say so).")
@connected
def set_alias(session: Session, reference: str, alias: str, protected: bool | None) -> None:
    """Point ALIAS at VERSION (or at `latest`), taking it from the version that has it."""
    from steelyard.client import Reference

    target = Reference.parse(reference)
    version = target.ref if target.ref == "latest" else target.exact_version()
    result = session.client.set_model_alias(str(target.model), version, alias, protected=protected)
    session.console.show(
        as_dict(result), lambda: session.console.line(f"{result.alias} is {result.name}:{result.version} now.")
    )


@alias.command("remove")
@click.argument("model", metavar="ORG/NAME")
@click.argument("alias")
@connected
def remove_alias(session: Session, model: str, alias: str) -> None:
    """Take ALIAS away from the version that has it."""
    from steelyard.client import NotFound

    detail = session.client.get_model_detail(model, alias)
    if alias not in detail.aliases:
        raise NotFound(404, "not_found_error", f"{model} has no alias {alias!r}; see: steelyard alias list {model}")
    session.client.remove_model_alias(model, detail.version, alias)
    session.console.show(
        {"removed": alias, "name": detail.name, "version": detail.version},
        lambda: session.console.line(f"{alias} is no longer a name for {detail.name}:{detail.version}."),
    )


@alias.command("list")
@click.argument("model", metavar="ORG/NAME")
@click.option("--history", is_flag=True, help="Also who moved each one, when, from where and to where.")
@connected
def list_aliases(session: Session, model: str, history: bool) -> None:
    """List the aliases of a model."""
    pages, cursor = [], None
    while True:
        page = session.client.list_model_aliases(model, limit=200, cursor=cursor)
        pages.append(page)
        cursor = page.next_cursor
        if cursor is None:
            break
    aliases = [each for page in pages for each in page.aliases]

    def human() -> None:
        rows = [(each.alias, each.version, each.protected, each.updated_at) for each in aliases]
        session.console.table(("ALIAS", "VERSION", "PROTECTED", "MOVED"), rows)
        if history:
            moves = [
                (move.at, each.alias, move.from_version or "-", move.to_version or "-", move.by)
                for each in aliases
                for move in each.history
            ]
            click.echo()
            session.console.table(("AT", "ALIAS", "FROM", "TO", "BY"), moves)

    raw = [each for page in pages for each in page.raw["aliases"]]
    session.console.show({"aliases": raw, "next_cursor": None}, human)


@click.command()
@click.argument("reference", metavar="ORG/NAME[:REF]")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Take a metric away; may repeat.")
@connected
def metrics(session: Session, reference: str, values: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Show or set the metrics of a version.

    Metrics not named stay as they are. A VALUE that reads as a number is one. Setting takes an exact version.
    """
    from steelyard.client import Reference

    target = Reference.parse(reference)
    changes: dict[str, float | str | None] = {**parse_metrics(values), **dict.fromkeys(remove)}
    if changes:
        detail = session.client.update_model_metrics(str(target.model), target.exact_version(), changes)
    else:
        detail = session.client.resolve(target)
    session.console.show(
        {"name": detail.name, "version": detail.version, "metrics": detail.metrics},
        lambda: session.console.table(("METRIC", "VALUE"), sorted(detail.metrics.items())),
    )


def parse_metrics(values: tuple[str, ...]) -> dict[str, float | int | str]:
    """`KEY=VALUE` each; a value that reads as a finite number is one."""
    found: dict[str, float | int | str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            usage_error(f"{value!r} is not KEY=VALUE")
        found[key] = _number(text)
    return found


def _number(text: str) -> float | int | str:
    if text.lstrip("+-").isdecimal() and len(text) < 19:
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


@click.command()
@click.argument("reference", metavar="ORG/NAME:VERSION")
@click.option("--reason", metavar="TEXT", help="Why; shown to whoever asks for the version.")
@click.option("--undo", is_flag=True, help="Take the yank back.")
@connected
def yank(session: Session, reference: str, reason: str | None, undo: bool) -> None:
    """Take a version out of `latest` and of ranges. It stays there for whoever names it exactly."""
    from steelyard.client import Reference

    if undo == (reason is not None):
        usage_error("give a --reason, or --undo")
    target = Reference.parse(reference)
    model, version = str(target.model), target.exact_version()
    if reason is None:
        detail = session.client.unyank_model(model, version)
    else:
        detail = session.client.yank_model(model, version, reason)
    state = "is yanked" if detail.yanked else "is no longer yanked"
    session.console.show(as_dict(detail), lambda: session.console.line(f"{detail.name}:{detail.version} {state}."))


@click.command()
@click.argument("reference", metavar="ORG/NAME[:VERSION]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected
def delete(session: Session, reference: str, yes: bool) -> None:
    """Delete a version, or without VERSION the whole model. There is no way back, and no number is used again."""
    from steelyard.client import Reference

    target = Reference.parse(reference)
    version = target.exact_version() if target.ref else None
    if not yes:
        _confirm(session.console, str(target))
    if version is None:
        session.client.delete_whole_model(str(target.model))
    else:
        session.client.delete_model(str(target.model), version)
    session.console.show({"deleted": str(target)}, lambda: session.console.line(f"{target} is deleted."))


def _confirm(console: Console, what: str) -> None:
    """Have the name typed again. Only a person can; a program says --yes."""
    if console.as_json or not _somebody_to_ask():
        usage_error(f"deleting {what} has no way back; add --yes to do it without being asked")
    answer: str = click.prompt(f"This deletes {what} for good. Type its name to go on", err=True)
    if answer.strip() != what:
        usage_error("that is not its name; nothing was deleted")


def _somebody_to_ask() -> bool:
    return sys.stdin.isatty()


@click.command()
@click.argument("model", metavar="ORG/NAME")
@click.argument("who", type=click.Choice(["public", "private"]))
@connected
def visibility(session: Session, model: str, who: str) -> None:
    """Make a model public or private.

    Every caller with a token sees a public model, only its organisation a private one.
    """
    result = session.client.update_model_visibility(model, is_public=who == "public")
    state = "public" if result.is_public else "private"
    session.console.show(as_dict(result), lambda: session.console.line(f"{model} is {state} now."))
