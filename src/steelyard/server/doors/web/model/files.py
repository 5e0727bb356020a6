"""The files of a revision: folders page by page, and of each file what can be shown of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from markupsafe import Markup

from steelyard.server.core.files import previews, reading
from steelyard.server.core.files.cards import README_NAME
from steelyard.server.core.files.folders import Subfolder, kind_of, list_folder
from steelyard.server.core.files.previews import ImagePreview, NoPreview, Preview, TextPreview, WeightsPreview
from steelyard.server.core.files.tensors import LONGEST_TEXT_BYTES, Entry, Scalar, Wanted
from steelyard.server.core.files.trees import File
from steelyard.server.core.limits import LimitedAction
from steelyard.server.doors.calls import waits_for_the_store
from steelyard.server.doors.web.calls import CallHere, WebRoute
from steelyard.server.doors.web.model.places import Place, RepoPath, find_place
from steelyard.server.doors.web.pages import count, visible
from steelyard.server.errors import EntryNotFound

router = APIRouter(route_class=WebRoute)

_ROWS_ON_A_PAGE = 200
_TENSORS_ON_A_PAGE = 100
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
SearchText = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a folder; `oid` and the size are a file's, a folder has `note` about what lies in it."""

    name: str
    url: str
    size_bytes: int
    oid: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pager:
    """Which page of a list this is, of how many, and where its neighbours are."""

    page: int
    pages: int
    total: int
    previous_url: str | None
    next_url: str | None


def _pager(place: Place, kind: str, page: int, total: int, limit: int, **query: str) -> Pager:
    pages = max(1, -(-total // limit))

    def url(number: int) -> str | None:
        return place.url(kind, place.path, **query, page=str(number)) if 1 <= number <= pages else None

    return Pager(page, pages, total, url(min(page - 1, pages)), url(page + 1))


# --- folders


@router.get("/{org}/{name}/tree")
def go_to_tree(call: CallHere, repo: RepoPath, ref: str = "", path: str = "") -> Response:
    """Lead to the same path at another revision, or as near to it as there is something."""
    with call.read() as session:
        place, _ = find_place(session, call, repo, ref or "main", path)
    kind = kind_of(place.files, place.path)
    return call.go(place.url("blob" if kind == "file" else "tree", place.path if kind != "nothing" else ""))


@router.get("/{org}/{name}/tree/{ref}")
@router.get("/{org}/{name}/tree/{ref}/{path:path}")
def show_tree(call: CallHere, repo: RepoPath, ref: str, path: str = "", page: PageNumber = 1) -> Response:
    """A folder: what lies in it, folders first."""
    with call.read() as session:
        place, _ = find_place(session, call, repo, ref, path)
    kind = kind_of(place.files, place.path)
    if kind == "file":
        return call.go(place.url("blob", place.path))
    if kind == "nothing":
        raise EntryNotFound(f"There is no folder '{place.path[:200]}' in {place.model.full_name} at {ref}.")
    folder = list_folder(place.files, place.path)
    rows: list[Subfolder | File] = [*folder.folders, *folder.files]
    shown = rows[(page - 1) * _ROWS_ON_A_PAGE : page * _ROWS_ON_A_PAGE]
    return call.page(
        "tree.html",
        title=place.page_title,
        json_twin=place.api_path(),
        model=place.model,
        place=place,
        rows=[_row(place, each) for each in shown],
        folder=folder,
        pager=_pager(place, "tree", page, len(rows), _ROWS_ON_A_PAGE),
    )


def _row(place: Place, entry: Subfolder | File) -> Row:
    inside = f"{place.path}/" if place.path else ""
    if isinstance(entry, File):
        name = entry.path.removeprefix(inside)
        return Row(name, place.url("blob", entry.path), entry.size_bytes, entry.oid)
    note = f"{count(entry.file_count)} {'file' if entry.file_count == 1 else 'files'}"
    return Row(f"{entry.name}/", place.url("tree", inside + entry.name), entry.size_bytes, note=note)


# --- files


@router.get("/{org}/{name}/blob/{ref}/{path:path}")
@waits_for_the_store
def show_blob(
    call: CallHere, repo: RepoPath, ref: str, path: str, q: SearchText = "", page: PageNumber = 1
) -> Response:
    """One file: what is known of it, and what can be shown of it."""
    with call.read(LimitedAction.SEARCH) as session:
        place, _ = find_place(session, call, repo, ref, path)
        file = place.files.get(place.path)
        key = reading.get_key(session, file) if file else ""
    if file is None:
        return _no_file(call, place)
    wanted = Wanted(q.strip(), (page - 1) * _TENSORS_ON_A_PAGE, _TENSORS_ON_A_PAGE)
    preview = previews.look_into(call.registry.store, file, key, wanted)
    return call.page(
        "blob.html",
        title=place.page_title,
        json_twin=_json_twin(place, preview, q, page),
        model=place.model,
        place=place,
        file=file,
        is_card=place.path == README_NAME and place.version is not None,
        q=q,
        **_shown(place, preview, q, page),
    )


def _no_file(call: CallHere, place: Place) -> Response:
    if kind_of(place.files, place.path) == "folder":
        return call.go(place.url("tree", place.path))
    raise EntryNotFound(f"{place.model.full_name} has no file '{place.path[:200]}' at {place.ref}.")


def _json_twin(place: Place, preview: Preview, q: str, page: int) -> str:
    if not isinstance(preview, WeightsPreview):
        return place.api_path()
    cursor = str((page - 1) * _TENSORS_ON_A_PAGE) if page > 1 else None
    return place.api_path("tensors", place.path, search=q, limit=str(_TENSORS_ON_A_PAGE), cursor=cursor)


def _shown(place: Place, preview: Preview, q: str, page: int) -> dict[str, Any]:
    """What the template asks for, whatever there is to see."""
    shown: dict[str, Any] = {"kind": "nothing", "reason": None}
    match preview:
        case TextPreview():
            lines = list(_lines(preview))
            shown |= {"kind": "text", "lines": lines, "is_cut": preview.is_cut or len(lines) < len(preview.lines)}
        case ImagePreview():
            shown |= {"kind": "image", "source": place.url("raw", place.path, inline="1")}
        case WeightsPreview(header):
            ink = Ink()
            shown |= {"kind": "weights", "header": header}
            shown |= {"tensors": [(tensor, ink.write(tensor.name)) for tensor in header.tensors]}
            shown |= {"metadata": [_entry(entry, ink) for entry in header.metadata]}
            shown["pager"] = _pager(place, "blob", page, header.matching, _TENSORS_ON_A_PAGE, q=q)
        case NoPreview(reason):
            shown["reason"] = reason
    return shown


_INK_CHARACTERS = 4 * 2**20
_STROKE = 4_096
_LONG_VALUE = 400


class Ink:
    """How much markup a page may still make of what a stranger wrote: one character may take seventy."""

    def __init__(self) -> None:
        self.left = _INK_CHARACTERS

    def write(self, text: str) -> Markup:
        """The text as `visible` has it, and `…` in the place of what there is no more ink for."""
        strokes = []
        for start in range(0, len(text), _STROKE):
            stroke = visible(text[start : start + _STROKE]) if self.left > 0 else Markup("…")
            strokes.append(stroke)
            if self.left <= 0:
                break
            self.left -= len(stroke)
        return Markup("").join(strokes)


def _lines(preview: TextPreview) -> Iterator[Markup]:
    """Lines of markup, as many as there is ink for."""
    ink = Ink()
    for line in preview.lines:
        yield ink.write(line)
        if ink.left <= 0:
            return


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A key of the metadata in words; `rest` says how much of a cut value there is, `is_long` that it takes room."""

    key: Markup
    kind: str
    value: Markup
    rest: str | None
    is_long: bool


def _entry(entry: Entry, ink: Ink) -> EntryRow:
    value, length = entry.value, entry.length or 0
    words = "\n".join(_in_words(item) for item in (value if isinstance(value, tuple) else (value,)))
    rest = None
    if isinstance(value, tuple) and length > len(value):
        rest = f"the first {len(value)} of {length:,}"
    elif isinstance(value, str) and length > LONGEST_TEXT_BYTES:
        rest = f"the first {LONGEST_TEXT_BYTES:,} of {length:,} bytes"
    return EntryRow(ink.write(entry.key), entry.kind, ink.write(words), rest, len(words) > _LONG_VALUE)


def _in_words(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
