"""Who may do what by the Hub's door, in one table: every route of it, what it demands, and what a success is.

`test_access.py` tries each row as every kind of caller; who they are stands in the native door's table.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.server.doors.native import access_table as native
from tests.server.doors.native.world import World, filled

HUB = "http://127.0.0.1"
PRIVATE = native.PRIVATE | {
    # what the route demands   anon outs read cont ownr admn serv else here r_on revo expi disa
    "a caller":               "401  ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
}  # fmt: skip
PUBLIC = native.PUBLIC | {"a caller": PRIVATE["a caller"]}
OPENED = native.OPENED | {
    "a caller":               "ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A route: what it demands, the status of a success, what is sent, and what it leaves in the audit trail."""

    method: str
    path: str
    demands: str
    status: int = 200
    sends: Any = None
    audit: str | None = None
    revision: str = "main"
    path_value: str = "model.safetensors"
    before: Callable[[World, dict[str, str]], None] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def content(self) -> bytes | None:
        """What is sent, as bytes: the lines of a commit, or JSON."""
        if self.path.endswith("/commit/{revision}"):
            return b"\n".join(json.dumps(line).encode() for line in self.sends)
        return None if self.sends is None else json.dumps(self.sends).encode()


def _prepared(path: str, body: dict[str, str]) -> Callable[[World, dict[str, str]], None]:
    """Something that the route is about, made by an owner."""

    def make(world: World, values: dict[str, str]) -> None:
        made = world.callers["owner"].post(HUB + filled(path, values), body)
        assert made.status_code == 200, made.text

    return make


_M = "/api/models/{org}/{name}"
_EVERY = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_COMMIT = [
    {"key": "header", "value": {"summary": "new", "description": ""}},
    {"key": "file", "value": {"path": "{unused}.txt", "content": "eA==", "encoding": "base64"}},
]
_REPO = {"name": "{name}", "organization": "{org}"}
_REFUSED = (
    *(f"{_M}/discussions", f"{_M}/discussions/{{rest:path}}", f"{_M}/duplicate", f"{_M}/lfs-files"),
    *(f"{_M}/lfs-files/duplicate", f"{_M}/lfs-files/batch", f"{_M}/user-access-request/{{rest:path}}"),
)

ROWS = [
    Row("GET", "/api/telemetry/{topic:path}", "nothing"),
    Row("HEAD", "/api/telemetry/{topic:path}", "nothing"),
    Row("GET", "/api/whoami-v2", "a token"),
    Row("POST", "/api/validate-yaml", "a caller", sends={"content": "", "repoType": "model"}),
    Row("GET", "/api/models", "a caller"),
    Row("GET", "/api/settings/repositories", "a token"),
    Row("GET", "/api/organizations/{org}/settings/repositories", "a member"),
    # reading
    Row("GET", _M, "to see the model"),
    Row("GET", _M + "/revision/{revision}", "to see the model"),
    Row("GET", _M + "/auth-check", "to see the model"),
    Row("GET", _M + "/auth-check/write", "a contributor"),
    Row("GET", _M + "/tree/{revision}", "to see the model"),
    Row("GET", _M + "/tree/{revision}/{path:path}", "to see the model", path_value=""),
    Row("POST", _M + "/paths-info/{revision}", "to see the model", sends={"paths": ["model.safetensors"]}),
    Row("GET", _M + "/refs", "to see the model"),
    Row("GET", _M + "/commits/{revision}", "to see the model"),
    Row("GET", _M + "/xet-read-token/{revision}", "to see the model"),
    Row("GET", "/{org}/{name}/resolve/{revision}/{path:path}", "to see the model"),
    Row("HEAD", "/{org}/{name}/resolve/{revision}/{path:path}", "to see the model"),
    Row("GET", "/{org}/{name}/raw/{revision}/{path:path}", "to see the model"),
    Row("HEAD", "/{org}/{name}/raw/{revision}/{path:path}", "to see the model"),
    # writing
    Row("GET", _M + "/xet-write-token/{revision}", "a contributor"),
    Row("POST", "/api/repos/create", "a contributor", sends={"name": "{unused}", "organization": "{org}"},
        audit="commit.create"),
    Row("DELETE", "/api/repos/delete", "an owner", sends=_REPO, audit="model.delete"),
    Row("POST", "/api/repos/move", "a token", 400, sends={"fromRepo": "a/b", "toRepo": "c/d"}),
    Row("PUT", _M + "/settings", "an owner", sends={"gated": False}),
    Row("POST", _M + "/preupload/{revision}", "a contributor",
        sends={"files": [{"path": "a.txt", "size": 1, "sample": "eA=="}]}),
    Row("POST", _M + "/commit/{revision}", "a contributor", sends=_COMMIT, audit="commit.create"),
    Row("POST", _M + "/tag/{revision}", "a contributor", sends={"tag": "{unused}"}, audit="tag.create"),
    Row("DELETE", _M + "/tag/{revision}", "a contributor", audit="tag.delete", revision="named",
        before=_prepared(_M + "/tag/main", {"tag": "named"})),
    Row("POST", _M + "/branch/{revision}", "a contributor", sends={}, audit="branch.create", revision="dev%2Fnew"),
    Row("DELETE", _M + "/branch/{revision}", "a contributor", audit="branch.delete", revision="dev",
        before=_prepared(_M + "/branch/dev", {})),
    Row("POST", _M + "/super-squash/{revision}", "a contributor", sends={"message": "one"}, audit="branch.squash",
        revision="dev", before=_prepared(_M + "/branch/dev", {})),
    # what is not offered
    Row("GET", _M + "/discussions", "to see the model"),
    *(Row(method, path, "a caller", 400) for path in _REFUSED for method in _EVERY
      if (method, path) != ("GET", f"{_M}/discussions")),
]  # fmt: skip
