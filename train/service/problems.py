"""Errors as ``application/problem+json`` (RFC 9457): what went wrong and what to do, never a trace or a text."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)
#: How many faults of one request are listed; a body of a million bad rows has a million.
_MOST_FAULTS = 20
_LONGEST_PLACE = 120
#: The forms that a part of a body may take: pydantic names them in a fault's place, but they do not stand in the body.
COLUMNS, RECORDS = "table of columns", "table of records"


class Fault(BaseModel):
    """One value of a request that will not do."""

    at: str = Field(description="Where it stands, as `articles.0.text`")
    reason: str


class ProblemDetails(BaseModel):
    """What an error answers."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    faults: list[Fault] = Field(default_factory=list)


class ProblemError(Exception):
    """A request that cannot be answered: its status, one sentence, and headers such as ``Retry-After``."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, faults: Sequence[Fault] = ()
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.faults = status, detail, dict(headers or {}), list(faults)

    def response(self) -> Response:
        """Return it as an HTTP response."""
        details = ProblemDetails(
            title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail, faults=self.faults
        )
        # ASCII: a place may hold half a character that a client sent as a key.
        content = json.dumps(details.model_dump(), ensure_ascii=True)
        return Response(content, self.status, self.headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the API's document says of error answers."""
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def from_validation(error: RequestValidationError, content_type: str) -> ProblemError:
    """Return what to say of a body that does not follow the schema; it repeats no value of the body."""
    found = error.errors()
    if not content_type.partition(";")[0].strip().lower().endswith(("/json", "+json")):
        return ProblemError(415, "send the body as application/json")
    if any(fault["type"] == "json_invalid" for fault in found):
        return ProblemError(400, "the body is no valid JSON")
    faults = [
        # The first two parts are « body » and the form that the body took.
        Fault(at=_place(fault["loc"][2:]), reason=fault["msg"].removeprefix("Value error, "))
        for fault in found[:_MOST_FAULTS]
    ]
    return ProblemError(422, f"{faults[0].at}: {faults[0].reason}", faults=faults)


def _place(parts: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in parts if part not in (COLUMNS, RECORDS))[:_LONGEST_PLACE] or "body"


def unexpected(error: BaseException) -> ProblemError:
    """Log where a bug struck, but not its message, which may quote a text; return what the client is told."""
    place = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s:\n%s", type(error).__name__, place.rstrip())
    return ProblemError(500, "something went wrong here; the server's log says where")


def install(app: FastAPI) -> None:
    """Let every error of ``app`` be answered as a problem."""

    async def on_problem(request: Request, error: Any) -> Response:
        return error.response()  # type: ignore[no-any-return]

    async def on_validation(request: Request, error: Any) -> Response:
        return from_validation(error, request.headers.get("content-type", "")).response()

    async def on_http(request: Request, error: Any) -> Response:
        details = {404: "there is nothing at this address; /docs lists what there is"}
        return ProblemError(
            error.status_code, details.get(error.status_code, str(error.detail)), error.headers
        ).response()

    async def on_bug(request: Request, error: Exception) -> Response:
        return unexpected(error).response()

    app.add_exception_handler(Exception, on_bug)
    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
