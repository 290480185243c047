"""Errors of the API: each a sentence with the request's id, none with anything of the machine."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ..data.images import ImageError
from . import limits
from .answers import Question, QuestionError

RETRY = {"retry-after": "2"}  # seconds; most answers take less


class Error(BaseModel):
    """What went wrong, in a sentence."""

    error: str
    request_id: str


def refusal(words: str) -> dict:
    """What the schema says of a status."""
    return {"model": Error, "description": words}


REFUSALS = {
    400: refusal("a broken form, or another host's name"),
    406: refusal("neither JSON nor PNG is accepted"),
    408: refusal("the request took too long to arrive"),
    413: refusal("more bytes than are taken"),
    415: refusal("no image, and no form with one"),
    422: refusal("an image, or a parameter, that cannot be used"),
    503: refusal("too much to do: try again after the seconds in Retry-After"),
}


def _answered(request: Request, status: int, words: str, headers: dict | None = None) -> JSONResponse:
    content = {"error": words, "request_id": getattr(request.state, "request_id", "")}
    return JSONResponse(content, status, headers)


def _http(request, error):
    return _answered(request, error.status_code, str(error.detail), error.headers)


def _unusable(request, error):
    return _answered(request, 422, f"{error}")


def _invalid(request, error):
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"][1:])
    if problem["type"] == "extra_forbidden":
        words = f"no parameter {name[:50]!r}: there are {', '.join(Question.model_fields)}"
        return _answered(request, 422, words)
    return _answered(request, 422, f"{name}: {problem['msg'].lower()}")


def _busy(request, _):
    return _answered(request, 503, "too many images are waiting: try again in a few seconds", RETRY)


def _expired(request, _):
    seconds = request.app.state.settings.seconds
    words = f"no answer within {seconds:g} seconds: try again, or with a larger tolerance"
    return _answered(request, 503, words, RETRY)


def _unforeseen(request, _):
    return _answered(request, 500, "the server failed; its log says why under this request id")


HANDLERS = {
    HTTPException: _http,
    RequestValidationError: _invalid,
    ImageError: _unusable,
    QuestionError: _unusable,
    limits.BusyError: _busy,
    limits.ExpiredError: _expired,
    Exception: _unforeseen,
}
