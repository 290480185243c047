"""Log lines and metrics of the API."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

# ---- logs -----------------------------------------------------------------------------------------


class Lines(logging.Formatter):
    """A record as one line: time, level, event, and what was given as ``extra={"values": {...}}``."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, "values", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


# as uvicorn takes it: its own messages in the same form, its access log off
CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": Lines}},
    "handlers": {
        "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "lines"}
    },
    "loggers": {
        name: {"handlers": ["out"], "level": "INFO", "propagate": False} for name in ("uvicorn", "xnn.app")
    },
}


# ---- measured -------------------------------------------------------------------------------------

METHODS = ("GET", "HEAD", "POST", "OPTIONS")  # whatever else is asked counts as one kind
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Measured:
    """The numbers of one API; every API has a registry of its own."""

    def __init__(self, admitted: Callable[[], int]):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        named = {"registry": self.registry}
        self.requests = Counter("xnn_requests", "Requests answered.", ["route", "method", "status"], **named)
        self.seconds = Histogram(
            "xnn_request_seconds", "Seconds to the answer.", ["route"], buckets=SECONDS, **named
        )
        Gauge("xnn_admitted", "Images arriving, waiting and worked on.", **named).set_function(admitted)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one that was answered; ``route`` as the API names it, never as it was asked."""
        method = method if method in METHODS else "other"
        self.requests.labels(route, method, status).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In the format that Prometheus reads."""
        return generate_latest(self.registry)
