"""compose.yaml: by the schema of its specification, against the registry it runs, and put up by hand."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from steelyard import Client, __version__
from tests.deployment.files import (
    DEPLOY,
    ROOT,
    MissingValue,
    filled_in,
    instructions,
    read_compose,
    read_environment,
)
from tests.deployment.reading import parse_settings
from tests.deployment.standing import Standing, stand

pytestmark = pytest.mark.only("sqlite", "disk")  # it brings engines of its own
VALUES = filled_in()
COMPOSE = read_compose(VALUES)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
IN_IMAGES = {"nginx:1.31", "postgres:18", "chrislusf/seaweedfs:4.48", "valkey/valkey:9.1"}


@pytest.mark.parametrize("name", ["compose.yaml", "deploy/compose.tls.yaml"])
def test_the_files_follow_the_specification(name: str) -> None:
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(ROOT / name)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_does_refuse(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {registry: {image: steelyard:1, porst: []}}")
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(tmp_path / "compose.yaml")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


@pytest.mark.parametrize("name", sorted(set(VALUES) - {"LISTEN"}))
def test_nothing_starts_with_a_value_missing(name: str) -> None:
    with pytest.raises(MissingValue):
        read_compose({**VALUES, name: ""})


def test_the_example_has_what_is_asked_for_and_no_secret() -> None:
    texts = (ROOT / "compose.yaml").read_text() + (DEPLOY / "compose.tls.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", texts)) - {"TLS_CERTIFICATE", "TLS_KEY"}
    example = read_environment(DEPLOY / "example.env")
    assert set(example) == asked
    assert not any(value for name, value in example.items() if name not in ("PUBLIC_URL", "LISTEN"))


def test_images_are_named_with_their_versions() -> None:
    images = {service["image"] for service in SERVICES.values()}
    assert images == IN_IMAGES | {f"steelyard:{__version__}"}
    assert (ROOT / SERVICES["registry"]["build"] / "Dockerfile").exists()


def test_there_are_two_servers_and_all_they_stand_on_is_waited_for() -> None:
    assert SERVICES["registry"]["deploy"]["replicas"] == 2
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[name] or name == "registry"  # that one's is in the image
    assert set(SERVICES["registry"]["depends_on"]) == {"postgres", "seaweedfs", "valkey"}


def test_only_the_proxy_can_be_reached() -> None:
    assert [name for name, service in SERVICES.items() if service.get("ports")] == ["nginx"]
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks["nginx"] & networks["registry"] == {"front"}, (
        "by two networks it would come from an unknown address"
    )
    assert not networks["nginx"] & (networks["postgres"] | networks["valkey"])
    inner = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
    assert networks["postgres"] | networks["seaweedfs"] | networks["valkey"] == inner


def test_what_is_mounted_exists() -> None:
    overlay = yaml.safe_load((DEPLOY / "compose.tls.yaml").read_text())["services"]["nginx"]
    for volume in SERVICES["nginx"]["volumes"] + overlay["volumes"]:
        source, target, mode = volume.split(":")
        assert (ROOT / source).is_file()
        assert mode == "ro"
        assert target in ("/etc/nginx/nginx.conf", "/etc/nginx/listen.conf")
    for service in ("postgres", "seaweedfs"):
        [volume] = SERVICES[service]["volumes"]
        assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_the_servers_need_no_disk() -> None:
    [written] = [rest for name, rest in instructions() if name == "VOLUME"]
    assert SERVICES["registry"]["read_only"]
    assert any(entry.startswith(f"{written}:uid=10001,") for entry in SERVICES["registry"]["tmpfs"])


def test_the_settings_are_settings_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parse_settings(SERVICES["registry"]["environment"], monkeypatch)
    assert settings.database and settings.store and settings.limits.startswith("redis://")
    assert str(settings.trusted_proxies[0]) == COMPOSE["networks"]["front"]["ipam"]["config"][0]["subnet"]


def test_the_bucket_is_the_same_everywhere_and_no_organisation() -> None:
    bucket = SERVICES["registry"]["environment"]["STEELYARD_STORE"].removeprefix("s3://")
    assert f"-bucket={bucket}" in SERVICES["seaweedfs"]["command"]
    assert f"location /{bucket}/ {{" in (DEPLOY / "nginx.conf").read_text()
    [identity] = json.loads(COMPOSE["configs"]["store"]["content"])["identities"]
    assert {action.partition(":")[2] for action in identity["actions"]} == {bucket}
    assert "." in bucket


def test_the_command_in_the_docs_fills_in_the_example(tmp_path: Path) -> None:
    page = (ROOT / "docs/deployment.md").read_text()
    [command] = re.findall(r"^```console\n(\(umask.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "deploy").symlink_to(DEPLOY)
    subprocess.run(["sh", "-euc", command], cwd=tmp_path, check=True)
    made = read_environment(tmp_path / ".env")
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert all(len(value) >= 40 for name, value in made.items() if name not in ("PUBLIC_URL", "LISTEN"))
    assert len(set(made.values())) == len(made)
    read_compose(made)


# --- put up by hand


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """All of it, once for the tests of this file."""
    with stand(tmp_path_factory.mktemp("standing")) as running:
        yield running


@pytest.fixture
def client(standing: Standing) -> Client:
    """A client of the proxy's address."""
    return Client(standing.url, standing.token)


def test_what_is_pushed_comes_back_by_signed_links_through_the_proxy(
    standing: Standing, client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    contents = {"model.bin": os.urandom(3_000_000), "config.json": b"{}"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    client.push(folder, "admin/tiny:1.0.0")
    client.pull("admin/tiny:1.0.0", tmp_path / "copy")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in contents} == contents
    passed = [line for line in standing.nginx.lines if '"PUT /steelyard.bytes/' in line]
    fetched = [line for line in standing.nginx.lines if '"GET /steelyard.bytes/' in line]
    assert passed and fetched, "the bytes went through the registry"
    assert "X-Amz" not in "".join(standing.nginx.lines)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/steelyard.bytes/", 403),
        ("GET", "/steelyard.bytes/?list-type=2", 403),
        ("GET", "/steelyard.bytes/x?X-Amz-Signature=00", 403),
        ("DELETE", "/steelyard.bytes/x?X-Amz-Signature=00", 403),
        ("POST", "/steelyard.bytes/x?uploads&X-Amz-Signature=00", 403),
    ],
)
def test_the_bucket_is_open_to_nobody(standing: Standing, method: str, path: str, status: int) -> None:
    request = urllib.request.Request(f"{standing.url}{path}", method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    refused.value.close()
    assert refused.value.code == status


def test_prometheus_reads_each_server_by_its_token(standing: Standing) -> None:
    for server in standing.servers:
        request = urllib.request.Request(f"{server.url}/metrics")
        request.add_header("Authorization", f"Bearer {standing.values['METRICS_TOKEN']}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert b"steelyard_" in answer.read()
