"""Bars on a terminal, and nothing but lines of talk elsewhere."""

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from steelyard.cli.console import Console, plain
from steelyard.client.progress import Progress, Stage


def progress_for(console: Console) -> Progress:
    """Bars where a person looks at stderr."""
    return Bars(console) if sys.stderr.isatty() and not console.as_json else Talk(console)


class Talk(Progress):
    """Says what there is to say, files one by one, and shows no bars."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def counting(self, label: str) -> Stage:
        """A line for each file."""
        return _Count(label, self.say)

    def say(self, text: str) -> None:
        """A line on stderr."""
        self._console.say(text)


class Bars(Talk):
    """A bar a stage, which goes when the stage is over."""

    def stage(self, label: str) -> Stage:
        """A bar of bytes."""
        return _Bar(label, unit="B", unit_scale=True)

    def counting(self, label: str) -> Stage:
        """A bar of files."""
        return _Bar(label, unit=" files")

    def say(self, text: str) -> None:
        """A line above the bar."""
        from tqdm import tqdm

        tqdm.write(plain(text, lines=True), file=sys.stderr)


class _Count(Stage):
    def __init__(self, label: str, say: Callable[[str], None]) -> None:
        self._label, self._say = label, say
        self._done = self._expected = 0

    def expect(self, size_bytes: int) -> None:
        self._expected += size_bytes
        self._tell()

    def advance(self, size_bytes: int) -> None:
        self._done += size_bytes
        self._tell()

    def _tell(self) -> None:
        if self._done < self._expected:
            self._say(f"{self._label} {self._done + 1} of {self._expected} …")


class _Bar(Stage):
    def __init__(self, label: str, **units: Any) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(desc=label, total=0, leave=False, disable=None, file=sys.stderr, delay=0.2, **units)
        self._lock = threading.Lock()

    def expect(self, size_bytes: int) -> None:
        with self._lock:
            self._bar.total = (self._bar.total or 0) + size_bytes

    def advance(self, size_bytes: int) -> None:
        with self._lock:
            self._bar.update(size_bytes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
