"""Putting pulled files into a folder: whole or not at all, never through a link, never over somebody's own work.

`.steelyard.json` in the folder says which version lies there, so that the next pull knows its own files from yours and
`verify` needs no reference.
"""

import errno
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from steelyard.client.errors import TransferError, UnexpectedAnswer, UnsafePath, WouldOverwrite
from steelyard.client.hashing import HashMemory, digest_of
from steelyard.client.parallel import Stop
from steelyard.client.paths import MANIFEST_NAME, TEMPORARY_PREFIX, check_writable, is_oid
from steelyard.client.progress import Stage
from steelyard.client.walking import FoundFile

_MAX_MANIFEST_BYTES = 64 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_SHOWN = 20
_COPIED_AT_ONCE_BYTES = 64 << 20  # between looks whether to stop


@dataclass(frozen=True)
class Manifest:
    """What the last pull put into a folder: `artifacts` maps path to OID."""

    registry: str
    name: str
    version: str
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls, folder: Path) -> "Manifest | None":
        """The folder's manifest; None where there is none that can be believed."""
        path = folder / MANIFEST_NAME
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            with path.open("rb") as file:
                body = json.loads(file.read(_MAX_MANIFEST_BYTES))
            artifacts = body["artifacts"]
            fields = (body["registry"], body["name"], body["version"])
            check_writable(artifacts)
        except (OSError, ValueError, TypeError, KeyError, RecursionError, UnexpectedAnswer):
            return None
        sound = all(isinstance(text, str) for text in fields) and all(is_oid(oid) for oid in artifacts.values())
        return cls(*fields, artifacts) if sound else None

    def write(self, folder: Path) -> None:
        """Put it into the folder."""
        body = {
            "schema": 1, "registry": self.registry, "name": self.name, "version": self.version,
            "artifacts": dict(self.artifacts),
        }  # fmt: skip
        temporary = _temporary_in(folder)
        with os.fdopen(os.open(temporary, _NEW, 0o666), "w", encoding="utf-8") as file:
            json.dump(body, file, indent=1, sort_keys=True)
        temporary.replace(folder / MANIFEST_NAME)


@dataclass(frozen=True)
class Plan:
    """What a pull would do to a folder: paths to write, and earlier ones of the same model to take away."""

    write: tuple[str, ...]
    remove: tuple[str, ...]


class Destination:
    """The folder a version is pulled into."""

    def __init__(self, folder: Path, memory: HashMemory, stop: Stop) -> None:
        self.folder = folder
        self._memory = memory
        self._stop = stop
        self._ready: dict[str, Path] = {}
        self._is_new = False

    def plan(self, wanted: Manifest, *, force: bool, hardlink: bool = False) -> Plan:
        """What to write and remove so that the folder holds `wanted`; without `hardlink`, as files of its own.

        Raises WouldOverwrite, naming them all, when files would be replaced that no pull put there or that were edited
        since; UnsafePath for paths that must not be written.
        """
        check_writable(wanted.artifacts)
        self._check_folder()
        earlier = Manifest.find(self.folder)
        if earlier is not None and earlier.name != wanted.name and not force:
            raise WouldOverwrite(
                f"{self.folder} holds {earlier.name}:{earlier.version}, another model", [MANIFEST_NAME]
            )
        placed = earlier.artifacts if earlier is not None and earlier.name == wanted.name else {}
        gone = [path for path in placed if path not in wanted.artifacts and self._oid_at(path) == placed[path]]
        there = {path: self._oid_at(path) for path in wanted.artifacts}
        wrong = [path for path, oid in wanted.artifacts.items() if there[path] != oid]
        shared = [path for path, oid in wanted.artifacts.items() if there[path] == oid and self._is_linked(path)]
        write = wrong if hardlink else wrong + shared
        foreign = [path for path in wrong if there[path] not in (None, placed.get(path)) and not _freed(path, gone)]
        if foreign and not force:
            raise WouldOverwrite(_foreign_text(self.folder, foreign), foreign)
        return Plan(tuple(write), tuple(gone))

    def _check_folder(self) -> None:
        """Raises WouldOverwrite where a file stands in the folder's place, TransferError where it cannot be written."""
        if self.folder.exists() and not self.folder.is_dir():
            raise WouldOverwrite(f"{self.folder} is there and is not a folder", [str(self.folder)])
        nearest = next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise TransferError(f"cannot write to {nearest}: permission denied")

    def _is_linked(self, path: str) -> bool:
        """Whether what lies at a path has another name, such as the cache's: an edit would go there, too."""
        return self.folder.joinpath(*path.split("/")).lstat().st_nlink > 1

    def _oid_at(self, path: str) -> str | None:
        """The OID of what lies at a path; None for nothing, "" for something that is no regular file of our own."""
        place = self.folder.joinpath(*path.split("/"))
        if self._blocked_parent(path):
            return ""
        try:
            status = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return ""
        found = FoundFile.of(path, place.absolute(), status)
        return f"sha256:{digest_of(found, self._memory, Stage(), self._stop)}"

    def _blocked_parent(self, path: str) -> bool:
        """Whether a parent of the path is something else than a folder: a link, a file."""
        place = self.folder
        for part in path.split("/")[:-1]:
            place = place / part
            try:
                mode = place.lstat().st_mode
            except FileNotFoundError:
                return False
            if not stat.S_ISDIR(mode):
                return True
        return False

    def parent_of(self, path: str) -> Path:
        """The folder a path goes into, made when missing. Raises UnsafePath where a link or a file stands in the way.

        Only this machine's user makes links in the folder, never a pull, so looking before writing is enough.
        """
        place = self.folder
        place.mkdir(parents=True, exist_ok=True)
        for part in path.split("/")[:-1]:
            place = place / part
            with suppress(FileExistsError):
                place.mkdir()
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise UnsafePath(f"{place} is not a folder (a link, perhaps); nothing is written through it")
        return place

    def prepare(self, path: str, source: Path) -> None:
        """Copy the bytes of `source` for a path, under a temporary name, while others are still on their way: `place`
        has only to rename it then. Raises TransferError."""
        if not self.folder.exists():
            self._is_new = True
            self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self._ready[path] = _temporary_in(self.folder)
        try:
            _copy(source, temporary, self._stop)
        except OSError as error:
            raise TransferError(f"cannot write to {self.folder}: {error.strerror}") from error

    def close(self) -> None:
        """Remove what was prepared and not placed, and the folder where that is all there was."""
        for temporary in list(self._ready.values()):
            with suppress(OSError):
                temporary.unlink()
        self._ready.clear()
        if self._is_new:
            with suppress(OSError):
                self.folder.rmdir()

    def place(self, path: str, source: Path, *, hardlink: bool) -> bool:
        """Put the bytes of `source` at a path: a copy or reflink, or a read-only hard link to the cache where that can
        be made; says whether it was.

        A temporary file beside it is renamed over whatever was there, a link included. Raises TransferError.
        """
        target = self.parent_of(path) / path.rpartition("/")[2]
        if target.is_dir() and not target.is_symlink():
            raise WouldOverwrite(f"{target} is a folder where the version has a file", [path])
        if _moved(self._ready.pop(path, None), target):
            return False
        temporary = _temporary_in(target.parent)
        try:
            linked = hardlink and _linked(source, temporary)
            if not linked:
                _copy(source, temporary, self._stop)
            temporary.replace(target)
        except OSError as error:
            raise TransferError(f"cannot write {target}: {error.strerror}") from error
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        return linked

    def remove(self, path: str) -> None:
        """Take a file away, and the folders that are empty then."""
        place = self.folder.joinpath(*path.split("/"))
        with suppress(OSError):
            place.unlink()
            for parent in place.parents:
                if parent == self.folder:
                    break
                parent.rmdir()

    def sweep(self, paths: Iterable[str]) -> None:
        """Remove what a killed pull of these paths left half-written; the caller holds the folder's lock."""
        ready = {str(temporary) for temporary in self._ready.values()}
        for parent in {self.folder} | {self.folder.joinpath(*path.split("/")[:-1]) for path in paths}:
            with suppress(OSError):
                for entry in list(os.scandir(parent)):
                    if entry.name.startswith(TEMPORARY_PREFIX) and entry.path not in ready:
                        Path(entry.path).unlink()


def _freed(path: str, gone: Iterable[str]) -> bool:
    """Whether a file that is about to go stands where the path needs a folder, or the other way round."""
    return any(each.startswith(f"{path}/") or path.startswith(f"{each}/") for each in gone)


def _foreign_text(folder: Path, paths: list[str]) -> str:
    lines = [f"  {path}" for path in paths[:_SHOWN]]
    more = [f"  … and {len(paths) - _SHOWN} more"] if len(paths) > _SHOWN else []
    return "\n".join([f"{folder} holds other files, or edited ones, where the version has its own:", *lines, *more])


def _temporary_in(folder: Path) -> Path:
    return folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"


def _linked(source: Path, target: Path) -> bool:
    """A hard link, where source and target lie on one file system that has them."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _moved(temporary: Path | None, target: Path) -> bool:
    """Whether a file was there to be renamed, and could be: a folder below may be of another file system."""
    if temporary is None:
        return False
    try:
        temporary.replace(target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        return False
    return True


def _copy(source: Path, target: Path, stop: Stop) -> None:
    """A file of its own with the same bytes; the kernel makes it a reflink where the file system can."""
    with source.open("rb") as reader, os.fdopen(os.open(target, _NEW, 0o666), "wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        copied = _kernel_copy(reader.fileno(), writer.fileno(), size, stop)
        if copied < size:
            reader.seek(copied)
            writer.seek(copied)
            shutil.copyfileobj(reader, writer, 1 << 20)


def _kernel_copy(reader: int, writer: int, size: int, stop: Stop) -> int:
    """How many bytes the kernel copied: none where it cannot."""
    if sys.platform != "linux":
        return 0
    copied = 0
    while copied < size:
        stop.check()
        try:
            count = os.copy_file_range(reader, writer, min(size - copied, _COPIED_AT_ONCE_BYTES), copied, copied)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            return copied
        if count == 0:
            return copied
        copied += count
    return copied
