"""Where a version came from, what was made from it, and which others have the same bytes."""

from fastapi import APIRouter

from steelyard.server.core import models, versions
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.lineage import descent, origins, sharing
from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import PublicRoute
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import NamePath, OrgPath, ReferencePath

reads = APIRouter(prefix="/org/{org}", tags=["models"], route_class=PublicRoute, responses=errors())


@reads.get("/models/{name}/{version}/lineage")
def get_model_lineage(call: CallHere, org: OrgPath, name: NamePath, version: ReferencePath) -> s.ModelLineage:
    """Get what a version was made from, what was made from it, and who shares its bytes, as far as the caller sees."""
    with call.read(LimitedAction.SEARCH) as session:
        found = models.get_model(session, call.actor, org, name)
        chosen = versions.resolve(session, found, version).version
        hidden = origins.hidden_parents(session, call.actor, found, chosen)
        graph = descent.get_lineage(session, call.actor, found, chosen)
        shared = sharing.get_sharing(session, call.actor, chosen)
        origin = origins.origin_for(call.actor, found, chosen, hidden)
        return s.ModelLineage(
            name=found.full_name,
            version=chosen.version,
            base_model=origins.base_model_for(chosen, hidden),
            origin=origin,
            nodes=[_node(node) for node in graph.nodes],
            edges=[_edge(edge) for edge in graph.edges],
            more_above=graph.more_above,
            more_below=graph.more_below,
            distinct_bytes=shared.distinct_bytes,
            shares_with=[_sharer(sharer) for sharer in shared.sharers],
        )


def _node(node: descent.Node) -> s.LineageNode:
    return s.LineageNode(
        kind=node.kind,
        name=node.name,
        version=node.version,
        step=node.step,
        url=node.url,
        yanked=node.is_yanked,
        versions=node.versions,
    )


def _edge(edge: descent.Edge) -> s.LineageEdge:
    return s.LineageEdge(parent=edge.parent, child=edge.child, kind=edge.kind, relation=edge.relation or None)


def _sharer(sharer: sharing.Sharer) -> s.LineageSharer:
    return s.LineageSharer(
        name=sharer.found.full_name,
        version=sharer.version.version,
        shared_bytes=sharer.shared_bytes,
        share=round(sharer.share, 4),
    )
