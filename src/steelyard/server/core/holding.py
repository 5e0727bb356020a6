"""Whether an organisation holds the bytes of files that are to be published or committed."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.arrivals import uploads
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.db.tables import Org
from steelyard.server.errors import Conflict, Fault, Invalid


def get_held(
    session: Session,
    org: Org,
    artifacts: Mapping[str, str],
    faults: Sequence[Fault] = (),
    *,
    what: str = "This version cannot be published",
    how: str = "Upload them with `blobs/batch` first.",
) -> dict[str, HeldBlob]:
    """OID -> bytes, for path -> OID. Raises `Invalid` for `faults` and for what is not held, all at once, and
    `Conflict` while the rest is being proven. `how` bytes are sent depends on the door."""
    sayable = {oid for oid in artifacts.values() if "\0" not in oid}  # not every database can be asked for the rest
    held = blobs.find_held(session, org.id, sayable)
    absent = [(path, oid) for path, oid in artifacts.items() if oid not in held]
    pending = uploads.list_pending(session, org.id, [oid for _, oid in absent]) if absent else set()
    missing = [(path, oid) for path, oid in absent if oid not in pending]
    if faults or missing:
        _refuse(org, missing, faults, what, how)
    if pending:
        raise Conflict(
            f"{len(absent)} of {len(artifacts)} files are still being proven. Try again in a moment.",
            retry_after_seconds=uploads.RETRY_SECONDS,
        )
    return held


def _refuse(org: Org, missing: Sequence[tuple[str, str]], others: Sequence[Fault], what: str, how: str) -> NoReturn:
    faults = [*others] + [
        Fault(("body", "artifacts", path), f"'{org.slug}' does not hold {oid}", "missing_artifact")
        for path, oid in missing
    ]
    if others:
        raise Invalid(f"{what} as it is: {faults[0].msg}.", faults=tuple(faults))
    path, oid = missing[0]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise Invalid(f"'{org.slug}' does not hold the bytes of {path} ({oid}){more}. {how}", faults=tuple(faults))
