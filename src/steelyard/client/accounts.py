"""The operations around models (contract section 6): users, tokens, organisations, members, robots, the audit trail."""

from typing import Any

from steelyard.client._http import Http
from steelyard.client.addresses import route
from steelyard.client.decoding import decode, decode_list
from steelyard.client.errors import UnexpectedAnswer
from steelyard.client.types import (
    ApiKey,
    AuditPage,
    Member,
    Organization,
    ServiceAccount,
    User,
    UserAccount,
    UserPage,
)


def _given(**values: object) -> dict[str, object]:
    """A body without what was not said."""
    return {key: value for key, value in values.items() if value is not None}


class AccountCalls:
    """Calls about who may do what. All raise ApiError (Forbidden, NotFound, …) and ConnectionFailed."""

    _http: Http

    def get_config(self) -> dict[str, Any]:
        """What the registry says about itself: versions, limits, doors. Needs no token."""
        body = self._http.call("GET", route("config")).body
        if not isinstance(body, dict):
            raise UnexpectedAnswer("the answer is not a JSON object")
        return body

    def get_user(self) -> User:
        """Whose token this is."""
        return decode(User, self._http.call("GET", route("user")).body)

    def list_organizations(self) -> tuple[Organization, ...]:
        """The organisations the caller belongs to."""
        return decode_list(Organization, self._http.call("GET", route("user", "organizations")).body)

    def create_api_key(
        self, name: str, *, org: str | None = None, access: str | None = None, expires_at: str | None = None
    ) -> ApiKey:
        """A token for the caller himself; its `key` is shown this once.

        `org` narrows it to one organisation, `access="read"` to reading, `expires_at` (ISO 8601) in time.
        """
        body = _given(name=name, org=org, access=access, expires_at=expires_at)
        return decode(ApiKey, self._http.call("POST", route("user", "api-keys"), body=body).body)

    def list_api_keys(self) -> tuple[ApiKey, ...]:
        """The caller's tokens, without their secrets."""
        return _keys(self._http.call("GET", route("user", "api-keys")).body)

    def delete_api_key(self, key_id: str) -> None:
        """Revoke one of the caller's tokens."""
        self._http.call("DELETE", route("user", "api-keys", key_id))

    def create_user(self, username: str, *, email_address: str | None = None) -> UserAccount:
        """A user with a one-time token in `key` (instance admins)."""
        body = _given(username=username, email_address=email_address)
        return decode(UserAccount, self._http.call("POST", route("users"), body=body).body)

    def list_users(self, *, limit: int | None = None, cursor: str | None = None) -> UserPage:
        """The users of the instance (instance admins)."""
        return decode(UserPage, self._http.call("GET", route("users"), query={"limit": limit, "cursor": cursor}).body)

    def set_user(self, username: str, *, disabled: bool | None = None, is_admin: bool | None = None) -> UserAccount:
        """Disable or enable a user, or make him an instance admin (instance admins)."""
        body = _given(disabled=disabled, is_admin=is_admin)
        answer = self._http.call("PATCH", route("users", username), body=body, resend_safe=True)
        return decode(UserAccount, answer.body)

    def create_user_token(self, username: str) -> ApiKey:
        """A new token for a user who lost his, in `key` (instance admins)."""
        return decode(ApiKey, self._http.call("POST", route("users", username, "api-keys")).body)

    def create_organization(self, slug: str, *, name: str | None = None, owner: str | None = None) -> Organization:
        """An organisation (instance admins); `name` is what people see, `owner` its first owner, else the caller."""
        body = _given(key=slug, name=name, owner=owner)
        return decode(Organization, self._http.call("POST", route("orgs"), body=body).body)

    def get_organization(self, org: str) -> Organization:
        """One organisation."""
        return decode(Organization, self._http.call("GET", route("org", org)).body)

    def list_members(self, org: str) -> tuple[Member, ...]:
        """Who belongs to an organisation, with roles."""
        body = self._http.call("GET", route("org", org, "members")).body
        return decode_list(Member, _inside(body, "members"), "members")

    def add_member(self, org: str, username: str, role: str) -> Member:
        """Add a user as reader, contributor or owner (owners)."""
        body = {"username": username, "role": role}
        return decode(Member, self._http.call("POST", route("org", org, "members"), body=body).body)

    def set_member_role(self, org: str, username: str, role: str) -> Member:
        """Change a member's role (owners). Conflict for the last owner."""
        path = route("org", org, "members", username)
        return decode(Member, self._http.call("PATCH", path, body={"role": role}, resend_safe=True).body)

    def remove_member(self, org: str, username: str) -> None:
        """Take a user out of an organisation (owners). Conflict for the last owner."""
        self._http.call("DELETE", route("org", org, "members", username))

    def list_service_accounts(self, org: str) -> tuple[ServiceAccount, ...]:
        """The service accounts of an organisation (owners)."""
        body = self._http.call("GET", route("org", org, "service-accounts")).body
        return decode_list(ServiceAccount, _inside(body, "service_accounts"), "service_accounts")

    def create_service_account(self, org: str, name: str, role: str) -> ServiceAccount:
        """A service account (owners); it can do nothing before it has a token."""
        body = {"name": name, "role": role}
        return decode(ServiceAccount, self._http.call("POST", route("org", org, "service-accounts"), body=body).body)

    def set_service_account_role(self, org: str, name: str, role: str) -> ServiceAccount:
        """Change a service account's role (owners)."""
        path = route("org", org, "service-accounts", name)
        return decode(ServiceAccount, self._http.call("PATCH", path, body={"role": role}, resend_safe=True).body)

    def remove_service_account(self, org: str, name: str) -> None:
        """Remove a service account; its tokens die with it (owners)."""
        self._http.call("DELETE", route("org", org, "service-accounts", name))

    def create_service_account_key(
        self,
        org: str,
        name: str,
        *,
        key_name: str | None = None,
        access: str | None = None,
        expires_at: str | None = None,
    ) -> ApiKey:
        """A token for a service account, its `key` shown this once (owners)."""
        body = _given(name=key_name, access=access, expires_at=expires_at)
        path = route("org", org, "service-accounts", name, "api-keys")
        return decode(ApiKey, self._http.call("POST", path, body=body).body)

    def list_service_account_keys(self, org: str, name: str) -> tuple[ApiKey, ...]:
        """A service account's tokens, without their secrets (owners)."""
        return _keys(self._http.call("GET", route("org", org, "service-accounts", name, "api-keys")).body)

    def delete_service_account_key(self, org: str, name: str, key_id: str) -> None:
        """Revoke a service account's token (owners)."""
        self._http.call("DELETE", route("org", org, "service-accounts", name, "api-keys", key_id))

    def list_audit_events(
        self,
        org: str,
        *,
        action: str | None = None,
        actor: str | None = None,
        target: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AuditPage:
        """Who did what in an organisation, newest first (owners); `since` and `until` are ISO 8601."""
        query = {
            "action": action, "actor": actor, "target": target, "since": since, "until": until, "limit": limit,
            "cursor": cursor,
        }  # fmt: skip
        return decode(AuditPage, self._http.call("GET", route("org", org, "audit"), query=query).body)


def _inside(body: object, key: str) -> object:
    return body.get(key) if isinstance(body, dict) else body


def _keys(body: object) -> tuple[ApiKey, ...]:
    return decode_list(ApiKey, _inside(body, "api_keys"), "api_keys")
