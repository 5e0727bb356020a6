"""Verifying: does a folder still hold what the registry says? Every byte is read; no remembered hash counts."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from steelyard.client.errors import InvalidInput
from steelyard.client.hashing import HashMemory, hash_files
from steelyard.client.models import ModelCalls
from steelyard.client.parallel import Stop
from steelyard.client.placing import Manifest
from steelyard.client.progress import Progress
from steelyard.client.pull import manifest_of
from steelyard.client.references import Reference
from steelyard.client.types import VerifyResult
from steelyard.client.walking import FoundFile, survey


def run_verify(
    folder: Path, target: Reference | None, calls: ModelCalls, *, registry: str, progress: Progress
) -> VerifyResult:
    """Verify; see `Client.verify`."""
    listed, faults = survey(folder)
    target = target or _pulled_reference(folder, registry)
    version = manifest_of(registry, target, calls.resolve(target))
    wanted = version.artifacts
    present = {found.path: found for found in [*_ignored_but_wanted(folder, wanted), *listed]}
    odd = {path for path, _ in faults} - present.keys()
    to_hash = [present[path] for path in wanted if path in present]
    with progress.stage("Hashing") as stage:
        threads = min(os.cpu_count() or 1, 8)
        hashed = hash_files(to_hash, HashMemory(None), stage, Stop(), threads=threads)
    changed = {file.found.path for file in hashed if file.oid != wanted[file.found.path]}
    return VerifyResult(
        name=version.name,
        version=version.version,
        directory=str(folder),
        files=len(wanted),
        missing=tuple(sorted(wanted.keys() - present.keys() - odd)),
        changed=tuple(sorted(changed | (odd & wanted.keys()))),
        extra=tuple(sorted((present.keys() | odd) - wanted.keys())),
    )


def _pulled_reference(folder: Path, registry: str) -> Reference:
    """The exact version the last pull into the folder left there."""
    manifest = Manifest.find(folder)
    if manifest is None:
        raise InvalidInput(
            f"{folder} does not say what was pulled into it; name it: steelyard verify {folder} ORG/NAME:VERSION"
        )
    if manifest.registry != registry:
        raise InvalidInput(f"{folder} was pulled from {manifest.registry}; add --url {manifest.registry}")
    return Reference.parse(f"{manifest.name}:{manifest.version}")


def _ignored_but_wanted(folder: Path, paths: Iterable[str]) -> Iterable[FoundFile]:
    """Files of the version that a push from here would leave out, as long as no link is on the way to them."""
    root = folder.resolve()
    for path in paths:
        place = root.joinpath(*path.split("/"))
        try:
            status = place.lstat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and place.parent.resolve() == place.parent:
            yield FoundFile.of(path, place, status)
