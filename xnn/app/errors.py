"""Errors of the API: one sentence with the request's id, and nothing about the machine."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ..data.images import ImageError
from .answers import Question


class Error(BaseModel):
    """What went wrong, in one sentence."""

    error: str
    request_id: str


RESPONSES = {
    400: {"model": Error, "description": "malformed form, or a Host header that is not accepted"},
    406: {"model": Error, "description": "neither JSON nor PNG is accepted"},
    408: {"model": Error, "description": "the request took too long to arrive"},
    413: {"model": Error, "description": "more bytes than allowed"},
    415: {"model": Error, "description": "neither an image nor a form with one"},
    422: {"model": Error, "description": "an image or a parameter that cannot be used"},
    503: {"model": Error, "description": "too much to do: try again after the seconds in Retry-After"},
}


def respond(request: Request, error: Exception) -> JSONResponse:
    """Return the response to an error; what was not expected stays in the log."""
    status, headers = 422, None
    match error:
        case HTTPException():
            status, words, headers = error.status_code, error.detail, error.headers
        case ImageError():
            words = str(error)
        case RequestValidationError():
            problem = error.errors()[0]
            name = ".".join(str(part) for part in problem["loc"][1:])
            words = f"{name}: {problem['msg'].lower()}"
            if problem["type"] == "extra_forbidden":
                words = f"no parameter {name[:50]!r}: use {', '.join(Question.model_fields)}"
        case _:
            status, words = 500, "the server failed; its log says why under this request id"
    return JSONResponse({"error": words, "request_id": request.state.request_id}, status, headers)


HANDLERS = dict.fromkeys((HTTPException, RequestValidationError, ImageError, Exception), respond)
