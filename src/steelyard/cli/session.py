"""What every command that talks to a registry shares: `--url`, `--token`, `--json`, and failing well."""

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.console import Console
from steelyard.cli.failures import Exit, report

if TYPE_CHECKING:
    from steelyard.client import Client

ROLES = click.Choice(["reader", "contributor", "owner"])
_Command = Callable[..., Any]


class Session:
    """One run of a command: its console, and the client, made when first asked for."""

    def __init__(self, url: str | None, token: str | None, *, as_json: bool) -> None:
        self.console = Console(as_json=as_json)
        self.given_url = url
        self.given_token = token
        self._client: Client | None = None

    @property
    def client(self) -> "Client":
        """The client; a token that goes over the net unencrypted is worth a word."""
        if self._client is None:
            from steelyard.client import Client

            self._client = Client(self.given_url, self.given_token)
            if self._client.sends_token_in_the_clear:
                self.console.say(f"warning: the token goes to {self._client.url} without encryption; use https")
        return self._client

    @property
    def url(self) -> str | None:
        """The registry's address as far as it is known."""
        return self._client.url if self._client is not None else self.given_url

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()


def connected(command: _Command) -> _Command:
    """Give a command a Session as its first argument, the common options, and the reporting of what goes wrong."""

    @click.option("--url", metavar="ADDRESS", help="The registry (else STEELYARD_URL, else the last login).")
    @click.option(
        "--token", metavar="TOKEN", help="The token (else STEELYARD_TOKEN, else the login; seen by others in `ps`)."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")
    @functools.wraps(command)
    def run(url: str | None, token: str | None, as_json: bool, **params: Any) -> None:
        session = Session(url, token, as_json=as_json)
        try:
            command(session, **params)
            sys.stdout.flush()
        except BrokenPipeError:
            _let_go_of_stdout()
            sys.exit(Exit.PIPE_CLOSED)
        except Exception as error:
            from steelyard.client.errors import SteelyardError

            if not isinstance(error, (SteelyardError, OSError)):
                raise
            sys.exit(report(error, as_json=as_json, params=params, url=session.url))
        finally:
            session.close()

    return run


def _let_go_of_stdout() -> None:
    """Keep the interpreter from complaining at its end that nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
