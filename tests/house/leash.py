"""An engine's process that ends with the test process which started it, however that ends."""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

# The shell writes down the engine's process id and ends the engine when the test process lets go of the pipe.
_LEASH = 'exec 3<&0; "$@" </dev/null & echo $! >"$0"; read _ <&3; kill -{signal} $!; wait'


@dataclass(slots=True)
class Leashed:
    """A program on the leash; its output is in a file."""

    shell: subprocess.Popen[bytes]
    pid_path: Path

    @property
    def pid(self) -> int:
        """The process id of the program itself."""
        return int(self.pid_path.read_text())

    @property
    def has_ended(self) -> bool:
        """Whether the program is gone."""
        return not self.pid_path.exists() or not _is_there(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        os.kill(self.pid, number)

    def end(self) -> None:
        """End it, and wait until it has."""
        if self.shell.stdin is not None and not self.shell.stdin.closed:
            self.shell.stdin.close()
        self.shell.wait(timeout=20)


def _is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def start_on_leash(
    command: list[str], folder: Path, log_path: Path, ending: signal.Signals = signal.SIGKILL
) -> Leashed:
    """Start a program in `folder`. `ending` is the signal that ends it: a power cut, unless it has children to end."""
    pid_path = folder / "engine.pid"
    pid_path.unlink(missing_ok=True)
    with log_path.open("ab") as log:
        shell = subprocess.Popen(
            ["/bin/sh", "-c", _LEASH.format(signal=ending.value), str(pid_path), *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    return Leashed(shell, pid_path)
