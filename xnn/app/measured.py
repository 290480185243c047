"""What Prometheus reads: requests by route and status, their seconds, and how many are being worked on."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

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
