"""Pushing: a folder becomes a version. The order is the story: look, ask, hash, send, publish."""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard.client._http import Http
from steelyard.client.card import Card, read_card
from steelyard.client.errors import AlreadyExists, Conflict, FileChanged, InvalidReference, NotFound
from steelyard.client.hashing import HashedFile, HashMemory, hash_files
from steelyard.client.models import ModelCalls
from steelyard.client.parallel import Stop
from steelyard.client.progress import Progress
from steelyard.client.provenance import created_with, git_origin
from steelyard.client.references import Reference
from steelyard.client.types import ModelDetail, PushResult
from steelyard.client.upload import Uploader
from steelyard.client.walking import FoundFile, walk
from steelyard.client.xet import XetSender

_LONGEST_PROVING_SECONDS = 3600.0


@dataclass(frozen=True)
class Push:
    """One push: what goes where, and what is said about it."""

    folder: Path
    target: Reference
    bump: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    use_git: bool = True
    aliases: Sequence[str] = ()
    is_public: bool | None = None

    def check(self) -> None:
        """Raises InvalidReference unless there is either an exact version or a bump."""
        if self.bump is None:
            if self.target.ref is None:
                raise InvalidReference(f"{self.target} names no version; write {self.target}:1.0.0, or give --bump")
            self.target.exact_version()
        elif self.target.ref is not None:
            raise InvalidReference(f"{self.target} names a version already; a bump takes {self.target.model} alone")
        elif self.bump not in ("major", "minor", "patch"):
            raise InvalidReference(f"{self.bump!r} is no bump; it is major, minor or patch")


def run_push(push: Push, calls: ModelCalls, http: Http, *, cache: Path, threads: int, progress: Progress) -> PushResult:
    """Push; see `Client.push`."""
    push.check()
    stop = Stop()
    found = walk(push.folder)
    body = publish_body(push, read_card(push.folder), progress)
    published = _find_published(push.target, calls)
    files = _hashed(found, cache, progress, stop)
    artifacts = {file.found.path: file.oid for file in files}
    _check_not_taken(push.target, published, artifacts)
    with progress.stage("Uploading") as stage:
        chunks = XetSender(http, push.target.model, cache, progress)
        uploader = Uploader(http, push.target.model, stage, stop, threads=threads, chunks=chunks)
        uploader.upload(files)
    with progress.counting("Proving") as stage:
        uploader.await_proofs(stage)
    _check_unchanged(files)
    key = secrets.token_hex(16) if push.bump else None
    number = {"version": push.target.ref, "bump": push.bump, "idempotency_key": key}

    def publish() -> tuple[ModelDetail, bool]:
        return calls.publish_model(str(push.target.model), artifacts=artifacts, **number, **body)

    detail, created = _when_proven(publish, progress, stop)
    _tell_undone(push, detail, progress, created=created)
    size = sum(file.found.size_bytes for file in files)
    return PushResult(detail, created, len(files), size, uploader.sent_bytes)


def publish_body(push: Push, card: Card, progress: Progress) -> dict[str, Any]:
    """What the publish call says beside number and artifacts: the card, then what was given, which wins."""
    if card.unknown_keys:
        progress.say(f"{card.source}: unknown keys are left out: {', '.join(card.unknown_keys)}")
    body = {**card.metadata, **push.metadata}
    metrics = {**card.metadata.get("metrics", {}), **push.metadata.get("metrics", {})}
    if metrics:
        body["metrics"] = metrics
    git = git_origin(push.folder) if push.use_git else None
    known = {"source": "upload", "created_with": created_with()} | ({"git": git} if git else {})
    body["origin"] = {**known, **card.metadata.get("origin", {}), **push.origin}
    if push.aliases:
        body["aliases"] = list(push.aliases)
    if push.is_public is not None:
        body["is_public"] = push.is_public
    return body


def _find_published(target: Reference, calls: ModelCalls) -> ModelDetail | None:
    """What the version holds already; asked before the hashing, so that a refused token costs no wait."""
    try:
        detail = calls.resolve(target)
    except NotFound:
        return None
    return detail if target.ref else None


def _hashed(found: Sequence[FoundFile], cache: Path, progress: Progress, stop: Stop) -> list[HashedFile]:
    threads = min(os.cpu_count() or 1, 8)
    with closing(HashMemory(cache / "hashes.sqlite")) as memory, progress.stage("Hashing") as stage:
        return hash_files(found, memory, stage, stop, threads=threads)


def _check_not_taken(target: Reference, published: ModelDetail | None, artifacts: Mapping[str, str]) -> None:
    """Raises AlreadyExists before anything is sent for a number that holds other files."""
    if published is None or dict(published.artifacts) == artifacts:
        return
    differing = {
        path
        for path in artifacts.keys() | published.artifacts.keys()
        if artifacts.get(path) != published.artifacts.get(path)
    }
    named = ", ".join(sorted(differing)[:3]) + (" …" if len(differing) > 3 else "")
    detail = f"{target} is published with other files ({named}), and a version never changes; choose another number"
    raise AlreadyExists(409, "already_exists_error", detail)


def _tell_undone(push: Push, detail: ModelDetail, progress: Progress, *, created: bool) -> None:
    """Say what was asked for and did not happen: a version that was there keeps its aliases, a model its visibility."""
    missing = [] if created else [alias for alias in push.aliases if alias not in detail.aliases]
    if missing:
        progress.say(
            f"{detail.name}:{detail.version} was there already and keeps its aliases; not set: {', '.join(missing)}. "
            f"Set one with: steelyard alias set {detail.name}:{detail.version} {missing[0]}"
        )
    if push.is_public is not None and push.is_public != detail.is_public:
        is_now, wanted = ("public", "private") if detail.is_public else ("private", "public")
        progress.say(
            f"{detail.name} was there already and stays {is_now}. "
            f"An owner changes that with: steelyard visibility {detail.name} {wanted}"
        )


def _check_unchanged(files: Sequence[HashedFile]) -> None:
    """A version is a folder at one moment. Raises FileChanged naming what is no longer as it was hashed."""
    changed = [file.found.path for file in files if not file.still_the_same()]
    if changed:
        more = " …" if len(changed) > 5 else ""
        raise FileChanged(
            f"changed during the push: {', '.join(changed[:5])}{more}; push again when nothing writes there"
        )


def _when_proven(
    publish: Callable[[], tuple[ModelDetail, bool]], progress: Progress, stop: Stop
) -> tuple[ModelDetail, bool]:
    """Publish, waiting while the registry still proves bytes (409 with `Retry-After`)."""
    waited, told = 0.0, ""
    while True:
        try:
            return publish()
        except Conflict as error:
            seconds = error.retry_after_seconds
            if isinstance(error, AlreadyExists) or seconds is None or waited > _LONGEST_PROVING_SECONDS:
                raise
            if error.detail != told:
                progress.say(f"Waiting: {error.detail}")
                told = error.detail
            seconds = min(max(seconds, 0.2), 30.0)
            stop.pause(seconds)
            waited += seconds
