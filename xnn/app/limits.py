"""Limits of a request: its body, its work and its connection."""

import asyncio
import contextlib
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from torch import nn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import Settings
from .telemetry import Metrics

# ---- guard ----------------------------------------------------------------------------------------

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# a body over the limit is read on and thrown away up to here, so that its sender gets to read the answer
DISCARDED = 4
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
log = logging.getLogger("xnn.app")


class Guard:
    """ASGI middleware, the outermost one."""

    def __init__(self, app, settings: Settings, metrics: Metrics):
        self.app, self.settings, self.metrics = app, settings, metrics

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        body, answer = Body(receive, self.settings), Answer(send, request_id)
        began = time.perf_counter()
        try:
            await self.app(scope, body, answer)
        finally:
            self._note(scope, request_id, answer.status, body.count, time.perf_counter() - began)

    def _note(self, scope, request_id, status, count, seconds):
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.count(route, scope["method"], status, seconds)
        values = {
            "request_id": request_id,
            "method": scope["method"][:16],
            "path": scope["path"][:200],
            "status": status,
            "bytes": count,
            "seconds": round(seconds, 4),
        }
        log.info("request", extra=values)


class Body:
    """``receive`` that counts; raises HTTPException 413 for too many bytes, 408 for too slow ones."""

    def __init__(self, receive, settings: Settings):
        self.receive, self.limit, self.seconds = receive, settings.max_bytes, settings.body_seconds
        self.count, self.deadline, self.whole = 0, None, False

    async def __call__(self):
        if self.whole:  # what comes then is that the client has gone
            return await self.receive()
        self.deadline = self.deadline or asyncio.get_running_loop().time() + self.seconds
        try:
            async with asyncio.timeout_at(self.deadline):
                return await self._next()
        except TimeoutError:
            raise HTTPException(
                408, f"the request did not arrive within {self.seconds:g} seconds", {"connection": "close"}
            ) from None

    async def _next(self):
        message = await self._counted()
        if self.count <= self.limit:
            return message
        while message.get("more_body") and self.count <= DISCARDED * self.limit:
            message = await self._counted()
        size = f"{self.limit / 2**20:g} MB"
        raise HTTPException(413, f"the request has more than {size}, the limit", {"connection": "close"})

    async def _counted(self):
        message = await self.receive()
        self.count += len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        return message


class Answer:
    """``send`` that adds the headers of every answer and remembers its status."""

    def __init__(self, send, request_id: str):
        self.send, self.request_id = send, request_id
        self.status = 499  # the client has gone before there was an answer

    async def __call__(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers["x-request-id"] = self.request_id
        await self.send(message)


# ---- body -----------------------------------------------------------------------------------------

RAW = ("image/png", "image/jpeg", "application/dicom", "application/octet-stream")
FORM = "multipart/form-data"
_binary = {"type": "string", "format": "binary", "minLength": 1}
# what the API's schema says of it
SCHEMA = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "properties": {"file": _binary},
                "required": ["file"],
                "additionalProperties": False,
            }
        },
        **{kind: {"schema": _binary} for kind in RAW[:2]},
    },
}


async def image(request: Request) -> bytes:
    """The bytes of the image; raise HTTPException 415 or 422 where there is none."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == FORM:
        return await _of_form(request)
    if kind in RAW:
        return await request.body()
    raise HTTPException(415, f"send the image as {FORM} with one file, or as {RAW[0]} or {RAW[1]}")


async def _of_form(request):
    async with request.form(max_files=1, max_fields=1) as form:
        found = form.get("file")
        if len(form) != 1 or not isinstance(found, UploadFile):
            raise HTTPException(422, "the form has to hold one file, named file, and nothing else")
        return await found.read()


# ---- work -----------------------------------------------------------------------------------------

_current = threading.local()  # the deadline of the work that this thread does


class BusyError(Exception):
    """As much is being worked on and waiting as may be."""


class ExpiredError(Exception):
    """The time of a request is over."""


class Work:
    """A room of ``slots`` threads and ``waiting`` places, each request ``seconds`` in it at most."""

    def __init__(self, slots: int, waiting: int, seconds: float):
        # threads of its own: each that computes keeps helpers, and the event loop's come and go
        self.pool = ThreadPoolExecutor(slots, thread_name_prefix="work")
        self.places, self.seconds = slots + waiting, seconds
        self.admitted, self.stopping = 0, threading.Event()

    @property
    def full(self) -> bool:
        return self.admitted >= self.places

    @contextlib.contextmanager
    def place(self):
        """Hold a place, yielding the deadline; raise BusyError where there is none."""
        if self.full:
            raise BusyError
        self.admitted += 1
        try:
            yield time.monotonic() + self.seconds
        finally:
            self.admitted -= 1

    async def run(self, call: Callable, deadline: float):
        """``call()`` in a thread; raise ExpiredError where it has not ended by the deadline."""

        def bounded():
            _current.work = (deadline, self.stopping)
            try:
                check()
                return call()
            finally:
                _current.work = None

        return await asyncio.get_running_loop().run_in_executor(self.pool, bounded)

    def stop(self) -> None:
        """Let nothing more begin, and what is going on end at its next pass."""
        self.stopping.set()
        self.pool.shutdown(wait=False, cancel_futures=True)


def check(*_) -> None:
    """Raise ExpiredError where the deadline of this thread's work has passed, or the app stops."""
    work = getattr(_current, "work", None)
    if work and (time.monotonic() > work[0] or work[1].is_set()):
        raise ExpiredError


def watch(model: nn.Module) -> None:
    """Make a network look at the clock before each pass."""
    model.register_forward_pre_hook(check)


# ---- impatient ------------------------------------------------------------------------------------

HEADER_SECONDS = 10  # without a whole header; at most twice as long


class Impatient(H11Protocol):
    """A connection that is closed where it has no request under way, and had none when last looked at."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.loop.call_later(HEADER_SECONDS, self._look, None)

    def _look(self, before):
        if self.transport.is_closing():
            return
        if self.cycle is before and (before is None or before.response_complete):
            self.transport.close()
            return
        self.loop.call_later(HEADER_SECONDS, self._look, self.cycle)
