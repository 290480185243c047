"""The API: an image in, the class, calibrated probabilities and an explanation out.

    python -m xnn.app.api

Settings are environment variables, see ``settings``. Every error is a sentence in JSON, with the request's
id, and says nothing of the machine.
"""

import os
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

os.environ.setdefault("TQDM_DISABLE", "1")  # progress of a server is its log

import torch
import uvicorn
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from prometheus_client import generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from . import answers, dicom, docs, errors, limits
from . import model as served
from .answers import Question, answer
from .limits import Guard, Impatient
from .model import Served
from .settings import Settings, SettingsError, listen
from .settings import load as load_settings
from .telemetry import Metrics, log_to_stdout

KINDS = ("application/json", "image/png")  # of an answer to /predict, the first where nothing is asked for


class State(BaseModel):
    """Whether the API lives, or can take another image."""

    status: str


class Card(BaseModel):
    """What is known of the model."""

    id: str
    sha256: str
    classes: list[str]
    image_size: int
    flip: bool
    baseline: str
    tolerance: float
    temperature: float | None
    distance_threshold: float | None
    card: str
    metrics: dict | None
    shipped: dict | None


ROUTER = APIRouter()
PICTURE = {"content": {"image/png": {}}, "description": "JSON, or by Accept the overlay as PNG"}


# ---- what it answers -----------------------------------------------------------------------------


@ROUTER.post(
    "/predict",
    responses={200: PICTURE, **errors.REFUSALS},
    openapi_extra={"requestBody": limits.SCHEMA},
    response_model=answers.Predicted,
)
async def predict(request: Request, question: Annotated[Question, Query()]):
    """Predict the class of a radiograph and explain it.

    By Accept: JSON, or the overlay as image/png with x-class and x-probability in its headers.
    """
    state, began = request.app.state, time.perf_counter()
    kind = parse_accept_header(request.headers.get("accept") or "*/*", MIMEAccept).best_match(KINDS)
    if kind is None:
        raise HTTPException(406, f"accept one of {', '.join(KINDS)}")
    with state.room.place() as deadline:
        data = await limits.image(request)
        ask = partial(answer, state.model, data, question, state.settings.max_gradients, state.settings.dicom)
        if kind == "image/png":
            content, headers = await state.room.run(lambda: answers.as_picture(state.model, ask()), deadline)
            return Response(content, media_type=kind, headers=headers)
        request_id = request.state.request_id
        return await state.room.run(
            lambda: answers.as_json(state.model, ask(), request_id, time.perf_counter() - began), deadline
        )


@ROUTER.get("/", include_in_schema=False)
def start() -> RedirectResponse:
    return RedirectResponse("/docs")


@ROUTER.get("/docs", include_in_schema=False)
def documentation(request: Request) -> HTMLResponse:
    return HTMLResponse(docs.page(request.app.openapi()))


@ROUTER.get("/health")
def health() -> State:
    """Whether the process lives."""
    return State(status="alive")


@ROUTER.get("/ready", responses={503: errors.refusal("as many images as may wait are waiting")})
def ready(request: Request) -> State:
    """Whether another image would be taken: the model is loaded, and there is room."""
    if request.app.state.room.full:
        raise limits.BusyError
    return State(status="ready")


@ROUTER.get("/model")
def card(request: Request) -> Card:
    """The model's card, its metrics, and how it is asked."""
    found: Served = request.app.state.model
    return Card(
        **found.asked.model_dump(),
        sha256=found.sha256,
        classes=found.model.classes,
        temperature=found.temperature,
        distance_threshold=float(found.distance.threshold) if found.distance else None,
        card=found.card,
        metrics=found.metrics,
        shipped=found.shipped,
    )


@ROUTER.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> PlainTextResponse:
    """Numbers for Prometheus."""
    return PlainTextResponse(generate_latest(request.app.state.metrics.registry))


# ---- serving -------------------------------------------------------------------------------------


def create(settings: Settings, model: Served) -> Guard:
    """The API of a model, as an ASGI application; the FastAPI within is its ``app``."""
    room = limits.Work(settings.slots, settings.waiting, settings.seconds)

    @asynccontextmanager
    async def lifespan(_):
        yield
        room.stop()

    app = FastAPI(
        title="xnn",
        description=f"Predicts and explains the class of a chest radiograph. {answers.NOTICE}",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    limits.watch(model.model)
    app.state.model, app.state.room, app.state.settings = model, room, settings
    app.state.metrics = Metrics(lambda: room.admitted)
    app.include_router(ROUTER)
    for error, handler in errors.HANDLERS.items():
        app.add_exception_handler(error, handler)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.hosts, www_redirect=False)
    if settings.origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=["GET", "POST"])
    return Guard(app, settings, app.state.metrics)


def prepare(settings: Settings) -> Guard:
    """Return the API of the settings' model; raise SettingsError or ModelError."""
    if settings.dicom and not dicom.available():
        raise SettingsError("XNN_DICOM=1 needs the package pydicom: install xnn[dicom]")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return create(settings, served.load(settings.model))


def main() -> None:
    """Serve until told to stop; a model or setting that cannot be used is one line and status 1."""
    log_to_stdout()
    try:
        settings = load_settings()
        socket = listen(settings.host, settings.port, "XNN_")
        api = prepare(settings)
    except (SettingsError, served.ModelError) as error:
        sys.exit(f"xnn: {error}")
    uvicorn.Server(configured(api)).run(sockets=[socket])


def configured(api: Guard) -> uvicorn.Config:
    """How uvicorn serves the API."""
    return uvicorn.Config(
        api,
        http=Impatient,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=16 * 1024,
    )


if __name__ == "__main__":
    main()
