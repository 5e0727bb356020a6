"""`steelyard push`, `pull` and `verify`: whole versions, there and back."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.changes import parse_metrics
from steelyard.cli.console import as_dict, human_size
from steelyard.cli.failures import Exit, usage_error
from steelyard.cli.session import Session, connected

if TYPE_CHECKING:
    from steelyard.client.types import VerifyResult

_RELATIONS = click.Choice(["finetune", "adapter", "merge", "quantized", "distilled", "converted"])
_TEXTS = {
    "framework": "The kind of weights (else the registry sees it from the files).",
    "summary": "One line on what it is.",
    "description": "As long as it takes.",
    "task": "What it does, such as text-classification.",
    "architecture": "How it is built, such as bert.",
    "license": "Its licence, as an SPDX identifier.",
    "pretty_name": "A title for people.",
    "size_category": "A size class (else the registry sees it from the weights).",
    "base_model": "What it was made from.",
}
_LISTS = {
    "tag": ("tags", "A tag; may repeat."),
    "language": ("language", "A language, such as en; may repeat."),
    "task_category": ("task_categories", "A task category; may repeat."),
    "dataset": ("dataset_refs", "A dataset it was trained on; may repeat."),
}


def _metadata_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each key of the metadata, in the order of the tables above."""
    for name, (key, text) in reversed(_LISTS.items()):
        option = click.option(f"--{name.replace('_', '-')}", key, multiple=True, metavar="TEXT", help=text)
        command = option(command)
    for key, text in reversed(_TEXTS.items()):
        command = click.option(f"--{key.replace('_', '-')}", key, metavar="TEXT", help=text)(command)
    return command


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.argument("reference", metavar="ORG/NAME[:VERSION]")
@click.option(
    "--bump", type=click.Choice(["major", "minor", "patch"]), help="Publish as the next version of this kind."
)
@click.option("--alias", "aliases", multiple=True, metavar="ALIAS", help="Point this alias at the version; may repeat.")
@click.option("--public/--private", "is_public", default=None, help="Who may see it, where this makes the model.")
@_metadata_options
@click.option("--metric", "metric", multiple=True, metavar="KEY=VALUE", help="A metric; may repeat.")
@click.option("--origin", multiple=True, metavar="KEY=VALUE", help="A key of the origin, such as run_id; may repeat.")
@click.option(
    "--derived-from", nargs=2, multiple=True, type=(str, _RELATIONS), metavar="ORG/NAME[:VERSION] RELATION",
    help="A model it was made from, and how (finetune, adapter, merge, quantized, distilled, converted); may repeat.",
)  # fmt: skip
@click.option("--no-git", is_flag=True, help="Do not note the git commit FOLDER lies in.")
@connected
def push(
    session: Session,
    folder: Path,
    reference: str,
    bump: str | None,
    aliases: tuple[str, ...],
    is_public: bool | None,
    metric: tuple[str, ...],
    origin: tuple[str, ...],
    derived_from: tuple[tuple[str, str], ...],
    no_git: bool,
    **given: Any,
) -> None:
    """Publish the files of FOLDER as a version.

    Metadata comes from model.yaml in FOLDER, else from the front matter of its README.md; options win. Only files the
    organisation does not hold yet are sent; of large ones, with steelyard[xet] installed, only what no earlier version
    has. Interrupted, run it again: it goes on where it stopped. Run twice, it changes nothing.
    """
    from steelyard.cli.progress import progress_for

    metadata = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items() if value}
    if metric:
        metadata["metrics"] = parse_metrics(metric)
    result = session.client.push(
        folder, reference, bump=bump, metadata=metadata, origin=_origin(origin, derived_from), use_git=not no_git,
        aliases=aliases, is_public=is_public, progress=progress_for(session.console),
    )  # fmt: skip
    name = f"{result.detail.name}:{result.detail.version}"
    verb = "Published" if result.created else "Already published, with the same contents:"
    value = {
        "created": result.created, "files": result.files, "size_bytes": result.size_bytes,
        "uploaded_bytes": result.uploaded_bytes, "model": as_dict(result.detail),
    }  # fmt: skip
    sizes = f"{result.files} files, {human_size(result.size_bytes)}, {human_size(result.uploaded_bytes)} of it sent"
    session.console.show(value, lambda: session.console.line(f"{verb} {name} ({sizes})"))


def _origin(pairs: tuple[str, ...], derived_from: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    from steelyard.client import Reference

    origin: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            usage_error(f"{pair!r} is not KEY=VALUE")
        origin[key] = value
    if derived_from:
        parsed = [(Reference.parse(text), relation) for text, relation in derived_from]
        origin["derived_from"] = [
            {"name": str(each.model), **({"version": each.ref} if each.ref else {}), "relation": relation}
            for each, relation in parsed
        ]
    return origin


@click.command()
@click.argument("reference", metavar="ORG/NAME[:REF]")
@click.argument("destination", required=False, type=click.Path(path_type=Path), metavar="[FOLDER]")
@click.option("--hardlink", is_flag=True, help="Link read-only files from the cache instead of copying them.")
@click.option("--force", is_flag=True, help="Replace files in FOLDER that are in the way.")
@connected
def pull(session: Session, reference: str, destination: Path | None, hardlink: bool, force: bool) -> None:
    """Get a version into FOLDER (else into ./NAME), every byte checked.

    REF is a version, an alias, a range like ^1.2, or `latest`, which is also what no REF means. Files come through a
    cache that all versions share. Files an earlier pull put into FOLDER are replaced or removed; your own stay, and one
    in the way stops the pull before it writes anything. Interrupted, run it again: it goes on where it stopped.
    """
    from steelyard.cli.progress import progress_for

    result = session.client.pull(
        reference, destination, hardlink=hardlink, force=force, progress=progress_for(session.console)
    )
    value = {
        "name": result.detail.name, "version": result.detail.version, "destination": result.destination,
        "files": result.files, "size_bytes": result.size_bytes, "downloaded_bytes": result.downloaded_bytes,
        "written": list(result.written), "removed": list(result.removed),
    }  # fmt: skip

    def human() -> None:
        detail = result.detail
        if detail.yanked:
            session.console.say(f"warning: {detail.name}:{detail.version} is yanked: {detail.yanked.reason}")
        sizes = (
            f"{result.files} files, {human_size(result.size_bytes)}, {human_size(result.downloaded_bytes)} downloaded"
        )
        session.console.line(f"Pulled {detail.name}:{detail.version} into {result.destination} ({sizes})")

    session.console.show(value, human)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.argument("reference", required=False, metavar="[ORG/NAME[:REF]]")
@connected
def verify(session: Session, folder: Path, reference: str | None) -> None:
    """Compare FOLDER with a version, reading every byte.

    Without a reference, with the version that was pulled into FOLDER. Exit code 1 says that they differ.
    """
    from steelyard.cli.progress import progress_for

    result = session.client.verify(folder, reference, progress=progress_for(session.console))
    value = {
        "name": result.name, "version": result.version, "directory": result.directory, "files": result.files,
        "matches": result.matches, "missing": list(result.missing), "changed": list(result.changed),
        "extra": list(result.extra),
    }  # fmt: skip
    session.console.show(value, lambda: _show_verified(session, result))
    if not result.matches:
        raise SystemExit(Exit.FAILED)


def _show_verified(session: Session, result: "VerifyResult") -> None:
    name = f"{result.name}:{result.version}"
    if result.matches:
        session.console.line(f"{result.directory} is {name} ({result.files} files)")
        return
    for word, paths in (("missing", result.missing), ("changed", result.changed), ("extra", result.extra)):
        for path in paths:
            session.console.line(f"{word}  {path}")
    session.console.say(f"{result.directory} is not {name}; get it again: steelyard pull {name} FOLDER")
