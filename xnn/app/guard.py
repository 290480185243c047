"""What every request passes first: its id, limits of its body, headers of the answer, a line of the log.

Plain ASGI: the body is counted while it is received, so that one without a length (chunked), or with a
false one, is held to the same limit, and one that trickles in is given up.
"""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from .measured import Measured
from .settings import Settings

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

    def __init__(self, app, settings: Settings, measured: Measured):
        self.app, self.settings, self.measured = app, settings, measured

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
        self.measured.request(route, scope["method"], status, seconds)
        values = {
            "request_id": request_id,
            "method": scope["method"][:16],
            "path": scope["path"][:200],
            "status": status,
            "bytes": count,
            "seconds": round(seconds, 4),
        }
        log.info("request", extra={"values": values})


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
