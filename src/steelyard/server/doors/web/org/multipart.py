"""A form with files in it, read as it arrives (RFC 7578; the HTML standard, section 4.10.21.8): nothing of it is kept
here but what one piece from the socket holds. The parsing is `python_multipart`'s."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from steelyard.server.errors import BadRequest, TooLarge

MOST_PARTS = 1_100
_MOST_HEADERS = 8
_MOST_HEADER_BYTES = 8 * 2**10  # a path has 1,024 bytes at the most
_WRITTEN_OUT = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))  # by browsers, of what may not stand in a header


@dataclass(frozen=True, slots=True)
class Part:
    """A field of the form begins; one with a `filename` is a file. Its bytes follow, and then its `End`."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class End:
    """The part is over."""


Event = Part | bytes | End


async def read_parts(pieces: AsyncIterator[bytes], content_type: str) -> AsyncIterator[Event]:
    """What comes in a body of this content type. Raises `BadRequest` for what is no such form, or no whole one, and
    `TooLarge` for one of too many parts."""
    reading = _Reading(_boundary_of(content_type))
    async for piece in pieces:
        for event in reading.feed(piece):
            yield event
    reading.check_end()


def _boundary_of(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise BadRequest("This address takes a form with files (`multipart/form-data`). Use the page for it.")
    return options[b"boundary"]


class _Reading:
    """Where in the body we are: the library calls back, and this gathers what it said of one piece."""

    def __init__(self, boundary: bytes) -> None:
        self._events: list[Event] = []
        self._parts = 0
        self._is_over = False
        self._field, self._value, self._headers = b"", b"", dict[bytes, bytes]()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._on_data,
                    "on_part_end": self._end,
                    "on_end": self._end_all,
                },
                max_header_count=_MOST_HEADERS,
                max_header_size=_MOST_HEADER_BYTES,
            )
        except FormParserError as error:
            raise BadRequest("This form cannot be read: its boundary is too long.") from error

    def feed(self, piece: bytes) -> list[Event]:
        """What the next piece of the body says."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise BadRequest("This form cannot be read. Load the page again, and send it once more.") from error
        events, self._events = self._events, []
        return events

    def check_end(self) -> None:
        """Raise `BadRequest` where the body ended before the form did."""
        if not self._is_over:
            raise BadRequest("This form ended before it was complete. Send it once more.")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise TooLarge(f"This form has more than {MOST_PARTS} parts. Nothing was published.")
        self._headers = {}

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name, filename = options.get(b"name"), options.get(b"filename")
        if name is None:
            raise BadRequest("This form has a part without a name.")
        self._events.append(Part(_text(name), None if filename is None else _filename(filename)))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _end(self) -> None:
        self._events.append(End())

    def _end_all(self) -> None:
        self._is_over = True


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("This form has names that are not UTF-8.") from error


def _filename(raw: bytes) -> str:
    text = _text(raw)
    for written, meant in _WRITTEN_OUT:
        text = text.replace(written, meant)
    return text
