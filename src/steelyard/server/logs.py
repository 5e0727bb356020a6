"""Log lines on standard error: for people, or one JSON object a line. Never a token, a ticket or a query string."""

import json
import logging
import sys
from datetime import UTC, datetime

from steelyard.server.settings import Settings


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at`, `level`, `logger`, `message`, and the fields of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """A line for people; the fields of a request follow its message."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        fields = getattr(record, "fields", None)
        shown = ("duration_ms", "sent_bytes", "address", "actor", "request_id", "trace_id")
        said = " ".join(f"{key}={fields[key]}" for key in shown if key in fields) if fields else ""
        return f"{super().format(record)} {said}".rstrip()


def configure_logging(settings: Settings) -> None:
    """Send every logger's lines to standard error in the shape that the settings name."""
    handler = logging.StreamHandler(sys.stderr)
    text = TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else text)
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for library in ("boto3", "botocore", "urllib3"):  # what they would say at `debug` has signatures in it
        logging.getLogger(library).setLevel(logging.WARNING)
