"""oras-py: the library by which Python programs push files as artifacts, driven by `oras_driver.py`."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.oci_clients.clients import Action, Client
from tests.oci_clients.machines import Ran
from tests.oci_clients.programs import install_oras
from tests.oci_clients.samples import Files, Layout, Sample, files_under

DRIVER = Path(__file__).parent / "oras_driver.py"


class Oras(Client):
    """Pushes files, each as a layer of its own."""

    name = "oras-py"
    lacks: ClassVar[Mapping[Action, str]] = {
        Action.LOGIN: "its login only writes the name and the token down",
        Action.MOUNT: "it has no copy between repositories",
    }

    @classmethod
    def version(cls) -> str:
        command = [str(install_oras()), "-c", "import oras.version; print(oras.version.__version__)"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @classmethod
    def carrier(cls, sample: Sample) -> Layout:
        return sample.artifact

    def push(self, sample: Sample, ref: str) -> Ran:
        return self.push_files(ref, sample.folder, *sample.files)

    def push_files(self, ref: str, folder: Path, *paths: str, **more: Any) -> Ran:
        """Push files and folders that lie in one; prints the digest of what arrived."""
        return self.drive("push", target=ref, folder=str(folder), files=paths, **more)

    def pull(self, ref: str) -> Ran:
        return self.drive("pull", target=ref, outdir=f"{self.machine.work}/pulled")

    def pulled(self, ref: str) -> Files:
        return files_under(self.machine.work / "pulled")

    def list_tags(self, repository: str) -> Ran:
        return self.drive("tags", target=repository)

    def delete(self, ref: str) -> Ran:
        name, _, tag = ref.rpartition(":")
        return self.drive("delete", target=name, tag=tag)

    def drive(self, command: str, **job: Any) -> Ran:
        """Have the driver do a job."""
        text = json.dumps({"registry": self.machine.registry, **job})
        return self.machine.try_to(install_oras(), DRIVER, command, text=text)
