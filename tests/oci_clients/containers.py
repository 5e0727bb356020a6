"""podman and buildah: they keep images in a store of their own, and show what is in them by mounting it."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.oci_clients.clients import Action, Client
from tests.oci_clients.machines import Login, Ran
from tests.oci_clients.programs import find_program, version_of
from tests.oci_clients.samples import NAME, Files, Sample, files_under

_PLAIN = "--tls-verify=false"


class WithStore(Client):
    """What the two have in common."""

    program: ClassVar[str]

    @classmethod
    def version(cls) -> str:
        return version_of(cls.program)

    def log_in(self, login: Login) -> Ran:
        command = ("login", _PLAIN, "--username", login.user, "--password-stdin", self.machine.registry)
        return self.command(*command, text=login.token)

    def push(self, sample: Sample, ref: str) -> Ran:
        self.run("tag", self.make(sample), ref)
        return self.push_made(ref)

    def pull(self, ref: str) -> Ran:
        return self.command("pull", "--quiet", _PLAIN, ref)

    def mount(self, source: str, target: str) -> Ran:
        pulled = self.pull(source)
        if not pulled.ended_well:
            return pulled
        self.run("tag", source, target)
        return self.push_made(target)

    def push_made(self, ref: str) -> Ran:
        """Push what the store has under this name, and print the digest that arrived."""
        digest = self.machine.home / "digest"
        digest.unlink(missing_ok=True)
        ran = self.command("push", "--quiet", _PLAIN, "--digestfile", str(digest), ref)
        return Ran(ran.code, digest.read_text(), ran.said) if ran.ended_well else ran

    @abstractmethod
    def make(self, sample: Sample) -> str:
        """Get the sample into the store; answers its id there."""

    def command(self, *arguments: str, text: str = "") -> Ran:
        """Any command of the tool's."""
        return self.machine.try_to(find_program(self.program), *arguments, text=text)

    def run(self, *arguments: str) -> str:
        """What a command prints that must end well."""
        return self.machine.run(find_program(self.program), *arguments)


class Podman(WithStore):
    """Pushes an image that it got elsewhere."""

    name = program = "podman"
    lacks: ClassVar[Mapping[Action, str]] = {Action.DELETE: "`podman rmi` removes from its own store only"}

    def make(self, sample: Sample) -> str:
        return self.run("pull", "--quiet", f"oci:{sample.image.folder}:{NAME}")

    def pulled(self, ref: str) -> Files:
        return files_under(Path(self.run("image", "mount", ref)))

    def list_tags(self, repository: str) -> Ran:
        ran = self.command("search", _PLAIN, "--list-tags", "--limit", "1000", "--format", "json", repository)
        if not ran.ended_well:
            return ran
        found = json.loads(ran.out)
        return Ran(0, "\n".join(tag for item in found for tag in item["Tags"]), ran.said)


class Buildah(WithStore):
    """Builds the image that it pushes, from scratch."""

    name = program = "buildah"
    lacks: ClassVar[Mapping[Action, str]] = {
        Action.LIST: "it has no command that asks a registry what there is",
        Action.DELETE: "`buildah rmi` removes from its own store only",
    }

    def make(self, sample: Sample) -> str:
        container = self.run("from", "scratch")
        self.run("copy", "--quiet", container, str(sample.folder), "/")
        return self.run("commit", "--quiet", "--rm", "--format", "oci", container)

    def pulled(self, ref: str) -> Files:
        container = self.run("from", "--pull-never", ref)
        return files_under(Path(self.run("mount", container)))
