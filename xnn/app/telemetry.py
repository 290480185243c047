"""JSON log lines and Prometheus metrics. Neither contains anything of an image."""

import logging
import sys
from collections.abc import Callable

import prometheus_client as prometheus
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

LABELS = ("route", "method", "status")
METHODS = ("GET", "HEAD", "POST", "OPTIONS")  # all others share one label
BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
LINE = JsonFormatter(
    ["levelname", "message"],
    timestamp="time",
    rename_fields={"levelname": "level", "message": "event", "exc_info": "trace"},
    reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn adds the latter
)


def log_to_stdout() -> None:
    """Write the log of this process to standard output, one JSON object per line."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LINE)
    logging.basicConfig(handlers=[handler])
    for name in ("uvicorn", "xnn.app"):
        logging.getLogger(name).setLevel("INFO")


class Metrics:
    """Prometheus metrics of one API, in a registry of its own."""

    def __init__(self, admitted: Callable[[], int]):
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        prometheus.PlatformCollector(registry=registry)
        named = {"registry": registry, "namespace": "xnn"}
        self.requests = prometheus.Counter("requests", "Requests answered.", LABELS, **named)
        self.seconds = prometheus.Histogram(
            "request_seconds", "Seconds to the answer.", ["route"], buckets=BUCKETS, **named
        )
        prometheus.Gauge("admitted", "Images arriving, waiting or in work.", **named).set_function(admitted)

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is the API's own name for it, so that labels stay few."""
        self.requests.labels(route, method if method in METHODS else "other", status).inc()
        self.seconds.labels(route).observe(seconds)
