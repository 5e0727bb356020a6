"""containerd and its `ctr`: what Kubernetes pulls with."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.house.leash import Leashed, start_on_leash
from tests.oci_clients.clients import Action, Client
from tests.oci_clients.machines import Machine, Ran
from tests.oci_clients.programs import find_program, version_of
from tests.oci_clients.samples import NAME, Files, Sample, files_under
from tests.oci_clients.waiting import wait_for

# What is not of a registry's, or wants more of the machine than tests have.
_WITHOUT = ("grpc.v1.cri", *(f"snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")))


class Ctr(Client):
    """A daemon of the machine's own, and the command."""

    name = "containerd"
    lacks: ClassVar[Mapping[Action, str]] = {
        Action.LOGIN: "`ctr` keeps no login, each command is told the user",
        Action.LIST: "it has no command that asks a registry what there is",
        Action.DELETE: "`ctr images rm` removes from its own store only",
    }

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.place = Path(tempfile.mkdtemp(prefix="ctr-"))  # short, since there will be sockets in it
        self.daemon = _start_daemon(self.place)
        wait_for(lambda: self.ctr("version").ended_well, "containerd")

    @classmethod
    def version(cls) -> str:
        return version_of("ctr")

    def push(self, sample: Sample, ref: str) -> Ran:
        self._run("images", "import", "--no-unpack", str(sample.image.archive))
        self._run("images", "tag", f"{NAME}:{NAME}", ref)
        return self._push(ref)

    def pull(self, ref: str) -> Ran:
        return self.ctr("images", "pull", "--snapshotter", "native", *self._options(), ref)

    def pulled(self, ref: str) -> Files:
        where = self.place / "mounted"
        where.mkdir()
        self._run("images", "mount", "--snapshotter", "native", ref, str(where))
        try:
            return files_under(where)
        finally:
            self._run("images", "unmount", "--snapshotter", "native", "--rm", str(where))

    def mount(self, source: str, target: str) -> Ran:
        pulled = self.pull(source)
        if not pulled.ended_well:
            return pulled
        self._run("images", "tag", source, target)
        return self._push(target)

    def ctr(self, *arguments: str) -> Ran:
        """Any command of its."""
        return self.machine.try_to(find_program("ctr"), "--address", self.place / "socket", *arguments)

    def end(self) -> None:
        self.daemon.end()
        shutil.rmtree(self.place)

    def _push(self, ref: str) -> Ran:
        ran = self.ctr("images", "push", *self._options(), ref)
        return Ran(0, self._digest_of(ref), ran.said) if ran.ended_well else ran

    def _digest_of(self, ref: str) -> str:
        lines = (line.split() for line in self._run("images", "ls").splitlines())
        return next(words[2] for words in lines if words[0] == ref)

    def _options(self) -> list[str]:
        login = ["--user", str(self.machine.login)] if self.machine.login else []
        return ["--plain-http", *login]

    def _run(self, *arguments: str) -> str:
        return self.machine.run(find_program("ctr"), "--address", self.place / "socket", *arguments)


def _start_daemon(place: Path) -> Leashed:
    disabled = ", ".join(f'"io.containerd.{name}"' for name in _WITHOUT)
    lines = [
        "version = 2",
        f'root = "{place}/root"',
        f'state = "{place}/state"',
        f"disabled_plugins = [{disabled}]",
        "[grpc]",
        f'address = "{place}/socket"',
    ]
    (place / "config.toml").write_text("\n".join([*lines, ""]))
    command = [find_program("containerd"), "--config", str(place / "config.toml")]
    return start_on_leash(command, place, place / "log")
