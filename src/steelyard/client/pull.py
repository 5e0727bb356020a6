"""Pulling: a version becomes a folder. Resolve, look at the folder, fetch what is missing, put it in place."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from steelyard.client._http import Http
from steelyard.client.cache import BlobCache
from steelyard.client.download import Downloader, WantedFile
from steelyard.client.errors import UnexpectedAnswer
from steelyard.client.models import ModelCalls, model_route
from steelyard.client.parallel import Stop, in_parallel
from steelyard.client.paths import check_writable, is_oid
from steelyard.client.placing import Destination, Manifest
from steelyard.client.progress import Progress, Stage
from steelyard.client.references import Reference, is_version
from steelyard.client.types import ModelDetail, PullResult
from steelyard.client.xet import XetSource

_COPYING_THREADS = 4


@dataclass(frozen=True)
class Pull:
    """One pull: what goes where, and how."""

    target: Reference
    folder: Path | None = None
    hardlink: bool = False
    force: bool = False


def run_pull(pull: Pull, calls: ModelCalls, http: Http, *, cache: Path, threads: int, progress: Progress) -> PullResult:
    """Pull; see `Client.pull`."""
    stop = Stop()
    detail = calls.resolve(pull.target)
    wanted = manifest_of(http.base, pull.target, detail)
    folder = pull.folder if pull.folder is not None else Path(wanted.name.partition("/")[2])
    with closing(BlobCache(cache)) as blobs:

        def waiting() -> None:
            progress.say(f"Waiting for another pull into {folder} …")

        with blobs.destination_lock(folder, stop, waiting):
            place = Destination(folder, blobs.memory, stop)
            plan = place.plan(wanted, force=pull.force, hardlink=pull.hardlink)
            files = {path: _wanted_file(http, wanted, detail, path) for path in plan.write}

            def arrived(file: WantedFile) -> None:
                if not pull.hardlink:
                    place.prepare(file.path, blobs.path(file.sha256_hex))

            with closing(place):
                place.sweep(files)
                with progress.stage("Downloading") as stage:
                    chunks = XetSource(http, wanted.name, wanted.version, cache, progress)
                    downloader = Downloader(http, blobs, stage, stop, threads=threads, chunks=chunks, arrived=arrived)
                    downloader.fetch(list({file.sha256_hex: file for file in files.values()}.values()))
                for path in plan.remove:
                    place.remove(path)
                with progress.stage("Writing") as stage:
                    _place_all(place, blobs, files, stage, progress, stop, hardlink=pull.hardlink)
            folder.mkdir(parents=True, exist_ok=True)
            wanted.write(folder)
    size = sum(detail.sizes.get(path, 0) for path in wanted.artifacts)
    return PullResult(
        detail, str(folder), len(wanted.artifacts), size, downloader.fetched_bytes, plan.write, plan.remove
    )


def manifest_of(registry: str, target: Reference, detail: ModelDetail) -> Manifest:
    """What the folder shall hold, after a look at what the registry says: it may be hostile.

    Raises UnsafePath for paths that must not be written, UnexpectedAnswer for another model than was asked for, or
    digests and sizes that are none.
    """
    if detail.name.casefold() != str(target.model).casefold() or not is_version(detail.version):
        raise UnexpectedAnswer(f"the registry answered with another model than {target.model}")
    if not detail.artifacts:
        raise UnexpectedAnswer(f"the registry names no files of {target}")
    if not all(is_oid(oid) for oid in detail.artifacts.values()):
        raise UnexpectedAnswer(f"the registry names files of {target} by something that is no SHA-256 digest")
    if any(size < 0 for size in detail.sizes.values()):
        raise UnexpectedAnswer(f"the registry names negative sizes for files of {target}")
    check_writable(detail.artifacts)
    return Manifest(registry, detail.name, detail.version, detail.artifacts)


def _wanted_file(http: Http, wanted: Manifest, detail: ModelDetail, path: str) -> WantedFile:
    url = http.url(model_route(wanted.name, wanted.version, "files", *path.split("/")))
    size = detail.sizes.get(path)
    if size is None:
        raise UnexpectedAnswer(f"the registry does not say how large {path} is; it is older than this client")
    return WantedFile(wanted.artifacts[path].removeprefix("sha256:"), size, url, path)


def _place_all(
    place: Destination,
    blobs: BlobCache,
    files: Mapping[str, WantedFile],
    stage: Stage,
    progress: Progress,
    stop: Stop,
    *,
    hardlink: bool,
) -> None:
    stage.expect(sum(file.size_bytes for file in files.values()))
    copied: list[str] = []

    def one(path: str, file: WantedFile) -> None:
        if not place.place(path, blobs.path(file.sha256_hex), hardlink=hardlink):
            copied.append(path)
        stage.advance(file.size_bytes)

    in_parallel((bind(one, path, file) for path, file in files.items()), threads=_COPYING_THREADS, stop=stop)
    if hardlink and copied:
        progress.say(f"Hard links from the cache ({blobs.root}) cannot be made here; the files are copies.")
