"""How to call each operation with curl and with JavaScript's `fetch`, as the API's reference page shows it.

What an example names (`example/example:1.0.0`, the user `ada`) is what the tests put into a registry before they run
every example of the models operations as it stands.
"""

import json
import shlex
from dataclasses import dataclass
from typing import Any

from steelyard.server.doors.native.parameters import EXAMPLES

HOST = "https://example.com"
BYTES = b"\x02\0\0\0\0\0\0\0{}"  # safetensors, without a tensor
OID = "sha256:411a485216e432ece6b9af94fa32154cf79a2a56d4f81266baa50063f45092bd"
TOKEN = "<token>"  # noqa: S105 - a placeholder

_PATH = {
    **EXAMPLES,
    "download_id": "<download-id>",
    "upload_id": "<upload-id>",
    "key_id": "<key-id>",
    "session_id": "<session-id>",
    "identity_id": "<identity-id>",
}
_QUERY = {"versions": "versions=1.0.0&versions=1.1.0", "ticket": "ticket=<ticket>"}

BODIES: dict[str, Any] = {
    "publish_model": {"version": "1.2.0", "artifacts": {"model.safetensors": OID}, "license": "apache-2.0"},
    "update_model_visibility": {"is_public": True},
    "set_model_alias": {"alias": "production"},
    "update_model_metrics": {"accuracy": 0.93},
    "yank_model": {"reason": "wrong tokenizer"},
    "begin_uploads": {
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "hash_algo": "sha256",
        "objects": [{"oid": OID.removeprefix("sha256:"), "size": len(BYTES)}],
    },
    "sign_upload_part": {"crc32": "V30NJg=="},
    "complete_upload": {"oid": OID.removeprefix("sha256:")},
    "create_api_key": {"name": "ci", "access": "read"},
    "create_user": {"username": "ada", "email_address": "ada@example.com"},
    "update_user": {"disabled": True},
    "create_org": {"key": "acme", "name": "Acme"},
    "add_member": {"username": "ada", "role": "contributor"},
    "set_member_role": {"role": "owner"},
    "add_service_account": {"name": "ci", "role": "contributor"},
    "set_service_account_role": {"role": "reader"},
    "create_service_token": {"name": "nightly", "access": "read"},
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One way to call an operation; `lang` is what syntax highlighters call it."""

    lang: str
    label: str
    source: str


def samples_of(path: str, method: str, operation: dict[str, Any], *, needs_token: bool) -> list[Sample]:
    """How to call this operation. Raises KeyError for one whose body has no example."""
    url = HOST + _filled(path) + _query(operation)
    headers = {"Authorization": f"Bearer {TOKEN}"} if needs_token else {}
    content = operation.get("requestBody", {}).get("content", {})
    body = BODIES[operation["operationId"]] if "application/json" in content else None
    if content:
        headers["Content-Type"] = next(iter(content))
    call = _Call(method.upper(), url, headers, body, sends_bytes="application/octet-stream" in content)
    return [
        Sample("bash", "curl", _curl(call)),
        Sample("javascript", "fetch", _fetch(call, _reading(method, operation))),
    ]


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    url: str
    headers: dict[str, str]
    body: Any
    sends_bytes: bool


def _filled(path: str) -> str:
    for name, value in _PATH.items():
        path = path.replace("{" + name + "}", str(value))
    return path


def _query(operation: dict[str, Any]) -> str:
    required = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query" and p.get("required")]
    return "?" + "&".join(_QUERY[name] for name in required) if required else ""


def _curl(call: _Call) -> str:
    method = "--head" if call.method == "HEAD" else f"--request {call.method}"
    lines = [f"curl {method}", f"--url {shlex.quote(call.url)}"]
    lines += [f"--header '{name}: {value}'" for name, value in call.headers.items()]
    if call.sends_bytes:
        lines.append("--data-binary @model.safetensors")
    elif call.body is not None:
        lines.append(f"--data {shlex.quote(json.dumps(call.body))}")
    return " \\\n  ".join(lines)


def _fetch(call: _Call, reading: str) -> str:
    parts = [f"method: '{call.method}'"]
    if call.headers:
        parts.append(f"headers: {{{', '.join(_header(*pair) for pair in call.headers.items())}}}")
    if call.sends_bytes:
        parts.append("body: file")
    elif call.body is not None:
        parts.append(f"body: JSON.stringify({json.dumps(call.body)})")
    return f"""const url = '{call.url}';
const options = {{{", ".join(parts)}}};

try {{
  const response = await fetch(url, options);
  {reading}
}} catch (error) {{
  console.error(error);
}}"""


def _header(name: str, value: str) -> str:
    return f"{name}: '{value}'" if name.isalpha() else f"'{name}': '{value}'"


def _reading(method: str, operation: dict[str, Any]) -> str:
    """What to do with the answer."""
    content: dict[str, Any] = {}
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            content |= response.get("content", {})
    if method == "head" or not content:
        return "console.log(response.status);"
    read = "json" if "application/json" in content else "blob"
    return f"const data = await response.{read}();\n  console.log(data);"
