"""The files of a folder to push: sorted, links checked, what is never meant for a registry left out.

Left out: version-control folders, `__pycache__`, `.ipynb_checkpoints`, `.cache/huggingface`, `.DS_Store`, `Thumbs.db`,
the client's own `.steelyard*`, and what `.steelyardignore` names. A symbolic link is followed when it stays inside.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from steelyard.client.errors import InvalidInput, UnsafeFolder
from steelyard.client.paths import OWN_PREFIX, REPOSITORY_FOLDERS, faults_text, path_faults

IGNORE_FILE = ".steelyardignore"
_SKIPPED_FOLDERS = REPOSITORY_FOLDERS | {"__pycache__", ".ipynb_checkpoints"}
_SKIPPED_PATHS = frozenset({".cache/huggingface"})
_SKIPPED_FILES = frozenset({".DS_Store", "Thumbs.db"})
_MAX_IGNORE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to push: its artifact `path`, where its bytes are, and its stat when it was found."""

    path: str
    source: Path
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: str, source: Path, status: os.stat_result) -> "FoundFile":
        """From a stat of `source` that followed no link."""
        return cls(path, source, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    @property
    def marks(self) -> str:
        """What changes when the file does, as far as the file system tells."""
        return f"{self.size_bytes} {self.mtime_ns} {self.ctime_ns} {self.inode}"


def walk(folder: Path) -> list[FoundFile]:
    """All files to push, sorted by path.

    Raises InvalidInput when there is no folder or nothing in it, UnsafeFolder naming every link that leaves it, every
    socket or device, and every path that no registry takes.
    """
    found, faults = survey(folder)
    faults += path_faults(file.path for file in found)
    if faults:
        raise UnsafeFolder(f"{folder} cannot be pushed as it is:\n{faults_text(faults)}")
    if not found:
        raise InvalidInput(f"{folder} holds no files to push")
    return found


def survey(folder: Path) -> tuple[list[FoundFile], list[tuple[str, str]]]:
    """The files of a folder, sorted by path, and (path, fault) of what is no file to read. Raises InvalidInput."""
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder; name the folder that holds the model's files")
    walker = _Walker(folder.resolve())
    found = sorted(walker.files(walker.root, ""), key=lambda file: file.path)
    return found, walker.faults


class _Walker:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: list[tuple[str, str]] = []
        self._patterns = _ignore_patterns(root)
        self._open: set[tuple[int, int]] = set()  # folders on the way down, against loops of links

    def files(self, folder: Path, prefix: str) -> Iterator[FoundFile]:
        mark = folder.stat()
        if (mark.st_dev, mark.st_ino) in self._open:
            self.faults.append((prefix.rstrip("/"), "is a link back to a folder that holds it"))
            return
        self._open.add((mark.st_dev, mark.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                yield from self._entry(entry, prefix + entry.name)
        self._open.discard((mark.st_dev, mark.st_ino))

    def _entry(self, entry: "os.DirEntry[str]", path: str) -> Iterator[FoundFile]:
        if self._skipped(entry.name, path):
            return
        source = Path(entry.path)
        if entry.is_symlink():
            target = self._target(source, path)
            if target is None:
                return
            source = target
        status = source.lstat()
        if stat.S_ISDIR(status.st_mode):
            if not self._ignored(path, folder=True):
                yield from self.files(source, f"{path}/")
        elif not stat.S_ISREG(status.st_mode):
            self.faults.append((path, "is neither a file nor a folder"))
        elif not self._ignored(path, folder=False):
            yield FoundFile.of(path, source, status)

    def _skipped(self, name: str, path: str) -> bool:
        return (
            name in _SKIPPED_FOLDERS or name in _SKIPPED_FILES or path in _SKIPPED_PATHS or name.startswith(OWN_PREFIX)
        )

    def _target(self, link: Path, path: str) -> Path | None:
        """Where a link leads, if that is a place in the folder that would be pushed itself."""
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):
            self.faults.append((path, "is a link that leads nowhere"))
            return None
        if not target.is_relative_to(self.root):
            self.faults.append((path, f"is a link out of the folder, to {target}; copy the file in its place"))
            return None
        if any(part in REPOSITORY_FOLDERS for part in target.relative_to(self.root).parts):
            self.faults.append((path, "is a link into a version-control folder"))
            return None
        return target

    def _ignored(self, path: str, *, folder: bool) -> bool:
        return any(_matches(pattern, path, folder=folder) for pattern in self._patterns)


def _ignore_patterns(root: Path) -> list[str]:
    try:
        data = (root / IGNORE_FILE).read_bytes()[:_MAX_IGNORE_BYTES]
    except OSError:
        return []
    lines = (line.strip() for line in data.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _matches(pattern: str, path: str, *, folder: bool) -> bool:
    """A pattern with a `/` inside means the whole path, without one any name; a final `/` means folders only."""
    if pattern.endswith("/"):
        if not folder:
            return False
        pattern = pattern[:-1]
    subject = path if "/" in pattern else path.rpartition("/")[2]
    return fnmatchcase(subject, pattern.lstrip("/"))
