"""Chunks on their way out: how a file is made of them, links to their bytes, the bytes, and what is here already."""

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from steelyard.server.core.access import Action, may
from steelyard.server.core.tickets import Ticket
from steelyard.server.core.xet import chunks, recipes
from steelyard.server.core.xet.recipes import Fetch, Plan
from steelyard.server.db.tables import Recipe
from steelyard.server.doors import grants
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.ranges import ByteRange, parse_range
from steelyard.server.doors.sending import OCTETS, BlobSource, BytesResponse, attachment
from steelyard.server.doors.xet.callers import CasRoute, DataRoute, Entered, enter, read_hash
from steelyard.server.errors import Forbidden, NotFound
from steelyard.server.xet.shards import write_dedup_shard

_STORE_LINK_SECONDS = 300  # it is used at once, and outlives the token it was made for
_CONDITIONS = ("if-match", "if-none-match", "if-range")

router = APIRouter(prefix="/cas/{org}/{generation}", route_class=CasRoute, include_in_schema=False)
links = APIRouter(prefix="/cas/{org}/{generation}", route_class=DataRoute, include_in_schema=False)


@router.get("/{version}/reconstructions/{file}")
def get_reconstruction(request: Request, call: CallHere, org: str, version: str, file: str) -> Response:
    """Get how a range of a file is made of chunks, with a link for each run of bytes that it takes."""
    with call.registry.database.read() as session:
        entered = enter(session, call, request, org, "xet-read", "xet-write")
        recipe = recipes.find_recipe(session, entered.found.org.id, read_hash(file))
        model, drafts = entered.found.model, may(entered.call.actor, Action.READ, entered.found.org.id)
        if recipe is None or not recipes.is_of_model(session, recipe, model.id, drafts=drafts):
            raise NotFound(f"{entered.found.full_name} has no file of this hash, or none that you may see.")
        wanted = _wanted(request, recipe)
        plan = recipes.plan_reconstruction(session, recipe, wanted.start, wanted.end)
    return JSONResponse(_told(entered, plan) if version == "v2" else _told_flatly(entered, plan))


def _wanted(request: Request, recipe: Recipe) -> ByteRange:
    """The range of the file, clipped; all of it where none is asked for. Raises `RangeNotSatisfiable`."""
    size_bytes = sum(raw_bytes for _, _, _, raw_bytes in recipe.terms)
    ranges = parse_range(request.headers.get("range"), size_bytes)
    return ByteRange(ranges[0].start, ranges[-1].end) if ranges else ByteRange(0, size_bytes)


def _told(entered: Entered, plan: Plan) -> dict[str, Any]:
    """As the second version of the protocol has it."""
    xorbs: dict[str, list[dict[str, Any]]] = {}
    for fetch, link in _linked(entered, plan):
        ranges = [{"chunks": _span(fetch.start, fetch.end), "bytes": _span(fetch.first_byte, fetch.end_byte - 1)}]
        xorbs.setdefault(fetch.xorb_hash, []).append({"url": link, "ranges": ranges})
    return {**_terms(plan), "xorbs": xorbs}


def _told_flatly(entered: Entered, plan: Plan) -> dict[str, Any]:
    """As the first version has it."""
    fetches: dict[str, list[dict[str, Any]]] = {}
    for fetch, link in _linked(entered, plan):
        told = {"range": _span(fetch.start, fetch.end), "url": link}
        told["url_range"] = _span(fetch.first_byte, fetch.end_byte - 1)
        fetches.setdefault(fetch.xorb_hash, []).append(told)
    return {**_terms(plan), "fetch_info": fetches}


def _terms(plan: Plan) -> dict[str, Any]:
    terms = [
        {"hash": term.xorb_hash, "unpacked_length": term.raw_bytes, "range": _span(term.start, term.end)}
        for term in plan.terms
    ]
    return {"offset_into_first_range": plan.offset_bytes, "terms": terms}


def _span(start: int, end: int) -> dict[str, int]:
    return {"start": start, "end": end}


def _linked(entered: Entered, plan: Plan) -> list[tuple[Fetch, str]]:
    """Each run of bytes with a link of its own: clients up to hf_xet 1.2.0 keep what they got by its URL alone."""
    call, org = entered.call, entered.found.org
    base, expires_at = call.url(f"/cas/{org.slug}/{org.xet_generation}/data"), grants.expiry(call)
    linked = []
    for fetch in plan.fetches:
        span = f"{fetch.first_byte}-{fetch.end_byte - 1}"
        subject, credential = entered.ticket.subject, entered.ticket.token_uuid
        ticket = Ticket("xet-data", subject, credential, expires_at, fetch.xorb_hash, span=span)
        linked.append((fetch, f"{base}/{fetch.xorb_hash}/{span}?ticket={call.registry.tickets.sign(ticket)}"))
    return linked


@links.get("/v1/data/{xorb}/{span}")
@waits_for_the_store
def get_xorb_data(request: Request, call: CallHere, org: str, xorb: str, span: str) -> Response:
    """Get the stored bytes of a run of chunks: those of the link, or a range within them."""
    with call.registry.database.read() as session:
        entered = enter(session, call, request, org, "xet-data")
        key = chunks.find_key(session, read_hash(xorb))
    if (entered.ticket.oid, entered.ticket.span) != (xorb, span):
        raise Forbidden("This link's ticket is for something else. Ask for a new link.")
    first, _, last = span.partition("-")
    part = ByteRange(int(first), int(last) + 1)
    if key is not None and (link := _link_to_store(request, call, key, xorb, part)):
        return RedirectResponse(link, 302, {"Cache-Control": "no-store"})
    blob = chunks.open_xorb(call.registry.database, call.registry.store, read_hash(xorb))
    return BytesResponse(
        BlobSource(blob, blob.size_bytes, f'"{xorb}"'),
        content_disposition=attachment(xorb),
        part=part,
        wait_seconds=call.registry.settings.store_timeout_seconds,
    )


def _link_to_store(request: Request, call: Call, key: str, xorb: str, part: ByteRange) -> str | None:
    """Where the store gives the caller just what he asks for, and nothing else of the xorb; None where only the
    registry can answer this."""
    direct, asked = call.registry.store.direct, request.headers.get("range")
    if direct is None or asked is None or any(name in request.headers for name in _CONDITIONS):
        return None
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if asked != f"bytes={first}-{last}" or not _lies_in(part, first, last):
        return None
    notes_of(request.scope).redirected_bytes = int(last) + 1 - int(first)
    ttl_seconds = min(call.registry.settings.download_ttl_seconds, _STORE_LINK_SECONDS)
    return direct.link_blob(
        key, ttl_seconds=ttl_seconds, content_type=OCTETS, content_disposition=attachment(xorb), span=asked
    )


def _lies_in(part: ByteRange, first: str, last: str) -> bool:
    is_range = all(text.isascii() and text.isdecimal() and len(text) < 19 for text in (first, last))
    return is_range and part.start <= int(first) <= int(last) < part.end


@router.get("/{version}/chunks/{chunk}")
def get_chunk(request: Request, call: CallHere, org: str, chunk: str) -> Response:
    """Get which xorbs of the organisation have this chunk, and what else is in them, so that it need not be sent."""
    with call.registry.database.read() as session:
        entered = enter(session, call, request, org, "xet-write")
    found = chunks.find_dedup(call.registry.database, entered.found.org.id, read_hash(chunk))
    if not found:
        raise NotFound("No xorb of this organisation is known by this chunk.")
    now = int(time.time())
    shard = write_dedup_shard(found, created_at=now, expires_at=now + chunks.DEDUP_TTL_SECONDS)
    return Response(shard, media_type=OCTETS)
