"""Artifact paths: what may be sent, and what of a registry's answer may be written.

The rules are those of the contract (section 1). On the way in they protect this machine: a registry may be hostile.
"""

import re
import unicodedata
from collections.abc import Iterable

from steelyard.client.errors import UnsafePath

MANIFEST_NAME = ".steelyard.json"
TEMPORARY_PREFIX = ".steelyard-tmp-"
OWN_PREFIX = ".steelyard"
REPOSITORY_FOLDERS = frozenset({".git", ".hg", ".svn", ".jj", ".bzr"})
_DEVICE = re.compile(
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[1-9¹²³]) *(?:[.:].*)?", re.IGNORECASE | re.DOTALL
)
_DRIVE = re.compile(r"[A-Za-z]:")
_OID = re.compile(r"sha256:[0-9a-f]{64}")
_SHOWN = 20


def is_oid(text: object) -> bool:
    """Whether this is `sha256:` and 64 lower-case hex digits."""
    return isinstance(text, str) and _OID.fullmatch(text) is not None


def path_key(path: str) -> str:
    """What two spellings of one path have in common: NFC + casefold."""
    return unicodedata.normalize("NFC", path).casefold()


def path_fault(path: str) -> str | None:
    """What is wrong with one path, or None."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if not path or len(encoded) > 1024:
        return "is empty" if not path else "is longer than 1,024 bytes"
    if any(unicodedata.category(char) == "Cc" for char in path) or "\\" in path:
        return "holds a control character or a backslash"
    if _DRIVE.match(path):
        return "begins with a drive letter"
    return next((fault for part in path.split("/") if (fault := _part_fault(part))), None)


def _part_fault(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "has an empty, `.` or `..` part, or begins or ends with `/`"
    if len(part.encode()) > 255:
        return "has a part longer than 255 bytes"
    if part[-1] in ". ":
        return "has a part that ends in a dot or a space"
    if _DEVICE.fullmatch(part):
        return "has a part that Windows takes for a device"
    return None


def path_faults(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Every fault of a set of paths: (path, what is wrong), clashes among them included."""
    faults, seen, folders = [], dict[str, str](), dict[str, str]()
    for path in sorted(paths):
        if fault := path_fault(path):
            faults.append((path, fault))
            continue
        key = path_key(path)
        if key in seen:
            faults.append((path, f"is the same as {seen[key]!r} on systems that ignore case"))
        seen.setdefault(key, path)
        for end in (index for index, char in enumerate(key) if char == "/"):
            folders.setdefault(key[:end], path)
    faults += [(path, f"is a file and the folder of {folders[key]!r}") for key, path in seen.items() if key in folders]
    return faults


def faults_text(faults: Iterable[tuple[str, str]]) -> str:
    """The first faults as lines, and how many more there are."""
    lines = [f"  {path!r} {fault}" for path, fault in faults]
    more = [f"  … and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join(lines[:_SHOWN] + more)


def check_writable(paths: Iterable[str]) -> None:
    """Raises UnsafePath unless every path may be written below a folder of this machine.

    Beyond the contract's rules nothing is written into a version-control folder (whose settings run programs), and
    nothing under the names the client uses itself.
    """
    listed = list(paths)
    faults = path_faults(listed) + [(path, fault) for path in listed if (fault := _local_fault(path))]
    if faults:
        raise UnsafePath(f"the registry names paths that are not written here:\n{faults_text(faults)}")


def _local_fault(path: str) -> str | None:
    parts = [path_key(part) for part in path.split("/")]
    plain = [part.split(":", 1)[0].rstrip(". ") for part in parts]  # as NTFS reads it, streams and all
    if any(part in REPOSITORY_FOLDERS or part == "git~1" for part in plain):
        return "lies in a version-control folder"
    if any(":" in part for part in parts) and _colon_is_special():
        return "holds a `:`"
    if parts[0] == MANIFEST_NAME or parts[-1].startswith(TEMPORARY_PREFIX):
        return "is a name the client uses itself"
    return None


def _colon_is_special() -> bool:
    import os

    return os.name == "nt"
