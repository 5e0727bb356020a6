"""The command `steelyard`: data on stdout, talk on stderr, an exit code a kind of failure.

`serve` and `admin` are loaded when they are called: the rest works, and starts fast, without the server's libraries.
"""

import gc
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from steelyard import __version__
from steelyard.cli import accounts, audit, changes, login, models, tokens, transfers
from steelyard.cli.failures import EXIT_CODES, Exit, describe_locally, write_json_error

_LAZY = {
    "serve": ("steelyard.cli.serve:serve", "Run a registry."),
    "admin": ("steelyard.cli.admin:admin", "Look after a registry's data, offline or online."),
}
_SECTIONS: dict[str, tuple[click.Command | str, ...]] = {
    "Models": (
        transfers.push, transfers.pull, transfers.verify, models.show, models.list_models, models.versions,
        models.compare,
    ),
    "Changes": (changes.alias, changes.metrics, changes.yank, changes.delete, changes.visibility),
    "Who may": (
        login.login, login.logout, tokens.token, accounts.user, accounts.org, accounts.member, tokens.service,
        audit.audit,
    ),
    "The registry": ("serve", "admin"),
}  # fmt: skip


class Root(click.Group):
    """The group of all commands; loads some late, and ends every run with one of `EXIT_CODES`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return [name for names in self._sections().values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, loaded now if it is one of the late ones."""
        if cmd_name in _LAZY:
            return _load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, without loading the late ones."""
        for title, names in self._sections().items():
            with formatter.section(title):
                formatter.write_dl([(name, self._short_help(name)) for name in names])

    def _sections(self) -> dict[str, list[str]]:
        return {
            title: [each if isinstance(each, str) else str(each.name) for each in commands]
            for title, commands in _SECTIONS.items()
        }

    def _short_help(self, name: str) -> str:
        return _LAZY[name][1] if name in _LAZY else self.commands[name].get_short_help_str(90)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> NoReturn:
        """Run and exit."""
        given = list(sys.argv[1:] if args is None else args)
        more |= {"standalone_mode": False, "prog_name": more.get("prog_name") or "steelyard"}
        sys.exit(self._ended(given, *rest, **more))

    def _ended(self, args: list[str], *rest: Any, **more: Any) -> int:
        try:
            code = super().main(args, *rest, **more)
        except click.ClickException as error:
            return _usage_failure(error, as_json="--json" in args)
        except click.exceptions.Abort as error:
            if isinstance(error.__cause__, EOFError):
                return Exit.USAGE
            click.echo("Interrupted. A push or pull goes on where it stopped when you run it again.", err=True)
            return Exit.INTERRUPTED
        return code if isinstance(code, int) else Exit.DONE


def _usage_failure(error: click.ClickException, *, as_json: bool) -> int:
    if as_json:
        write_json_error(describe_locally(error.format_message(), "UsageError"), error.exit_code, None)
    else:
        error.show()
    return error.exit_code


def _load(name: str) -> click.Command:
    module, _, attribute = _LAZY[name][0].partition(":")
    gc.disable()  # what modules make stays: looking for garbage among it takes a tenth of the time
    try:
        command: click.Command = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.split(".")[0] == "steelyard" and missing != module:
            raise
        raise click.ClickException(
            f"`steelyard {name}` needs the server's libraries ({missing} is missing); "
            "install them: pip install 'steelyard[server]'"
        ) from None
    finally:
        gc.enable()
    return command


def _epilog() -> str:
    codes = "\n".join(f"  {code:>3}  {text}" for code, text in EXIT_CODES.items())
    return (
        "\b\nReferences: ORG/NAME, ORG/NAME:REF or ORG/NAME@REF; REF is a version (1.2.0), an alias\n"
        f"(production), a range (^1.2) or `latest`.\n\n\b\nExit codes:\n{codes}"
    )


_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=Root, epilog=_epilog(), context_settings=_HELP)
@click.version_option(__version__, prog_name="steelyard")
def main() -> None:
    """Steelyard: a registry for machine-learning models.

    Start with `steelyard login ADDRESS`, then `steelyard push FOLDER ORG/NAME:1.0.0` and `steelyard pull ORG/NAME`.
    """


for _commands in _SECTIONS.values():
    for _command in _commands:
        if isinstance(_command, click.Command):
            main.add_command(_command)
