"""What processes of a server take of the machine: each with all that descend from it."""

import os
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """CPU time so far (proc(5), fields 14 and 15 of `stat`)."""
    stats = {int(path.parent.name): _stat(path) for path in Path("/proc").glob("[0-9]*/stat")}
    ticks = sum(int(stats[each][11]) + int(stats[each][12]) for each in _family(pid, stats) if each in stats)
    return ticks / os.sysconf("SC_CLK_TCK")


class Memory:
    """Resident memory of a family of processes, and how far it rises above what it is now."""

    def __init__(self, pid: int) -> None:
        stats = {int(path.parent.name): _stat(path) for path in Path("/proc").glob("[0-9]*/stat")}
        self._pids = sorted(each for each in _family(pid, stats) if each in stats)
        for each in self._pids:
            Path(f"/proc/{each}/clear_refs").write_text("5")  # the peak begins anew: proc(5)
        self._before = self.rss_bytes

    @property
    def rss_bytes(self) -> int:
        """Now."""
        return self._sum("VmRSS:")

    @property
    def growth_bytes(self) -> int:
        """The peaks of all, which need not have been at the same time, above what it was."""
        return self._sum("VmHWM:") - self._before

    def _sum(self, name: str) -> int:
        lines = (line for each in self._pids for line in Path(f"/proc/{each}/status").read_text().splitlines())
        return sum(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def _family(pid: int, stats: dict[int, list[str]]) -> set[int]:
    """A process and all that descend from it and live."""
    family, found = {pid}, 0
    while found != len(family):
        found = len(family)
        family |= {child for child, fields in stats.items() if int(fields[1]) in family}
    return family


def _stat(path: Path) -> list[str]:
    """What follows the name of the program."""
    try:
        return path.read_text().rpartition(") ")[2].split()
    except FileNotFoundError:
        return ["", "0"] + ["0"] * 20
