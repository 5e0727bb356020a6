"""Metrics of a server of several workers: each writes its numbers into files, and who is asked reads those of all.

`prometheus_client` does the work (its multiprocess mode). Files are named after the worker's number and not after its
process: who takes the place of one that died goes on with its counts, as counters never go back.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

_EARLIEST = "process_start_time_seconds"


class SharedNumbers:
    """The folder that the workers have in common, and this one's place in it. From when there is one, every instrument
    made in this process is kept there."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # the library looks nowhere else
        mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]  # gauges of the one before us
        values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
        (folder / f"{number}.pid").write_text(str(os.getpid()), "ascii")

    def show_in(self, page: CollectorRegistry) -> None:
        """Have a page show the numbers of all workers, and what the system says of their processes."""
        MultiProcessCollector(page, str(self._folder))  # type: ignore[no-untyped-call]
        page.register(_Processes(self._folder))


class _Processes(Collector):
    """What `ProcessCollector` finds, over the supervisor and its workers: sums, and when the first of them began."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Each metric once."""
        found: dict[str, Metric] = {}
        for process in (str(os.getppid()), *(file.read_text("ascii") for file in self._folder.glob("*.pid"))):
            for metric in ProcessCollector(pid=process.__str__, registry=None).collect():
                first = found.setdefault(metric.name, metric)
                if first is not metric:
                    pairs = zip(first.samples, metric.samples, strict=True)
                    first.samples = [_together(one, other) for one, other in pairs]
        return found.values()


def _together(one: Sample, other: Sample) -> Sample:
    combine = min if one.name == _EARLIEST else lambda *both: sum(both)
    return one._replace(value=combine(one.value, other.value))
