"""Work that is bounded: how much at once, how much may wait, and until when.

A thread cannot be stopped from outside. So the network itself looks at the clock: before each of its
passes, of which every method of explanation is made, it gives up where the time is over. Nothing takes
longer than the limit and one pass of at most 16 images.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from torch import nn

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
