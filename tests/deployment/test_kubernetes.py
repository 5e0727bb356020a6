"""The Kubernetes manifests: by Kubernetes' own schemas, against each other, and against the registry they run."""

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from fastapi.routing import iter_route_contexts

from steelyard import __version__
from steelyard.server.db.postgres import CONNECTIONS
from steelyard.server.doors.hf.committing import PROOF_SECONDS
from tests.deployment.files import KUBERNETES, instructions, manifests, read_environment
from tests.deployment.reading import parse_settings
from tests.house import Registered

OLDEST = "1.29"  # that these manifests are made for
MANIFESTS = manifests()
KUSTOMIZATION = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))
POSTGRESQL_TAKES = 100 - 3  # connections, as it comes; three are the superuser's

POD = MANIFESTS["deployment.yaml"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_kubernetes_takes_every_manifest(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_the_schemas_do_refuse() -> None:
    wrong: dict[str, Any] = {**MANIFESTS["service.yaml"], "spek": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, OLDEST, strict=True)


def test_the_kustomization_has_every_manifest_but_the_secret() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == sorted(set(MANIFESTS) - {"secret.example.yaml"})
    assert KUSTOMIZATION["namespace"] == MANIFESTS["namespace.yaml"]["metadata"]["name"]
    assert KUSTOMIZATION["images"] == [{"name": "steelyard", "newTag": __version__}]
    assert CONTAINER["image"] == f"steelyard:{__version__}"


def test_all_that_is_named_exists() -> None:
    made = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in MANIFESTS.values()}
    made |= {("ConfigMap", entry["name"]) for entry in KUSTOMIZATION["configMapGenerator"]}
    for source in CONTAINER["envFrom"]:
        kind, reference = next(iter(source.items()))
        assert ({"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], reference["name"]) in made
    assert ("ServiceAccount", POD["spec"]["serviceAccountName"]) in made
    scaled = MANIFESTS["autoscaler.yaml"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) in made
    for rule in MANIFESTS["ingress.yaml"]["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            service = path["backend"]["service"]
            assert ("Service", service["name"]) in made
            assert service["port"]["name"] in {port["name"] for port in MANIFESTS["service.yaml"]["spec"]["ports"]}


def test_every_selector_finds_the_pods() -> None:
    labels = POD["metadata"]["labels"].items()
    spread = [constraint["labelSelector"] for constraint in POD["spec"]["topologySpreadConstraints"]]
    by_labels = [
        MANIFESTS["deployment.yaml"]["spec"]["selector"],
        MANIFESTS["disruption-budget.yaml"]["spec"]["selector"],
        MANIFESTS["network-policy.yaml"]["spec"]["podSelector"],
        {"matchLabels": MANIFESTS["service.yaml"]["spec"]["selector"]},
        *spread,
    ]
    assert all(selector["matchLabels"].items() <= labels for selector in by_labels)


def test_pods_have_no_more_rights_than_they_need() -> None:
    security = {**POD["spec"]["securityContext"], **CONTAINER["securityContext"]}
    [user] = [rest for name, rest in instructions() if name == "USER"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert POD["spec"]["enableServiceLinks"] is False


def test_what_the_image_writes_to_is_a_volume() -> None:
    [written] = [rest for name, rest in instructions() if name == "VOLUME"]
    mounted = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert written in mounted and "/tmp" in mounted
    assert set(mounted.values()) == {volume["name"] for volume in POD["spec"]["volumes"]}


def test_the_settings_are_settings_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    given = read_environment(KUBERNETES / "settings.env") | MANIFESTS["secret.example.yaml"]["stringData"]
    settings = parse_settings(given, monkeypatch)
    assert settings.database and settings.store and settings.limits.startswith("rediss://")


def test_nothing_secret_is_among_the_settings() -> None:
    given = read_environment(KUBERNETES / "settings.env")
    assert not {"STEELYARD_DATABASE", "STEELYARD_LIMITS", "STEELYARD_ADMIN_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(given)


def test_probes_and_paths_are_those_of_the_registry(registered: Registered) -> None:
    [exposed] = [rest for name, rest in instructions() if name == "EXPOSE"]
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {"http": int(exposed)}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = CONTAINER[kind]["httpGet"]
        assert probe["port"] in ports
        assert registered.client.get(probe["path"]).status_code == 200


def test_every_address_of_the_registry_is_let_in_and_the_metrics_want_a_token(registered: Registered) -> None:
    let_in = tuple(path["path"] for path in MANIFESTS["ingress.yaml"]["spec"]["rules"][0]["http"]["paths"])
    routes = registered.client.app.routes  # type: ignore[attr-defined]
    addresses = [context.path or "" for context in iter_route_contexts(routes)]
    assert "/{org}/{name}/resolve/{revision}/{path:path}" in addresses
    assert [address for address in addresses if not address.startswith(let_in)] == []
    assert "STEELYARD_METRICS_TOKEN" in MANIFESTS["secret.example.yaml"]["stringData"]


def test_the_ingress_waits_for_as_long_as_the_registry_may_be_silent() -> None:
    annotations = MANIFESTS["ingress.yaml"]["metadata"]["annotations"]
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= PROOF_SECONDS + 60


def test_rolling_out_the_most_pods_leaves_postgresql_a_connection() -> None:
    most = MANIFESTS["autoscaler.yaml"]["spec"]["maxReplicas"]
    surge = MANIFESTS["deployment.yaml"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert (most + surge) * CONNECTIONS < POSTGRESQL_TAKES
    assert MANIFESTS["autoscaler.yaml"]["spec"]["minReplicas"] >= 2


def test_a_pod_has_time_to_end() -> None:
    delay = float(read_environment(KUBERNETES / "settings.env")["STEELYARD_SHUTDOWN_DELAY_SECONDS"])
    assert POD["spec"]["terminationGracePeriodSeconds"] >= delay + 60
