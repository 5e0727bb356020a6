"""Who may do what, in one table: every route of the native door, what it demands, and what it answers.

`test_access.py` tries each row as every kind of caller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.server.doors.native import world as w
from tests.server.doors.native.world import WEIGHTS, Link, World


def _keys(text: str) -> set[str]:
    return set(text.split())


CALLERS = (
    "anonymous", "outsider", "reader", "contributor", "owner", "admin", "service",
    "elsewhere", "here", "read_only", "revoked", "expired", "disabled",
)  # fmt: skip
"""`service` is a service account that contributes. The five after it are tokens of the owner: narrowed to another
organisation, narrowed to this one, only reading, revoked, expired. `disabled` is an owner too, an admin no member."""

PRIVATE = {
    # what the route demands   anon outs read cont ownr admn serv else here r_on revo expi disa
    "nothing":                "ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   ok",
    "a ticket":               "ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   ok",
    "a token":                "401  ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
    "to look around":         "401  ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
    "a person":               "401  ok   ok   ok   ok   ok   403  ok   ok   ok   401  401  401",
    "a person who writes":    "401  ok   ok   ok   ok   ok   404  ok   ok   403  401  401  401",
    "a person, unnarrowed":   "401  ok   ok   ok   ok   ok   404  403  403  403  401  401  401",
    "a person who may write": "401  ok   ok   ok   ok   ok   403  ok   ok   403  401  401  401",
    "an instance admin":      "401  403  403  403  403  ok   403  403  403  403  401  401  401",
    "to see the model":       "401  404  ok   ok   ok   404  ok   404  ok   ok   401  401  401",
    "to see the organisation":"401  404  ok   ok   ok   404  ok   404  ok   ok   401  401  401",
    "a member":               "401  404  ok   ok   ok   404  ok   404  ok   ok   401  401  401",
    "a contributor":          "401  404  403  ok   ok   404  ok   404  ok   403  401  401  401",
    "an owner":               "401  404  403  403  ok   404  403  404  ok   403  401  401  401",
    "an owner who reads":     "401  404  403  403  ok   404  403  404  ok   ok   401  401  401",
}  # fmt: skip

PUBLIC = PRIVATE | {
    # what the route demands   anon outs read cont ownr admn serv else here r_on revo expi disa
    "to see the model":       "401  ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
    "to see the organisation":"401  ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
    "a member":               "401  403  ok   ok   ok   403  ok   403  ok   ok   401  401  401",
    "a contributor":          "401  403  403  ok   ok   403  ok   403  ok   403  401  401  401",
    "an owner":               "401  403  403  403  ok   403  403  403  ok   403  401  401  401",
    "an owner who reads":     "401  403  403  403  ok   403  403  403  ok   ok   401  401  401",
}  # fmt: skip

OPENED = PUBLIC | {
    # with `anonymous_public` on
    "to look around":         "ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
    "to see the model":       "ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
}  # fmt: skip

SUMMARY = _keys(
    "id name version created_at framework download_count is_public origin summary task architecture base_model license "
    "pretty_name size_category updated_at aliases tags language task_categories version_count"
)
DETAIL = SUMMARY | _keys(
    "artifacts artifacts_hash sizes description created_by_email dataset_refs file_size_bytes metrics yanked"
)
ORGANIZATION = {"id", "name", "key", "created_at", "updated_at"}
USER = {"id", "username", "email_address", "is_admin", "disabled", "created_at"}
MEMBER = {"username", "role", "added_at"}
SERVICE_ACCOUNT = {"id", "name", "role", "created_at"}
API_KEY = {"id", "name", "org", "access", "created_at", "expires_at", "last_used_at"}
UPLOADED = {"oid", "size", "status"}
DOWNLOAD = {"download_id", "status", "url", "expires_at", "filename"}
DOWNLOAD_STATUS = {"download_id", "status", "url", "expires_at", "error"}
ALIAS = {"alias", "name", "version"}
VISIBILITY = {"is_public", "message"}
TENSORS = _keys("name version path oid format parameters total matching tensors next_cursor metadata metadata_total")
GRANT = {"casUrl", "accessToken", "exp"}
CONFIG = {"app_version", "api_version", "deployment_mode", "website_url", "min_client_version", "limits", "doors"}
PAGE = {"models", "page", "limit", "total", "total_pages", "has_next", "has_previous"}
TIMELINE = (PAGE - {"models"}) | {"name", "latest", "versions"}
METRIC_HISTORY = (PAGE - {"models"}) | {"name", "versions", "metrics", "is_cut"}
FACETS = {"total", "filtered_total", "frameworks", "licenses", "size_categories", "tags", "task_categories"}
LINEAGE = _keys("name version base_model origin nodes edges more_above more_below distinct_bytes shares_with")
NAMED = {"name": "{unused}"}
NEW_VERSION = {"version": "{number_unused}", "artifacts": {"model.safetensors": "{oid}"}}
WANTED = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}]}


@dataclass(frozen=True)
class Row:
    """A route: what it demands, what a success answers (keys, or bytes of it), and what it leaves in the audit."""

    method: str
    path: str
    demands: str
    status: int
    answers: set[str] | list[set[str]] | bytes | None = None
    sends: Any = None
    audit: str | None = None
    link: Callable[[World], Link] | None = None
    before: Callable[[World, dict[str, str]], None] | None = None
    after: Callable[[World, dict[str, str]], None] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_personal(self) -> bool:
        """Whether each caller has things of his own to touch."""
        return (
            self.path.startswith(("/user/api-keys/", "/user/identities/", "/user/sessions/")) or self.path == _DOWNLOAD
        )


_M, _V = "/org/{org}/models/{name}", "/org/{org}/models/{name}/{version}"
_UP = "/org/{org}/models/{name}/blobs/uploads/{upload_id}"
_DOWNLOAD = "/org/{org}/downloads/models/{download_id}"
_BOT = "/org/{org}/service-accounts/{account}"

ROWS = [
    Row("GET", "/health", "nothing", 200, {"status"}),
    Row("GET", "/ready", "nothing", 200, {"status"}),
    Row("GET", "/config", "nothing", 200, CONFIG),
    Row("GET", "/metrics", "an instance admin", 200, b"# HELP steelyard_http_requests_total "),
    # the caller
    Row("GET", "/user", "a token", 200, {"id", "email_address", "username"}),
    Row("GET", "/user/organizations", "a token", 200, [ORGANIZATION]),
    Row("GET", "/user/api-keys", "a token", 200, {"api_keys"}),
    Row("POST", "/user/api-keys", "a person", 201, API_KEY | {"key"}, {"name": "new"}, "token.create"),
    Row("DELETE", "/user/api-keys/{key_id}", "a person who writes", 204, audit="token.revoke"),
    Row("GET", "/user/identities", "a token", 200, {"identities"}),
    Row("DELETE", "/user/identities/{identity_id}", "a person, unnarrowed", 204, audit="identity.unlink"),
    Row("GET", "/user/sessions", "a token", 200, {"sessions"}),
    Row("DELETE", "/user/sessions", "a person who may write", 204),
    Row("DELETE", "/user/sessions/{session_id}", "a person who writes", 204, audit="session.end"),
    # the instance
    Row("GET", "/users", "an instance admin", 200, {"users", "next_cursor"}),
    Row("POST", "/users", "an instance admin", 201, USER | {"key"}, {"username": "{unused}"}, "user.create"),
    Row("PATCH", "/users/{username}", "an instance admin", 200, USER, {"disabled": True}, "user.update"),
    Row("POST", "/users/{username}/api-keys", "an instance admin", 201, API_KEY | {"key"}, audit="token.create"),
    Row("POST", "/orgs", "an instance admin", 201, ORGANIZATION, {"key": "{unused}"}, "org.create"),
    # organisations
    Row("GET", "/org/{org}", "to see the organisation", 200, ORGANIZATION),
    Row("GET", "/org/{org}/members", "a member", 200, {"members"}),
    Row("POST", "/org/{org}/members", "an owner", 201, MEMBER, {"username": "{stranger}"}, "member.add"),
    Row("PATCH", "/org/{org}/members/{username}", "an owner", 200, MEMBER, {"role": "owner"}, "member.role"),
    Row("DELETE", "/org/{org}/members/{username}", "an owner", 204, audit="member.remove"),
    Row("GET", "/org/{org}/service-accounts", "a member", 200, {"service_accounts"}),
    Row("POST", "/org/{org}/service-accounts", "an owner", 201, SERVICE_ACCOUNT, NAMED, "service_account.add"),
    Row("PATCH", _BOT, "an owner", 200, SERVICE_ACCOUNT, {"role": "reader"}, "service_account.role"),
    Row("DELETE", _BOT, "an owner", 204, audit="service_account.remove"),
    Row("GET", _BOT + "/api-keys", "an owner who reads", 200, {"api_keys"}),
    Row("POST", _BOT + "/api-keys", "an owner", 201, API_KEY | {"key"}, {"name": "new"}, "token.create"),
    Row("DELETE", _BOT + "/api-keys/{key_id}", "an owner", 204, audit="token.revoke"),
    Row("GET", "/org/{org}/audit", "an owner who reads", 200, {"events", "next_cursor"}),
    # models
    Row("GET", "/models", "to look around", 200, PAGE),
    Row("GET", "/models/facets", "to look around", 200, FACETS),
    Row("GET", "/org/{org}/models", "to see the model", 200, PAGE),
    Row("GET", "/org/{org}/models/facets", "to see the model", 200, FACETS),
    Row("GET", "/org/{org}/models/activity", "a member", 200, {"items", "limit", "offset", "total"}),
    Row("GET", _M, "to see the model", 200, DETAIL),
    Row("DELETE", _M, "an owner", 204, audit="model.delete"),
    Row("GET", _M + "/versions", "to see the model", 200, {"name", "versions", "latest"}),
    Row("POST", _M + "/versions", "a contributor", 201, DETAIL, NEW_VERSION, "version.publish"),
    Row("GET", _M + "/versions/timeline", "to see the model", 200, TIMELINE),
    Row("GET", _M + "/versions/metric-history", "to see the model", 200, METRIC_HISTORY),
    Row("GET", _M + "/versions/downloads", "to see the model", 200, {"name", "total", "days"}),
    Row("GET", _M + "/compare", "to see the model", 200, {"name", "metric_keys", "versions"}),
    Row("PATCH", _M + "/visibility", "an owner", 200, VISIBILITY, w.other_visibility, "model.visibility",
        after=w.restore_visibility),
    Row("GET", _M + "/aliases", "to see the model", 200, {"aliases", "next_cursor"}),
    Row("GET", _V, "to see the model", 200, DETAIL),
    Row("GET", _V + "/lineage", "to see the model", 200, LINEAGE),
    Row("DELETE", _V, "an owner", 204, audit="version.delete"),
    Row("POST", _V + "/aliases", "a contributor", 200, ALIAS, {"alias": "{unused}"}, "alias.set"),
    Row("DELETE", _V + "/aliases/{alias}", "a contributor", 204, audit="alias.remove"),
    Row("PUT", _V + "/metrics", "a contributor", 200, DETAIL, {"accuracy": 0.9}, "version.metrics"),
    Row("PUT", _V + "/yank", "an owner", 200, DETAIL, {"reason": "wrong"}, "version.yank"),
    Row("DELETE", _V + "/yank", "an owner", 200, DETAIL, audit="version.unyank", before=w.yank),
    # bytes
    Row("POST", _V + "/download", "to see the model", 200, DOWNLOAD),
    Row("GET", _DOWNLOAD, "to see the model", 200, DOWNLOAD_STATUS),
    Row("GET", _V + "/files/{path:path}", "to see the model", 200, WEIGHTS),
    Row("HEAD", _V + "/files/{path:path}", "to see the model", 200),
    Row("GET", _V + "/tensors/{path:path}", "to see the model", 200, TENSORS),
    Row("POST", _M + "/blobs/batch", "a contributor", 200, {"transfer", "hash_algo", "objects"}, WANTED),
    Row("GET", _M + "/blobs/xet", "a contributor", 200, GRANT),
    Row("GET", _V + "/xet", "to see the model", 200, GRANT | {"files"}),
    Row("GET", _V + "/archive", "a ticket", 200, link=w.link_to_archive),
    Row("HEAD", _V + "/archive", "a ticket", 200, link=w.link_to_archive),
    Row("PUT", _UP, "a ticket", 200, UPLOADED, link=w.link_to_upload),
    Row("PUT", _UP + "/parts/{number}", "a ticket", 200, UPLOADED, link=w.link_to_part),
    Row("POST", _UP + "/parts/{number}", "a ticket", 409, {"code", "detail", "type"}, link=w.link_to_signing),
    Row("POST", _UP, "a ticket", 200, UPLOADED, link=w.link_to_completion),
    Row("GET", _UP, "a ticket", 200, UPLOADED, link=w.link_to_completed),
]  # fmt: skip
