"""Connections that nothing comes of are closed: uvicorn itself waits for ever for the end of a header."""

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10  # without a whole header; at most twice as long


class Impatient(H11Protocol):
    """A connection that is closed where it has no request under way, and had none when last looked at."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.loop.call_later(SECONDS, self._look, None)

    def _look(self, before):
        if self.transport.is_closing():
            return
        if self.cycle is before and (before is None or before.response_complete):
            self.transport.close()
            return
        self.loop.call_later(SECONDS, self._look, self.cycle)
