"""`steelyard show`, `list`, `versions`, `compare`: looking at models."""

from typing import TYPE_CHECKING

import click

from steelyard.cli.console import as_dict, human_size
from steelyard.cli.session import Session, connected

if TYPE_CHECKING:
    from steelyard.cli.console import Console
    from steelyard.client.types import Comparison, ModelDetail, ModelSummary, VersionList


@click.command()
@click.argument("reference", metavar="ORG/NAME[:REF]")
@connected
def show(session: Session, reference: str) -> None:
    """Show one version in full.

    The latest, or the one REF means: a version, an alias, a range like ^1.2, `latest`.
    """
    detail = session.client.resolve(reference)
    session.console.show(as_dict(detail), lambda: _show_detail(session.console, detail))


def _show_detail(console: "Console", detail: "ModelDetail") -> None:
    yanked = f"yes: {detail.yanked.reason or 'no reason given'}" if detail.yanked else None
    console.fields(
        {
            "name": detail.name, "version": detail.version, "yanked": yanked, "aliases": detail.aliases,
            "title": detail.pretty_name, "summary": detail.summary, "task": detail.task, "framework": detail.framework,
            "architecture": detail.architecture, "base model": detail.base_model, "license": detail.license,
            "language": detail.language, "tags": detail.tags, "datasets": detail.dataset_refs,
            "size": human_size(detail.file_size_bytes), "visibility": "public" if detail.is_public else "private",
            "downloads": detail.download_count, "created": detail.created_at, "by": detail.created_by_email,
            "metrics": detail.metrics, "description": detail.description,
        }
    )  # fmt: skip
    click.echo()
    rows = [(path, human_size(detail.sizes.get(path)), oid) for path, oid in sorted(detail.artifacts.items())]
    console.table(("FILE", "SIZE", "DIGEST"), rows)


@click.command("list")
@click.argument("org", required=False)
@click.option("--search", metavar="TEXT", help="Only models with this in name or summary.")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="Only models with this tag; repeat for any of several."
)
@click.option("--license", "licenses", multiple=True, metavar="ID", help="Only models under this licence; may repeat.")
@click.option("--task", "tasks", multiple=True, metavar="TASK", help="Only models of this task category; may repeat.")
@click.option("--framework", "frameworks", multiple=True, metavar="NAME", help="Only this kind of weights; may repeat.")
@click.option(
    "--sort", type=click.Choice(["created_at", "name", "updated_at", "file_size_bytes"]), help="By what to sort."
)
@click.option("--asc", is_flag=True, help="Smallest, oldest or first by name on top.")
@click.option("--public", is_flag=True, help="Public models of other organisations as well.")
@connected
def list_models(
    session: Session,
    org: str | None,
    search: str | None,
    tags: tuple[str, ...],
    licenses: tuple[str, ...],
    tasks: tuple[str, ...],
    frameworks: tuple[str, ...],
    sort: str | None,
    asc: bool,
    public: bool,
) -> None:
    """List models, each with its latest version.

    Those of ORG; without ORG, those of every organisation you belong to.
    """
    orgs = [org] if org else [each.key for each in session.client.list_organizations()]
    found: dict[str, ModelSummary] = {}
    for each in orgs:
        for model in session.client.iter_models(
            each, search=search, tags=tags, license=licenses, task_categories=tasks, framework=frameworks, sort_by=sort,
            sort_dir="asc" if asc else None, include_public=public, limit=200,
        ):  # fmt: skip
            found.setdefault(model.id, model)

    def human() -> None:
        rows = [
            (
                each.name,
                each.version,
                each.framework,
                each.task,
                each.license,
                "public" if each.is_public else "private",
            )
            for each in found.values()
        ]
        session.console.table(("MODEL", "LATEST", "FRAMEWORK", "TASK", "LICENSE", "VISIBILITY"), rows)
        if not rows:
            session.console.say("No models here. Publish one: steelyard push FOLDER ORG/NAME:1.0.0")

    session.console.show({"models": [as_dict(each) for each in found.values()], "total": len(found)}, human)


@click.command()
@click.argument("model", metavar="ORG/NAME")
@connected
def versions(session: Session, model: str) -> None:
    """List all versions, the latest first.

    Then older ones, pre-releases, and yanked ones at the end.
    """
    found = session.client.list_model_versions(model)
    session.console.show(as_dict(found), lambda: _show_versions(session.console, found))


def _show_versions(console: "Console", found: "VersionList") -> None:
    latest = found.latest.version if found.latest else None
    for version in found.versions:
        console.line(f"{version}  latest" if version == latest else version)


@click.command()
@click.argument("model", metavar="ORG/NAME")
@click.argument("versions", nargs=-1, required=True, metavar="VERSION VERSION...")
@connected
def compare(session: Session, model: str, versions: tuple[str, ...]) -> None:
    """Put two to five versions side by side."""
    found = session.client.compare_model_versions(model, versions)
    session.console.show(as_dict(found), lambda: _show_comparison(session.console, found))


def _show_comparison(console: "Console", found: "Comparison") -> None:
    columns = found.versions
    rows: list[tuple[object, ...]] = [
        ("framework", *(each.framework for each in columns)),
        ("task", *(each.task for each in columns)),
        ("architecture", *(each.architecture for each in columns)),
        ("base model", *(each.base_model for each in columns)),
        ("size", *(human_size(each.file_size_bytes) for each in columns)),
        ("aliases", *(each.aliases for each in columns)),
        ("created", *(each.created_at for each in columns)),
    ]
    rows += [(key, *(each.metrics.get(key) for each in columns)) for key in found.metric_keys]
    console.table(("", *(each.version for each in columns)), rows)
