"""What a version was made from and what was made from it: a graph of bounded size, which may have circles.

Upwards by what each version says of its origin, as far as the caller may know it; downwards by the versions here that
name it or its model. Whatever the caller may not see is left out by the queries, before anything is counted or cut: so
the graph is the same whether it is there or not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy import Row, Select, and_, func, or_, select
from sqlalchemy.orm import Session, load_only

from steelyard.server.core.access import Actor, visible_to
from steelyard.server.core.lineage import origins
from steelyard.server.core.lineage.origins import Claim
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Model, Org, Standing, Version, VersionParent

MOST_STEPS_ABOVE, MOST_STEPS_BELOW = 5, 3
MOST_ABOVE = MOST_BELOW = 30
MOST_PARENTS = 12
_VERSIONS_EACH = 20  # of one model that name the same parent
_MOST_ROWS = 600
_MOST_NAME, _MOST_WORD, _MOST_URL = 200, 120, 2_000

NodeKind = Literal["version", "model", "elsewhere"]
EdgeKind = Literal["derived_from", "base_model", "source"]


@dataclass(frozen=True, slots=True)
class Node:
    """A version here; a model here without knowing which version of it (`version` is what was said, if anything); or a
    name of something elsewhere, which is all that is known of it. `step` is 0 for the version asked for, -1 for what it
    was made from, 1 for what was made from it. `versions` is how many of this model's versions it stands for."""

    kind: NodeKind
    name: str
    step: int
    version: str | None = None
    url: str | None = None
    is_yanked: bool = False
    versions: int = 1


@dataclass(frozen=True, slots=True)
class Edge:
    """One of `Lineage.nodes` was made from another: their places in that list. `relation` is the publisher's word."""

    parent: int
    child: int
    kind: EdgeKind
    relation: str = ""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The nodes, first the version asked for, and what was made from what; whether there is more than is shown."""

    nodes: Sequence[Node]
    edges: Sequence[Edge]
    more_above: bool
    more_below: bool


def get_lineage(session: Session, actor: Actor, found: Found, version: Version) -> Lineage:
    """What a version was made from, and what was made from it, as far as this caller may see either."""
    graph = _Graph()
    start = _Placed(graph.put(("version", version.id), _node_of(found, version, 0)), found, version)
    _climb(session, actor, graph, start)
    _descend(session, actor, graph, start)
    return Lineage(graph.nodes, list(graph.edges.values()), graph.more_above, graph.more_below)


@dataclass(slots=True)
class _Graph:
    nodes: list[Node] = field(default_factory=list)
    edges: dict[tuple[int, int, EdgeKind], Edge] = field(default_factory=dict)
    places: dict[tuple[Any, ...], int] = field(default_factory=dict)
    more_above: bool = False
    more_below: bool = False

    def put(self, key: tuple[Any, ...], node: Node) -> int:
        """The place of what this key stands for, a new one at the end if need be; -1 where there is no room."""
        if key not in self.places and not self._is_full(node.step):
            self.places[key] = len(self.nodes)
            self.nodes.append(node)
        return self.places.get(key, -1)

    def join(self, parent: int, child: int, kind: EdgeKind, relation: str) -> None:
        """Say once that one was made from the other; what is made from itself says nothing."""
        if parent != child:
            self.edges.setdefault((parent, child, kind), Edge(parent, child, kind, _cut(relation, _MOST_WORD)))

    def _is_full(self, step: int) -> bool:
        """Whether one more in that direction is too many or too far: then there is more than is shown."""
        above = step < 0 and (-step > MOST_STEPS_ABOVE or sum(node.step < 0 for node in self.nodes) >= MOST_ABOVE)
        below = step > 0 and (step > MOST_STEPS_BELOW or sum(node.step > 0 for node in self.nodes) >= MOST_BELOW)
        self.more_above |= above
        self.more_below |= below
        return above or below


@dataclass(frozen=True, slots=True)
class _Placed:
    """A version here, at a place of the graph."""

    place: int
    found: Found
    version: Version


# --- what it was made from


@dataclass(frozen=True, slots=True)
class _Said:
    """What a placed version says it was made from, and the model here that this is, if it is one that is seen."""

    child: _Placed
    claim: Claim
    parent: Found | None


def _climb(session: Session, actor: Actor, graph: _Graph, start: _Placed) -> None:
    frontier = [start]
    for step in range(1, MOST_STEPS_ABOVE + 2):  # the last one finds no room, only circles and that there is more
        for child in frontier:
            _place_source(graph, child, step)
        frontier = _place_parents(session, graph, list(_said_by(session, actor, graph, frontier)), step)


def _said_by(session: Session, actor: Actor, graph: _Graph, children: Sequence[_Placed]) -> Iterator[_Said]:
    """What the caller may know of it, not too much of each."""
    seen = origins.list_parents(session, actor, [child.version for child in children]) if children else {}
    for child in children:
        version, parents = child.version, seen[child.version.id]
        is_member = actor.role_in(child.found.org.id) is not None
        hidden = frozenset() if is_member else origins.unseen(version, parents)
        claims = origins.claims_of(version.base_model, version.origin)
        said = [_Said(child, claim, parents.get(claim.key)) for claim in claims if claim.key not in hidden]
        said = [each for each in said if each.claim.number or not _is_own(each)]
        graph.more_above |= len(said) > MOST_PARENTS
        yield from said[:MOST_PARENTS]


def _is_own(said: _Said) -> bool:
    """Whether a version names its own model: without saying which version of it, it says nothing."""
    return said.parent is not None and said.parent.model.id == said.child.found.model.id


def _place_source(graph: _Graph, child: _Placed, step: int) -> None:
    """Where the files came from as they are: a repository of another registry, say."""
    origin = child.version.origin
    repo, url, revision, source = (_text(origin.get(key)) for key in ("repo", "url", "revision", "source"))
    if not repo and not url:
        return
    name, link = _cut(repo or url, _MOST_NAME), web_url(url) or web_url(repo)
    node = Node("elsewhere", name, -step, _cut(revision, _MOST_WORD) or None, link)
    place = graph.put(("elsewhere", repo or url, revision), node)
    if place >= 0:
        graph.join(place, child.place, "source", source)


def _place_parents(session: Session, graph: _Graph, said: Sequence[_Said], step: int) -> list[_Placed]:
    """Answers the new ones whose own origin can be asked for."""
    exact, latest = _find_versions(session, said)
    placed: list[_Placed] = []
    for each in said:
        parent = each.parent
        version = exact.get((parent.model.id, each.claim.number)) if parent else None
        key, node = _parent_node(each.claim, parent, version, -step)
        is_new = key not in graph.places
        place = graph.put(key, node)
        if place < 0:
            continue
        for kind in each.claim.kinds:
            graph.join(place, each.child.place, kind, each.claim.relation if kind == "derived_from" else "")
        followed = version or (parent and latest.get(parent.model.id))
        if is_new and parent and followed and (version or ("version", followed.id) not in graph.places):
            placed.append(_Placed(place, parent, followed))
    return placed


def _parent_node(
    claim: Claim, parent: Found | None, version: Version | None, step: int
) -> tuple[tuple[Any, ...], Node]:
    if parent and version:
        return ("version", version.id), _node_of(parent, version, step)
    said = _cut(claim.said, _MOST_WORD) or None
    if parent:
        return ("model", parent.model.id, claim.said), Node("model", parent.full_name, step, said)
    version_beside = None if claim.said and claim.name.endswith(claim.said) else said
    node = Node("elsewhere", _cut(claim.name, _MOST_NAME), step, version_beside, web_url(claim.name))
    return ("elsewhere", claim.name, claim.said), node


def _find_versions(
    session: Session, said: Iterable[_Said]
) -> tuple[Mapping[tuple[int, str], Version], Mapping[int, Version]]:
    """The versions named, by model and number; and the latest ones of models of which none was named, by model."""
    named = {(each.parent.model.id, each.claim.number) for each in said if each.parent}
    ids, numbers = {model_id for model_id, _ in named}, {number for _, number in named if number}
    query = _versions().where(Version.model_id.in_(ids), Version.version.in_(numbers))
    exact = {(version.model_id, version.version): version for version in session.scalars(query)} if numbers else {}
    latest_ids = {each.parent.model.latest_version_id for each in said if each.parent and not each.claim.number}
    found = session.scalars(_versions().where(Version.id.in_(latest_ids))) if latest_ids else ()
    return exact, {version.model_id: version for version in found}


# --- what was made from it


@dataclass(frozen=True, slots=True)
class _Made:
    """A place whose children are wanted: a model's versions of these numbers stand there."""

    place: int
    model_id: int
    key: str
    numbers: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Child:
    """Versions of one model that name a placed one, the newest first; `count` is how many there are."""

    parent: _Made
    head_id: int
    numbers: frozenset[str]
    count: int


def _descend(session: Session, actor: Actor, graph: _Graph, start: _Placed) -> None:
    frontier = [_made(start, {start.version.version})]
    for step in range(1, MOST_STEPS_BELOW + 2):
        frontier = _place_children(session, graph, _children_of(session, actor, graph, frontier), step)


def _made(placed: _Placed, numbers: Iterable[str]) -> _Made:
    found = placed.found
    return _Made(placed.place, found.model.id, f"{found.org.slug}/{found.model.name_key}", frozenset(numbers))


def _children_of(session: Session, actor: Actor, graph: _Graph, parents: Sequence[_Made]) -> list[_Child]:
    """What was made from each of these, other models' versions together, as far as the caller sees it."""
    if not parents:
        return []
    rows = session.execute(_naming(actor, parents)).all()
    graph.more_below |= len(rows) >= _MOST_ROWS
    found: list[_Child] = []
    for parent in parents:
        groups: dict[tuple[int, int], list[Row[Any]]] = {}
        for row in sorted(rows, key=lambda row: -row.version_id):
            if row.parent_model_id == parent.model_id and row.parent_version in {"", *parent.numbers}:
                is_own = row.model_id == parent.model_id
                groups.setdefault((row.model_id, row.version_id if is_own else 0), []).append(row)
                graph.more_below |= is_own and row.how_many > _VERSIONS_EACH
        found += [_child(parent, some) for some in groups.values()]
    return sorted(found, key=lambda child: -child.head_id)


def _child(parent: _Made, rows: Sequence[Row[Any]]) -> _Child:
    is_own = rows[0].model_id == parent.model_id
    counts = {row.parent_version: row.how_many for row in rows}
    return _Child(
        parent, rows[0].version_id, frozenset(row.version for row in rows), 1 if is_own else sum(counts.values())
    )


def _naming(actor: Actor, parents: Sequence[_Made]) -> Select[Any]:
    """The newest versions of every visible model that name one of these, or their model and no version of it."""
    group = (VersionParent.parent_model_id, VersionParent.parent_version, Version.model_id)
    columns = (*group, VersionParent.version_id, Version.version)
    rank = func.row_number().over(partition_by=group, order_by=VersionParent.version_id.desc()).label("rank")
    how_many = func.count().over(partition_by=group).label("how_many")
    named = or_(
        *(
            and_(VersionParent.parent_model_id == it.model_id, VersionParent.parent_version.in_(["", *it.numbers]))
            for it in parents
        )
    )
    # Ranks are within a model: whoever else names it, seen or not, does not change them.
    named_all = select(*columns, rank, how_many).join(Version, Version.id == VersionParent.version_id).where(named)
    newest = named_all.subquery()
    seen = select(newest).join(Model, Model.id == newest.c.model_id).where(visible_to(actor))
    wanted = seen.where(newest.c.rank <= _VERSIONS_EACH)
    return wanted.order_by(newest.c.rank, newest.c.version_id.desc()).limit(_MOST_ROWS)


def _place_children(session: Session, graph: _Graph, children: Sequence[_Child], step: int) -> list[_Made]:
    """Answers the new ones."""
    shown = [child for child in children if ("version", child.head_id) in graph.places]
    shown += [child for child in children if child not in shown][: MOST_BELOW + 1]
    versions = _find_placed(session, {child.head_id for child in shown})
    placed: list[_Made] = []
    for child in shown:
        found, version = versions[child.head_id]
        is_new = ("version", version.id) not in graph.places
        place = graph.put(("version", version.id), _node_of(found, version, step, child.count))
        if place < 0:
            continue
        for claim in origins.claims_of(version.base_model, version.origin):
            if claim.key == child.parent.key and claim.number in {"", *child.parent.numbers}:
                for kind in claim.kinds:
                    relation = claim.relation if kind == "derived_from" else ""
                    graph.join(child.parent.place, place, kind, relation)
        if is_new:
            placed.append(_made(_Placed(place, found, version), child.numbers))
    return placed


def _find_placed(session: Session, version_ids: Iterable[int]) -> Mapping[int, tuple[Found, Version]]:
    query = _versions().add_columns(Model, Org).join(Model, Model.id == Version.model_id)
    rows = session.execute(query.join(Org, Org.id == Model.org_id).where(Version.id.in_(version_ids)))
    return {version.id: (Found(model, org), version) for version, model, org in rows}


# --- of either side


def _versions() -> Select[Any]:
    """Only what a node is made of: the rest may be long."""
    columns = (Version.model_id, Version.version, Version.standing, Version.base_model, Version.origin, Version.parents)
    return select(Version).options(load_only(*columns))


def _node_of(found: Found, version: Version, step: int, versions: int = 1) -> Node:
    is_yanked = version.standing == Standing.YANKED
    return Node("version", found.full_name, step, version.version, is_yanked=is_yanked, versions=versions)


def web_url(text: str) -> str | None:
    """The text, if it is an address of the web that a page may link to; publishers write what they like."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return None
    return text if is_one and len(text) <= _MOST_URL and text.isprintable() and " " not in text else None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
