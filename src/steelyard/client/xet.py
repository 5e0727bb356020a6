"""Large files as chunks, by the library `hf_xet` where it is installed: what is at the registry is not sent again.

The library works in a process of its own (`xet_process.py`): its caches, logs and buffers are where and as large as we
say, and an abort in it is not ours. Nothing depends on it. Whatever goes wrong, the files go plainly; and what is
fetched is hashed by us, as everything.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from steelyard.client._http import Http, proxy_for
from steelyard.client.addresses import linked
from steelyard.client.decoding import decode
from steelyard.client.errors import ApiError, ConnectionFailed, SteelyardError, UnexpectedAnswer
from steelyard.client.hashing import HashedFile
from steelyard.client.models import model_route
from steelyard.client.parallel import Slots, Stop
from steelyard.client.progress import Progress, Stage
from steelyard.client.references import ModelName

LEAST_BYTES = 8 << 20
PROCESS = Path(__file__).with_name("xet_process.py")
_AT_ONCE = 2  # fetching processes: each fetches over several connections by itself
_ERROR_BYTES = 64 << 10
_SETTINGS = {
    "HF_XET_LOG_DEST": os.devnull,
    "HF_XET_TELEMETRY_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_XET_CLIENT_CONNECT_TIMEOUT": "15s",
    "HF_XET_CLIENT_READ_TIMEOUT": "120s",
    "HF_XET_CLIENT_RETRY_BASE_DELAY": "500ms",
    "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "3",  # then the files go plainly, which has more patience
    "HF_XET_CLIENT_AC_MAX_UPLOAD_CONCURRENCY": "8",
    "HF_XET_CLIENT_AC_MAX_DOWNLOAD_CONCURRENCY": "8",
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_SIZE": "256mb",
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_LIMIT": "512mb",
}


class XetFailed(SteelyardError):
    """The library did not do it; the message is its own."""


@dataclass(frozen=True)
class XetGrant:
    """Where chunks are exchanged, with which token and until when (Unix time)."""

    exp: int
    cas_url: str = field(metadata={"key": "casUrl"})
    access_token: str = field(repr=False, metadata={"key": "accessToken"})


@dataclass(frozen=True)
class XetDownload(XetGrant):
    """The same for a version's files; `files` maps the path of each that is shorter as chunks to Xet's hash of it."""

    files: Mapping[str, str] = field(default_factory=dict)


def is_available() -> bool:
    """Whether the library is there, and wanted (`HF_HUB_DISABLE_XET` is what users of the Hub know)."""
    if os.environ.get("HF_HUB_DISABLE_XET", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    can_start = bool(sys.executable) and not getattr(sys, "frozen", False)
    return can_start and find_spec("hf_xet") is not None


class XetSender:
    """Sends the large files of one push; once it has failed, no more."""

    def __init__(self, http: Http, model: ModelName, cache: Path, progress: Progress) -> None:
        self._route = model_route(model, "blobs", "xet")
        self._way = _Way(http, self._route, cache, progress)

    @property
    def works(self) -> bool:
        """Whether it has not failed yet."""
        return self._way.works

    def send(self, files: Sequence[HashedFile], stage: Stage, stop: Stop, count: Callable[[int], None]) -> None:
        """Send these, if it works: how far it did, the registry says when it is asked again. `count` is told what went
        over the wire. Raises FileChanged."""
        expected = sum(file.found.size_bytes for file in files)
        stage.expect(expected)
        shown = sent = 0
        try:
            with closing(self._sending(files, stop)) as steps:
                for done_bytes, sent_bytes in steps:
                    stage.advance(min(done_bytes, expected) - shown)
                    count(sent_bytes - sent)
                    shown, sent = min(done_bytes, expected), sent_bytes
        except (XetFailed, ApiError, ConnectionFailed, UnexpectedAnswer) as error:
            stage.advance(-shown)
            stage.expect(-expected)
            for file in files:
                if not file.still_the_same():
                    raise file.changed() from error
            self._way.give_up(error)

    def _sending(self, files: Sequence[HashedFile], stop: Stop) -> Generator[tuple[int, int]]:
        """How many bytes are done with, and how many of them went over the wire, again and again until all are."""
        named = [{"path": str(file.found.source.absolute()), "sha256": file.sha256_hex} for file in files]
        grant = decode(XetGrant, self._way.http.call("GET", self._route, pause=stop.pause).body)
        with self._way.started(grant, {"files": named}) as output:
            for line in output:
                stop.check()
                with suppress(ValueError):  # the library's own words, if it has any
                    done_bytes, sent_bytes = map(int, line.split())
                    yield done_bytes, sent_bytes


class XetSource:
    """Where one pull gets those files that are shorter as chunks; once it has failed, no more."""

    def __init__(self, http: Http, model: str, version: str, cache: Path, progress: Progress) -> None:
        self._route = model_route(model, version, "xet")
        self._way = _Way(http, self._route, cache, progress)
        self._turns = Slots(_AT_ONCE)
        self._lock = threading.Lock()
        self._download: XetDownload | None = None

    def has(self, path: str) -> bool:
        """Whether that file is to be had as chunks. Asks the registry when it is asked first."""
        with self._lock:
            if self._download is None and self._way.works:
                self._download = self._ask()
            return self._way.works and self._download is not None and path in self._download.files

    def _ask(self) -> XetDownload | None:
        try:
            return decode(XetDownload, self._way.http.call("GET", self._route).body)
        except SteelyardError:  # an older registry has no such route
            self._way.works = False
            return None

    @contextmanager
    def opened(self, path: str, size_bytes: int, spans: Sequence[tuple[int, int]], stop: Stop) -> Iterator[IO[bytes]]:
        """The bytes of these spans of a file that it has, one after the other. Raises XetFailed."""
        assert self._download is not None
        order = {"hash": self._download.files[path], "size": size_bytes, "spans": spans}
        with self._turns.one(stop), self._way.started(self._download, order) as output:
            yield output

    def give_up(self, error: SteelyardError) -> None:
        """Go on without it."""
        self._way.give_up(error)


class _Way:
    """How a transfer uses the library, for as long as that works."""

    def __init__(self, http: Http, route: str, cache: Path, progress: Progress) -> None:
        self.http = http
        self.works = is_available()
        self._route = route
        self._cache = cache / "xet"
        self._progress = progress
        self._lock = threading.Lock()

    def give_up(self, error: SteelyardError) -> None:
        """Go on without it, and say why, once."""
        with self._lock:
            if self.works:
                self.works = False
                self._progress.say(f"Large files go whole, not as chunks: {error}")

    @contextmanager
    def started(self, grant: XetGrant, order: Mapping[str, Any]) -> Iterator[IO[bytes]]:
        """What a new process that carries out the order answers. Raises XetFailed at the end, unless that was well."""
        try:
            cas_url = linked(f"{self.http.base}/", grant.cas_url)
        except UnexpectedAnswer as error:
            raise XetFailed(str(error)) from error
        told = json.dumps({"grant": self._connection(grant, cas_url), **order}).encode() + b"\n"
        with tempfile.TemporaryFile() as errors, self._process(cas_url, errors) as process:
            assert process.stdin is not None and process.stdout is not None
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(told)
                    process.stdin.flush()
                yield process.stdout
                process.stdout.read()
                if process.wait() != 0:
                    raise XetFailed(_last_line(errors))
            finally:
                process.kill()
                with suppress(BrokenPipeError):
                    process.stdin.close()

    def _process(self, cas_url: str, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
        environ = {**os.environ, **_SETTINGS, "HF_XET_CACHE": str(self._cache.absolute())}
        if proxy_for(cas_url) is None:
            environ["NO_PROXY"] = environ["no_proxy"] = "*"
        # Without the script's folder, whose modules are named like some of the standard library's.
        command = [sys.executable, "-P", str(PROCESS)]
        try:
            return subprocess.Popen(  # noqa: S603 - a file of ours, by the interpreter that runs us
                command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise XetFailed(f"no process could be started: {error.strerror}") from error

    def _connection(self, grant: XetGrant, cas_url: str) -> dict[str, Any]:
        """As the library wants it. Our token goes to the registry alone: for a new grant when this one ends."""
        http = self.http
        known = {"endpoint": cas_url, "token": grant.access_token, "token_expiry_unix_secs": grant.exp}
        renewal: dict[str, Any] = {"token_refresh_url": http.url(self._route)}
        if http.token:
            renewal["token_refresh_headers"] = {"Authorization": f"Bearer {http.token}"}
        return {**known, **renewal}


def _last_line(errors: IO[bytes]) -> str:
    """What the process said at last, without the tickets of links."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _ERROR_BYTES))
    lines = errors.read().decode(errors="replace").strip().splitlines()
    said = lines[-1] if lines else "it ended without a word"
    return re.sub(r"\?\S+", "", said)[:500]
