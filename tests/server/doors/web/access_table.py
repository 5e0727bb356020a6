"""Who may do what by the pages, in one table: every route of them, what it demands, and what a form sends.

`test_access.py` tries each row as every kind of caller who can sign in; who they are, and what the words of the second
column mean for each, stands in the native door's table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.server.doors.native import world as w
from tests.server.doors.native.world import World

Fields = dict[str, str]


@dataclass(frozen=True)
class Row:
    """`status` is what a success is: a form leads on, but for those whose answer shows a secret once."""

    method: str
    path: str
    demands: str
    sends: Fields = field(default_factory=dict)
    status: int = 0
    before: Callable[[World, Fields], None] | None = None
    after: Callable[[World, Fields], None] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def success(self) -> int:
        return self.status or (200 if self.method == "GET" else 303)


def _read(path: str, demands: str, status: int = 200) -> Row:
    return Row("GET", path, demands, status=status)


def _set_alias(world: World, values: Fields) -> None:
    path = f"/org/acme/models/{values['name']}/1.0.0/aliases"
    assert world.callers["owner"].post(path, {"alias": "held"}).status_code == 200


MODEL = "/{org}/{name}"
ROWS = [
    # reading
    _read("/", "to look around"),
    _read("/{org}", "to see the model"),
    _read(MODEL, "to see the model"),
    _read(f"{MODEL}/v/{{ref}}", "to see the model"),
    _read(f"{MODEL}/versions", "to see the model"),
    _read(f"{MODEL}/compare", "to see the model"),
    _read(f"{MODEL}/tree", "to see the model", status=303),
    _read(f"{MODEL}/tree/{{ref}}", "to see the model"),
    _read(f"{MODEL}/blob/{{ref}}/{{path:path}}", "to see the model"),
    _read(f"{MODEL}/raw/{{ref}}/{{path:path}}", "to see the model"),
    _read(f"{MODEL}/resolve/{{ref}}/{{path:path}}", "to see the model"),
    _read(f"{MODEL}/lineage/{{ref}}", "to see the model"),
    # managing a model
    _read(f"{MODEL}/settings", "a contributor"),
    Row("POST", f"{MODEL}/settings/visibility", "an owner", {"visibility": "public"}, after=w.restore_visibility),
    Row("POST", f"{MODEL}/settings/aliases", "a contributor", {"alias": "{unused}", "version": "1.0.0"}),
    Row(
        "POST",
        f"{MODEL}/settings/aliases/protect",
        "an owner",
        {"alias": "held", "version": "1.0.0", "protected": "yes"},
        before=_set_alias,
    ),
    Row("POST", f"{MODEL}/settings/aliases/remove", "a contributor", {"alias": "{alias}", "version": "1.0.0"}),
    Row("POST", f"{MODEL}/settings/yank", "an owner", {"version": "1.0.0", "reason": "wrong"}),
    Row("POST", f"{MODEL}/settings/unyank", "an owner", {"version": "1.0.0"}, before=w.yank),
    Row("POST", f"{MODEL}/settings/delete-version", "an owner", {"version": "1.0.0", "typed": "1.0.0"}),
    Row("POST", f"{MODEL}/settings/delete", "an owner", {"typed": "acme/{name}"}),
    # organisations
    _read("/{org}/-/members", "a member"),
    Row("POST", "/{org}/-/members", "an owner", {"username": "{stranger}", "role": "reader"}),
    Row("POST", "/{org}/-/members/role", "an owner", {"username": "{username}", "role": "contributor"}),
    Row("POST", "/{org}/-/members/remove", "an owner", {"username": "{username}"}),
    _read("/{org}/-/service-accounts", "a member"),
    Row("POST", "/{org}/-/service-accounts", "an owner", {"name": "{unused}", "role": "reader"}),
    _read("/{org}/-/service-accounts/{account}", "an owner who reads"),
    Row("POST", "/{org}/-/service-accounts/{account}/role", "an owner", {"role": "reader"}),
    Row("POST", "/{org}/-/service-accounts/{account}/remove", "an owner"),
    Row("POST", "/{org}/-/service-accounts/{account}/tokens", "an owner", {"name": "key", "access": "read"}, 201),
    Row("POST", "/{org}/-/service-accounts/{account}/tokens/revoke", "an owner", {"token": "{key_id}"}),
    _read("/{org}/-/audit", "an owner who reads"),
    _read("/{org}/-/upload", "a contributor"),
    # oneself
    _read("/-/me", "a person"),
    Row("POST", "/-/me/tokens", "a person", {"name": "another", "access": "read"}, status=201),
    Row("POST", "/-/me/tokens/revoke", "a person who writes", {"token": "{key_id}"}),
    _read("/-/orgs/new", "an instance admin"),
    Row("POST", "/-/orgs/new", "an instance admin", {"key": "{unused}"}),
    # the instance
    _read("/-/users", "an instance admin"),
    Row("POST", "/-/users", "an instance admin", {"username": "{unused}"}, status=201),
    Row("POST", "/-/users/token", "an instance admin", {"username": "{username}"}, status=201),
    Row("POST", "/-/users/change", "an instance admin", {"username": "{username}", "change": "disable"}),
]
OPEN_TO_ALL = {
    "GET /-/assets/{digest}/{name}",
    "GET /-/login",
    "POST /-/login",
    "GET /-/oidc/start",
    "GET /-/oidc/callback",
}
"""What nobody has to sign in for: `test_signing_in.py` and `test_openid.py`."""

OF_THE_SESSION = {"POST /-/logout", "POST /-/me/sessions/end", "POST /-/oidc/link", "POST /-/oidc/unlink"}
"""What ends or binds the very session that asks: `test_signing_in.py`, `test_openid.py`."""

LED_ELSEWHERE = {
    "GET /{org}/{name}/commit/{sha}",
    "GET /{org}/{name}/refs",
    "GET /{org}/{name}/commits/{ref}",
    "GET /{org}/{name}/community",
    "GET /{org}/{name}/discussions",
    "GET /{org}/{name}/discussions/{number}",
    "GET /{org}/{name}/tree/{ref}/{path:path}",
    "POST /{org}/-/upload",
}
"""Links of the Hub's clients, which lead to pages above whatever is there; a folder, a page above, too; HEAD, which is
one handler with GET; and what takes a form of files: `test_uploading.py`."""
