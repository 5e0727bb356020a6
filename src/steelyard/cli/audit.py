"""`steelyard audit`: who did what in an organisation."""

import click

from steelyard.cli.console import as_dict, cell_text
from steelyard.cli.session import Session, connected


@click.command()
@click.argument("org")
@click.option("--action", metavar="WORD", help="Only this kind of event.")
@click.option("--actor", metavar="NAME", help="Only what this user or service account did.")
@click.option("--target", metavar="NAME", help="Only what was done to this.")
@click.option("--since", metavar="TIME", help="Only from this time on (ISO 8601).")
@click.option("--until", metavar="TIME", help="Only before this time (ISO 8601).")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", metavar="TEXT", help="Go on where an answer's `next_cursor` points.")
@connected
def audit(
    session: Session,
    org: str,
    action: str | None,
    actor: str | None,
    target: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    cursor: str | None,
) -> None:
    """Show who did what in ORG, newest first (owners)."""
    page = session.client.list_audit_events(
        org, action=action, actor=actor, target=target, since=since, until=until, limit=limit, cursor=cursor
    )

    def human() -> None:
        rows = [(each.at, _who(each.actor), each.action, each.target, each.address) for each in page.events]
        session.console.table(("AT", "ACTOR", "ACTION", "TARGET", "FROM"), rows)
        if page.next_cursor:
            session.console.say(f"There is more: add --cursor {page.next_cursor}")

    session.console.show(as_dict(page), human)


def _who(actor: object) -> str:
    return cell_text(actor)
