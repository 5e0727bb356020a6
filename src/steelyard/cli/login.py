"""`steelyard login` and `logout`: keep a token per registry in a file only its owner reads."""

import sys

import click

from steelyard.cli.session import Session, connected


@click.command()
@click.argument("address", required=False)
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input, without asking.")
@connected
def login(session: Session, address: str | None, token_stdin: bool) -> None:
    """Keep a token for the registry at ADDRESS.

    That registry is the one in use from now on. Asks for the token, or reads it from standard input where there is no
    terminal. The token is tried first; one that the registry does not know is not kept.
    """
    from steelyard.client import Client
    from steelyard.client.errors import InvalidSettings
    from steelyard.client.settings import LoginFile, find_connection, login_path

    url = session.given_url = find_connection(address or session.given_url).url
    token = session.given_token or _read_token(url, from_stdin=token_stdin or not sys.stdin.isatty())
    if not token:
        raise InvalidSettings("no token was given")
    with Client(url, token) as client:
        user = client.get_user()
    LoginFile.read(login_path()).with_token(url, token).write()
    session.console.show(
        {"url": url, "username": user.username, "file": str(login_path())},
        lambda: session.console.line(f"Logged in to {url} as {user.username}."),
    )


def _read_token(url: str, *, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline(4096).strip()
    answer: str = click.prompt(f"Token for {url}", hide_input=True, err=True)
    return answer.strip()


@click.command()
@click.argument("address", required=False)
@connected
def logout(session: Session, address: str | None) -> None:
    """Forget the token for the registry at ADDRESS (else the one in use).

    The token itself stays good: `steelyard token revoke` ends it.
    """
    from steelyard.client.settings import LoginFile, find_connection, login_path

    url = find_connection(address or session.given_url).url
    LoginFile.read(login_path()).without(url).write()
    session.console.show({"url": url}, lambda: session.console.line(f"Logged out of {url}."))
