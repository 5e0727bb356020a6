"""Who watches a registry: measures everything, and traces it where traces are on."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from steelyard.server.watching import Answered, Counted, Part
from steelyard.server.watching.metrics import Metrics
from steelyard.server.watching.sharing import SharedNumbers

if TYPE_CHECKING:
    from steelyard.server.watching.traces import Headers, RequestSpan, Tracing


class Monitor:
    """One for each registry: the `Watch` of its parts, and what watches the requests of its doors."""

    def __init__(self, tracing: "Tracing | None" = None, shared: SharedNumbers | None = None) -> None:
        self.metrics = Metrics(shared)
        self._tracing = tracing

    def work(self, part: Part, kind: str) -> AbstractContextManager[object]:
        """Stands around a piece of work of a part."""
        measured = self.metrics.work(part, kind)
        return measured if self._tracing is None else _Both(measured, self._tracing.work(part, kind))

    def count(self, what: Counted, amount: int = 1, *, kind: str = "") -> None:
        """So many more of this."""
        self.metrics.count(what, amount, kind=kind)

    def request_began(self, method: str, scheme: str, headers: "Headers") -> "RequestSpan | None":
        """A request is here. Answers its span where traces are on."""
        self.metrics.request_began()
        return None if self._tracing is None else self._tracing.request(method, scheme, headers)

    def request_ended(self, answered: Answered, span: "RequestSpan | None") -> None:
        """It is answered, or nobody waits for the answer any more."""
        self.metrics.request_ended(answered)
        if span is not None:
            span.end(answered)

    def close(self) -> None:
        """Send what is left of the traces."""
        self.metrics.close()
        if self._tracing is not None:
            self._tracing.close()


def open_monitor(environ: Mapping[str, str], database: str, shared: SharedNumbers | None = None) -> Monitor:
    """With traces where the standard variables of OpenTelemetry name a collector, without where they do not.

    `database` is what kind it is, in the words of the semantic conventions; `shared` is where the numbers of several
    workers are, if there are several. Raises ValueError when traces are wanted
    and cannot be had.
    """
    if not _wants_traces(environ):
        return Monitor(shared=shared)
    protocol = _of_traces(environ, "PROTOCOL") or "http/protobuf"
    if protocol != "http/protobuf":
        raise ValueError(f"traces are sent by http/protobuf only, and OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}")
    try:
        from steelyard.server.watching.traces import Tracing
    except ModuleNotFoundError as error:
        raise ValueError(
            "traces are wanted, since OTEL_EXPORTER_OTLP_ENDPOINT is set, and a library is missing: "
            "pip install 'steelyard[server,traces]', or unset it"
        ) from error
    return Monitor(Tracing(database), shared)


def _wants_traces(environ: Mapping[str, str]) -> bool:
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = environ.get("OTEL_TRACES_EXPORTER", "otlp")
    return bool(_of_traces(environ, "ENDPOINT")) and not disabled and exporter == "otlp"


def _of_traces(environ: Mapping[str, str], name: str) -> str | None:
    """What is said of traces wins over what is said of everything."""
    return environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}")


class _Both:
    """Two watchers around one piece of work."""

    __slots__ = ("_measured", "_traced")

    def __init__(self, measured: AbstractContextManager[object], traced: AbstractContextManager[object]) -> None:
        self._measured, self._traced = measured, traced

    def __enter__(self) -> None:
        self._traced.__enter__()
        self._measured.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._measured.__exit__(kind, fault, trace)
        self._traced.__exit__(kind, fault, trace)
