"""What is traced: a span for every request, and below it one for each transaction, call of the store, or job.

Imported only when traces are on, since this is what loads OpenTelemetry's SDK. Nothing global is set: each application
has a provider of its own. A span says what the access log says; never a query string, which may hold a ticket.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Timer

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from steelyard import __version__
from steelyard.server.errors import RegistryError
from steelyard.server.watching import Answered, Part
from steelyard.server.watching.instruments import METHODS, UNMATCHED

Headers = Sequence[tuple[bytes, bytes]]

_PIECES = {("store", "read"), ("store", "write")}  # a span for each would be thousands for one file
_FAILED_STATUS = 500
_LAST_SECONDS = 3.0  # for what is left when the server ends


class Tracing:
    """Where spans come from and where they go: to the collector that the standard variables name."""

    def __init__(self, database: str) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("steelyard", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._database = database

    def request(self, method: str, scheme: str, headers: Headers) -> "RequestSpan":
        """Begin the span of a request, below that of its caller if he sent one, and make it the current one."""
        known = method if method in METHODS else "_OTHER"
        span = self._tracer.start_span(
            known.replace("_OTHER", "HTTP"),
            context=self._propagator.extract(headers, getter=_GETTER),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": known, "url.scheme": scheme},
        )
        return RequestSpan(span)

    def work(self, part: Part, kind: str) -> AbstractContextManager[object]:
        """A span around a piece of work. What happens below no request and no job has none, nor have single pieces."""
        if part == "job":
            return self._job(kind)
        if (part, kind) in _PIECES or not trace.get_current_span().is_recording():
            return nullcontext()
        return self._work(part, kind)

    @contextmanager
    def _work(self, part: Part, kind: str) -> Iterator[None]:
        """Never the current span: nothing is below it, and some work goes on in another thread."""
        attributes = {"db.system.name": self._database, "db.operation.name": kind} if part == "database" else {}
        span = self._tracer.start_span(f"{part} {kind}", kind=SpanKind.CLIENT, attributes=attributes)
        try:
            yield
        except Exception as fault:
            _blame(span, fault)
            raise
        finally:
            span.end()

    @contextmanager
    def _job(self, kind: str) -> Iterator[None]:
        span = self._tracer.start_span(f"job {kind}", kind=SpanKind.INTERNAL)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except Exception as fault:
                _blame(span, fault)
                raise

    def close(self) -> None:
        """Send what is left, unless the collector does not take it soon: the exporter alone would try for long."""
        giving_up = Timer(_LAST_SECONDS, self._exporter.shutdown)
        giving_up.start()
        self._provider.shutdown()
        giving_up.cancel()


class RequestSpan:
    """The span of one request."""

    __slots__ = ("_span", "_token", "trace_id")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token = context.attach(trace.set_span_in_context(span))
        self.trace_id = format(span.get_span_context().trace_id, "032x")

    def end(self, answered: Answered) -> None:
        """It is answered. To be called in the context that it was begun in."""
        known = answered.route != UNMATCHED
        if known and answered.method in METHODS:
            self._span.update_name(f"{answered.method} {answered.route}")
        self._span.set_attributes(
            {
                "url.path": answered.path,
                "http.response.status_code": answered.status,
                "steelyard.request_id": answered.request_id,
                **({"http.route": answered.route} if known else {}),
                **({"client.address": answered.address} if answered.address else {}),
            }
        )
        if answered.status >= _FAILED_STATUS:
            self._span.set_attribute("error.type", str(answered.status))
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        context.detach(self._token)


def _blame(span: Span, fault: Exception) -> None:
    """What went wrong, by its type alone: messages may name things."""
    span.set_attribute("error.type", fault.type if isinstance(fault, RegistryError) else type(fault).__name__)
    if not isinstance(fault, RegistryError) or fault.status >= _FAILED_STATUS:
        span.set_status(StatusCode.ERROR)


def _resource() -> Resource:
    """Who sends: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win."""
    ours = Resource({SERVICE_NAME: "steelyard", SERVICE_VERSION: __version__})
    return ours.merge(OTELResourceDetector().detect())


class _HeadersGetter(Getter[Headers]):
    """How a propagator reads the headers of ASGI."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """Every value of one header."""
        wanted = key.encode().lower()
        return [value.decode("latin-1") for name, value in carrier if name == wanted] or None

    def keys(self, carrier: Headers) -> list[str]:
        """The names of all."""
        return [name.decode("latin-1") for name, _ in carrier]


_GETTER = _HeadersGetter()
