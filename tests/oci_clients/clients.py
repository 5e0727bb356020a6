"""What a person does with each tool. A class for each tool, all with the same verbs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

from tests.oci_clients.machines import Login, Machine, Ran
from tests.oci_clients.samples import Files, Layout, Sample


class Action(StrEnum):
    """What is tried with each tool."""

    LOGIN = "login"
    PUSH = "push"
    PULL = "pull"
    LIST = "list tags"
    MOUNT = "copy without sending"
    DELETE = "delete"


class Client(ABC):
    """A tool on somebody's machine. A verb answers how the tool ended; a reference is `HOST:PORT/org/name:tag`."""

    name: ClassVar[str]
    lacks: ClassVar[Mapping[Action, str]] = {}
    """What the tool does not offer, and why."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.prepare()

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The tool's own word. Raises `ProgramMissing`."""

    @classmethod
    def carrier(cls, sample: Sample) -> Layout:
        """The form in which this tool gets files: a container image, for most."""
        return sample.image

    @abstractmethod
    def push(self, sample: Sample, ref: str) -> Ran:
        """Push the files; the digest of the manifest is what it prints last, if it tells."""

    @abstractmethod
    def pull(self, ref: str) -> Ran:
        """Pull what is there."""

    @abstractmethod
    def pulled(self, ref: str) -> Files:
        """The files of what was pulled, as the tool hands them out."""

    def log_in(self, login: Login) -> Ran:
        """Make oneself known to the registry."""
        raise self._not_offered(Action.LOGIN)

    def list_tags(self, repository: str) -> Ran:
        """Print the tags of a repository: as JSON, or one a line."""
        raise self._not_offered(Action.LIST)

    def mount(self, source: str, target: str) -> Ran:
        """Copy what was pulled from one repository to another of the same registry, with no bytes sent."""
        raise self._not_offered(Action.MOUNT)

    def delete(self, ref: str) -> Ran:
        """Delete what a tag leads to."""
        raise self._not_offered(Action.DELETE)

    def end(self) -> None:  # noqa: B027 - most have nothing that runs on
        """Let go of what runs on the machine."""

    def _not_offered(self, action: Action) -> NotImplementedError:
        return NotImplementedError(f"{self.name}: {self.lacks[action]}")
