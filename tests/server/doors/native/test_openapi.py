"""The OpenAPI document: what every operation must say, and that its examples work."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from steelyard.server.doors.native.examples import BYTES, HOST, OID, TOKEN
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.house.registries import open_registered

# The statuses of the seed page's operation, on every operation.
SEED_STATUSES = {"400", "401", "403", "404", "409", "422", "426", "429", "500", "502", "504"}

CONTRACT_OPERATIONS = {
    ("GET", "/models"): "list_models",
    ("GET", "/models/facets"): "get_model_facets",
    ("GET", "/models/activity"): "list_model_activity",
    ("GET", "/models/{name}"): "get_model_latest",
    ("GET", "/models/{name}/versions"): "list_model_versions",
    ("GET", "/models/{name}/compare"): "compare_model_versions",
    ("PATCH", "/models/{name}/visibility"): "update_model_visibility",
    ("GET", "/models/{name}/{version}"): "get_model_detail",
    ("DELETE", "/models/{name}/{version}"): "delete_model",
    ("POST", "/models/{name}/{version}/download"): "initiate_model_download",
    ("POST", "/models/{name}/{version}/aliases"): "set_model_alias",
    ("DELETE", "/models/{name}/{version}/aliases/{alias}"): "remove_model_alias",
    ("PUT", "/models/{name}/{version}/metrics"): "update_model_metrics",
    ("GET", "/downloads/models/{download_id}"): "get_model_download_status",
    ("POST", "/models/{name}/versions"): "publish_model",
    ("GET", "/models/{name}/{version}/files/{path}"): "get_model_artifact",
    ("PUT", "/models/{name}/{version}/yank"): "yank_model",
    ("DELETE", "/models/{name}/{version}/yank"): "unyank_model",
    ("GET", "/models/{name}/aliases"): "list_model_aliases",
    ("DELETE", "/models/{name}"): "delete_whole_model",
}

SEED_DESCRIPTIONS = {
    "artifacts": "Artifact path to OID mapping",
    "created_at": "ISO 8601 creation timestamp",
    "download_count": "Total downloads for this version",
    "framework": "Model framework",
    "id": "Artifact UUID",
    "is_public": "Whether publicly visible",
    "name": "Model name (org-prefixed canonical)",
    "origin": "Origin tracking metadata",
    "version": "Semver version string",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the document."""

    method: str
    path: str
    said: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.said["operationId"])

    @property
    def sample(self) -> str:
        """The curl example."""
        return next(str(it["source"]) for it in self.said["x-codeSamples"] if it["label"] == "curl")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of a server with its defaults."""
    with open_registered(data=tmp_path_factory.mktemp("document") / "data") as registered:
        said: dict[str, Any] = registered.client.get("/openapi.json").json()
    return said


def operations_of(document: dict[str, Any]) -> Iterator[Operation]:
    """Every operation."""
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            yield Operation(method.upper(), path, said)


# --- what every operation says


def test_the_operations_of_the_contract_have_its_names(document: dict[str, Any]) -> None:
    found = {(op.method, op.path.removeprefix("/api/v1/org/{org}")): op.id for op in operations_of(document)}
    assert found | CONTRACT_OPERATIONS == found


def test_no_two_operations_have_the_same_name(document: dict[str, Any]) -> None:
    ids = [op.id for op in operations_of(document)]
    assert len(set(ids)) == len(ids) > 50


def test_every_operation_documents_every_status_of_the_seed_page_with_the_one_error_body(
    document: dict[str, Any],
) -> None:
    for op in operations_of(document):
        responses = op.said["responses"]
        assert set(responses) >= SEED_STATUSES, op.id
        for status, response in responses.items():
            if status[0] in "45":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (op.id, status)
                assert response["description"], (op.id, status)


def test_every_operation_says_how_it_succeeds_and_names_no_default(document: dict[str, Any]) -> None:
    for op in operations_of(document):
        statuses = set(op.said["responses"])
        assert statuses & {"200", "201", "204"}, op.id
        assert "default" not in statuses, op.id


def test_every_answer_has_a_request_id_and_every_401_a_challenge(document: dict[str, Any]) -> None:
    for op in operations_of(document):
        for status, response in op.said["responses"].items():
            assert response["headers"]["X-Request-Id"]["required"], (op.id, status)
        assert op.said["responses"]["401"]["headers"]["WWW-Authenticate"]["required"], op.id
        assert op.said["responses"]["429"]["headers"]["Retry-After"]["required"], op.id


def test_every_operation_takes_a_token_in_three_ways_but_for_probes_and_links(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {name: scheme["type"] for name, scheme in schemes.items()} == {
        "bearer": "http",
        "apiKey": "apiKey",
        "basic": "http",
    }
    open_to_all = {op.id for op in operations_of(document) if not op.said["security"]}
    assert open_to_all == {
        "get_health",
        "get_ready",
        "get_config",
        "put_upload",
        "put_upload_part",
        "sign_upload_part",
        "complete_upload",
        "get_upload",
        "get_model_archive",
        "head_model_archive",
    }
    for op in operations_of(document):
        from_here: list[dict[str, Any]] = [{}] if op.id == "get_metrics" else []
        assert op.said["security"] in ([], [*from_here, {"bearer": []}, {"apiKey": []}, {"basic": []}]), op.id


def test_every_operation_has_a_summary_and_every_parameter_a_schema(document: dict[str, Any]) -> None:
    for op in operations_of(document):
        assert op.said["summary"], op.id
        assert op.said["description"].split("\n")[0].endswith("."), op.id
        for parameter in op.said.get("parameters", ()):
            assert parameter["schema"], (op.id, parameter["name"])


def test_every_schema_of_the_document_is_there(document: dict[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named <= set(document["components"]["schemas"])


def test_every_link_leads_to_an_operation_by_parameters_that_it_has(document: dict[str, Any]) -> None:
    by_id = {op.id: op for op in operations_of(document)}
    links = [
        link
        for op in by_id.values()
        for answer in op.said["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) > 30
    for link in links:
        target = by_id[link["operationId"]]
        required = {it["name"] for it in target.said["parameters"] if it.get("required")}
        assert set(link["parameters"]) == required, target.id


def test_detail_describes_its_fields_as_the_seed_page_does(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    said = {name: field.get("description") for name, field in schemas["ModelDetail"]["properties"].items()}
    assert said | SEED_DESCRIPTIONS == said
    assert schemas["ModelDetail"]["description"] == "Full model artifact detail."
    assert set(schemas["ModelDetail"]["required"]) == {"id", "name", "version", "created_at"}
    defaults = {"framework": "safetensors", "download_count": 0, "is_public": False}
    assert {name: schemas["ModelDetail"]["properties"][name]["default"] for name in defaults} == defaults


def test_the_error_body_is_described_as_the_seed_page_does(document: dict[str, Any]) -> None:
    body, item = (document["components"]["schemas"][name] for name in ("ErrorBody", "ErrorItem"))
    assert body["example"] == {"code": 401, "detail": "Authentication failed", "type": "authentication_error"}
    assert {name: body["properties"][name]["description"] for name in ("code", "detail", "type")} == {
        "code": "HTTP status code",
        "detail": "Human-readable error message",
        "type": "Stable machine-readable error type",
    }
    assert {name: it["description"] for name, it in item["properties"].items()} == {
        "loc": "Where the validation error occurred",
        "msg": "Human-readable validation message",
        "type": "Machine-readable validation error type",
    }


# --- examples


def test_get_model_latest_has_the_examples_of_the_seed_page(document: dict[str, Any]) -> None:
    op = next(op for op in operations_of(document) if op.id == "get_model_latest")
    assert op.sample == (
        "curl --request GET \\\n"
        "  --url https://example.com/api/v1/org/example/models/example \\\n"
        "  --header 'Authorization: Bearer <token>'"
    )
    assert op.said["x-codeSamples"][1]["source"] == (
        "const url = 'https://example.com/api/v1/org/example/models/example';\n"
        "const options = {method: 'GET', headers: {Authorization: 'Bearer <token>'}};\n"
        "\n"
        "try {\n"
        "  const response = await fetch(url, options);\n"
        "  const data = await response.json();\n"
        "  console.log(data);\n"
        "} catch (error) {\n"
        "  console.error(error);\n"
        "}"
    )


def test_every_operation_has_a_curl_and_a_fetch_example_with_its_address_filled(document: dict[str, Any]) -> None:
    for op in operations_of(document):
        samples = {it["label"]: it for it in op.said["x-codeSamples"]}
        assert {label: it["lang"] for label, it in samples.items()} == {"curl": "bash", "fetch": "javascript"}, op.id
        for it in samples.values():
            assert f"```{it['lang']}\n{it['source']}\n```" in op.said["description"], op.id
            assert HOST in it["source"], op.id
            assert "{" not in re.findall(r"https://[^\s']+", it["source"])[0], op.id
            assert (TOKEN in it["source"]) == bool(op.said["security"]), op.id


@dataclass(slots=True)
class Request:
    """What a curl command line asks for."""

    method: str = "GET"
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content: str | None = None


def parse_curl(command: str) -> Request:
    """Read the options that our examples use; any other is an error."""
    request, words = Request(), iter(shlex.split(command.replace("\\\n", " ")))
    assert next(words) == "curl"
    for word in words:
        match word:
            case "--head":
                request.method = "HEAD"
            case "--request":
                request.method = next(words)
            case "--url":
                request.url = next(words)
            case "--header":
                name, _, value = next(words).partition(": ")
                request.headers[name] = value
            case "--data" | "--data-binary":
                request.content = next(words)
            case _:
                raise AssertionError(f"an example uses {word}")
    return request


def _send(person: Person, request: Request) -> httpx2.Response:
    headers = {name: value.replace(TOKEN, person.token or "") for name, value in request.headers.items()}
    url = request.url.removeprefix(HOST)
    return person.client.request(request.method, url, headers=headers, content=request.content)


Prepare = Callable[[Registered, Request], None]


def _without_alias(registered: Registered, request: Request) -> None:
    gone = registered.admin.delete("/org/example/models/example/1.0.0/aliases/production")
    assert gone.status_code == 204, gone.text


def _yanked(registered: Registered, request: Request) -> None:
    registered.admin.put("/org/example/models/example/1.0.0/yank", {"reason": "to undo it"})


def _with_download(registered: Registered, request: Request) -> None:
    started = registered.admin.post("/org/example/models/example/1.0.0/download").json()
    request.url = request.url.replace("<download-id>", started["download_id"])
    request.url = request.url.replace("<ticket>", started["url"].partition("ticket=")[2])


PREPARED: dict[str, Prepare] = {
    "delete_model": _without_alias,
    "delete_whole_model": _without_alias,
    "unyank_model": _yanked,
    "get_model_download_status": _with_download,
    "get_model_archive": _with_download,
    "head_model_archive": _with_download,
}
MODELS_OPERATIONS = sorted(
    {
        *CONTRACT_OPERATIONS.values(),
        *("head_model_artifact", "get_model_archive", "head_model_archive", "begin_uploads"),
        *("list_visible_models", "get_visible_model_facets", "get_model_lineage", "list_model_downloads"),
    }
)


@contextmanager
def example_registry(folder: Path) -> Iterator[Registered]:
    """A registry with what the examples name."""
    with open_registered(data=folder, limits="off") as registered:
        assert registered.admin.post("/orgs", {"key": "example"}).status_code == 201
        for version, aliases in (("1.0.0", ["production"]), ("1.1.0", [])):
            files = {"model.safetensors": BYTES}
            assert registered.admin.publish(f"example/example:{version}", files, aliases=aliases).status_code == 201
        yield registered


@pytest.fixture(scope="module")
def to_read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """One for the examples that change nothing."""
    with example_registry(tmp_path_factory.mktemp("to-read") / "data") as registered:
        yield registered


@pytest.fixture
def to_change(tmp_path: Path) -> Iterator[Registered]:
    """One for each example that does."""
    with example_registry(tmp_path / "data") as registered:
        yield registered


def test_the_examples_speak_of_bytes_that_exist() -> None:
    assert oid_of(BYTES) == OID


@pytest.mark.parametrize("operation_id", MODELS_OPERATIONS)
def test_the_curl_example_works_as_it_stands(
    operation_id: str, document: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    op = next(op for op in operations_of(document) if op.id == operation_id)
    registered: Registered = request.getfixturevalue("to_read" if op.method in ("GET", "HEAD") else "to_change")
    asked = parse_curl(op.sample)
    prepare = PREPARED.get(operation_id)
    if prepare:
        prepare(registered, asked)
    answer = _send(registered.admin, asked)
    assert str(answer.status_code) in op.said["responses"], answer.text
    assert 200 <= answer.status_code < 300, answer.text


@pytest.mark.parametrize(
    "operation_id",
    [
        *("get_user", "list_users", "create_user", "create_org", "create_api_key", "get_org", "list_audit_events"),
        "list_model_tensors",
    ],
)
def test_the_curl_examples_around_the_models_work_too(
    operation_id: str, document: dict[str, Any], to_read: Registered
) -> None:
    op = next(op for op in operations_of(document) if op.id == operation_id)
    answer = _send(to_read.admin, parse_curl(op.sample))
    assert 200 <= answer.status_code < 300, answer.text
