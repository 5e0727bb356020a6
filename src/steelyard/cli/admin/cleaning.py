"""`steelyard admin gc` and `check`: what is there, what is lost, and what nothing needs."""

from typing import Any

import click

from steelyard.cli.admin.opening import DIFFERENCE_FOUND, answer, json_flag, opened
from steelyard.server.jobs.check import Checked, Finding, check
from steelyard.server.jobs.gc import Collected, collect, preview
from steelyard.server.jobs.repair import Repaired, repair
from steelyard.server.settings import Settings

_WHY_BLOB = "no version and no upload needs it"
_WHY_ORPHAN = {
    "blob": "no row stands for it: left by a server that ended before it wrote one",
    "stage": "left by an upload that never ended",
}
_WHY_XORB = "no file is made of it"
_HOW_NOW = " (--grace-seconds 0 takes them now: when nobody pushes, since pushes that run would have to be begun again)"
_WHY_UPLOAD = "nobody went on with this upload"
_FIRST_NAMES = 20  # files of versions that are named for people; JSON has them all


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and why; change nothing.")
@click.option("--grace-seconds", type=click.IntRange(0), help="Keep what was needed this short ago.")
@click.option("--even-most", is_flag=True, help="Take what the database does not know even where that is most.")
@json_flag
@click.pass_obj
def gc(settings: Settings, dry_run: bool, grace_seconds: int | None, even_most: bool, as_json: bool) -> None:
    """Remove bytes that nothing needs, also while servers run.

    Chunks that clients of Xet may still build on are kept for xorb_grace_seconds. With --grace-seconds they go as the
    rest: these clients then send more, and a push that runs meanwhile and takes longer than that has to be begun again.

    Where the database knows less than half of what the store holds, it may be the wrong one, or one from long ago:
    then what it does not know is left alone unless --even-most is given.
    """
    grace = settings.gc_grace_seconds if grace_seconds is None else grace_seconds
    run = preview if dry_run else collect
    with opened(settings) as (database, store):
        ttl = settings.upload_ttl_seconds
        xorb_grace = settings.xorb_grace_seconds if grace_seconds is None else grace_seconds
        found = run(
            database,
            store,
            grace_seconds=grace,
            xorb_grace_seconds=xorb_grace,
            upload_ttl_seconds=ttl,
            even_most=even_most,
        )
        later = preview(
            database, store, grace_seconds=0, xorb_grace_seconds=0, upload_ttl_seconds=ttl, even_most=even_most
        )
    waiting = later.freed_bytes - (found.freed_bytes if dry_run else 0)
    document = {**_collected(found, dry_run=dry_run), "waiting_bytes": waiting}
    lines = _told(found, dry_run=dry_run)
    answer(as_json, document, f"{lines}; {waiting} bytes wait for their grace{_HOW_NOW if waiting else ''}")


def _collected(found: Collected, *, dry_run: bool) -> dict[str, Any]:
    orphans = [{"name": n.name, "size": n.size_bytes, "why": _WHY_ORPHAN[n.kind]} for n in found.orphans]
    return {
        "dry_run": dry_run,
        "freed_bytes": found.freed_bytes,
        "blobs": [{"name": name, "size": size, "why": _WHY_BLOB} for name, size in found.blobs],
        "xorbs": [{"name": name, "size": size, "why": _WHY_XORB} for name, size in found.xorbs],
        "orphans": orphans,
        "uploads": [
            {
                "name": u.oid,
                "org": u.org,
                "size": u.size_bytes,
                "touched_at": u.touched_at.isoformat(),
                "why": _WHY_UPLOAD,
            }
            for u in found.uploads
        ],
        "leftovers": found.leftovers,
        "strangers": found.strangers,
    }


def _told(found: Collected, *, dry_run: bool) -> str:
    lines = [f"{name}  {size} bytes  {_WHY_BLOB}" for name, size in found.blobs]
    lines += [f"{name}  {size} bytes  {_WHY_XORB}" for name, size in found.xorbs]
    lines += [f"{name.name}  {name.size_bytes} bytes  {_WHY_ORPHAN[name.kind]}" for name in found.orphans]
    lines += [
        f"{upload.oid}  for {upload.org}  {_WHY_UPLOAD} since {upload.touched_at:%Y-%m-%d %H:%M}"
        for upload in found.uploads
    ]
    if found.leftovers:
        lines.append(f"{found.leftovers} files that an earlier clean-up let go of and could not delete")
    if found.strangers:
        lines.append(
            f"{found.strangers} blobs are unknown to this database and left alone: they are most of the store."
        )
        lines.append("  Is it the right database, and not one from long ago? Then --even-most takes them.")
    verb = "would be freed" if dry_run else "freed"
    return "\n".join([*lines, f"{found.freed_bytes} bytes {verb}; {len(found.uploads)} unfinished uploads expired"])


@click.command("check")
@click.option("--repair", "mend", is_flag=True, help="Mend what can be mended without losing anything.")
@click.option("--grace-seconds", type=click.IntRange(0), help="With --repair: keep what no row stands for so long.")
@json_flag
@click.pass_obj
def check_(settings: Settings, mend: bool, grace_seconds: int | None, as_json: bool) -> None:
    """Read and hash every byte: is all there that versions need? Exit code 1 when something is lost.

    --repair sets wrong bytes aside, so that they are served no more and the next push of the right ones heals every
    version that needs them; finds bytes that lie there under another name; and deletes what nothing needs. Servers may
    run meanwhile.
    """
    grace = settings.gc_grace_seconds if grace_seconds is None else grace_seconds
    with opened(settings) as (database, store):
        found = check(database, store)
        repaired = repair(database, store, found, grace_seconds=grace) if mend else None
    lost = [f for f in found.findings if f.kind != "unreferenced"] if repaired is None else list(repaired.left)
    document = {**_checked(found), "sound": not lost}
    if repaired is not None:
        document |= {"repaired": _steps(repaired), "left": [_finding(f) for f in repaired.left]}
    answer(as_json, document, "\n".join(_lines(found, repaired, lost)))
    if lost:
        raise SystemExit(DIFFERENCE_FOUND)


def _checked(found: Checked) -> dict[str, Any]:
    return {"blobs": found.blobs, "bytes": found.bytes, "findings": [_finding(f) for f in found.findings]}


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "name": found.name,
        "size": found.size_bytes,
        "key": found.row.key if found.row else None,
        "needed_by": [{"version": use.version, "path": use.path} for use in found.needed_by],
    }


def _steps(repaired: Repaired) -> list[dict[str, str]]:
    return [{"what": step.what, "name": step.name, "why": step.why} for step in repaired.steps]


def _lines(found: Checked, repaired: Repaired | None, lost: list[Finding]) -> list[str]:
    lines = [line for each in found.findings for line in _told_finding(each)]
    lines.append(f"{found.blobs} blobs, {found.bytes} bytes, {len(found.findings)} findings")
    if repaired is not None:
        lines += [f"{step.what}: {step.name}  {step.why}" for step in repaired.steps]
        lines.append(f"{len(repaired.steps)} repairs, {len(lost)} losses are left")
    if lost and repaired is not None:
        lines.append("What is left comes back when somebody pushes a file with these bytes again, to any organisation.")
    return lines


def _told_finding(found: Finding) -> list[str]:
    lines = [f"{found.kind}: {found.name} ({found.size_bytes} bytes)"]
    lines += [f"  {use.version}  {use.path}" for use in found.needed_by[:_FIRST_NAMES]]
    if len(found.needed_by) > _FIRST_NAMES:
        lines.append(f"  and {len(found.needed_by) - _FIRST_NAMES} more files of versions")
    return lines
