"""The API: an image in; its class, calibrated probabilities and an explanation out.

python -m xnn.app.api
"""

import json
import os
import sys
import time
from contextlib import asynccontextmanager
from html import escape
from typing import Annotated
from urllib.parse import quote

os.environ.setdefault("TQDM_DISABLE", "1")  # a server reports its progress in its log

import torch
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from . import answers, errors, limits, model, settings
from .telemetry import Metrics, log_to_stdout

KINDS = ("application/json", "image/png")  # of an answer; the first unless Accept prefers the other
ROUTER = APIRouter()
PNG = {"content": {"image/png": {}}, "description": "JSON, or by Accept the overlay as PNG"}
STYLE = "font: 15px/1.5 monospace; max-width: 110ch; margin: 2rem auto; white-space: pre-wrap"
EXAMPLES = """curl -F file=@radiograph.jpeg http://127.0.0.1:8000/predict
curl -F file=@radiograph.jpeg -H 'Accept: image/png' -o overlay.png 'http://127.0.0.1:8000/predict?clamped=true'
curl -H 'Content-Type: image/png' --data-binary @radiograph.png 'http://127.0.0.1:8000/predict?explain=false'"""


@ROUTER.post(
    "/predict",
    responses={200: PNG, **errors.RESPONSES},
    openapi_extra={"requestBody": {"required": True, "content": limits.BODY}},
    response_model=answers.Answer,
)
async def predict(request: Request, question: Annotated[answers.Question, Query()]):
    """Predict the class of a radiograph and explain it.

    By Accept: JSON, or the overlay as image/png with x-flags (those raised), x-class and x-probability in its
    headers.
    """
    state, start = request.app.state, time.perf_counter()
    kind = parse_accept_header(request.headers.get("accept") or "*/*", MIMEAccept).best_match(KINDS)
    if kind is None:
        raise HTTPException(406, f"accept one of {', '.join(KINDS)}")

    def respond() -> Response:
        answer = answers.answer(state.model, data, question, state.settings)
        if kind == "image/png":
            return _picture(answer)
        answer.request_id, answer.seconds = request.state.request_id, round(time.perf_counter() - start, 3)
        return Response(answer.model_dump_json(), media_type=kind)

    with state.queue.place(request.cookies.get(limits.TICKET)):
        data = await limits.image(request, state.settings)
        return await state.queue.run(respond)


def _picture(answer):
    headers = {
        "x-flags": ", ".join(answer.flags) or "none",
        "x-class": quote(answer.predicted, safe=" "),
        "x-probability": f"{answer.probabilities[answer.predicted]:.4f}",
        "x-calibrated": str(answer.calibrated).lower(),
        "x-notice": answer.notice,
    }
    file = answer.explanation.overlay if answer.explanation else answer.radiograph
    return Response(file, media_type="image/png", headers=headers)


@ROUTER.get("/health")
def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "alive"}


@ROUTER.get("/ready", responses={503: errors.RESPONSES[503]})
async def ready(request: Request) -> dict[str, str]:
    """Say whether another image would be accepted: the model is loaded, and the queue has a place."""
    queue = request.app.state.queue
    if queue.excess() > 0:
        raise queue.busy("too many images are waiting", promise=False)
    return {"status": "ready"}


@ROUTER.get("/model")
def card(request: Request) -> model.ServingConfig:
    """Return the model's card, its metrics, and how it is used."""
    return request.app.state.model.info


@ROUTER.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> PlainTextResponse:
    """Return metrics for Prometheus."""
    return PlainTextResponse(generate_latest(request.app.state.metrics.registry))


@ROUTER.get("/", include_in_schema=False)
@ROUTER.get("/docs", include_in_schema=False)
def documentation(request: Request) -> HTMLResponse:
    """Return the OpenAPI schema as plain text: the security headers forbid the scripts of Swagger UI."""
    schema = request.app.openapi()
    lines = [schema["info"]["description"], "", EXAMPLES]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            lines += ["", f"{method.upper()} {path}", "", operation["description"], ""]
            for each in operation.get("parameters", []):
                kind = {k: v for k, v in each["schema"].items() if k not in ("title", "description")}
                lines.append(f"- {each['name']}: {each['description']}; {json.dumps(kind)}")
            lines += [f"- {status}: {each['description']}" for status, each in operation["responses"].items()]
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>xnn</title><pre style="{STYLE}">'
        f'{escape(chr(10).join(lines))}\n\nThe whole schema: <a href="/openapi.json">/openapi.json</a></pre>'
    )


def create(given: settings.Settings, loaded: model.LoadedModel) -> limits.Guard:
    """Return the ASGI application that serves a model; its ``app`` is the FastAPI application inside."""

    @asynccontextmanager
    async def lifespan(_):
        yield
        app.state.queue.stop()

    app = FastAPI(
        title="xnn",
        description=f"Predicts and explains the class of a chest radiograph. {answers.NOTICE}",
        lifespan=lifespan,
        dependencies=[Depends(limits.accepted_host)],
        exception_handlers=errors.HANDLERS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings, app.state.model, app.state.queue = given, loaded, limits.Queue(given)
    app.state.metrics = Metrics(lambda: app.state.queue.admitted)
    loaded.network.register_forward_pre_hook(limits.check)
    app.include_router(ROUTER)
    if given.origins:
        app.add_middleware(CORSMiddleware, allow_origins=given.origins, allow_methods=["GET", "POST"])
    return limits.Guard(app, app.state.metrics)


def server(guard: limits.Guard) -> uvicorn.Server:
    """Return the server of an API; its ``run`` takes the sockets to listen on."""
    config = uvicorn.Config(
        guard,
        http=limits.HeaderTimeout,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=limits.LONGEST + limits.GRACE,  # not closed while a refused client comes back
        h11_max_incomplete_event_size=16 * 1024,
    )
    return uvicorn.Server(config)


def main() -> None:
    """Serve until a signal comes; a model or a setting that cannot be used ends it with one line."""
    log_to_stdout()
    try:
        given = settings.load()
        socket = settings.listen(given.host, given.port, "XNN_")
        if given.threads:
            torch.set_num_threads(given.threads)
        guard = create(given, model.load(given.model, given.lungs))
    except settings.SettingsError as error:
        sys.exit(f"xnn: {error}")
    server(guard).run(sockets=[socket])


if __name__ == "__main__":
    main()
