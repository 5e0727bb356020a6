"""skopeo: copies between registries and folders, and keeps nothing of its own."""

import json

from tests.oci_clients.clients import Client
from tests.oci_clients.machines import Login, Ran
from tests.oci_clients.programs import find_program, version_of
from tests.oci_clients.samples import NAME, Files, Sample, files_in

_PLAIN = "--tls-verify=false"
_COPY = ("copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false")


class Skopeo(Client):
    """Does all of it."""

    name = "skopeo"

    @classmethod
    def version(cls) -> str:
        return version_of("skopeo")

    def log_in(self, login: Login) -> Ran:
        command = ("login", _PLAIN, "--username", login.user, "--password-stdin", self.machine.registry)
        return self.skopeo(*command, text=login.token)

    def push(self, sample: Sample, ref: str) -> Ran:
        return self.copy(f"oci:{sample.image.folder}:{NAME}", f"docker://{ref}")

    def pull(self, ref: str) -> Ran:
        return self.copy(f"docker://{ref}", f"dir:{self.machine.work}/pulled")

    def pulled(self, ref: str) -> Files:
        folder = self.machine.work / "pulled"
        layers = json.loads((folder / "manifest.json").read_bytes())["layers"]
        tars = ((folder / layer["digest"].removeprefix("sha256:")).read_bytes() for layer in layers)
        return {path: data for tar in tars for path, data in files_in(tar).items()}

    def list_tags(self, repository: str) -> Ran:
        ran = self.skopeo("list-tags", _PLAIN, f"docker://{repository}")
        return Ran(ran.code, "\n".join(json.loads(ran.out)["Tags"]), ran.said) if ran.ended_well else ran

    def mount(self, source: str, target: str) -> Ran:
        """It remembers where it has seen a layer, once it has read it."""
        pulled = self.pull(source)
        return self.copy(f"docker://{source}", f"docker://{target}") if pulled.ended_well else pulled

    def delete(self, ref: str) -> Ran:
        return self.skopeo("delete", _PLAIN, f"docker://{ref}")

    def copy(self, source: str, target: str, *options: str) -> Ran:
        """Copy, and print the digest that arrived."""
        digest = self.machine.home / "digest"
        digest.unlink(missing_ok=True)
        ran = self.skopeo(*_COPY, *options, "--digestfile", str(digest), source, target)
        return Ran(ran.code, digest.read_text(), ran.said) if ran.ended_well else ran

    def skopeo(self, *arguments: str, text: str = "") -> Ran:
        """Any command of its."""
        return self.machine.try_to(find_program("skopeo"), *arguments, text=text)
