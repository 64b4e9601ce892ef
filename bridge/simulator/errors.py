"""What the server answers when it refuses: a Status object with the real server's words."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.simulator.encode import Obj
    from bridge.simulator.kinds import Kind

__all__ = [
    "ApiError",
    "bad_request",
    "conflict",
    "expired",
    "invalid_options",
    "not_found",
    "too_large_revision",
]

CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without the continue parameter, or use the continue token in this response to retrieve the "
    "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
    "that were created, modified, or deleted between the time the first chunk was returned and now "
    "may show up in the list."
)


class ApiError(Exception):
    """A refusal; `api.py` turns it into a response, a watch stream into an ERROR event.

    Attributes:
        code: The HTTP status.
        status: The body, in the key order of the real encoder.
        retry_after: Seconds for the header of that name, or None.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Obj | None = None,
        retry_after: int | None = None,
        remainder: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after
        if retry_after is not None and details is None:
            details = {"retryAfterSeconds": retry_after}
        self.status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": remainder} if remainder else {},
            "status": "Failure",
            "message": message,
            **({"reason": reason} if reason else {}),
            **({"details": details} if details is not None else {}),
            "code": code,
        }


def bad_request(message: str) -> ApiError:
    """A 400 with the server's words."""
    return ApiError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def expired(message: str, *, remainder: str = "") -> ApiError:
    """A 410: the revision that was asked for is not kept any more."""
    return ApiError(HTTPStatus.GONE, "Expired", message, remainder=remainder)


def _details(kind: Kind, name: str) -> Obj:
    return {"name": name} | ({"group": kind.group} if kind.group else {}) | {"kind": kind.plural}


def not_found(kind: Kind, name: str) -> ApiError:
    """A 404 for one object."""
    message = f'{kind.resource} "{name}" not found'
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", message, details=_details(kind, name))


def conflict(kind: Kind, name: str, *, exists: bool = False) -> ApiError:
    """A 409: it exists already, or it was modified since it was read."""
    message, reason = f'{kind.resource} "{name}" already exists', "AlreadyExists"
    if not exists:
        reason = "Conflict"
        message = (
            f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
    return ApiError(HTTPStatus.CONFLICT, reason, message, details=_details(kind, name))


def too_large_revision(wanted: int, current: int, *, cached: bool) -> ApiError:
    """The 504 for a revision of the future; only a watch cache says when to come back."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(
        HTTPStatus.GATEWAY_TIMEOUT,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        details={"causes": [cause]} | ({"retryAfterSeconds": 1} if cached else {}),
        retry_after=1 if cached else None,
    )


def invalid_options(problems: Sequence[tuple[str, str]]) -> ApiError:
    """The 422 for list options that may not stand together: each field with what is wrong with it."""
    reasons = {"Forbidden": "FieldValueForbidden", "Unsupported value": "FieldValueNotSupported"}
    causes = [
        {"reason": reasons[text.partition(":")[0]], "message": text, "field": field}
        for field, text in problems
    ]
    told = ", ".join(f"{field}: {text}" for field, text in problems)
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        f'ListOptions.meta.k8s.io "" is invalid: {told if len(problems) == 1 else f"[{told}]"}',
        details={"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes},
    )
