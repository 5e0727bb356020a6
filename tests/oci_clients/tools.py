"""The tools that are driven."""

from tests.oci_clients.clients import Client
from tests.oci_clients.containerd import Ctr
from tests.oci_clients.containers import Buildah, Podman
from tests.oci_clients.oras_py import Oras
from tests.oci_clients.skopeo import Skopeo

TOOLS: tuple[type[Client], ...] = (Skopeo, Podman, Buildah, Ctr, Oras)
