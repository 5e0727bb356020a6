"""Where a folder's files come from: the commit of the git work tree it lies in, without anybody's credentials."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from steelyard import __version__

_TIMEOUT_SECONDS = 10
_SCP_LIKE = re.compile(r"(?:[^@/\s:]+@)?(?P<host>[\w.-]+):(?P<path>[^/\s][^\s]*)")


def created_with() -> dict[str, str]:
    """The tool that made the version, for `origin.created_with`."""
    return {"tool": "steelyard", "version": __version__}


def git_origin(folder: Path) -> dict[str, Any] | None:
    """`{repo, commit, dirty}` of the work tree the folder lies in; None when it lies in none or git is not here.

    `dirty` says that tracked files differ from the commit; `repo` is missing without a remote that others can reach.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return None
    found: dict[str, Any] = {"commit": commit}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", ":/")
    if changes is not None:
        found["dirty"] = bool(changes)
    remote = _git(folder, "config", "--get", "remote.origin.url")
    if remote and (shown := public_remote(remote)):
        found["repo"] = shown
    return found


def public_remote(remote: str) -> str | None:
    """A remote's address without user, password, query or fragment; None for a path of this machine."""
    if "://" not in remote:
        match = _SCP_LIKE.fullmatch(remote)
        return f"{match['host']}:{match['path']}" if match and len(match["host"]) > 1 else None
    try:
        parts = urlsplit(remote)
        host = parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    if not host or parts.scheme == "file":
        return None
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None. A file-system monitor named by the repository's own settings is not started."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    elsewhere = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}  # set inside git's own hooks
    environment = {key: value for key, value in os.environ.items() if key not in elsewhere}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 a fixed command
            command,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
