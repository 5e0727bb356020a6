"""Bars on a terminal, and nothing but lines of talk elsewhere."""

import sys
import threading
from types import TracebackType
from typing import Any

from steelyard.cli.console import Console, plain
from steelyard.client.progress import Progress, Stage


def progress_for(console: Console) -> Progress:
    """Bars where a person looks at stderr."""
    return Bars(console) if sys.stderr.isatty() and not console.as_json else Talk(console)


class Talk(Progress):
    """Says what there is to say and shows no bars."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """A line on stderr."""
        self._console.say(text)


class Bars(Talk):
    """A bar a stage, which goes when the stage is over."""

    def stage(self, label: str) -> Stage:
        """A bar of bytes."""
        return _Bar(label)

    def say(self, text: str) -> None:
        """A line above the bar."""
        from tqdm import tqdm

        tqdm.write(plain(text, lines=True), file=sys.stderr)


class _Bar(Stage):
    def __init__(self, label: str) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(
            desc=label, total=0, unit="B", unit_scale=True, leave=False, disable=None, file=sys.stderr, delay=0.2
        )
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
