"""Which operation goes on where another ends: the links of the OpenAPI document.

Readers follow them, and so do fuzzers: what was made is there, what was deleted is not.
"""

from typing import Any

_ORG = {"org": "$request.path.org"}
_MODEL = {**_ORG, "name": "$request.path.name"}
_VERSION = {**_MODEL, "version": "$request.path.version"}
_ACCOUNT = {**_ORG, "account": "$request.path.account"}

_NEW_ORG = {"org": "$response.body#/key"}
_NEW_USER = {"username": "$response.body#/username"}
_NEW_MEMBER = {**_ORG, **_NEW_USER}
_NEW_ACCOUNT = {**_ORG, "account": "$response.body#/name"}
_NEW_KEY = {"key_id": "$response.body#/id"}
_NEW_VERSION = {**_MODEL, "version": "$response.body#/version"}
_NEW_ALIAS = {**_NEW_VERSION, "alias": "$response.body#/alias"}

_LINKS: dict[tuple[str, str], dict[str, dict[str, str]]] = {
    ("create_user", "201"): {"update_user": _NEW_USER, "create_user_api_key": _NEW_USER},
    ("create_api_key", "201"): {"revoke_api_key": _NEW_KEY},
    ("create_org", "201"): {
        "get_org": _NEW_ORG,
        "list_models": _NEW_ORG,
        "add_member": _NEW_ORG,
        "list_members": _NEW_ORG,
        "add_service_account": _NEW_ORG,
        "list_service_accounts": _NEW_ORG,
        "list_audit_events": _NEW_ORG,
    },
    ("add_member", "201"): {"set_member_role": _NEW_MEMBER, "remove_member": _NEW_MEMBER},
    ("add_service_account", "201"): {
        "set_service_account_role": _NEW_ACCOUNT,
        "create_service_token": _NEW_ACCOUNT,
        "list_service_tokens": _NEW_ACCOUNT,
        "remove_service_account": _NEW_ACCOUNT,
    },
    ("remove_service_account", "204"): {"list_service_tokens": _ACCOUNT},
    ("create_service_token", "201"): {"revoke_service_token": {**_ACCOUNT, **_NEW_KEY}},
    ("publish_model", "201"): {
        "get_model_latest": _MODEL,
        "list_model_versions": _MODEL,
        "list_version_timeline": _MODEL,
        "list_metric_history": _MODEL,
        "update_model_visibility": _MODEL,
        "delete_whole_model": _MODEL,
        "get_model_detail": _NEW_VERSION,
        "set_model_alias": _NEW_VERSION,
        "update_model_metrics": _NEW_VERSION,
        "yank_model": _NEW_VERSION,
        "initiate_model_download": _NEW_VERSION,
        "delete_model": _NEW_VERSION,
    },
    ("set_model_alias", "200"): {
        "get_model_detail": {**_MODEL, "version": "$response.body#/alias"},
        "list_model_aliases": _MODEL,
        "remove_model_alias": _NEW_ALIAS,
    },
    ("yank_model", "200"): {"unyank_model": _NEW_VERSION, "get_model_detail": _NEW_VERSION},
    ("initiate_model_download", "200"): {
        "get_model_download_status": {**_ORG, "download_id": "$response.body#/download_id"},
    },
    ("delete_model", "204"): {"get_model_detail": _VERSION},
    ("delete_whole_model", "204"): {"get_model_latest": _MODEL, "list_model_versions": _MODEL},
}


def links_of(operation_id: str, status: str) -> dict[str, Any]:
    """The links of one answer of an operation, as the document has them; by the operation that each leads to."""
    found = _LINKS.get((operation_id, status), {})
    return {target: {"operationId": target, "parameters": parameters} for target, parameters in found.items()}
