"""The files of an uploading form on their way in: each is streamed to the store and hashed on the way, and kept for the
organisation as soon as a few are here. Of a form that ends badly nothing is published; what was kept goes with its
grace, as all bytes do that no version needs."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from uuid import uuid4

from steelyard.server.core.arrivals import unannounced, uploads
from steelyard.server.core.arrivals.unannounced import Arrival
from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import Org
from steelyard.server.doors.receiving import BATCH_BYTES, impatient
from steelyard.server.doors.web.calls import WebCall
from steelyard.server.doors.web.org.multipart import Event, Part, read_parts
from steelyard.server.errors import Invalid, RegistryError, TooLarge
from steelyard.server.names import ArtifactPath, InvalidName, Oid
from steelyard.server.storage import StageWriter

MOST_BYTES = 100 * 2**20
MOST_FILES = 1_000
FILES, FOLDER = "files", "folder"
_MOST_FRAMING_BYTES = 8 * 2**20  # around the files: headers, boundaries and the other fields
_MOST_FIELD_BYTES = 64 * 2**10
_MOST_FIELDS = 50
_KEPT_AT_ONCE_BYTES, _KEPT_AT_ONCE_FILES = 32 * 2**20, 50
# What the client leaves out of a folder, too.
_LEFT_OUT_FOLDERS = frozenset({".git", ".hg", ".svn", ".bzr", "__pycache__", ".ipynb_checkpoints"})
_LEFT_OUT_FILES = frozenset({".DS_Store", "Thumbs.db"})
_ELSE = "Nothing was published. Push what is larger with the client: `steelyard push`."


class Staged:
    """A file that is arriving, and what is known of it so far. All but the name waits for the store."""

    def __init__(self, call: WebCall, path: str) -> None:
        self.path, self.size_bytes, self.stage_id = path, 0, uuid4().hex
        self._store, self._digest = call.registry.store, hashlib.sha256()
        self._writer: StageWriter | None = None

    @property
    def oid(self) -> Oid:
        """What its bytes are called, once it is whole."""
        return Oid(f"sha256:{self._digest.hexdigest()}")

    def write(self, pieces: Sequence[bytes]) -> None:
        """Keep some more of it."""
        self._writer = self._writer or self._store.stage(self.stage_id, 0)
        self._writer.write(pieces)
        for piece in pieces:
            self._digest.update(piece)
            self.size_bytes += len(piece)

    def finish(self, pieces: Sequence[bytes]) -> None:
        """Keep the rest of it; after this it is on disk."""
        self.write(pieces)
        self.let_go()

    def let_go(self) -> None:
        """Write no more."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def put(self, key: str) -> None:
        """Let the store call it by this key."""
        self._store.commit(self.stage_id, key)


class Intake:
    """A form on its way in: its fields and its `files`, path -> OID, as far as they have come."""

    def __init__(self, call: WebCall, org: Org) -> None:
        self.call, self.org = call, org
        self._fields: dict[str, bytes] = {}
        self.files: dict[str, Oid] = {}
        self._pieces = impatient(call.request.stream())
        self._received_bytes = self._field_bytes = 0
        self._part: Part | None = None
        self._file: Staged | None = None
        self._staged: list[Staged] = []
        self._batch: list[bytes] = []
        self._batched_bytes = 0

    def text(self, field: str) -> str:
        """What was written into a field, without space around it; empty if nothing was."""
        text = self._fields.get(field, b"").decode("utf-8", "replace")
        return text.replace("\r\n", "\n").strip()

    async def receive(self) -> None:
        """Read the whole form. Raises `TooLarge`, `BadRequest`, and `Invalid` for a file that cannot be in a version.

        What is refused is read to its end all the same, where that is near: a browser that is still sending shows
        its user a lost connection, and not our answer.
        """
        try:
            await self.call.at_the_store(self._check_room)
            async for event in read_parts(self._counted(), self.call.request.headers.get("content-type", "")):
                await self._take(event)
            await self.call.at_the_store(self._keep)
        finally:
            await self.call.at_the_store(self._let_go)
            await self._drain()

    def _check_room(self) -> None:
        announced = self.call.request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > MOST_BYTES + _MOST_FRAMING_BYTES:
            raise _too_large()
        self.call.take(LimitedAction.TRANSFER)
        uploads.check_floor(self.call.registry.settings, self.call.registry.store.free_bytes())

    async def _counted(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            self._received_bytes += len(piece)
            if self._received_bytes > MOST_BYTES + _MOST_FRAMING_BYTES:
                raise _too_large()
            yield piece

    async def _drain(self) -> None:
        left_bytes = MOST_BYTES
        async for piece in self._pieces:
            left_bytes -= len(piece)
            if left_bytes < 0:
                return

    # --- what the form says

    async def _take(self, event: Event) -> None:
        if isinstance(event, Part):
            self._begin(event)
        elif isinstance(event, bytes):
            await self._add(event)
        else:
            await self._end()

    def _begin(self, part: Part) -> None:
        self._part = part
        if part.filename is None:
            if len(self._fields) >= _MOST_FIELDS:
                raise Invalid(f"This form has more than {_MOST_FIELDS} fields.")
            self._fields[part.name] = b""
            return
        path = _path_of(part)
        if path is None:
            return
        if len(self.files) >= MOST_FILES:
            raise TooLarge(f"This page takes {MOST_FILES} files at once, and here are more. {_ELSE}")
        if path in self.files:
            raise Invalid(f"There are two files {path!r}. Leave one of them out.")
        self._file = Staged(self.call, path)
        self._staged.append(self._file)

    async def _add(self, data: bytes) -> None:
        if self._file is not None:
            self._batch.append(data)
            self._batched_bytes += len(data)
            if self._batched_bytes >= BATCH_BYTES:
                await self.call.at_the_store(self._file.write, self._gathered())
        elif self._part is not None and self._part.filename is None:
            self._field_bytes += len(data)
            if self._field_bytes > _MOST_FIELD_BYTES:
                raise TooLarge("The fields of this form are too long. Put long texts into a README.md.")
            self._fields[self._part.name] += data

    async def _end(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        await self.call.at_the_store(file.finish, self._gathered())
        self.files[file.path] = file.oid
        if sum(one.size_bytes for one in self._staged) >= _KEPT_AT_ONCE_BYTES or (
            len(self._staged) >= _KEPT_AT_ONCE_FILES
        ):
            await self.call.at_the_store(self._keep)

    def _gathered(self) -> list[bytes]:
        batch, self._batch, self._batched_bytes = self._batch, [], 0
        return batch

    # --- what becomes of the bytes

    def _keep(self) -> None:
        """Have the organisation hold what is here. Raises `TooLarge`."""
        registry = self.call.registry
        room = Room(registry.settings, registry.store.free_bytes())
        arrivals = [Arrival(file.oid, file.size_bytes, file.put) for file in self._staged]
        unannounced.keep(registry.database, registry.store, self.org, arrivals, room)
        self._let_go()

    def _let_go(self) -> None:
        """Nothing stays staged; clean-up takes what the store does not let go of now."""
        staged, self._staged = self._staged, []
        for file in staged:
            with suppress(RegistryError):
                file.let_go()
                self.call.registry.store.discard(file.stage_id)


def _too_large() -> TooLarge:
    return TooLarge(f"This page takes {MOST_BYTES >> 20} MiB at once, and these files are more. {_ELSE}")


def _path_of(part: Part) -> str | None:
    """Where a file goes in the version; None for a field that was left empty, and for what is never meant for a
    registry. Of a folder, the folder's own name is left out. Raises `Invalid`."""
    name = part.filename or ""
    if part.name not in (FILES, FOLDER):
        raise Invalid(f"Files come in the field `{FILES}` or `{FOLDER}`.")
    path = name.partition("/")[2] or name if part.name == FOLDER else name
    if not path or (part.name == FOLDER and _is_left_out(path)):
        return None
    try:
        return ArtifactPath.parse(path)
    except InvalidName as error:
        raise Invalid(f"{error}. Nothing was published: rename that file, or leave it out.") from error


def _is_left_out(path: str) -> bool:
    *folders, name = path.split("/")
    return (
        name in _LEFT_OUT_FILES or not _LEFT_OUT_FOLDERS.isdisjoint(folders) or path.startswith(".cache/huggingface/")
    )
