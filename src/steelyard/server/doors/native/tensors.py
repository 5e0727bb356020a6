"""What a file of weights says of itself: its tensors and its metadata, from its header (safetensors, GGUF)."""

from typing import Annotated

from fastapi import APIRouter, Query

from steelyard.server.core import models, versions
from steelyard.server.core.files import reading
from steelyard.server.core.files.tensors import MOST_TENSORS, Entry, Tensor, Wanted
from steelyard.server.core.limits import LimitedAction
from steelyard.server.doors.calls import CallHere, waits_for_the_store
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import PublicRoute
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import Cursor, FilePath, NamePath, OrgPath, ReferencePath, SearchText

reads = APIRouter(prefix="/org/{org}", tags=["models"], route_class=PublicRoute, responses=errors())


@reads.get("/models/{name}/{version}/tensors/{path:path}")
@waits_for_the_store
def list_model_tensors(
    call: CallHere,
    org: OrgPath,
    name: NamePath,
    version: ReferencePath,
    path: FilePath,
    search: SearchText = None,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Tensors on a page")] = 200,
    cursor: Cursor = None,
) -> s.TensorPage:
    """List the tensors of a safetensors or GGUF file, and its metadata, from its header."""
    with call.read(LimitedAction.SEARCH) as session:
        found = models.get_model(session, call.actor, org, name)
        chosen = versions.resolve(session, found, version).version
        file = versions.get_file(session, call.registry.trees, found, chosen, path)
        key = reading.get_key(session, file)
    offset = min(int(cursor or 0), MOST_TENSORS)
    header = reading.read_header_of(call.registry.store, file, key, Wanted(search or "", offset, limit))
    after = offset + len(header.tensors)
    return s.TensorPage(
        name=found.full_name,
        version=chosen.version,
        path=file.path,
        oid=file.oid,
        format=header.format,
        parameters=header.parameters,
        total=header.total,
        matching=header.matching,
        tensors=[_tensor(tensor) for tensor in header.tensors],
        next_cursor=str(after) if after < header.matching and header.tensors else None,
        metadata=[_entry(entry) for entry in header.metadata],
        metadata_total=header.metadata_total,
    )


def _tensor(tensor: Tensor) -> s.TensorItem:
    return s.TensorItem(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=list(tensor.shape),
        size_bytes=tensor.size_bytes,
        offset_bytes=tensor.offset_bytes,
    )


def _entry(entry: Entry) -> s.TensorMetadata:
    value = list(entry.value) if isinstance(entry.value, tuple) else entry.value
    return s.TensorMetadata(key=entry.key, type=entry.kind, value=value, length=entry.length)
