"""Where a version came from and what was made from it: as a picture, as a list, and as what its publisher says."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from markupsafe import Markup

from steelyard.server.core import versions
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.lineage import descent, origins, sharing
from steelyard.server.core.lineage.descent import Edge, Lineage, Node
from steelyard.server.core.lineage.sharing import Sharer, Sharing
from steelyard.server.db.tables import Standing, Version
from steelyard.server.doors.repos import Repo
from steelyard.server.doors.web.calls import CallHere, WebRoute
from steelyard.server.doors.web.frames import frame_model
from steelyard.server.doors.web.model.pictures import Arrow, Box, picture
from steelyard.server.doors.web.pages import url_path

router = APIRouter(route_class=WebRoute)
RepoPath = Annotated[Repo, Depends(Repo.at_path)]
_MOST_DRAWN = 3  # of those that share bytes and are not in the lineage
_LEAST_DRAWN_SHARE = 0.1
_MOST_FACTS, _LONGEST_FACT = 40, 400


@router.get("/{org}/{name}/lineage/{ref}")
def show_lineage(call: CallHere, repo: RepoPath, ref: str) -> Response:
    """The lineage of a version."""
    with call.read(LimitedAction.SEARCH) as session:
        found = repo.get(session, call.actor)
        version = versions.resolve(session, found, ref).version
        hidden = origins.hidden_parents(session, call.actor, found, version)
        graph = descent.get_lineage(session, call.actor, found, version)
        shared = sharing.get_sharing(session, call.actor, version)
        origin = origins.origin_for(call.actor, found, version, hidden)
        model = frame_model(session, call, found, "lineage", version, ref)
        sharers = [_sharer(found.model.id, sharer) for sharer in shared.sharers]
        drawn = _picture(graph, shared, version)
    return call.page(
        "lineage.html",
        title=f"Lineage of {model.full_name}:{model.version}",
        json_twin=url_path("api", "v1", "org", model.org, "models", model.name, version.version, "lineage"),
        model=model,
        picture=drawn,
        above=_branches(graph, upwards=True),
        below=_branches(graph, upwards=False),
        graph=graph,
        sharers=sharers,
        distinct_bytes=shared.distinct_bytes,
        facts=list(_facts(origin)),
    )


# --- the same as a list


@dataclass(frozen=True, slots=True)
class Branch:
    """A node of the lineage, how it is tied to the one before it, and what follows; `is_again`: that stands elsewhere
    in the list."""

    node: Node
    url: str | None
    ties: str
    branches: Sequence["Branch"]
    is_again: bool


def _branches(graph: Lineage, *, upwards: bool) -> list[Branch]:
    """What the version was made from, or what was made from it. Each node has its own branches once."""
    ties: dict[int, dict[int, list[Edge]]] = {}
    for edge in graph.edges:
        start, end = (edge.child, edge.parent) if upwards else (edge.parent, edge.child)
        ties.setdefault(start, {}).setdefault(end, []).append(edge)
    told = {0}

    def grow(start: int) -> list[Branch]:
        found = []
        for end, edges in ties.get(start, {}).items():
            is_again = end in told
            told.add(end)
            node = graph.nodes[end]
            words = ", ".join(_words(edge) for edge in edges)
            found.append(Branch(node, url_of(node), words, [] if is_again else grow(end), is_again and end in ties))
        return found

    return grow(0)


def url_of(node: Node) -> str | None:
    """Where a node leads: to a page here, to an address of the web, or nowhere."""
    if node.kind == "elsewhere":
        return node.url
    org, _, name = node.name.partition("/")
    return url_path(org, name, "v", node.version or "") if node.kind == "version" else url_path(org, name)


def _words(edge: Edge) -> str:
    words = {"derived_from": "derived from", "base_model": "base model", "source": "source"}[edge.kind]
    return f"{words} ({edge.relation})" if edge.relation else words


# --- the picture


def _picture(graph: Lineage, shared: Sharing, version: Version) -> Markup:
    """The lineage, and beside it whoever has much of the same bytes: before the version if published before. Empty
    where the version stands alone."""
    boxes = [_box(node) for node in graph.nodes]
    labels: dict[tuple[int, int], list[str]] = {}
    for edge in graph.edges:
        said = labels.setdefault((edge.parent, edge.child), [])
        said += [edge.relation or _words(edge)] if not said else []
    kinds = dict.fromkeys(labels, "made")
    places = {(node.name, node.version): place for place, node in enumerate(graph.nodes) if node.kind == "version"}
    models = {node.name: place for place, node in enumerate(graph.nodes) if node.kind == "model"}
    left = _MOST_DRAWN
    for sharer in shared.sharers:
        name = sharer.found.full_name
        place = places.get((name, sharer.version.version), models.get(name))
        is_before = sharer.version.id < version.id
        if place is None:
            if not left or sharer.share < _LEAST_DRAWN_SHARE:
                continue
            left -= 1
            place = len(boxes)
            boxes.append(_box_of(sharer, -1 if is_before else 1))
        ends = next((ends for ends in ((place, 0), (0, place)) if ends in labels), None)
        ends = ends or ((place, 0) if is_before else (0, place))
        labels.setdefault(ends, []).append(f"shares {percent(sharer.share)}")
        kinds.setdefault(ends, "shared")
    arrows = [Arrow(*ends, some, f"picture-{kinds[ends]}") for ends, some in labels.items()]
    return picture(boxes, arrows, title="The lineage, left to right") if arrows else Markup("")


def _box(node: Node) -> Box:
    owner, _, name = node.name.rpartition("/") if node.kind != "elsewhere" else ("elsewhere", "", node.name)
    more = f" and {node.versions - 1} more" if node.versions > 1 else ""
    below = f"{node.version or ''}{more}{', yanked' if node.is_yanked else ''}"
    kind = "picture-here" if node.step == 0 else f"picture-{node.kind}"
    title = f"{node.name}{':' if node.version and node.kind == 'version' else ' '}{below}".strip()
    return Box(node.step, owner, name, below, title, kind, url_of(node), is_outside=node.kind == "elsewhere")


def _box_of(sharer: Sharer, column: int) -> Box:
    version = sharer.version
    is_yanked = version.standing == Standing.YANKED
    return _box(Node("version", sharer.found.full_name, column, version.version, is_yanked=is_yanked))


def percent(share: float) -> str:
    """A share as people say it, and never more than it is: 100 % is all."""
    tenths = 1_000 if share >= 1 else min(math.floor(share * 1_000), 999)
    return f"{tenths // 10} %" if 100 <= tenths < 990 else f"{tenths / 10:g} %"


# --- shared bytes


@dataclass(frozen=True, slots=True)
class SharerRow:
    """A version that has some of the bytes."""

    ref: str
    url: str
    is_own: bool
    percent: str
    bar_width: int
    shared_bytes: int


def _sharer(own_model_id: int, sharer: Sharer) -> SharerRow:
    found, number = sharer.found, sharer.version.version
    return SharerRow(
        ref=f"{found.full_name}:{number}",
        url=url_path(found.org.slug, found.model.name, "v", number),
        is_own=found.model.id == own_model_id,
        percent=percent(sharer.share),
        bar_width=max(1, math.floor(sharer.share * 100)),
        shared_bytes=sharer.shared_bytes,
    )


# --- what the publisher says


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is said of the origin; `url` where it is an address of the web."""

    key: str
    text: str
    url: str | None = None


_KNOWN = ("source", "url", "repo", "revision", "run_id", "git", "created_with", "dataset_refs", "registry")
_WORDS = {"run_id": "run", "created_with": "created with", "dataset_refs": "data sets", "registry": "published"}


def _facts(origin: Mapping[str, Any]) -> Iterator[Fact]:
    """The known keys first, then what else the publisher wrote; parents stand in the lineage."""
    own = [key for key in origin if key not in (*_KNOWN, "derived_from")]
    for key in [*(key for key in _KNOWN if key in origin), *own][:_MOST_FACTS]:
        for inner, value in _flat(origin[key]):
            said = inner.removeprefix("published_") if key == "registry" else inner
            name = f"{_WORDS.get(key, key)} {said}".strip()
            text = _told(value)
            if text:
                yield Fact(_cut(name), _cut(text), descent.web_url(text))


def _flat(value: Any) -> Iterator[tuple[str, Any]]:
    """What a document has in it, one level down; a tool and its version are one thing."""
    if isinstance(value, dict) and {"tool", "version"} == value.keys():
        yield "", f"{_told(value['tool'])} {_told(value['version'])}"
    elif isinstance(value, dict):
        yield from list(value.items())[:_MOST_FACTS]
    elif isinstance(value, list):
        yield "", ", ".join(_told(one) for one in value[:_MOST_FACTS])
    else:
        yield "", value


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_FACT else text[: _LONGEST_FACT - 1] + "…"
