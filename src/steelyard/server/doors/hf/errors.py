"""Errors as the Hub's clients understand them: which exception they raise is decided by the header `X-Error-Code`.

Source: huggingface_hub, `utils/_http.py`, `hf_raise_for_status`. All of them show `X-Error-Message` and the body's
`error`. An address that this door does not serve is answered in the same way, with 404: a status of 500 and more would
be tried again.
"""

import re
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import Scope

from steelyard.server.errors import EntryNotFound, Invalid, NotFound, RegistryError, RevisionNotFound, Unauthenticated

_CODES: Mapping[type[RegistryError], str] = {RevisionNotFound: "RevisionNotFound", EntryNotFound: "EntryNotFound"}
_STATUSES: Mapping[int, int] = {Invalid.status: 400}  # of which clients raise `BadRequestError`
_OURS = re.compile(r"/api/(?!v[0-9]+(/|$)|$)|/(?!api/)[^/]+/([^/]+/)*(resolve|raw)/")
_BARE_MODEL = r"/api/models/[^/]+(/(revision|tree|commits|paths-info)/.*)?$"
_OTHERS = "(datasets|spaces|kernels|buckets)"
_OF_A_REPO = re.compile(
    r"/api/models/"
    r"|/api/repos/(delete|move)$"
    r"|/(?!api/)[^/]+/([^/]+/)*(resolve|raw)/"
)
# What is no repository of ours by its address alone: other kinds, and models without an organisation.
_NO_REPO = re.compile(
    rf"/api/{_OTHERS}/"
    rf"|{_BARE_MODEL}"
    r"|/(?!api/)[^/]+/([^/]+/)*(resolve|raw)/"
)
# What is said of an address without a route, the first that fits.
_NOWHERE = (
    (
        re.compile(rf"/api/{_OTHERS}(/|$)|/{_OTHERS}/[^/]+/[^/]+/(resolve|raw)/"),
        "This server keeps models: there are no other kinds of repositories here.",
    ),
    (
        re.compile(rf"{_BARE_MODEL}|/(?!api/)[^/]+/(resolve|raw)/"),
        "There is no such model here. A model is named with its organisation, as ORG/NAME.",
    ),
    (re.compile(""), "This server does not have this part of the Hub: it keeps models."),
)
_LONGEST_MESSAGE = 1_000


def speaks_at(path: str) -> bool:
    """Whether the Hub's clients are who asks at this address, whatever is there."""
    return _OURS.match(path) is not None


def answer(scope: Scope, error: RegistryError, **beside: Any) -> JSONResponse:
    """The error as the Hub says it; `beside` goes into the body, too."""
    said = _words(scope, error)
    headers = {**error.headers, "X-Error-Message": _one_line(said)}
    if code := _code(scope, error):
        headers["X-Error-Code"] = code
    if error.status == Unauthenticated.status:
        headers["WWW-Authenticate"] = 'Bearer realm="steelyard"'
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    detail = said.encode("utf-8", "replace").decode()  # a path may hold what is no text
    return JSONResponse({"error": detail, **beside}, _STATUSES.get(error.status, error.status), headers)


def _words(scope: Scope, error: RegistryError) -> str:
    """The framework knows nothing of an address without a route; people mean something by it."""
    if "route" in scope or type(error) is not NotFound:
        return error.detail
    return next(words for at, words in _NOWHERE if at.match(scope["path"]))


def _code(scope: Scope, error: RegistryError) -> str | None:
    """A repository that is hidden, or asked for with a wrong token, is one that is not there."""
    if type(error) in _CODES:
        return _CODES[type(error)]
    at = _OF_A_REPO if "route" in scope else _NO_REPO
    hides = isinstance(error, NotFound | Unauthenticated)
    return "RepoNotFound" if hides and at.match(scope["path"]) else None


def _one_line(text: str) -> str:
    """The text as a header may carry it."""
    printable = "".join(character if character.isprintable() else " " for character in text[:_LONGEST_MESSAGE])
    return " ".join(printable.split()).encode("ascii", "replace").decode()
