"""How the command fails: one exit code a kind of failure, and a next step to type with each."""

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

import click

from steelyard.cli.console import plain

if TYPE_CHECKING:
    from steelyard.client.errors import ApiError


class Exit(IntEnum):
    """Exit codes; `EXIT_CODES` explains them, here and in docs/cli.md."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    UNTRUSTWORTHY = 7
    TOO_OLD = 8
    INTERRUPTED = 130
    PIPE_CLOSED = 141


EXIT_CODES: Mapping[int, str] = {
    Exit.DONE: "done",
    Exit.FAILED: "`verify` found a difference, or something failed that has no code of its own",
    Exit.USAGE: "command line, reference, setting or metadata cannot be understood, or is refused (400, 413, 422)",
    Exit.NOT_FOUND: "not there, or not to be seen with this token (404)",
    Exit.NOT_ALLOWED: "not logged in, or not allowed (401, 403)",
    Exit.CONFLICT: "the name, version or file is taken, or the state forbids it (409)",
    Exit.UNAVAILABLE: "the registry cannot be reached, or cannot serve this now (429, 5xx)",
    Exit.UNTRUSTWORTHY: "the registry sent other bytes than announced, an unsafe path, or what no registry sends",
    Exit.TOO_OLD: "this client is older than the oldest the registry serves (426)",
    Exit.INTERRUPTED: "stopped by Ctrl-C; push and pull go on where they stopped when run again",
    Exit.PIPE_CLOSED: "whoever read the output went away",
}


def exit_code(error: Exception) -> Exit:
    """The exit code of an error of the client."""
    from steelyard.client import errors

    if isinstance(error, errors.ApiError):
        return _api_exit_code(error)
    kinds: tuple[tuple[type[Exception], Exit], ...] = (
        (errors.InvalidInput, Exit.USAGE),
        (errors.ConnectionFailed, Exit.UNAVAILABLE),
        (errors.UnexpectedAnswer, Exit.UNTRUSTWORTHY),
        (errors.DigestMismatch, Exit.UNTRUSTWORTHY),
        (errors.WouldOverwrite, Exit.CONFLICT),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), Exit.FAILED)


def _api_exit_code(error: "ApiError") -> Exit:
    by_status = {
        401: Exit.NOT_ALLOWED, 403: Exit.NOT_ALLOWED, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT, 426: Exit.TOO_OLD,
        429: Exit.UNAVAILABLE,
    }  # fmt: skip
    return by_status.get(error.status, Exit.UNAVAILABLE if error.status >= 500 else Exit.USAGE)


def next_step(error: Exception, params: Mapping[str, Any], url: str | None) -> str | None:
    """What to type next, where there is something sensible."""
    from steelyard.client import errors

    model, org = _model_and_org(params)
    roles = f"steelyard member list {org}   (who could do this, or could give you the role)" if org else None
    steps: tuple[tuple[type[Exception], str | None], ...] = (
        (errors.AuthenticationFailed, f"steelyard login {url}" if url else None),
        (errors.Forbidden, roles),
        (errors.NotFound, f"steelyard versions {model}   or   steelyard list {org}" if model else "steelyard org list"),
        (errors.UpgradeRequired, "pip install --upgrade steelyard"),
        (errors.ConnectionFailed, f"curl {url}/health   (is it running, and is this its address?)"),
        (errors.WouldOverwrite, "name another folder, or add --force to replace what is named above"),
        (errors.UnsafeFolder, f"take these out of the folder, or name them in {params.get('folder')}/.steelyardignore"),
        (errors.InvalidReference, "references look like ORG/NAME, ORG/NAME:1.0.0, ORG/NAME:^1.2 or ORG/NAME:latest"),
        (errors.DigestMismatch, "try again; if it happens again, tell the people who run the registry"),
    )  # fmt: skip
    return next((step for kind, step in steps if isinstance(error, kind)), None)


def _model_and_org(params: Mapping[str, Any]) -> tuple[str | None, str | None]:
    reference = params.get("reference") or params.get("model")
    if not isinstance(reference, str) or "/" not in reference:
        return None, params.get("org")
    model = reference.split(":", 1)[0].split("@", 1)[0]
    return model, model.split("/", 1)[0]


def report(error: Exception, *, as_json: bool, params: Mapping[str, Any], url: str | None) -> Exit:
    """Tell of an error on stderr, as text or as one JSON object; answers with the exit code."""
    code, step = exit_code(error), next_step(error, params, url)
    if as_json:
        write_json_error(describe(error), code, step)
        return code
    click.echo(f"error: {plain(str(error), lines=True)}", err=True)
    for fault in getattr(error, "errors", ())[:20]:
        where = ".".join(str(part) for part in fault.get("loc", ()))
        click.echo(f"  {plain(where)}: {plain(str(fault.get('msg', '')))}", err=True)
    if step:
        click.echo(f"next:  {plain(step)}", err=True)
    return code


def describe(error: Exception) -> dict[str, Any]:
    """What is known of an error: for one of the registry the keys of its error body, and the request id."""
    from steelyard.client.errors import ApiError

    if isinstance(error, ApiError):
        return {
            "code": error.status, "detail": error.detail, "type": error.type, "errors": list(error.errors),
            "request_id": error.request_id,
        }  # fmt: skip
    return describe_locally(str(error), type(error).__name__)


def describe_locally(detail: str, type_: str) -> dict[str, Any]:
    """The same keys for what went wrong before, or without, an answer of the registry."""
    return {"code": None, "detail": detail, "type": type_, "errors": [], "request_id": None}


def write_json_error(description: Mapping[str, Any], code: int, step: str | None) -> None:
    """The one JSON object on stderr."""
    click.echo(json.dumps({**description, "exit_code": int(code), "next": step}), err=True)


def usage_error(message: str) -> NoReturn:
    """Refuse a command line, as click does."""
    raise click.UsageError(message)
