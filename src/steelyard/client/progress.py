"""How a transfer tells what it is doing. The client calls, the caller shows; both classes do nothing by themselves."""

from types import TracebackType
from typing import Self


class Stage:
    """One bar: how much is expected and how much is done, of bytes mostly. Called from several threads."""

    def expect(self, size_bytes: int) -> None:
        """So much more belongs to this stage."""

    def advance(self, size_bytes: int) -> None:
        """So much more is done; negative when some has to be done again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The stage is over."""


class Progress:
    """What `push`, `pull` and `verify` report to; subclass it to show bars."""

    def stage(self, label: str) -> Stage:
        """A stage begins: `Hashing`, `Uploading`, `Downloading`, `Copying`."""
        return Stage()

    def counting(self, label: str) -> Stage:
        """A stage of files, not of bytes, begins: `Proving`."""
        return Stage()

    def say(self, text: str) -> None:
        """A line of talk: a wait, a warning."""
