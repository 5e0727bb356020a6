"""What schemathesis does besides its own: it asks for real things most of the time, and misses no operation.

Loaded by schemathesis in a process of its own; `test_schemathesis.py` starts it.
"""

import os
from collections import Counter
from typing import Any

import schemathesis
from schemathesis import CheckContext, HookContext, Response
from schemathesis.core.parameters import ParameterLocation

from steelyard.server.doors.native.examples import BYTES
from tests.server.doors.native.fuzzing.stock import ADMIN, MODEL, NAME, ORG, Ground, Stock

Case = schemathesis.Case[Any]

_TAKES_AWAY = {
    "delete_model",
    "delete_whole_model",
    "end_session",
    "remove_member",
    "remove_model_alias",
    "remove_service_account",
    "revoke_api_key",
    "revoke_service_token",
    "unlink_identity",
}
_MOVES_PEOPLE = {"update_user", "set_member_role", "remove_member"}

_stock = Stock(os.environ["STEELYARD_FUZZ_URL"], os.environ["STEELYARD_FUZZ_TOKEN"])
_own_token_id = _stock.admin.get("/user/api-keys").json()["api_keys"][-1]["id"]
_calls: Counter[str] = Counter()


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Put real values in place of generated ones: in three calls of four, and always where a call would take away
    what the others stand on. What was generated to be invalid stays as it is, and so does what comes from the answer
    to an earlier call."""
    kwargs["allow_redirects"] = False  # what the store answers is not the registry's
    operation_id = case.operation.definition.raw["operationId"]
    _calls[operation_id] += 1
    if _would_break_the_run(operation_id, case.path_parameters):
        _put(case, _stock.ground(operation_id), linked=set())
    elif _calls[operation_id] % 4 != 0 or (operation_id in _TAKES_AWAY and not _is_stateful(case)):
        _put(case, _stock.ground(operation_id), linked=_linked(case))


def _is_stateful(case: Case) -> bool:
    return case.meta is not None and case.meta.phase.name.value == "stateful"


def _linked(case: Case) -> set[str]:
    """The parameters that an earlier answer filled."""
    return {*case._override.path_parameters, *case._override.query} if _is_stateful(case) else set()


def _would_break_the_run(operation_id: str, path: dict[str, Any]) -> bool:
    if operation_id in _MOVES_PEOPLE and path.get("username") == ADMIN:
        return True
    if operation_id in _TAKES_AWAY and (path.get("org"), path.get("name")) == (ORG, NAME):
        return True
    return operation_id == "revoke_api_key" and path.get("key_id") == _own_token_id


def _put(case: Case, ground: Ground, *, linked: set[str]) -> None:
    if not _is_invalid(case, ParameterLocation.PATH):
        free = [name for name in case.path_parameters if not _is_subject(case, ParameterLocation.PATH, name)]
        case.path_parameters.update({n: ground.path[n] for n in free if n in ground.path and n not in linked})
    if not _is_invalid(case, ParameterLocation.QUERY):
        free = [name for name in ground.query if not _is_subject(case, ParameterLocation.QUERY, name)]
        case.query.update({n: ground.query[n] for n in free if n not in linked})
    if not _is_invalid(case, ParameterLocation.BODY):
        _put_body(case, ground)


def _put_body(case: Case, ground: Ground) -> None:
    if ground.body is not None and not _tests_body(case):
        case.body = ground.body
    elif ground.keys and isinstance(case.body, dict):
        case.body = {**case.body, **ground.keys}


def _is_invalid(case: Case, location: ParameterLocation) -> bool:
    return case.meta is not None and case.meta.is_negative_at(location)


def _is_subject(case: Case, location: ParameterLocation, name: str) -> bool:
    """Whether the case is about this very parameter: its longest value, its shortest one."""
    if case.meta is None or case.meta.phase.name.value != "coverage":
        return False
    data = case.meta.phase.data
    return data.parameter_location == location and data.parameter == name


def _tests_body(case: Case) -> bool:
    """Whether the case is about its body; half of those that the fuzzing phase makes are. Raw bytes are all alike."""
    if case.meta is None or case.media_type == "application/octet-stream":
        return False
    if case.meta.phase.name.value == "coverage":
        return case.meta.phase.data.parameter_location == ParameterLocation.BODY
    return _calls[case.operation.definition.raw["operationId"]] % 2 == 1


@schemathesis.check
class every_operation_succeeds:  # noqa: N801 - checks are named as functions are
    """Fails for an operation of which no request was answered with 2xx: it was not tested, only turned away."""

    def __init__(self) -> None:
        self._tried: set[str] = set()
        self._succeeded: set[str] = set()

    def after_response(self, ctx: CheckContext, response: Response, case: Case) -> None:
        if response.request.method != case.operation.method.upper():
            return
        self._tried.add(case.operation.label)
        if 200 <= response.status_code < 300:
            self._succeeded.add(case.operation.label)

    def after_run(self, ctx: CheckContext) -> None:
        missed = sorted(self._tried - self._succeeded)
        assert not missed, f"never answered with 2xx: {', '.join(missed)}"


@schemathesis.check
class the_registry_is_intact:  # noqa: N801 - checks are named as functions are
    """Fails when what the run stood on is not there any more, byte for byte."""

    def after_run(self, ctx: CheckContext) -> None:
        fetched = _stock.admin.get(f"{MODEL}/1.0.0/files/model.safetensors", follow_redirects=True)
        assert (fetched.status_code, fetched.content) == (200, BYTES), fetched.text
