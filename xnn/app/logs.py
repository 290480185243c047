"""Logs as lines of JSON: one a request, with its id and what it cost, and never anything of an image."""

import json
import logging
from datetime import UTC, datetime


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
