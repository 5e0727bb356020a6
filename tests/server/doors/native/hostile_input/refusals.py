"""What a clear refusal looks like (contract section 3)."""

import json
from typing import Any

import httpx2

TYPES = {
    400: {"invalid_request_error"},
    401: {"authentication_error"},
    403: {"forbidden_error"},
    404: {"not_found_error"},
    405: {"invalid_request_error"},
    409: {"already_exists_error", "conflict_error"},
    412: {"invalid_request_error"},
    413: {"invalid_request_error"},
    415: {"invalid_request_error"},
    416: {"invalid_request_error"},
    422: {"validation_error"},
    429: {"rate_limit_error"},
}
MOST_ERRORS = 1_001  # a thousand, then a total


def check_refusal(status: int, headers: Any, content: bytes) -> dict[str, Any]:
    """A 4xx with the one error body (contract section 3); answers that body."""
    assert status in TYPES, (status, content[:500])
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    body: dict[str, Any] = json.loads(content)
    assert set(body) == ({"code", "detail", "type", "errors"} if status == 422 else {"code", "detail", "type"}), body
    assert body["code"] == status
    assert body["type"] in TYPES[status]
    assert isinstance(body["detail"], str)
    assert 0 < len(body["detail"]) <= 1_500
    _check_errors(body.get("errors"))
    return body


def _check_errors(errors: list[dict[str, Any]] | None) -> None:
    if errors is None:
        return
    assert 1 <= len(errors) <= MOST_ERRORS
    for error in errors:
        assert set(error) == {"loc", "msg", "type"}
        assert all(isinstance(step, str | int) for step in error["loc"])
        assert error["msg"]
        assert error["type"]


def refused(response: httpx2.Response) -> int:
    """The status of a clear refusal; anything else fails."""
    if response.request.method == "HEAD":
        assert response.status_code in TYPES
        return response.status_code
    check_refusal(response.status_code, response.headers, response.content)
    return response.status_code


def taken_or_refused(response: httpx2.Response) -> int:
    """The status of a success, or of a clear refusal; a fault of the server fails."""
    if response.status_code < 400:
        return response.status_code
    return refused(response)
