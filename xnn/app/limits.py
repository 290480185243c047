"""Limits of a request: its connection, its body, and the time it may take."""

import asyncio
import contextlib
import logging
import math
import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from fnmatch import fnmatch

from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import Settings
from .telemetry import Metrics

HEADER_SECONDS = 10  # for a complete header; a connection is closed after at most twice that time
DISCARDED = 4  # read on up to so many times the limit, so that the sender of a large body gets the answer
IN_TIME = 0.7  # share of an answer's seconds that the images before it may take, by the usual time
SLACK = 1.25  # that promised places are apart, in usual times: clients must not come back faster than answers
GRACE = 2  # seconds that a promised place is kept
LONGEST = 60  # seconds of Retry-After; no place is promised at that time
TICKET = "xnn-ticket"  # name of the cookie
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
FORM = "multipart/form-data"
RAW = ("image/png", "image/jpeg", "image/jpg", "application/dicom", "application/octet-stream")
BYTES = {"type": "string", "format": "binary", "minLength": 1}
FILE = {"type": "object", "properties": {"file": BYTES}, "required": ["file"], "additionalProperties": False}
BODY = {FORM: {"schema": FILE}, RAW[0]: {"schema": BYTES}, RAW[1]: {"schema": BYTES}}  # as OpenAPI has it


class HeaderTimeout(H11Protocol):
    """Close connections that never send a complete header; uvicorn itself waits for ever.

    Its ``http`` may be a class. ``loop``, ``transport`` and ``cycle`` (the latest request) are undocumented.
    """

    def connection_made(self, transport):
        super().connection_made(transport)
        self.loop.call_later(HEADER_SECONDS, self._close_if_idle, None)

    def _close_if_idle(self, previous):
        if self.cycle is previous and (previous is None or previous.response_complete):
            self.transport.close()
        if not self.transport.is_closing():
            self.loop.call_later(HEADER_SECONDS, self._close_if_idle, self.cycle)


def accepted_host(request: Request) -> None:
    """Refuse a Host header that is not in the settings: another site's page may not reach this API."""
    host = request.url.hostname or ""
    if not any(fnmatch(host, pattern) for pattern in request.app.state.settings.hosts):
        raise HTTPException(400, f"host {host[:50]!r} is not accepted: add it to XNN_HOSTS")


class Guard:
    """The outermost middleware: request id, security headers, log line and metrics."""

    def __init__(self, app, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status, start = 499, time.perf_counter()  # 499: the client left before it was answered

        async def send_with_headers(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status, headers = message["status"], MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["x-request-id"] = request_id
            await send(message)

        state = {**scope.get("state", {}), "request_id": request_id, "bytes": 0}
        inner = {**scope, "state": state}
        if scope["method"] == "HEAD":  # answered like GET; uvicorn, which keeps its own scope, omits the body
            inner["method"] = "GET"
        try:
            return await self.app(inner, receive, send_with_headers)
        finally:
            seconds, route = time.perf_counter() - start, getattr(inner.get("route"), "path", "other")
            self.metrics.count(route, scope["method"], status, seconds)
            values = {"request_id": request_id, "method": scope["method"][:16], "path": scope["path"][:200]}
            values |= {"status": status, "bytes": state["bytes"], "seconds": round(seconds, 4)}
            logging.getLogger("xnn.app").info("request", extra=values)


async def image(request: Request, settings: Settings) -> bytes:
    """Return the bytes of the image in a request; raise HTTPException for none, or for too large a one."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in (FORM, *RAW):
        raise HTTPException(415, f"send the image as {FORM} with one file, or as {RAW[0]} or {RAW[1]}")
    data = await _body(request, settings.max_bytes, settings.body_seconds)
    if kind in RAW:
        return data

    async def receive():
        return {"type": "http.request", "body": data}

    async with Request(request.scope, receive).form(max_files=1, max_fields=1) as form:
        file = form.get("file")
        if len(form) != 1 or not isinstance(file, UploadFile):
            raise HTTPException(422, "the form must contain one file, named file, and nothing else")
        return await file.read()


async def _body(request, limit, seconds):
    """Return the body. Its bytes are counted as they arrive: a Content-Length may be missing, or false."""
    data, request.state.bytes, close = bytearray(), 0, {"connection": "close"}
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                request.state.bytes += len(chunk)
                data += chunk if request.state.bytes <= limit else b""
                if request.state.bytes > DISCARDED * limit:
                    break
    except TimeoutError:
        raise HTTPException(408, f"the request did not arrive within {seconds:g} seconds", close) from None
    if request.state.bytes > limit:
        raise HTTPException(413, f"the request has more than {limit / 2**20:g} MB, the limit", close)
    return bytes(data)


class Queue:
    """Threads for ``slots`` images, places for ``waiting`` more, and ``seconds`` for each.

    A refused client is promised a place after the seconds in Retry-After, which is kept until it is late by
    GRACE. Its ticket, a cookie, shows which one it is. A client without one gets any place whose time came,
    for it may be the one; the place is then lent, and who comes with the ticket gets another.
    """

    current = ContextVar("current", default=None)  # the queue that the work at hand is from, and its deadline

    def __init__(self, settings: Settings):
        # not the event loop's threads: each one that computes keeps helpers, and those come and go
        self.pool = ThreadPoolExecutor(settings.slots, thread_name_prefix="work")
        self.places, self.seconds = settings.slots + settings.waiting, settings.seconds
        self.admitted, self.stopping, self.slots = 0, False, settings.slots
        self.usual = 1.0  # seconds of work for an image, a moving average
        self.promised, self.lent = {}, {}  # when refused clients come back, by their tickets

    def excess(self) -> int:
        """Return by how many images there are too many for one more, which then has a place in time."""
        for tickets in (self.promised, self.lent):
            for ticket in [each for each, at in tickets.items() if at < time.monotonic() - GRACE]:
                del tickets[ticket]
        in_time = int(IN_TIME * self.seconds * self.slots / self.usual)
        most = max(self.slots, min(self.places, in_time))
        return self.admitted + len(self.promised) + 1 - most

    @contextlib.contextmanager
    def place(self, ticket: str | None = None):
        """Hold a place, with a deadline; raise HTTPException 503 if all are taken or promised, or at it."""
        now = time.monotonic()
        own = min(tickets.pop(ticket, math.inf) for tickets in (self.promised, self.lent)) <= now
        excess, due = self.excess(), [each for each, at in self.promised.items() if at <= now]
        if due and not own:
            self.lent[due[0]] = self.promised.pop(due[0])
        elif excess > 0 and not own:
            raise self.busy("too many images are waiting")
        self.admitted += 1
        self.current.set((self, now + self.seconds))
        try:
            yield
        except TimeoutError:
            raise self.busy(f"no answer within {self.seconds:g} seconds") from None
        finally:
            self.admitted -= 1

    def busy(self, words: str, promise: bool = True) -> HTTPException:
        """Return the refusal 503, which promises a place unless that is too far off."""
        wait = min(math.ceil(SLACK * self.usual * max(1, self.excess()) / self.slots), LONGEST)
        headers = {"retry-after": str(wait)}
        if promise and wait < LONGEST:
            ticket = uuid.uuid4().hex
            self.promised[ticket] = time.monotonic() + wait
            headers["set-cookie"] = f"{TICKET}={ticket}; Max-Age={wait + GRACE}; HttpOnly; SameSite=Strict"
        return HTTPException(503, f"{words}: try again in {wait} s", headers)

    async def run(self, call: Callable):
        """Return ``call()``, made in a thread, where ``check`` knows the deadline of the place."""

        def timed():
            start, found = time.monotonic(), call()
            self.usual += (time.monotonic() - start - self.usual) / 4
            return found

        return await asyncio.get_running_loop().run_in_executor(self.pool, copy_context().run, timed)

    def stop(self) -> None:
        """Start nothing more, and end work in progress at its next check."""
        self.stopping = True
        self.pool.shutdown(wait=False, cancel_futures=True)


def check(*_) -> None:
    """Raise TimeoutError if the work at hand has passed its deadline, or the app is stopping.

    Each pass through the network begins with this: a thread cannot be stopped from outside.
    """
    queue, deadline = Queue.current.get() or (None, 0)
    if queue and (queue.stopping or time.monotonic() > deadline):
        raise TimeoutError
