"""`steelyard admin …`: for whoever runs the registry. Works on its database and store directly; no server is asked."""

import click

from steelyard.cli.admin.cleaning import check_, gc
from steelyard.cli.admin.copying import copy
from steelyard.cli.admin.examining import doctor
from steelyard.cli.admin.keeping import backup, restore
from steelyard.cli.admin.opening import answer, json_flag, opened
from steelyard.cli.serve import read_settings
from steelyard.server.core.accounts import recover_token
from steelyard.server.settings import Settings


@click.group()
@click.option("--data", metavar="DIR", help="Data directory [default: as for `serve`].")
@click.pass_context
def admin(context: click.Context, data: str | None) -> None:
    """Look after a registry: with the settings that `serve` has, from the environment and steelyard.toml."""
    context.obj = read_settings({"data": data})


@admin.command()
@click.argument("user")
@json_flag
@click.pass_obj
def token(settings: Settings, user: str, as_json: bool) -> None:
    """Make a new token for USER, when the last one is lost. Works without a server."""
    with opened(settings) as (database, _), database.write() as session:
        made = recover_token(session, user)
    answer(as_json, {"username": user, "key": made.secret}, made.secret)


for _command in (doctor, check_, gc, backup, restore, copy):
    admin.add_command(_command)
